//! A request from its head to its answer.
//!
//! The order is that of cost: whether there is room is known before the body is read, and the body is read before
//! anything is tokenized, so that turning away is cheap when much must be turned away.

use super::Gateway;
use super::body::{self, Events, Head};
use super::error::ApiError;
use super::generation::{Generation, Piece};
use super::metrics::Observed;
use super::once::Reader;
use super::prepare::Prepared;
use super::request::Api;
use super::routes::{RequestName, read_body};
use crate::driver::Submission;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use conductor_core::ids::{ClassId, WorkflowId};
use conductor_events::names::hash;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The class of the policy that the request belongs to, by name; without it the first.
const CLASS: HeaderName = HeaderName::from_static("x-conductor-class");
/// The session of an agent that the request is a step of; any word.
const WORKFLOW: HeaderName = HeaderName::from_static("x-conductor-workflow");
/// Longest value of these headers, bytes.
const HEADER_MAX: usize = 256;
/// Chunks of an answer are written together up to this many bytes, if they are there at once.
const FRAME_BYTES: usize = 8 << 10;

/// Who makes an answer's pieces.
enum Source {
    Direct(Generation),
    Kept(Reader),
}

impl Source {
    async fn next(&mut self) -> Option<Result<Piece, ApiError>> {
        match self {
            Self::Direct(generation) => generation.next().await,
            Self::Kept(reader) => reader.next().await,
        }
    }
}

/// What a request's headers say of it.
struct Asked {
    name: String,
    key: Option<String>,
    class: ClassId,
    workflow: Option<WorkflowId>,
}

/// Answers a request.
///
/// # Errors
/// Why it gets none.
pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    api: Api,
    request: Request,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    let read = read(gateway, api, request).await;
    let (permit, asked, digest, prepared) = read.inspect_err(|_| gateway.metrics.refused())?;
    let wish = prepared.wish.clone();
    let prefix = match api {
        Api::Completions => "cmpl",
        Api::Chat => "chatcmpl",
    };
    let mut head = Head {
        api,
        id: format!("{prefix}-{}", asked.name),
        created: super::unix_seconds(),
        model: wish.model.clone(),
    };
    let key = asked.key.clone();
    let mut source = match key {
        None => Source::Direct(begin(gateway, asked, prepared, began).await?),
        Some(key) => {
            let opened = gateway.kept.open(&key, digest, &head, || {
                begin(gateway, asked_again(&asked), prepared.clone(), began)
            });
            match opened.inspect_err(|_| gateway.metrics.refused())? {
                Some(reader) => {
                    if reader.repeats {
                        gateway.metrics.repeated.fetch_add(1, Ordering::Relaxed);
                        head = reader.head().clone();
                    }
                    Source::Kept(reader)
                }
                None => Source::Direct(begin(gateway, asked, prepared, began).await?),
            }
        }
    };
    // Whether it is taken or turned away is known with the first piece.
    let first = source
        .next()
        .await
        .unwrap_or_else(|| Err(ApiError::ended()))?;
    if wish.stream {
        let events = Events::new(&head, wish.include_usage);
        return Ok(stream(gateway, events, first, source, permit));
    }
    let mut text = String::new();
    let mut piece = first;
    loop {
        match piece {
            Piece::Token(more) => text.push_str(&more),
            Piece::End(ending) => {
                text.push_str(&ending.text);
                let whole = body::whole(&head, &text, &ending);
                let json = HeaderValue::from_static("application/json");
                return Ok(([(header::CONTENT_TYPE, json)], whole).into_response());
            }
        }
        piece = source
            .next()
            .await
            .unwrap_or_else(|| Err(ApiError::ended()))?;
    }
}

fn asked_again(asked: &Asked) -> Asked {
    Asked {
        name: asked.name.clone(),
        key: None,
        class: asked.class,
        workflow: asked.workflow,
    }
}

/// Takes room for a request and reads it.
async fn read(
    gateway: &Arc<Gateway>,
    api: Api,
    request: Request,
) -> Result<(OwnedSemaphorePermit, Asked, u64, Prepared), ApiError> {
    if gateway.is_draining() {
        return Err(ApiError::draining());
    }
    let permit = Arc::clone(&gateway.room).try_acquire_owned();
    let permit = permit.map_err(|_| match gateway.is_draining() {
        true => ApiError::draining(),
        false => ApiError::busy(gateway.front.config.concurrent_max),
    })?;
    let (head, body) = request.into_parts();
    let name = head.extensions.get::<RequestName>();
    let name = name.map_or_else(String::new, |name| name.0.clone());
    let workflow = text_of(&head.headers, WORKFLOW, "x-conductor-workflow")?;
    let asked = Asked {
        name,
        key: text_of(&head.headers, IDEMPOTENCY_KEY, "idempotency-key")?,
        class: class(gateway, &head.headers)?,
        workflow: workflow.map(|word| WorkflowId(hash(word.as_bytes()))),
    };
    let bytes = read_body(gateway, &head.headers, body).await?;
    // No body is right for both interfaces.
    let digest = hash(&bytes);
    let seed = match &asked.key {
        Some(key) => hash(key.as_bytes()),
        None => gateway.number(),
    };
    let (front, text) = (&gateway.front, &gateway.text);
    let prepared = gateway.turns.prepare(api, front, text, bytes, seed).await?;
    Ok((permit, asked, digest, prepared))
}

/// A header's text, if it is there.
fn text_of(
    headers: &HeaderMap,
    name: HeaderName,
    param: &'static str,
) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if (1..=HEADER_MAX).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => {
            let message =
                format!("the header {param} must have 1 to {HEADER_MAX} ASCII characters");
            Err(ApiError::invalid(param, message))
        }
    }
}

fn class(gateway: &Gateway, headers: &HeaderMap) -> Result<ClassId, ApiError> {
    let param = "x-conductor-class";
    let Some(name) = text_of(headers, CLASS, param)? else {
        return Ok(ClassId::default());
    };
    let classes = &gateway.front.classes;
    let place = classes.iter().position(|class| *class == name);
    place.map(|place| ClassId(place as u8)).ok_or_else(|| {
        let message = format!("the class {name:?} is unknown, expected one of {classes:?}");
        ApiError::invalid(param, message)
    })
}

/// Puts a request before the Conductor. The future owns all that it needs.
fn begin(
    gateway: &Arc<Gateway>,
    asked: Asked,
    prepared: Prepared,
    began: Instant,
) -> impl Future<Output = Result<Generation, ApiError>> + Send + use<> {
    let gateway = Arc::clone(gateway);
    async move {
        let Prepared { wish, prompt } = prepared;
        let input = prompt.input.0;
        let mut observed = Observed::new(&gateway.metrics, &gateway.log, &asked.name, began);
        let submission = Submission {
            prompt: Arc::new(prompt),
            class: asked.class,
            workflow: asked.workflow,
            answer: None,
        };
        let answers = gateway.driver.submit(submission).await.map_err(|_| {
            observed.failed();
            ApiError::ended()
        })?;
        let (decoder, stops) = (gateway.text.decoder(), wish.stops);
        Ok(Generation::new(answers, input, decoder, stops, observed))
    }
}

/// What a stream of events needs.
struct Streaming {
    gateway: Arc<Gateway>,
    events: Events,
    source: Source,
    /// Made already; none once it is written.
    first: Option<Piece>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

fn stream(
    gateway: &Arc<Gateway>,
    events: Events,
    first: Piece,
    source: Source,
    permit: OwnedSemaphorePermit,
) -> Response {
    let streaming = Streaming {
        gateway: Arc::clone(gateway),
        events,
        source,
        first: Some(first),
        ended: false,
        _permit: permit,
    };
    let frames = futures_util::stream::unfold(streaming, async |mut streaming| {
        let frame = streaming.frame().await?;
        Some((Ok::<_, Infallible>(Bytes::from(frame)), streaming))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

impl Streaming {
    /// The next bytes: all chunks that are there at once. `None` after the end.
    async fn frame(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut out = String::new();
        if let Some(first) = self.first.take() {
            self.events.begin(&mut out);
            self.write(Some(Ok(first)), &mut out);
        } else {
            let next = self.source.next().await;
            self.write(next, &mut out);
        }
        while !self.ended && out.len() < FRAME_BYTES {
            let next = tokio::select! {
                biased;
                next = self.source.next() => next,
                () = ready(()) => break,
            };
            self.write(next, &mut out);
        }
        Some(out)
    }

    fn write(&mut self, next: Option<Result<Piece, ApiError>>, out: &mut String) {
        match next.unwrap_or_else(|| Err(ApiError::ended())) {
            Ok(Piece::Token(text)) => self.events.token(&text, out),
            Ok(Piece::End(ending)) => {
                self.events.end(&ending, out);
                self.ended = true;
            }
            Err(error) => {
                self.gateway.metrics.error(error.code);
                Events::error(&error.body(), out);
                self.ended = true;
            }
        }
    }
}
