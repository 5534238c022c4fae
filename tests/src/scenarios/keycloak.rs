//! Our check of access tokens against a genuine Keycloak with the realm of `deploy/keycloak`.

use std::sync::Arc;

use common::chassis::token::{
    EndpointLocation, JwksCache, JwksSettings, RoleNames, TokenError, TokenRules, TokenVerifier, Userinfo,
    UserinfoError,
};
use common::domain::{GroupName, Operator, Role, SystemClock};
use jsonwebtoken::decode_header;
use oidc_issuer::client::{self, Login, LoginError, Tokens};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use crate::failure::{Failure, ensure};
use crate::real::keycloak::{Keycloak, Person, patient_client};
use crate::real::random_password;
use crate::stage::Stage;

/// Where the terminal's page would be; nothing listens there.
const TERMINAL: &str = "http://127.0.0.1:9";
const REDIRECT_URI: &str = "http://127.0.0.1:9/ui/callback";
const CLIENT: &str = "terminal-widget";
const AUDIENCES: [&str; 2] = ["terminal-proxy", "iot-bridge-api"];

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let keycloak = stage
        .step("Keycloak starts with our realm", Keycloak::start(stage, TERMINAL))
        .await?;
    stage
        .step(
            "`provision keycloak` puts right what was changed, and makes what is missing",
            keycloak.is_put_right(TERMINAL),
        )
        .await?;
    let world = stage
        .step("an administrator creates two people", World::new(keycloak))
        .await?;
    let tokens = stage
        .step(
            "a login is accepted by both services, with role and fleet",
            world.login_is_accepted(),
        )
        .await?;
    stage
        .step("a person without a group sees no fleet", world.groups_decide())
        .await?;
    stage
        .step("an ID token is refused", world.id_token_is_refused(&tokens))
        .await?;
    stage
        .step("tokens of other clients are refused", world.other_clients_are_refused())
        .await?;
    stage
        .step("the realm refuses weaker logins", world.weaker_logins_are_refused())
        .await?;
    stage
        .step(
            "a new signing key is accepted at once",
            world.new_key_is_accepted(&tokens),
        )
        .await?;
    stage
        .step(
            "a disabled key is refused after a refresh",
            world.disabled_key_is_refused(&tokens),
        )
        .await?;
    stage
        .step(
            "what was taken from a person is known at once, whatever their token says",
            world.changes_are_known(),
        )
        .await?;
    stage
        .step(
            "a disabled person gets no token any more",
            world.disabled_person_is_out(),
        )
        .await
}

/// Keycloak, its people, and the part of our services that believes it.
struct World {
    keycloak: Keycloak,
    issuer: Url,
    http: Client,
    keys: Arc<JwksCache>,
    operator: Person,
    operator_id: String,
    viewer: Person,
}

impl World {
    async fn new(keycloak: Keycloak) -> Result<Self, Failure> {
        let operator = person("olga", "fleet-operator", &["/fleets/default"])?;
        let viewer = person("vera", "fleet-viewer", &[])?;
        let operator_id = keycloak.admin.create_person(&operator).await?;
        keycloak.admin.create_person(&viewer).await?;
        let http = patient_client()?;
        // The issuer's public name and the address of its keys are configured apart.
        let settings = JwksSettings {
            location: EndpointLocation::Url(keycloak.jwks_url()?),
            max_age: JwksSettings::DEFAULT_MAX_AGE,
        };
        let keys = Arc::new(JwksCache::new(settings, http.clone(), Arc::new(SystemClock)));
        ensure(keys.refresh().await, "the key set of Keycloak is not usable")?;
        Ok(Self {
            issuer: keycloak.issuer()?,
            keycloak,
            http,
            keys,
            operator,
            operator_id,
            viewer,
        })
    }

    async fn login_is_accepted(&self) -> Result<Tokens, Failure> {
        let tokens = self.log_in(&self.operator, CLIENT).await?;
        for audience in AUDIENCES {
            let operator = self
                .verifier(audience)?
                .verify(tokens.access_token.expose_secret())
                .await?;
            let fleets: Vec<_> = operator.groups.iter().map(GroupName::as_str).collect();
            ensure(
                operator.username == "olga",
                format_args!("{audience} takes her for {}", operator.username),
            )?;
            ensure(
                operator.role == Role::Operator,
                format_args!("{audience} gives her the role {:?}", operator.role),
            )?;
            ensure(
                fleets == ["default"],
                format_args!("{audience} gives her the fleets {fleets:?}"),
            )?;
        }
        Ok(tokens)
    }

    async fn groups_decide(&self) -> Result<(), Failure> {
        let tokens = self.log_in(&self.viewer, CLIENT).await?;
        let viewer = self
            .verifier(AUDIENCES[0])?
            .verify(tokens.access_token.expose_secret())
            .await?;
        ensure(
            viewer.role == Role::Viewer,
            format_args!("she has the role {:?}", viewer.role),
        )?;
        ensure(viewer.groups.is_empty(), format_args!("she sees {:?}", viewer.groups))
    }

    async fn id_token_is_refused(&self, tokens: &Tokens) -> Result<(), Failure> {
        for audience in AUDIENCES {
            self.expect_refusal(audience, tokens.id_token.expose_secret(), "other audience")
                .await?;
        }
        // The client itself is the audience of an ID token: a service of that name has to refuse it too.
        self.expect_refusal(CLIENT, tokens.id_token.expose_secret(), "not an access token")
            .await
    }

    /// One whose tokens are not for us, and one that writes our names into its tokens.
    async fn other_clients_are_refused(&self) -> Result<(), Failure> {
        for (client_id, mappers, reason) in [
            ("other-page", json!([]), "other audience"),
            ("impostor", json!([audience_mapper(AUDIENCES[0])]), "client not allowed"),
        ] {
            self.keycloak
                .admin
                .create_client(&other_client(client_id, &mappers))
                .await?;
            let tokens = self.log_in(&self.operator, client_id).await?;
            self.expect_refusal(AUDIENCES[0], tokens.access_token.expose_secret(), reason)
                .await?;
        }
        Ok(())
    }

    /// No login without PKCE, none by handing the password to a program, none that answers elsewhere.
    async fn weaker_logins_are_refused(&self) -> Result<(), Failure> {
        let without_pkce = self.login_page(REDIRECT_URI)?;
        let answer = self.http.get(without_pkce).send().await?;
        let location = answer
            .headers()
            .get("location")
            .and_then(|location| location.to_str().ok());
        let refused = location.is_some_and(|location| location.contains("error=invalid_request"));
        ensure(
            refused,
            format_args!("a login without PKCE was answered with {}", answer.status()),
        )?;

        let elsewhere = self.login_page("http://127.0.0.1:9/ui/callback/more")?;
        let status = self.http.get(elsewhere).send().await?.status();
        ensure(
            status == StatusCode::BAD_REQUEST,
            format_args!("another address was answered with {status}"),
        )?;

        let form = [
            ("grant_type", "password"),
            ("client_id", CLIENT),
            ("username", self.operator.username),
            ("password", self.operator.password.expose_secret()),
        ];
        let token = format!("{}/protocol/openid-connect/token", self.issuer);
        let answer: Value = self.http.post(token).form(&form).send().await?.json().await?;
        ensure(
            answer["error"] == "unauthorized_client",
            format_args!("the password grant was answered with {answer}"),
        )
    }

    async fn new_key_is_accepted(&self, old: &Tokens) -> Result<(), Failure> {
        self.keycloak.admin.add_signing_key().await?;
        let new = self.log_in(&self.operator, CLIENT).await?;
        ensure(key_id(&new)? != key_id(old)?, "Keycloak still signs with the old key")?;
        self.accept(AUDIENCES[0], &new).await?;
        self.accept(AUDIENCES[0], old).await.map(drop)
    }

    async fn disabled_key_is_refused(&self, old: &Tokens) -> Result<(), Failure> {
        self.keycloak.admin.disable_key(&key_id(old)?).await?;
        ensure(self.keys.refresh().await, "the key set of Keycloak is not usable")?;
        self.expect_refusal(AUDIENCES[0], old.access_token.expose_secret(), "no such key")
            .await?;
        let new = self.log_in(&self.operator, CLIENT).await?;
        self.verifier(AUDIENCES[0])?
            .verify(new.access_token.expose_secret())
            .await?;
        Ok(())
    }

    /// What terminal-proxy asks about the people behind sessions.
    async fn changes_are_known(&self) -> Result<(), Failure> {
        let location = EndpointLocation::Url(self.keycloak.userinfo_url()?);
        let userinfo = Userinfo::new(location, RoleNames::default(), self.http.clone());
        let tokens = self.log_in(&self.operator, CLIENT).await?;
        let ask = async || userinfo.ask(&tokens.access_token).await;
        let expect = async |role, fleets: &[&str]| {
            let person = ask().await?;
            let seen: Vec<_> = person.groups.iter().map(GroupName::as_str).collect();
            let fits = person.role == role && seen == fleets;
            ensure(fits, format_args!("Keycloak says {person:?}"))
        };
        let (admin, id) = (&self.keycloak.admin, self.operator_id.as_str());

        expect(Some(Role::Operator), &["default"]).await?;
        admin.take_role(id, self.operator.role).await?;
        expect(None, &["default"]).await?;
        admin.give_role(id, self.operator.role).await?;
        admin.take_groups(id).await?;
        expect(Some(Role::Operator), &[]).await?;
        let logout = format!("{}/protocol/openid-connect/logout", self.issuer);
        let refresh_token = tokens.refresh_token.expose_secret();
        let form = [("client_id", CLIENT), ("refresh_token", refresh_token)];
        self.http.post(logout).form(&form).send().await?.error_for_status()?;
        let gone = matches!(ask().await, Err(UserinfoError::Refused(_)));
        ensure(gone, "Keycloak still knows who has logged out")
    }

    async fn disabled_person_is_out(&self) -> Result<(), Failure> {
        let tokens = self.log_in(&self.operator, CLIENT).await?;
        let renewed = client::refresh(&self.http, &self.issuer, CLIENT, &tokens.refresh_token).await?;
        self.keycloak.admin.disable_person(&self.operator_id).await?;
        let refreshed = client::refresh(&self.http, &self.issuer, CLIENT, &renewed.refresh_token).await;
        ensure(
            matches!(refreshed, Err(LoginError::Refused)),
            "the refresh token still buys tokens",
        )?;
        let login = self.log_in(&self.operator, CLIENT).await;
        ensure(login.is_err(), "the login form still lets the person in")
    }

    async fn log_in(&self, person: &Person, client_id: &str) -> Result<Tokens, Failure> {
        let login = Login {
            issuer: &self.issuer,
            client_id,
            redirect_uri: REDIRECT_URI,
            username: person.username,
            password: &person.password,
        };
        Ok(client::login(&self.http, &login).await?)
    }

    async fn accept(&self, audience: &str, tokens: &Tokens) -> Result<Operator, Failure> {
        let verdict = self
            .verifier(audience)?
            .verify(tokens.access_token.expose_secret())
            .await;
        verdict.map_err(|error| Failure::new(format_args!("{audience} refuses the token: {error:?}")))
    }

    async fn expect_refusal(&self, audience: &str, token: &str, reason: &'static str) -> Result<(), Failure> {
        let verdict = self.verifier(audience)?.verify(token).await;
        let refused = verdict == Err(TokenError::Invalid(reason));
        ensure(
            refused,
            format_args!("{audience} should have said `{reason}` and said {verdict:?}"),
        )
    }

    fn verifier(&self, audience: &str) -> Result<TokenVerifier, Failure> {
        let rules = TokenRules {
            issuer: self.issuer.to_string(),
            audience: audience.to_owned(),
            authorized_parties: vec![CLIENT.to_owned()],
            roles: RoleNames::default(),
            max_lifetime: TokenRules::DEFAULT_MAX_LIFETIME,
            leeway: TokenRules::MAX_LEEWAY,
        };
        Ok(TokenVerifier::new(rules, self.keys.clone(), Arc::new(SystemClock))?)
    }

    /// The address of a login without PKCE.
    fn login_page(&self, redirect_uri: &str) -> Result<Url, Failure> {
        let page = format!("{}/protocol/openid-connect/auth", self.issuer);
        let parameters = [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", redirect_uri),
            ("scope", "openid"),
            ("state", "s"),
        ];
        Ok(Url::parse_with_params(&page, parameters)?)
    }
}

fn person(username: &'static str, role: &'static str, groups: &'static [&'static str]) -> Result<Person, Failure> {
    Ok(Person {
        username,
        password: random_password()?,
        role,
        groups,
    })
}

fn key_id(tokens: &Tokens) -> Result<String, Failure> {
    let header = decode_header(tokens.access_token.expose_secret())?;
    header
        .kid
        .ok_or_else(|| Failure::new("the token does not name its key"))
}

fn other_client(client_id: &str, mappers: &Value) -> Value {
    json!({
        "clientId": client_id, "publicClient": true, "standardFlowEnabled": true,
        "redirectUris": [REDIRECT_URI], "protocolMappers": mappers,
    })
}

fn audience_mapper(audience: &str) -> Value {
    json!({
        "name": audience, "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": audience, "access.token.claim": "true", "id.token.claim": "false"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_brings_no_people_no_secrets_and_no_open_redirects() {
        let realm: Value = serde_json::from_str(include_str!("../../../deploy/keycloak/realm.json")).unwrap();

        assert_eq!(realm["users"], json!([]));
        for client in realm["clients"].as_array().unwrap() {
            let secret = client["secret"].as_str().unwrap_or("${NONE}");
            assert!(secret.starts_with("${") && !secret.contains(':'), "{secret}"); // `:` would give a default
            assert!(!client["redirectUris"].to_string().contains('*'), "{client}");
        }
    }
}
