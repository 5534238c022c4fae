use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::{ACCESS_TOKEN, FakeDevice, FakeThingsBoard, Tenant, X509, bare, hash};

pub(super) fn router(tenant: Arc<Tenant>) -> Router {
    let inside = Router::new()
        .route("/api/tenant/devices", get(devices))
        .route("/api/tenant/device", get(devices))
        .route("/api/device-with-credentials", post(create_with_credentials))
        .route("/api/device/{id}", delete(remove))
        .route("/api/device/{id}/credentials", get(credentials))
        .route("/api/device/credentials", post(replace_credentials))
        .route(
            "/api/plugins/telemetry/DEVICE/{id}/attributes/SERVER_SCOPE",
            post(set_attributes),
        )
        .route(
            "/api/plugins/telemetry/DEVICE/{id}/values/attributes/SERVER_SCOPE",
            get(attributes),
        )
        .route("/api/plugins/telemetry/DEVICE/{id}/timeseries/ANY", post(telemetry))
        .merge(super::chains::router())
        .merge(super::accounts::router())
        .layer(from_fn_with_state(Arc::clone(&tenant), only_the_tenant));
    Router::new()
        .route("/api/auth/login", post(log_in))
        .route("/api/auth/token", post(refresh))
        .route("/api/noauth/activate", post(super::accounts::activate))
        .route("/api/noauth/oauth2Clients", get(async || Json(json!([]))))
        .merge(inside)
        .with_state(tenant)
}

pub(super) fn error(status: StatusCode, message: &str, code: u16) -> Response {
    let body = json!({ "status": status.as_u16(), "message": message, "errorCode": code, "timestamp": 0 });
    (status, Json(body)).into_response()
}

pub(super) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Requested item wasn't found!", 32)
}

pub(super) fn bad_request(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, message, 31)
}

async fn only_the_tenant(State(tenant): State<Arc<Tenant>>, request: Request, next: Next) -> Response {
    let header = request
        .headers()
        .get("x-authorization")
        .and_then(|value| value.to_str().ok());
    let is_known = match header.and_then(|header| header.split_once(' ')) {
        Some(("ApiKey", key)) => key == FakeThingsBoard::API_KEY || tenant.tokens().iter().any(|known| known == key),
        Some(("Bearer", token)) => tenant.tokens().iter().any(|known| known == token),
        _ => false,
    };
    if is_known {
        next.run(request).await
    } else {
        error(StatusCode::UNAUTHORIZED, "Token has expired", 11)
    }
}

async fn log_in(State(tenant): State<Arc<Tenant>>, Json(body): Json<Value>) -> Response {
    let user = body["username"].as_str().unwrap_or_default();
    let password = tenant.accounts().get(user).cloned();
    if password.is_some_and(|password| body["password"] == password) {
        fresh_tokens(&tenant, user)
    } else {
        error(StatusCode::UNAUTHORIZED, "Invalid username or password", 10)
    }
}

async fn refresh(State(tenant): State<Arc<Tenant>>, Json(body): Json<Value>) -> Response {
    match body["refreshToken"].as_str() {
        Some(token) if token.starts_with("refresh-") => {
            fresh_tokens(&tenant, token.split_once('/').map_or("", |(_, user)| user))
        }
        _ => error(StatusCode::UNAUTHORIZED, "Authentication failed", 10),
    }
}

fn fresh_tokens(tenant: &Tenant, user: &str) -> Response {
    let number = tenant.number();
    let token = format!("token-{number}/{user}");
    tenant.tokens().push(token.clone());
    Json(json!({ "token": token, "refreshToken": format!("refresh-{number}/{user}"), "scope": null })).into_response()
}

/// One device with `deviceName`, else a page.
async fn devices(State(tenant): State<Arc<Tenant>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let devices = tenant.devices();
    if let Some(name) = query.get("deviceName") {
        return devices
            .get(name)
            .map_or_else(not_found, |device| Json(entity(name, device)).into_response());
    }
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
    let (Some(size), Some(page)) = (number("pageSize"), number("page")) else {
        return bad_request("Required request parameter 'pageSize' for method parameter type int is not present");
    };
    let wanted = query.get("type");
    let all: Vec<_> = devices
        .iter()
        .filter(|(_, device)| wanted.is_none_or(|profile| device.profile == *profile))
        .collect();
    let data: Vec<_> = all
        .iter()
        .skip(page * size)
        .take(size)
        .map(|(name, device)| entity(name, device))
        .collect();
    let has_next = (page + 1) * size < all.len();
    Json(json!({
        "data": data, "totalPages": all.len().div_ceil(size.max(1)), "totalElements": all.len(), "hasNext": has_next,
    }))
    .into_response()
}

fn entity(name: &str, device: &FakeDevice) -> Value {
    json!({
        "id": { "entityType": "DEVICE", "id": device.id }, "createdTime": 1_732_350_000_000_i64, "name": name,
        "type": device.profile, "label": device.label, "additionalInfo": null, "version": 1,
    })
}

async fn create_with_credentials(State(tenant): State<Arc<Tenant>>, Json(body): Json<Value>) -> Response {
    let (wanted, credentials) = (&body["device"], &body["credentials"]);
    let Some(name) = wanted["name"].as_str() else {
        return bad_request("Device name should be specified!");
    };
    let mut device = tenant.fresh_device(wanted["type"].as_str().unwrap_or("default"));
    device.label = wanted["label"].as_str().map(str::to_owned);
    let mut devices = tenant.devices();
    if devices.contains_key(name) {
        return bad_request("Device with such name already exists!");
    }
    if let Err(refusal) = believe(&mut device, credentials, &holders(&devices)) {
        return *refusal;
    }
    let answer = entity(name, &device);
    tenant.names().insert(device.id.clone(), name.to_owned());
    devices.insert(name.to_owned(), device);
    Json(answer).into_response()
}

/// Who has which credentials.
fn holders(devices: &BTreeMap<String, FakeDevice>) -> HashMap<String, String> {
    let devices = devices.values();
    devices
        .map(|device| (device.credentials_id.clone(), device.id.clone()))
        .collect()
}

/// Sets a device's credentials; they belong to nobody else.
fn believe(
    device: &mut FakeDevice,
    credentials: &Value,
    holders: &HashMap<String, String>,
) -> Result<(), Box<Response>> {
    let refuse = |message| Err(Box::new(bad_request(message)));
    let (kind, id, value) = match credentials["credentialsType"].as_str() {
        Some(X509) => {
            let Some(value) = credentials["credentialsValue"].as_str().map(bare) else {
                return refuse("Device credentials value should be specified!");
            };
            (X509, hash(&value), Some(value))
        }
        Some(ACCESS_TOKEN) => match credentials["credentialsId"].as_str() {
            Some(token) if !token.is_empty() => (ACCESS_TOKEN, token.to_owned(), None),
            _ => return refuse("Device credentials id should be specified!"),
        },
        _ => return refuse("Device credentials type should be specified!"),
    };
    if holders.get(&id).is_some_and(|holder| *holder != device.id) {
        return refuse("Device credentials are already assigned to another device!");
    }
    kind.clone_into(&mut device.credentials_type);
    device.credentials_id = id;
    device.credentials_value = value;
    Ok(())
}

async fn remove(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Response {
    let mut devices = tenant.devices();
    let before = devices.len();
    devices.retain(|_, device| device.id != id);
    if devices.len() == before {
        not_found()
    } else {
        StatusCode::OK.into_response()
    }
}

async fn credentials(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Response {
    with_device(&tenant, &id, |device| {
        Json(json!({
            "id": { "id": credentials_number(&device.id) }, "createdTime": 1_732_350_000_000_i64, "version": 1,
            "deviceId": { "entityType": "DEVICE", "id": device.id }, "credentialsType": device.credentials_type,
            "credentialsId": device.credentials_id, "credentialsValue": device.credentials_value,
        }))
        .into_response()
    })
}

/// Credentials have a number of their own.
fn credentials_number(device: &str) -> String {
    device.replacen('7', "c", 1)
}

async fn replace_credentials(State(tenant): State<Arc<Tenant>>, Json(body): Json<Value>) -> Response {
    let Some(id) = body["deviceId"]["id"].as_str() else {
        return bad_request("Incorrect deviceId null");
    };
    if body["id"]["id"] != credentials_number(id) {
        return bad_request("Unable to update non-existent device credentials!");
    }
    let holders = holders(&tenant.devices());
    with_device(&tenant, id, |device| match believe(device, &body, &holders) {
        Ok(()) => Json(&body).into_response(),
        Err(refusal) => *refusal,
    })
}

/// As telemetry, it is read as JSON whatever its media type says.
async fn set_attributes(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>, body: String) -> Response {
    let Ok(body) = serde_json::from_str::<Map<String, Value>>(&body) else {
        return bad_request("Invalid JSON");
    };
    with_device(&tenant, &id, |device| {
        device.attributes.extend(body);
        StatusCode::OK.into_response()
    })
}

async fn attributes(
    State(tenant): State<Arc<Tenant>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let keys: Vec<_> = query
        .get("keys")
        .map(|keys| keys.split(',').collect())
        .unwrap_or_default();
    with_device(&tenant, &id, |device| {
        let wanted = device.attributes.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        let values: Vec<_> = wanted
            .map(|(key, value)| json!({ "key": key, "value": value, "lastUpdateTs": 1_732_350_000_000_i64 }))
            .collect();
        Json(values).into_response()
    })
}

async fn telemetry(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>, body: String) -> Response {
    let Ok(body) = serde_json::from_str::<Value>(&body) else {
        return bad_request("Invalid JSON");
    };
    let points = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    with_device(&tenant, &id, |device| {
        for point in points {
            let (Some(ts), Some(values)) = (point["ts"].as_i64(), point["values"].as_object()) else {
                return bad_request("Can't parse value");
            };
            for (key, value) in values {
                device.telemetry.insert((ts, key.clone()), value.clone());
            }
        }
        StatusCode::OK.into_response()
    })
}

fn with_device(tenant: &Tenant, id: &str, work: impl FnOnce(&mut FakeDevice) -> Response) -> Response {
    let name = tenant.names().get(id).cloned();
    let mut devices = tenant.devices();
    let device = name.and_then(|name| devices.get_mut(&name));
    device.filter(|device| device.id == id).map_or_else(not_found, work)
}
