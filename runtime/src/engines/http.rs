//! Connections to an engine: small answers in whole, streams as they come. Dropping a stream's future closes its
//! connection, which makes the engine give the request up.

use super::wire::{Events, Piece};
use bytes::Bytes;
use conductor_core::ids::Ticket;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, body::Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A connection that is idle for so long is closed: engines close theirs after 5 s, and a request must not cross that.
const IDLE: Duration = Duration::from_secs(3);
/// To connect.
const CONNECT: Duration = Duration::from_secs(2);
/// Largest answer that is no stream.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What comes of a request.
pub(super) enum Heard {
    Pieces(Ticket, Vec<Piece>),
    Completed(Ticket),
}

/// Of one engine; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    silent: Duration,
}

impl Http {
    pub(super) fn new(url: &str, silent: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self {
            client,
            base: url.trim_end_matches('/').into(),
            silent,
        }
    }

    /// Status and body of a small request; a body is posted.
    pub(super) async fn ask(
        &self,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<(u16, Bytes), String> {
        let exchange = async {
            let response = self.send(path, body).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok::<_, String>((status, body.to_bytes()))
        };
        let exchange = timeout(patience, exchange).await;
        let answer = exchange.unwrap_or_else(|_| Err(String::from("no answer in time")));
        answer.map_err(|error| format!("{}{path}: {error}", self.base))
    }

    async fn send(&self, path: &str, body: Option<Vec<u8>>) -> Result<Response<Incoming>, String> {
        let uri = format!("{}{path}", self.base);
        let request = match body {
            Some(body) => Request::post(uri)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(body.into())),
            None => Request::get(uri).body(Full::default()),
        };
        let request = request.map_err(|error| error.to_string())?;
        let response = self.client.request(request).await;
        response.map_err(|error| {
            // The outermost error says only that there is one.
            let why =
                std::iter::successors(std::error::Error::source(&error), |error| error.source());
            why.last()
                .map_or_else(|| error.to_string(), ToString::to_string)
        })
    }

    /// A completion; its pieces are heard as they come. If it ends without an error, it is complete.
    pub(super) async fn complete(
        &self,
        body: Vec<u8>,
        ticket: Ticket,
        say: &mpsc::Sender<Heard>,
    ) -> Result<(), Piece> {
        let failed = |why: String| Piece::Failed(format!("{}: {why}", self.base));
        let silent = || failed("nothing has come for too long".into());
        let response = timeout(self.silent, self.send("/v1/completions", Some(body))).await;
        let response = response.map_err(|_| silent())?.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
            let body = timeout(CONNECT, body).await;
            let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
            let why = beginning(&body.unwrap_or_default());
            let why = format!("{}: status {}: {why}", self.base, status.as_u16());
            // Some words of the 400s are about the engine, not about the request.
            let later = matches!(status.as_u16(), 401 | 403 | 404 | 408 | 425 | 429);
            return Err(match status.is_client_error() && !later {
                true => Piece::Refused(why),
                false => Piece::Failed(why),
            });
        }
        let mut body = response.into_body();
        let mut events = Events::default();
        loop {
            let frame = timeout(self.silent, body.frame())
                .await
                .map_err(|_| silent())?;
            let Some(frame) = frame else {
                return match events.is_complete() {
                    true => Ok(()),
                    false => Err(failed("the stream ends before its end".into())),
                };
            };
            let frame = frame.map_err(|error| failed(error.to_string()))?;
            let mut pieces = Vec::new();
            if let Some(data) = frame.data_ref() {
                events.push(data, &mut pieces).map_err(failed)?;
            }
            if !pieces.is_empty() {
                // Nobody hears it once the engine's loop has ended, and this future with it.
                let _ = say.send(Heard::Pieces(ticket, pieces)).await;
            }
            if events.is_complete() {
                return Ok(());
            }
        }
    }
}

/// As much of a body as fits a line.
pub(super) fn beginning(body: &[u8]) -> String {
    let part = String::from_utf8_lossy(&body[..body.len().min(300)]);
    part.replace(['\n', '\r'], " ")
}
