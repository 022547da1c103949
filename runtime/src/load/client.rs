//! One streamed completion over HTTP, with the time of every token.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::fmt;
use tokio::time::Instant;

/// An event of a stream is not longer than this.
const EVENT_MAX: usize = 1 << 20;

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http://HOST:PORT`.
    pub base: String,
    /// The model's name there.
    pub model: String,
    /// Sent as a bearer token, if there is one.
    pub key: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The address is no `http://` address.
    Address(String),
    /// The server could not be reached, or the connection broke.
    Connection(String),
    /// The server answered with another status than 200.
    Status {
        /// Which.
        status: u16,
        /// The beginning of what it said.
        body: String,
    },
    /// What came is no stream of events.
    Stream(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => {
                write!(
                    f,
                    "{address}: expected an address such as http://127.0.0.1:8080"
                )
            }
            Self::Connection(error) => write!(f, "connection: {error}"),
            Self::Status { status, body } => write!(f, "status {status}: {body}"),
            Self::Stream(error) => write!(f, "stream: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A complete answer.
#[derive(Clone, Debug, Default)]
pub struct Streamed {
    /// When each token came.
    pub stamps: Vec<Instant>,
    /// Tokens of the answer, as the usage says.
    pub output: u64,
    /// Prompt tokens that were cached, as the usage says.
    pub cached: u64,
    /// The text.
    pub text: String,
}

/// Keeps connections; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Without a connection yet.
    #[must_use]
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Sends a streaming completions request and reads its answer to the end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn complete(&self, target: &Target, body: String) -> Result<Streamed, ClientError> {
        let address = format!("{}/v1/completions", target.base.trim_end_matches('/'));
        let uri: Uri = address
            .parse()
            .map_err(|_| ClientError::Address(target.base.clone()))?;
        let mut request = Request::post(uri).header(CONTENT_TYPE, "application/json");
        if let Some(key) = &target.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| ClientError::Address(target.base.clone()))?;
        let broken = |error: &dyn fmt::Display| ClientError::Connection(error.to_string());
        let response = self.http.request(request).await;
        let response = response.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut events = Events::default();
        let mut streamed = Streamed::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            events.push(data)?;
            if status == 200 {
                let now = Instant::now();
                while let Some(event) = events.next() {
                    read_event(&event, now, &mut streamed)?;
                }
            }
        }
        match status {
            200 if events.ended => Ok(streamed),
            200 => Err(ClientError::Stream("ended before [DONE]".into())),
            status => Err(ClientError::Status {
                status,
                body: events.beginning(),
            }),
        }
    }
}

fn read_event(event: &str, now: Instant, streamed: &mut Streamed) -> Result<(), ClientError> {
    let value: serde_json::Value = serde_json::from_str(event)
        .map_err(|error| ClientError::Stream(format!("expected JSON: {error}")))?;
    if let Some(error) = value.get("error") {
        return Err(ClientError::Stream(error.to_string()));
    }
    // A chunk for each token, though its text may be empty: half a character, or held back for a stop string.
    if let Some(choice) = value["choices"].get(0) {
        if choice["finish_reason"].is_null() {
            streamed.stamps.push(now);
        }
        streamed.text += choice["text"].as_str().unwrap_or_default();
    }
    if let Some(output) = value["usage"]["completion_tokens"].as_u64() {
        streamed.output = output;
    }
    if let Some(cached) = value["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() {
        streamed.cached = cached;
    }
    Ok(())
}

/// Splits a body into the data of its events.
#[derive(Default)]
struct Events {
    buffer: Vec<u8>,
    ended: bool,
}

impl Events {
    fn push(&mut self, data: &[u8]) -> Result<(), ClientError> {
        self.buffer.extend_from_slice(data);
        match self.buffer.len() > EVENT_MAX {
            true => Err(ClientError::Stream(format!(
                "an event of more than {EVENT_MAX} bytes"
            ))),
            false => Ok(()),
        }
    }

    fn next(&mut self) -> Option<String> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let Some(data) = event.trim().strip_prefix("data:") else {
                continue; // A comment that keeps the connection alive.
            };
            match data.trim() {
                "[DONE]" => self.ended = true,
                data => return Some(data.to_string()),
            }
        }
    }

    fn beginning(&self) -> String {
        let part = &self.buffer[..self.buffer.len().min(300)];
        String::from_utf8_lossy(part).trim().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_in_pieces_is_its_events() {
        let stream = concat!(
            ": alive\n\n",
            "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"completion_tokens\":2,",
            "\"prompt_tokens_details\":{\"cached_tokens\":7}}}\n\n",
            "data: [DONE]\n\n",
        );
        for size in [1, 3, 1000] {
            let (mut events, mut streamed) = (Events::default(), Streamed::default());
            for piece in stream.as_bytes().chunks(size) {
                events.push(piece).expect("short");
                while let Some(event) = events.next() {
                    read_event(&event, Instant::now(), &mut streamed).expect("an event");
                }
            }
            assert!(events.ended);
            assert_eq!((streamed.stamps.len(), streamed.output), (2, 2));
            assert_eq!((streamed.cached, streamed.text.as_str()), (7, "a"));
        }
    }

    #[test]
    fn an_error_within_a_stream_is_one() {
        let mut streamed = Streamed::default();
        let event = r#"{"error":{"message":"gone"}}"#;
        let error = read_event(event, Instant::now(), &mut streamed).expect_err("it says so");
        assert!(error.to_string().contains("gone"));
        let mut events = Events::default();
        assert!(events.push(&vec![b'x'; EVENT_MAX + 1]).is_err());
    }
}
