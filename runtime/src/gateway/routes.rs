//! What each path does, and what is asked of every request: a name, a key, a bounded body.

use super::Gateway;
use super::answer;
use super::body;
use super::error::ApiError;
use super::request::Api;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::time::timeout;

/// A request's name; the client's, or one that is made.
#[derive(Clone, Debug)]
pub(super) struct RequestName(pub(super) String);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name that is taken from a client.
const NAME_MAX: usize = 128;
/// Largest file of keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;

type Shared = State<Arc<Gateway>>;

pub(super) fn router(gateway: &Arc<Gateway>) -> Router {
    let state = || Arc::clone(gateway);
    Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route_layer(from_fn_with_state(state(), authorize))
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "no-such-path", "no such path"))
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            ApiError::new(status, "method-not-allowed", "this path has another method")
        })
        .layer(from_fn_with_state(state(), name))
        .with_state(state())
}

/// Every request has a name, which its answer tells.
async fn name(State(gateway): Shared, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID);
    let given = given.and_then(|value| value.to_str().ok());
    let usable = |name: &&str| {
        let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
        visible && (1..=NAME_MAX).contains(&name.len())
    };
    let name = match given.filter(usable) {
        Some(name) => name.to_owned(),
        None => format!("{:016x}", gateway.number()),
    };
    let value = HeaderValue::from_str(&name);
    request.extensions_mut().insert(RequestName(name));
    let mut response = next.run(request).await;
    if let Ok(value) = value {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn authorize(State(gateway): Shared, request: Request, next: Next) -> Response {
    let Some(keys) = &gateway.keys else {
        return next.run(request).await;
    };
    let shown = request.headers().get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let shown = shown.unwrap_or_default();
    // All are compared, so that the time does not tell which is near.
    let known = keys
        .iter()
        .fold(false, |known, key| known | equal(key.as_bytes(), shown));
    if known {
        return next.run(request).await;
    }
    let message = "expected `Authorization: Bearer` with a key that is known here";
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "invalid-api-key", message);
    gateway.metrics.error(error.code);
    error.into_response()
}

/// Compares in a time that depends on the lengths alone.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let pairs = left.iter().zip(right);
    let differ = pairs.fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    left.len() == right.len() && differ == 0
}

/// Reads the keys, one a line; lines that begin with `#` are comments.
pub(super) fn read_keys(path: Option<&Path>) -> io::Result<Option<Vec<String>>> {
    let Some(path) = path else { return Ok(None) };
    let said = |what: &dyn std::fmt::Display| {
        let message = format!("`gateway.api_key_file`: {}: {what}", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    let length = std::fs::metadata(path).map_err(|error| said(&error))?.len();
    if length > KEYS_BYTES_MAX {
        return Err(said(&format_args!(
            "expected at most {KEYS_BYTES_MAX} bytes"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| said(&error))?;
    let lines = text.lines().map(str::trim);
    let keys: Vec<String> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    match keys.is_empty() {
        true => Err(said(&"has no key, expected one a line")),
        false => Ok(Some(keys)),
    }
}

async fn completions(State(gateway): Shared, request: Request) -> Response {
    answered(&gateway, Api::Completions, request).await
}

async fn chat(State(gateway): Shared, request: Request) -> Response {
    answered(&gateway, Api::Chat, request).await
}

async fn answered(gateway: &Arc<Gateway>, api: Api, request: Request) -> Response {
    match answer::answer(gateway, api, request).await {
        Ok(response) => response,
        Err(error) => {
            gateway.metrics.error(error.code);
            error.into_response()
        }
    }
}

fn json(text: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], text).into_response()
}

async fn models(State(gateway): Shared) -> Response {
    let config = &gateway.front.config;
    let positions = gateway.text.positions();
    json(body::models(
        &config.model,
        &config.adapters,
        gateway.started,
        positions,
    ))
}

/// Whether it makes sense to send requests here.
async fn ready(State(gateway): Shared) -> Response {
    if gateway.is_draining() {
        return ApiError::draining().into_response();
    }
    let unready = |code, message| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let error = ApiError {
            retry_after: Some(1),
            ..ApiError::new(status, code, message)
        };
        error.into_response()
    };
    match gateway.snapshot.of(&gateway.driver).await {
        Err(_) => ApiError::ended().into_response(),
        Ok(status) if gateway.front.can_serve(&status.up) => "ready\n".into_response(),
        Ok(_) => unready(
            "no-nodes",
            "the nodes that are up cannot serve a request: expected one that computes prompts and one that answers",
        ),
    }
}

async fn metrics(State(gateway): Shared) -> Response {
    let status = gateway.snapshot.of(&gateway.driver).await;
    let status = status.unwrap_or_default();
    let under_way = gateway.under_way();
    let page = gateway.metrics.page(&status, under_way, gateway.log.lost());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], page).into_response()
}

/// A request's body, if it is not too large and comes in time.
pub(super) async fn read_body(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, ApiError> {
    let most = gateway.front.config.body_bytes_max;
    let too_large = || ApiError {
        closes: true,
        ..ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the body is too large, expected at most {most} bytes"),
        )
    };
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let read = Limited::new(body, most).collect();
    match timeout(gateway.front.config.body_read(), read).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            let message = "the body ended before it was complete";
            Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "body-cut-off",
                message,
            ))
        }
        Err(_) => {
            let seconds = gateway.front.config.body_read_s;
            let message = format!("the body did not come within {seconds} s");
            Err(ApiError {
                closes: true,
                ..ApiError::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", message)
            })
        }
    }
}
