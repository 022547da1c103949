//! A client that streams, says how far its answer is, and outlives its server.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An answer, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// Events that brought a token.
    pub(crate) tokens: usize,
    /// Prompt tokens that were cached, as the usage says.
    pub(crate) cached: u64,
    /// `[DONE]` came.
    pub(crate) done: bool,
    /// The code of the error that ended it.
    pub(crate) error: Option<String>,
    /// The connection broke.
    pub(crate) broken: bool,
}

/// A greedy request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) prompt: Value,
    pub(crate) tokens: u32,
    /// Its `Idempotency-Key`.
    pub(crate) key: Option<&'static str>,
}

impl Ask {
    pub(crate) fn new(prompt: impl Into<Value>, tokens: u32) -> Self {
        Self {
            prompt: prompt.into(),
            tokens,
            key: None,
        }
    }
}

/// A request under way.
pub(crate) struct Asked {
    tokens: watch::Receiver<usize>,
    answer: JoinHandle<Said>,
}

impl Asked {
    /// Waits until that many tokens have come.
    pub(crate) async fn has(&mut self, count: usize) {
        let came = self.tokens.wait_for(|&tokens| tokens >= count);
        let came = tokio::time::timeout(super::cluster::LONG, came).await;
        assert!(came.is_ok_and(|came| came.is_ok()), "{count} tokens come");
    }

    /// The answer.
    pub(crate) async fn said(self) -> Said {
        let said = tokio::time::timeout(super::cluster::LONG, self.answer).await;
        said.expect("an end in time").expect("no panic")
    }
}

/// Sends a request to the gateway at `base`.
pub(crate) fn ask(base: &str, ask: &Ask) -> Asked {
    let (progress, tokens) = watch::channel(0);
    let (base, ask) = (base.to_owned(), ask.clone());
    let answer = tokio::spawn(async move {
        let mut said = Said::default();
        said.broken = stream(&base, &ask, &mut said, &progress).await.is_err();
        said
    });
    Asked { tokens, answer }
}

fn http() -> HttpClient<HttpConnector, Full<Bytes>> {
    HttpClient::builder(TokioExecutor::new()).build(HttpConnector::new())
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn stream(
    base: &str,
    ask: &Ask,
    said: &mut Said,
    progress: &watch::Sender<usize>,
) -> Result<(), Broken> {
    let body = json!({
        "model": "tiny", "prompt": ask.prompt, "max_tokens": ask.tokens, "temperature": 0,
        "ignore_eos": true, "stream": true, "stream_options": {"include_usage": true},
    });
    let mut request =
        Request::post(format!("{base}/v1/completions")).header(CONTENT_TYPE, "application/json");
    if let Some(key) = ask.key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Full::new(Bytes::from(body.to_string())))?;
    let response = http().request(request).await?;
    said.status = response.status().as_u16();
    let mut body = response.into_body();
    let mut rest = String::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            rest.push_str(std::str::from_utf8(data)?);
        }
        while let Some((event, after)) = rest.split_once("\n\n") {
            take(event, said);
            rest = after.to_owned();
        }
        progress.send_replace(said.tokens);
    }
    if said.status != 200 {
        take(&format!("data: {rest}"), said);
    }
    Ok(())
}

fn take(event: &str, said: &mut Said) {
    let Some(data) = event.trim().strip_prefix("data: ") else {
        return;
    };
    if data == "[DONE]" {
        said.done = true;
        return;
    }
    let value: Value = serde_json::from_str(data).expect("an event is JSON");
    if let Some(code) = value["error"]["code"].as_str() {
        said.error = Some(code.to_owned());
    }
    if let Some(choice) = value["choices"].get(0) {
        said.tokens += usize::from(choice["finish_reason"].is_null());
        said.text += choice["text"].as_str().unwrap_or_default();
    }
    let cached = &value["usage"]["prompt_tokens_details"]["cached_tokens"];
    said.cached = cached.as_u64().unwrap_or(said.cached);
}

/// A count of the gateway's metrics.
pub(crate) async fn metric(base: &str, name: &str) -> u64 {
    let request = Request::get(format!("{base}/metrics"));
    let request = request.body(Full::default()).expect("a request");
    let response = http().request(request).await.expect("the gateway answers");
    let page = response.into_body().collect().await.expect("a page");
    let page = String::from_utf8(page.to_bytes().to_vec()).expect("text");
    let full = format!("conductor_{name} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&full));
    let value = value.unwrap_or_else(|| panic!("no {name} in {page}"));
    value.trim().parse().expect("a count")
}
