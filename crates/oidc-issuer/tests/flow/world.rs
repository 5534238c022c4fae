use std::sync::Arc;
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use common::domain::{ManualClock, Timestamp};
use oidc_issuer::client::{self, Login, LoginError, Tokens};
use oidc_issuer::{ClientConfig, Issuer, IssuerConfig, UserConfig};
use reqwest::Response;
use reqwest::header::LOCATION;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:8888/ui/callback";
pub(crate) const WEB_ORIGIN: &str = "http://127.0.0.1:8888";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636 appendix B
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const PASSWORD: &str = "correct horse & battery";

/// An issuer on a port of its own, with Olga who may log in to `terminal-ui`.
pub(crate) struct World {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) http: reqwest::Client,
    _server: JoinSet<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer_url = format!("http://{}/realms/fleet", listener.local_addr().unwrap());
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix_timestamp(1_800_000_000).unwrap()));
        let issuer = Issuer::new(config(issuer_url.parse().unwrap()), clock.clone()).unwrap();
        let router = issuer.router();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let http = http_client::build(&HttpClientOptions::default()).unwrap();
        Self {
            issuer,
            clock,
            http,
            _server: server,
        }
    }

    pub(crate) fn endpoint(&self, name: &str) -> Url {
        format!("{}/protocol/openid-connect/{name}", self.issuer.url())
            .parse()
            .unwrap()
    }

    /// The address of the login form for a good request, after some of its parameters were changed.
    pub(crate) fn login_page(&self, changes: &[(&str, &str)]) -> Url {
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", "terminal-ui"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "openid"),
            ("state", "s1"),
            ("nonce", "n1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        parameters.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        parameters.extend(changes);
        let mut page = self.endpoint("auth");
        page.query_pairs_mut().extend_pairs(parameters);
        page
    }

    pub(crate) async fn get(&self, url: Url) -> Response {
        self.http.get(url).send().await.unwrap()
    }

    pub(crate) async fn post(&self, url: Url, form: &[(&str, &str)]) -> Response {
        self.http.post(url).form(form).send().await.unwrap()
    }

    /// Logs Olga in and returns the code.
    pub(crate) async fn code(&self) -> String {
        let form = [("username", "olga"), ("password", PASSWORD)];
        let answer = self.post(self.login_page(&[]), &form).await;
        parameter(&location(&answer), "code").unwrap()
    }

    /// Shows the code as its client would, after some parameters were changed.
    pub(crate) async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Response {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", "terminal-ui"),
            ("redirect_uri", REDIRECT_URI),
            ("code", code),
            ("code_verifier", VERIFIER),
        ];
        form.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        form.extend(changes);
        self.post(self.endpoint("token"), &form).await
    }

    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Result<Tokens, LoginError> {
        let login = Login {
            issuer: self.issuer.url(),
            client_id: "terminal-ui",
            redirect_uri: REDIRECT_URI,
            username,
            password: &SecretString::from(password),
        };
        client::login(&self.http, &login).await
    }

    pub(crate) async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, LoginError> {
        client::refresh(&self.http, self.issuer.url(), "terminal-ui", &tokens.refresh_token).await
    }
}

pub(crate) fn location(answer: &Response) -> Url {
    answer.headers()[LOCATION].to_str().unwrap().parse().unwrap()
}

pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

fn config(issuer_url: Url) -> IssuerConfig {
    let client = |client_id: &str| ClientConfig {
        client_id: client_id.to_owned(),
        redirect_uris: vec![REDIRECT_URI.parse().unwrap()],
        audiences: vec!["terminal-proxy".to_owned(), "iot-bridge-api".to_owned()],
        web_origins: vec![WEB_ORIGIN.to_owned()],
    };
    let other = ClientConfig {
        web_origins: vec!["http://other.example".to_owned()],
        ..client("other-ui")
    };
    let olga = UserConfig {
        username: "olga".to_owned(),
        password: SecretString::from(PASSWORD),
        roles: vec!["fleet-operator".to_owned()],
        groups: vec!["/fleets/demo".to_owned()],
        subject: "f3b1".to_owned(),
    };
    IssuerConfig {
        issuer_url,
        clients: vec![client("terminal-ui"), other],
        users: vec![olga],
        access_token_lifetime: Duration::from_mins(5),
    }
}
