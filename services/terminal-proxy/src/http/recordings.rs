use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use common::chassis::client_address::ClientAddress;
use common::chassis::problem::Problem;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};
use hyper::body::{Bytes, Frame};
use tokio::io::{AsyncRead, ReadBuf};

use super::auth::Caller;
use super::problem;
use super::sessions::session_id;
use super::state::AppState;

/// How much of a recording is in memory at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// `GET /sessions/{sid}/recording`: asciicast v2, as far as it is written.
pub(super) async fn play(
    Caller(operator): Caller,
    State(state): State<AppState>,
    client: ClientAddress,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = session_id(&id)?;
    let seen = state.sessions.find(&operator, id).await;
    let seen = seen.map_err(|error| problem::store_problem(&error))?;
    let record = seen.ok_or_else(Problem::not_found)?.record;
    let allowed = state
        .access
        .authorise_replay(&operator, &record, &client.0.to_string())
        .await;
    allowed.map_err(|error| problem::access_problem(error, &state.failures, client))?;
    let opened = match &state.recordings {
        Some(shelf) => shelf
            .open(id)
            .await
            .map_err(|error| problem::recording_problem(&error))?,
        None => None,
    };
    let recording = opened.ok_or_else(problem::no_recording)?;
    let mut response = Response::new(Body::new(RecordingBody(recording)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-asciicast"));
    if let Some(hash) = record.recording {
        let hash = HeaderValue::from_str(&hash.to_string()).expect("hex is ASCII");
        headers.insert(RECORDING_CHAIN, hash);
    }
    Ok(response)
}

/// The hash that a recording's chain ended with.
pub(super) const RECORDING_CHAIN: HeaderName = HeaderName::from_static("recording-chain");

/// A recording on its way out.
struct RecordingBody(Box<dyn AsyncRead + Send + Unpin>);

impl hyper::body::Body for RecordingBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        chunk.truncate(length);
        let frame = (length > 0).then(|| Ok(Frame::data(Bytes::from(chunk))));
        Poll::Ready(frame)
    }
}
