//! What a new ThingsBoard is asked before the bridge can use it: accounts and what lies in its lists. Everything else
//! goes on to the fake, for those who are logged in.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fakes::thingsboard::FakeThingsBoard;
use reqwest::Client;
use serde_json::{Value, json};

/// The administrator and the password that every installation begins with.
const SYSTEM: (&str, &str) = ("sysadmin@thingsboard.org", "sysadmin");

/// What is saved at a path, in which list it appears, and what identifies it there.
const LISTS: [(&str, &str, &str); 9] = [
    ("tenant", "tenants", "title"),
    ("customer", "customers", "title"),
    ("oauth2/client", "oauth2/client/infos", "title"),
    ("domain", "domain/infos", "name"),
    ("widgetsBundle", "widgetsBundles", "title"),
    ("dashboard", "tenant/dashboards", "title"),
    ("notification/target", "notification/targets", "name"),
    ("notification/template", "notification/templates", "name"),
    ("notification/rule", "notification/rules", "name"),
];

/// The largest message.
const MOST_BYTES: usize = 4 << 20;

/// The accounts and lists, and the way to the fake.
#[derive(Debug)]
pub(crate) struct Front {
    fake: String,
    client: Client,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    passwords: BTreeMap<String, String>,
    users: Vec<Value>,
    tokens: BTreeMap<String, String>,
    saved: BTreeMap<(&'static str, String), Value>,
    counter: usize,
}

impl Front {
    pub(crate) fn router(fake: String, client: Client) -> Router {
        let books = Books {
            passwords: BTreeMap::from([(SYSTEM.0.to_owned(), SYSTEM.1.to_owned())]),
            users: Vec::new(),
            tokens: BTreeMap::new(),
            saved: BTreeMap::new(),
            counter: 0,
        };
        let front = Arc::new(Self {
            fake,
            client,
            books: Mutex::new(books),
        });
        let mut router = Router::new()
            .route("/api/noauth/oauth2Clients", get(async || Json(json!([]))))
            .route("/api/auth/login", post(log_in))
            .route("/api/auth/token", post(refresh))
            .route("/api/auth/changePassword", post(change_password))
            .route("/api/user", post(save_user))
            .route("/api/user/{id}/activationLink", get(activation_link))
            .route("/api/noauth/activate", post(activate))
            .route("/api/tenant/{id}/users", get(users))
            .route("/api/widgetType", post(async |Json(body): Json<Value>| Json(body)))
            .route("/api/widgetsBundle/{id}/widgetTypeFqns", post(async || StatusCode::OK))
            .route(
                "/api/customer/{id}/dashboard/{dashboard}",
                post(async || Json(json!({}))),
            );
        for (path, list, field) in LISTS {
            let save = async move |front, body| save(list, field, front, body);
            let show = async move |front, query| show(list, field, front, query);
            router = router
                .route(&format!("/api/{path}"), post(save))
                .route(&format!("/api/{list}"), get(show));
        }
        router.fallback(to_the_fake).with_state(front)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nobody panics while holding the books")
    }
}

impl Books {
    fn number(&mut self) -> usize {
        self.counter += 1;
        self.counter
    }

    fn fresh_tokens(&mut self, user: &str) -> Response {
        let token = format!("lab-{}", self.number());
        self.tokens.insert(token.clone(), user.to_owned());
        Json(json!({ "token": token, "refreshToken": format!("refresh-{user}") })).into_response()
    }

    fn who(&self, headers: &HeaderMap) -> Option<&String> {
        let header = headers.get("x-authorization")?.to_str().ok()?;
        self.tokens.get(header.strip_prefix("Bearer ")?)
    }
}

fn refused(message: &str) -> Response {
    let body = json!({ "status": 401, "message": message, "errorCode": 10 });
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

async fn log_in(State(front): State<Arc<Front>>, Json(body): Json<Value>) -> Response {
    let mut books = front.books();
    let user = body["username"].as_str().unwrap_or_default().to_owned();
    match books.passwords.get(&user) {
        Some(password) if body["password"] == *password => books.fresh_tokens(&user),
        _ => refused("Invalid username or password"),
    }
}

async fn refresh(State(front): State<Arc<Front>>, Json(body): Json<Value>) -> Response {
    let token = body["refreshToken"].as_str().unwrap_or_default();
    match token.strip_prefix("refresh-") {
        Some(user) => front.books().fresh_tokens(user),
        None => refused("Authentication failed"),
    }
}

async fn change_password(State(front): State<Arc<Front>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut books = front.books();
    let Some(user) = books.who(&headers).cloned() else {
        return refused("Token has expired");
    };
    if body["currentPassword"] != *books.passwords.get(&user).map_or("", String::as_str) {
        return refused("Current password doesn't match!");
    }
    let password = body["newPassword"].as_str().unwrap_or_default().to_owned();
    books.passwords.insert(user.clone(), password);
    books.fresh_tokens(&user)
}

async fn save_user(State(front): State<Arc<Front>>, Json(mut body): Json<Value>) -> Response {
    let mut books = front.books();
    body["id"] = json!({ "entityType": "USER", "id": format!("user-{}", books.number()) });
    books.users.push(body.clone());
    Json(body).into_response()
}

async fn users(State(front): State<Arc<Front>>) -> Json<Value> {
    Json(json!({ "data": front.books().users, "totalPages": 1, "hasNext": false }))
}

async fn activation_link(Path(id): Path<String>) -> String {
    format!("http://thingsboard:8080/api/noauth/activate?activateToken={id}")
}

async fn activate(State(front): State<Arc<Front>>, Json(body): Json<Value>) -> Response {
    let mut books = front.books();
    let is_named = |user: &&Value| user["id"]["id"] == body["activateToken"];
    let Some(user) = books.users.iter().find(is_named).cloned() else {
        return refused("Activation token isn't valid!");
    };
    let (user, password) = (user["email"].as_str(), body["password"].as_str());
    let user = user.unwrap_or_default().to_owned();
    books
        .passwords
        .insert(user.clone(), password.unwrap_or_default().to_owned());
    books.fresh_tokens(&user)
}

fn save(list: &'static str, field: &str, State(front): State<Arc<Front>>, Json(mut body): Json<Value>) -> Response {
    let mut books = front.books();
    let name = body[field].as_str().unwrap_or_default().to_owned();
    let present = books.saved.get(&(list, name.clone()));
    let is_known = present.is_some_and(|present| present["id"] == body["id"]);
    if body["id"].is_null() && present.is_none() {
        body["id"] = json!({ "id": format!("{}-{}", list.replace('/', "-"), books.number()) });
    } else if !is_known {
        let message = json!({ "status": 400, "message": format!("{name} exists already"), "errorCode": 31 });
        return (StatusCode::BAD_REQUEST, Json(message)).into_response();
    }
    books.saved.insert((list, name), body.clone());
    Json(body).into_response()
}

fn show(
    list: &'static str,
    field: &str,
    State(front): State<Arc<Front>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let text = query.get("textSearch").cloned().unwrap_or_default().to_lowercase();
    let books = front.books();
    let fitting = books.saved.iter().filter(|((of, _), value)| {
        *of == list && value[field].as_str().unwrap_or_default().to_lowercase().contains(&text)
    });
    let data: Vec<_> = fitting.map(|(_, value)| value.clone()).collect();
    Json(json!({ "data": data, "totalPages": 1, "hasNext": false }))
}

async fn to_the_fake(State(front): State<Arc<Front>>, request: Request) -> Response {
    if front.books().who(request.headers()).is_none() {
        return refused("Token has expired");
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MOST_BYTES).await.unwrap_or_default();
    let path = head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .trim_start_matches('/');
    match forward(&front, head.method, path, body).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn forward(
    front: &Front,
    method: axum::http::Method,
    path: &str,
    body: Bytes,
) -> Result<Response, Box<dyn std::error::Error>> {
    let key = format!("ApiKey {}", FakeThingsBoard::API_KEY);
    let request = front
        .client
        .request(method, format!("{}{path}", front.fake))
        .header("x-authorization", key)
        .header("content-type", "application/json")
        .body(body);
    let answer = request.send().await?;
    let status = answer.status();
    let mut response = Response::new(Body::from(answer.bytes().await?));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", "application/json".parse()?);
    Ok(response)
}
