//! The OIDC issuer on a port of its own: the real one, with a few people, that misbehaves on demand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use common::chassis::token::{RoleNames, TokenRules};
use common::domain::{Clock, SystemClock};
use oidc_issuer::{ClientConfig, Issuer, IssuerConfig, UserConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// An issuer that runs until it is dropped.
///
/// Its people are `admin`, `operator` and `viewer` with the role of their name and the fleet `default`,
/// `outsider`, an operator of the fleet `elsewhere`, and `guest` without a role. All log in to
/// [`FakeIssuer::CLIENT_ID`] with [`FakeIssuer::PASSWORD`].
#[derive(Debug)]
pub struct FakeIssuer {
    issuer: Arc<Issuer>,
    jwks: Arc<Jwks>,
    _server: JoinSet<()>,
}

/// What a fake issuer is told before it starts.
#[derive(Clone)]
pub struct FakeIssuerOptions {
    /// Its clock; the machine's by default.
    pub clock: Arc<dyn Clock>,
    /// The addresses that the client may return to; [`FakeIssuer::REDIRECT_URI`] by default.
    pub redirect_uris: Vec<String>,
    /// The origins whose pages may fetch tokens; none by default.
    pub web_origins: Vec<String>,
}

/// How the address of the keys answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JwksAnswer {
    /// As Keycloak's: the signature keys, beside an encryption key that verifies nothing.
    #[default]
    Good,
    /// A set without keys.
    Empty,
    /// A page of HTML, with status 200, as a proxy's maintenance page.
    Html,
    /// The good set behind 50 MiB of blanks.
    Huge,
    /// The good set with one key twice.
    DuplicateKeyId,
    /// A symmetric key under the id of the signature key.
    SymmetricKey,
    /// 500.
    ServerError,
    /// 302 to an address of the inside.
    Redirect,
    /// Nothing, ever: the connection stays open.
    Silence,
}

#[derive(Debug, Default)]
struct Jwks {
    answer: Mutex<JwksAnswer>,
    requests: AtomicUsize,
}

impl FakeIssuer {
    /// The client that everyone logs in to.
    pub const CLIENT_ID: &str = "terminal-ui";
    /// Everyone's password.
    pub const PASSWORD: &str = "a fake's password";
    /// Where the client's logins return to, unless the options say otherwise; nothing listens there.
    pub const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";
    /// The services that its tokens are for.
    pub const AUDIENCES: [&str; 2] = ["iot-bridge-api", "terminal-proxy"];

    /// Starts an issuer on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::start_with(FakeIssuerOptions::default()).await
    }

    /// Starts an issuer as the options say.
    pub async fn start_with(options: FakeIssuerOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback interface has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let config = config(&format!("http://{address}/realms/fleet"), &options);
        let issuer = Issuer::new(config, options.clock).expect("the options hold http addresses");
        let jwks = Arc::new(Jwks::default());
        let router = issuer.router().layer(from_fn_with_state(Arc::clone(&jwks), misbehave));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("accepting on the loopback interface does not fail");
        });
        Self {
            issuer,
            jwks,
            _server: server,
        }
    }

    /// Returns its name, which is also its address.
    pub fn url(&self) -> &str {
        self.issuer.url().as_str()
    }

    /// Returns the address of its keys.
    pub fn jwks_url(&self) -> String {
        format!("{}/protocol/openid-connect/certs", self.url())
    }

    /// Returns the address where it says who a person is now.
    pub fn userinfo_url(&self) -> String {
        format!("{}/protocol/openid-connect/userinfo", self.url())
    }

    /// Returns the issuer itself: rotate its keys, disable its people.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Returns the rules of a service that believes this issuer.
    pub fn rules(&self, audience: &str) -> TokenRules {
        TokenRules {
            issuer: self.url().to_owned(),
            audience: audience.to_owned(),
            authorized_parties: vec![Self::CLIENT_ID.to_owned()],
            roles: RoleNames::default(),
            max_lifetime: TokenRules::DEFAULT_MAX_LIFETIME,
            leeway: TokenRules::MAX_LEEWAY,
        }
    }

    /// Makes an access token as the person would get it by logging in.
    pub fn token_for(&self, username: &str) -> String {
        self.mint(&self.claims_for(username))
    }

    /// Returns the claims of such a token, to be changed and minted.
    pub fn claims_for(&self, username: &str) -> Value {
        self.issuer
            .access_claims(username, Self::CLIENT_ID)
            .expect("the person is one of the fake's people")
    }

    /// Signs any claims with the issuer's key.
    pub fn mint(&self, claims: &Value) -> String {
        self.issuer.mint(claims)
    }

    /// Makes the address of the keys answer like this from now on.
    pub fn set_jwks_answer(&self, answer: JwksAnswer) {
        *self.jwks.answer.lock().expect(NO_PANIC) = answer;
    }

    /// Returns how often the keys were asked for, bad answers included.
    pub fn jwks_requests(&self) -> usize {
        self.jwks.requests.load(Ordering::SeqCst)
    }
}

impl Default for FakeIssuerOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            redirect_uris: vec![FakeIssuer::REDIRECT_URI.to_owned()],
            web_origins: Vec::new(),
        }
    }
}

impl std::fmt::Debug for FakeIssuerOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            clock: _,
            redirect_uris,
            web_origins,
        } = self;
        formatter
            .debug_struct("FakeIssuerOptions")
            .field("redirect_uris", redirect_uris)
            .field("web_origins", web_origins)
            .finish_non_exhaustive()
    }
}

const NO_PANIC: &str = "nothing panics while it holds the answer";

/// Counts who asks for the keys, and answers in the issuer's place when it was told to.
async fn misbehave(State(jwks): State<Arc<Jwks>>, request: Request, next: Next) -> Response {
    if !request.uri().path().ends_with("/protocol/openid-connect/certs") {
        return next.run(request).await;
    }
    jwks.requests.fetch_add(1, Ordering::SeqCst);
    let answer = *jwks.answer.lock().expect(NO_PANIC);
    let keys = keys_of(next.run(request).await).await;
    match answer {
        JwksAnswer::Good => set([encryption_key(), keys].concat()).into_response(),
        JwksAnswer::Empty => set(Vec::new()).into_response(),
        JwksAnswer::Html => Html("<!doctype html><title>Back soon</title>").into_response(),
        JwksAnswer::Huge => format!("{}{}", " ".repeat(50 << 20), set(keys).0).into_response(),
        JwksAnswer::DuplicateKeyId => set([keys.clone(), keys].concat()).into_response(),
        JwksAnswer::SymmetricKey => set(keys.iter().map(as_symmetric_key).collect()).into_response(),
        JwksAnswer::ServerError => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        JwksAnswer::Redirect => (StatusCode::FOUND, [(LOCATION, "http://169.254.169.254/")]).into_response(),
        JwksAnswer::Silence => std::future::pending().await,
    }
}

async fn keys_of(answer: Response) -> Vec<Value> {
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    let mut set: Value = serde_json::from_slice(&body).unwrap_or_default();
    serde_json::from_value(set["keys"].take()).unwrap_or_default()
}

fn set(keys: Vec<Value>) -> Json<Value> {
    Json(json!({"keys": keys}))
}

/// Keycloak lists a key for encryption beside those for signatures.
fn encryption_key() -> Vec<Value> {
    vec![json!({"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "enc-1", "n": "AQAB", "e": "AQAB"})]
}

fn as_symmetric_key(key: &Value) -> Value {
    json!({"kty": "oct", "use": "sig", "alg": "HS256", "kid": key["kid"], "k": key["n"]})
}

fn config(issuer_url: &str, options: &FakeIssuerOptions) -> IssuerConfig {
    let redirect_uris = options.redirect_uris.iter();
    let client = ClientConfig {
        client_id: FakeIssuer::CLIENT_ID.to_owned(),
        redirect_uris: redirect_uris
            .map(|uri| uri.parse().expect("a redirect address is a URL"))
            .collect(),
        audiences: FakeIssuer::AUDIENCES.map(str::to_owned).into(),
        web_origins: options.web_origins.clone(),
    };
    IssuerConfig {
        issuer_url: issuer_url.parse().expect("a socket's address makes a URL"),
        clients: vec![client],
        users: vec![
            user("admin", Some("fleet-admin"), "default"),
            user("operator", Some("fleet-operator"), "default"),
            user("viewer", Some("fleet-viewer"), "default"),
            user("outsider", Some("fleet-operator"), "elsewhere"),
            user("guest", None, "default"),
        ],
        access_token_lifetime: IssuerConfig::DEFAULT_ACCESS_TOKEN_LIFETIME,
    }
}

fn user(username: &str, role: Option<&str>, fleet: &str) -> UserConfig {
    let everyone = ["offline_access", "default-roles-fleet"];
    UserConfig {
        username: username.to_owned(),
        password: FakeIssuer::PASSWORD.into(),
        roles: everyone.into_iter().chain(role).map(str::to_owned).collect(),
        groups: vec![format!("/fleets/{fleet}")],
        subject: format!("subject-of-{username}"),
    }
}

#[cfg(test)]
mod tests {
    use common::chassis::http_client::{self, HttpClientOptions};
    use common::chassis::token::{EndpointLocation, JwksCache, JwksSettings, TokenError, TokenVerifier};
    use common::domain::Role;

    use super::*;

    #[tokio::test]
    async fn its_people_are_who_their_names_say() {
        let fake = FakeIssuer::start().await;
        let (verifier, _) = service(&fake);

        for (username, role) in [
            ("admin", Role::Admin),
            ("operator", Role::Operator),
            ("viewer", Role::Viewer),
        ] {
            let operator = verifier.verify(&fake.token_for(username)).await.unwrap();
            assert_eq!((operator.username.as_str(), operator.role), (username, role));
        }
        assert_eq!(verifier.verify(&fake.token_for("guest")).await, Err(TokenError::NoRole));
    }

    #[tokio::test]
    async fn changed_claims_are_signed_like_good_ones() {
        let fake = FakeIssuer::start().await;
        let (verifier, _) = service(&fake);
        let mut claims = fake.claims_for("admin");
        claims["aud"] = json!("account");

        let verdict = verifier.verify(&fake.mint(&claims)).await;

        assert_eq!(verdict, Err(TokenError::Invalid("other audience")));
    }

    #[tokio::test]
    async fn none_of_its_bad_answers_costs_a_service_its_keys() {
        let fake = FakeIssuer::start().await;
        let (verifier, cache) = service(&fake);
        let token = fake.token_for("operator");
        assert!(verifier.verify(&token).await.is_ok());
        let bad = [
            JwksAnswer::Empty,
            JwksAnswer::Html,
            JwksAnswer::Huge,
            JwksAnswer::DuplicateKeyId,
            JwksAnswer::SymmetricKey,
            JwksAnswer::ServerError,
            JwksAnswer::Redirect,
        ];

        for (count, answer) in bad.into_iter().enumerate() {
            fake.set_jwks_answer(answer);
            assert!(!cache.refresh().await, "{answer:?}");
            assert!(verifier.verify(&token).await.is_ok(), "{answer:?}");
            assert_eq!(fake.jwks_requests(), count + 2);
        }

        fake.set_jwks_answer(JwksAnswer::Good);
        assert!(cache.refresh().await);
    }

    fn service(fake: &FakeIssuer) -> (TokenVerifier, Arc<JwksCache>) {
        let location = EndpointLocation::Url(fake.jwks_url().parse().unwrap());
        let settings = JwksSettings {
            location,
            max_age: JwksSettings::DEFAULT_MAX_AGE,
        };
        let http = http_client::build(&HttpClientOptions::default()).unwrap();
        let cache = Arc::new(JwksCache::new(settings, http, Arc::new(SystemClock)));
        let verifier = TokenVerifier::new(fake.rules("terminal-proxy"), cache.clone(), Arc::new(SystemClock)).unwrap();
        (verifier, cache)
    }
}
