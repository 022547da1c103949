//! The routes, and what is answered to what cannot be.

use super::api::{Failed, Query, QueryByHash, Register, Registered, Unregister, Unregistered};
use super::state::{IndexerError, State};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// For a request's body to come.
const BODY: Duration = Duration::from_secs(30);

/// What a request is answered with, status and body.
type Answer = Result<Vec<u8>, (StatusCode, String)>;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) state: Arc<State>,
    pub(super) body_bytes_max: usize,
}

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/register", post(register))
        .route("/unregister", post(unregister))
        .route("/query", post(query))
        .route("/query_by_hash", post(query_by_hash))
        .route("/health", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn register(Extract(shared): Extract<Shared>, request: Request) -> Response {
    let answer = async {
        let asked: Register = body(&shared, request).await?;
        shared.state.register(&asked).map_err(refused)?;
        written(&Registered {
            status: "registered successfully",
            instance_id: asked.instance_id,
        })
    };
    respond(answer.await)
}

async fn unregister(Extract(shared): Extract<Shared>, request: Request) -> Response {
    let answer = async {
        let asked: Unregister = body(&shared, request).await?;
        let removed = shared.state.unregister(&asked).map_err(refused)?;
        written(&Unregistered {
            status: "unregistered successfully",
            removed_instances: vec![removed],
        })
    };
    respond(answer.await)
}

async fn query(Extract(shared): Extract<Shared>, request: Request) -> Response {
    let answer = async {
        let asked: Query = body(&shared, request).await?;
        let hits = shared.state.query(&asked.about, &asked.token_ids);
        written(&hits.map_err(refused)?)
    };
    respond(answer.await)
}

async fn query_by_hash(Extract(shared): Extract<Shared>, request: Request) -> Response {
    let answer = async {
        let asked: QueryByHash = body(&shared, request).await?;
        let hits = shared.state.query_by_hash(&asked.about, &asked.seq_hashes);
        written(&hits.map_err(refused)?)
    };
    respond(answer.await)
}

/// Prometheus' text: how each publisher stands.
async fn metrics(Extract(shared): Extract<Shared>) -> String {
    let (blocks, refused, publishers) = shared.state.standing();
    let mut text = String::new();
    let mut say = |name: &str, kind: &str, values: &[(String, u64)]| {
        let _ = writeln!(text, "# TYPE conductor_indexer_{name} {kind}");
        for (label, value) in values {
            let _ = writeln!(text, "conductor_indexer_{name}{label} {value}");
        }
    };
    say("blocks", "gauge", &[(String::new(), blocks as u64)]);
    say(
        "refused_blocks_total",
        "counter",
        &[(String::new(), refused)],
    );
    let of = |value: fn(&conductor_events::source::SourceStatus) -> u64| -> Vec<(String, u64)> {
        let one = |standing: &super::state::Standing| {
            let name = standing.name.replace(['\\', '"', '\n'], "_");
            (format!("{{publisher=\"{name}\"}}"), value(&standing.status))
        };
        publishers.iter().map(one).collect()
    };
    say(
        "publisher_connected",
        "gauge",
        &of(|status| u64::from(status.connected)),
    );
    say(
        "publisher_blocks",
        "gauge",
        &of(|status| status.counts.blocks),
    );
    say(
        "publisher_events_total",
        "counter",
        &of(|status| status.counts.events),
    );
    say(
        "publisher_gaps_total",
        "counter",
        &of(|status| status.counts.follower.gaps),
    );
    say(
        "publisher_restarts_total",
        "counter",
        &of(|status| status.counts.follower.restarts),
    );
    say(
        "publisher_forgotten_total",
        "counter",
        &of(|status| status.counts.follower.forgotten),
    );
    say(
        "publisher_malformed_total",
        "counter",
        &of(|status| status.counts.malformed),
    );
    say(
        "publisher_orphans_total",
        "counter",
        &of(|status| status.counts.tree.orphans),
    );
    text
}

async fn body<T: DeserializeOwned>(
    shared: &Shared,
    request: Request,
) -> Result<T, (StatusCode, String)> {
    let most = shared.body_bytes_max;
    let bytes = tokio::time::timeout(BODY, to_bytes(request.into_body(), most)).await;
    let bytes = bytes
        .map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the body does not come".into()))?
        .map_err(|_| {
            let message = format!("a body that breaks off, or of more than {most} bytes");
            (StatusCode::PAYLOAD_TOO_LARGE, message)
        })?;
    serde_json::from_slice(&bytes).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn written(answer: &impl Serialize) -> Answer {
    serde_json::to_vec(answer)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn refused(error: IndexerError) -> (StatusCode, String) {
    let status = match error {
        IndexerError::Field { .. } => StatusCode::BAD_REQUEST,
        IndexerError::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
        IndexerError::Unknown(_) => StatusCode::NOT_FOUND,
    };
    (status, error.to_string())
}

fn respond(answer: Answer) -> Response {
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err((status, error)) => {
            let body = serde_json::to_vec(&Failed { error: &error });
            (status, body.unwrap_or_default())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
