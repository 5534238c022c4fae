//! An operator without a browser: logs in, hands out a token, opens a terminal, decommissions a device, all through
//! the same doors that everyone uses.

use std::time::Duration;

use common::domain::DeviceId;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use url::Url;

/// How long a terminal may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A person who logged in.
#[derive(Debug)]
pub(crate) struct Operator {
    http: Client,
    api: Url,
    proxy: Url,
    access_token: SecretString,
}

/// What went wrong on the way, for the person who reads the progress lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    /// A service did not answer.
    #[error("a service did not answer")]
    Http(#[from] reqwest::Error),
    /// A service refused.
    #[error("{status}: {problem}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The problem document's title and detail.
        problem: String,
    },
    /// The terminal's WebSocket failed.
    #[error("the terminal's connection failed")]
    WebSocket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The shell did not print what it should.
    #[error("the shell did not answer within {ANSWER_WITHIN:?}; it printed {printed:?}")]
    NoAnswer {
        /// What it printed instead.
        printed: String,
    },
}

/// A terminal that is open.
#[derive(Debug)]
pub(crate) struct Terminal {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    printed: String,
}

impl Operator {
    /// Puts an access token to use.
    pub(crate) fn new(http: Client, api: Url, proxy: Url, access_token: SecretString) -> Self {
        Self {
            http,
            api,
            proxy,
            access_token,
        }
    }

    /// Makes an enrollment token for as many devices as `quota`.
    pub(crate) async fn enrollment_token(&self, quota: u16) -> Result<SecretString, OperatorError> {
        #[derive(Deserialize)]
        struct Created {
            token: SecretString,
        }
        let request = json!({ "id_pattern": "*", "quota": quota, "expires_in_seconds": 3600 });
        let url = join(&self.api, "enrollment-tokens");
        let answer = self
            .http
            .post(url)
            .bearer_auth(self.bearer())
            .json(&request)
            .send()
            .await?;
        Ok(accepted(answer).await?.json::<Created>().await?.token)
    }

    /// Takes a device out of service; returns what each system said.
    pub(crate) async fn decommission(&self, id: &DeviceId) -> Result<serde_json::Value, OperatorError> {
        let url = join(&self.api, &format!("devices/{id}"));
        let answer = self.http.delete(url).bearer_auth(self.bearer()).send().await?;
        Ok(accepted(answer).await?.json().await?)
    }

    /// Opens a terminal with a one-time ticket, as the web page does, and starts the shell.
    pub(crate) async fn open_terminal(&self, id: &DeviceId) -> Result<Terminal, OperatorError> {
        #[derive(Deserialize)]
        struct Issued {
            ticket: SecretString,
        }
        let url = join(&self.proxy, "terminal/tickets");
        let request = json!({ "device_id": id });
        let answer = self
            .http
            .post(url)
            .bearer_auth(self.bearer())
            .json(&request)
            .send()
            .await?;
        let issued: Issued = accepted(answer).await?.json().await?;
        self.connect(id, issued.ticket.expose_secret()).await
    }

    async fn connect(&self, id: &DeviceId, ticket: &str) -> Result<Terminal, OperatorError> {
        let mut url = join(&self.proxy, &format!("terminal/{id}"));
        url.query_pairs_mut().append_pair("ticket", ticket);
        url.set_scheme("ws").expect("http and ws are both special schemes");
        let mut request = url.as_str().into_client_request().map_err(Box::new)?;
        request
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("tty"));
        let (mut socket, _) = connect_async(request).await.map_err(Box::new)?;
        let hello = json!({ "AuthToken": "", "columns": 80, "rows": 24 }).to_string();
        socket.send(Message::text(hello)).await.map_err(Box::new)?;
        Ok(Terminal {
            socket,
            printed: String::new(),
        })
    }

    fn bearer(&self) -> &str {
        self.access_token.expose_secret()
    }
}

impl Terminal {
    /// Waits for the shell's first byte.
    pub(crate) async fn wait_for_output(&mut self) -> Result<(), OperatorError> {
        self.read_until(|printed| !printed.is_empty()).await
    }

    /// Types a line and waits until the shell prints `answer`.
    pub(crate) async fn run(&mut self, line: &str, answer: &str) -> Result<(), OperatorError> {
        self.printed.clear();
        let typed = format!("0{line}\r");
        self.socket
            .send(Message::binary(typed.into_bytes()))
            .await
            .map_err(Box::new)?;
        self.read_until(|printed| printed.contains(answer)).await
    }

    /// Leaves, as closing the browser's tab does.
    pub(crate) async fn leave(mut self) -> Result<(), OperatorError> {
        Ok(self.socket.close(None).await.map_err(Box::new)?)
    }

    async fn read_until(&mut self, enough: impl Fn(&str) -> bool) -> Result<(), OperatorError> {
        while !enough(&self.printed) {
            let Ok(Some(message)) = timeout(ANSWER_WITHIN, self.socket.next()).await else {
                return Err(OperatorError::NoAnswer {
                    printed: self.printed.clone(),
                });
            };
            let data = message.map_err(Box::new)?.into_data();
            if let Some(output) = data.strip_prefix(b"0") {
                self.printed.push_str(&String::from_utf8_lossy(output));
            }
        }
        Ok(())
    }
}

fn join(base: &Url, path: &str) -> Url {
    base.join(path)
        .expect("the paths are written here and in the id's grammar")
}

async fn accepted(answer: Response) -> Result<Response, OperatorError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let document: serde_json::Value = answer.json().await.unwrap_or_default();
    let problem = [&document["title"], &document["detail"]]
        .map(|text| text.as_str().unwrap_or_default())
        .join(": ");
    Err(OperatorError::Refused { status, problem })
}
