//! Enrollment tokens: make, list, end.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use common::chassis::json::StrictJson;
use common::chassis::problem::Problem;
use common::domain::{DeviceId, EnrollmentToken, GroupName, IdPattern, TokenPurpose, rfc3339};
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::auth::Admin;
use super::problem;
use crate::app::tokens::{TokenOrder, Tokens};

/// Either `device_id`, or `id_pattern` with a quota.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    #[serde(default)]
    device_id: Option<DeviceId>,
    #[serde(default)]
    id_pattern: Option<IdPattern>,
    #[serde(default)]
    quota: Option<u32>,
    #[serde(default)]
    group: Option<GroupName>,
    #[serde(default)]
    purpose: Option<TokenPurpose>,
    #[serde(default)]
    expires_in_seconds: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct CreatedBody {
    /// Shown this once.
    token: String,
    #[serde(flatten)]
    record: TokenBody,
}

#[derive(Serialize)]
pub(super) struct TokenList {
    tokens: Vec<TokenBody>,
}

#[derive(Serialize)]
pub(super) struct TokenBody {
    id: Uuid,
    purpose: TokenPurpose,
    id_pattern: IdPattern,
    group: GroupName,
    quota: u32,
    used: u32,
    refused: u32,
    expires_at: String,
    revoked_at: Option<String>,
    created_by: String,
    created_at: String,
}

pub(super) async fn list(_admin: Admin, State(tokens): State<Arc<Tokens>>) -> Result<Json<TokenList>, Problem> {
    let tokens = tokens.list().await.map_err(problem::store)?;
    Ok(Json(TokenList {
        tokens: tokens.into_iter().map(TokenBody::of).collect(),
    }))
}

pub(super) async fn create(
    admin: Admin,
    State(tokens): State<Arc<Tokens>>,
    StrictJson(request): StrictJson<CreateRequest>,
) -> Result<(StatusCode, Json<CreatedBody>), Problem> {
    let fresh = tokens
        .create(request.try_into()?, &admin.actor())
        .await
        .map_err(problem::create_token)?;
    let body = CreatedBody {
        token: fresh.secret.expose_secret().to_owned(),
        record: TokenBody::of(fresh.token),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

pub(super) async fn revoke(
    admin: Admin,
    State(tokens): State<Arc<Tokens>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = Uuid::parse_str(&id).map_err(|_invalid| Problem::not_found())?;
    tokens.revoke(id, &admin.actor()).await.map_err(problem::registry)?;
    Ok(StatusCode::NO_CONTENT)
}

impl TryFrom<CreateRequest> for TokenOrder {
    type Error = Problem;

    fn try_from(request: CreateRequest) -> Result<Self, Problem> {
        let order = match (request.device_id, request.id_pattern, request.quota) {
            (Some(id), None, None | Some(1)) => Self::for_device(&id),
            (Some(_), None, Some(_)) => return Err(problem::invalid_field("quota")),
            (None, Some(pattern), quota) => Self::for_batch(pattern, quota.unwrap_or(1)),
            (Some(_), Some(_), _) | (None, None, _) => return Err(problem::invalid_field("device_id")),
        };
        Ok(Self {
            group: request.group.unwrap_or_default(),
            purpose: request.purpose.unwrap_or(order.purpose),
            lifetime: request.expires_in_seconds.map_or(order.lifetime, Duration::from_secs),
            ..order
        })
    }
}

impl TokenBody {
    fn of(token: EnrollmentToken) -> Self {
        Self {
            id: token.id,
            purpose: token.purpose,
            id_pattern: token.id_pattern,
            group: token.group,
            quota: token.quota,
            used: token.used,
            refused: token.refused,
            expires_at: rfc3339(token.expires_at),
            revoked_at: token.revoked_at.map(rfc3339),
            created_by: token.created_by,
            created_at: rfc3339(token.created_at),
        }
    }
}
