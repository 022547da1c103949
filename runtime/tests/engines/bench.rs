//! An engine that answers with the prompt itself, over HTTP as vLLM does, and may be told to misbehave; and a driver
//! whose nodes such engines are.

use crate::publisher::{Publisher, addresses};
use crate::writer::{Form, Hashes, Said, Writer};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use conductor_core::config::{ClusterConfig, PolicyConfig, Profile};
use conductor_core::ids::{ClassId, NodeId};
use conductor_core::journal::Auditor;
use conductor_core::units::Tokens;
use conductor_engine::text::{Message, TextModel};
use conductor_runtime::clock::MonotonicClock;
use conductor_runtime::driver::{Answer, Submission};
use conductor_runtime::engines::{self, EngineFile, EngineNews, Engines, Setting};
use conductor_runtime::gateway::{CacheSpace, Text, block_hashes};
use conductor_runtime::journal::MemoryJournal;
use conductor_runtime::protocol::{Prompt, Sampling, Space};
use conductor_runtime::task::{self, Answers, DriverHandle};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinHandle};

pub(crate) const BLOCK: u64 = 16;
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How an engine treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Answer,
    /// 503.
    Busy,
    /// 400.
    Refuse,
    /// The stream breaks off after so many tokens.
    Break(usize),
    /// After so many tokens nothing comes any more.
    Stall(usize),
}

pub(crate) struct Played {
    pub(crate) manner: Mutex<Manner>,
    pub(crate) asked: Mutex<Vec<Value>>,
    /// Streams whose client has gone before their end.
    pub(crate) dropped: AtomicUsize,
    /// Its tokenizer makes one token more.
    differs: bool,
    text: TextModel,
}

/// An engine that runs.
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    pub(crate) played: Arc<Played>,
    pub(crate) publisher: Publisher,
    events: (String, String),
    serving: JoinHandle<()>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Engine {
    pub(crate) async fn start(differs: bool) -> Self {
        let events = addresses();
        let publisher = Publisher::start(&events.0, &events.1, true).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let played = Arc::new(Played {
            manner: Mutex::new(Manner::Answer),
            asked: Mutex::default(),
            dropped: AtomicUsize::new(0),
            differs,
            text: TextModel::tiny(),
        });
        let router = Router::new()
            .route("/health", get(|| async { "" }))
            .route("/tokenize", post(tokenize))
            .route("/v1/completions", post(complete))
            .with_state(Arc::clone(&played));
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let opened = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                let task = tokio::spawn(async move {
                    let http = http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
                opened.lock().expect("no panic").push(task.abort_handle());
            }
        });
        Self {
            address,
            played,
            publisher,
            events,
            serving,
            connections,
        }
    }

    pub(crate) fn file(&self) -> EngineFile {
        let file = format!(
            "url = \"http://{}\"\nmodel = \"m\"\nkv_events = \"{}\"\nkv_replay = \"{}\"\nhealth_ms = 50\nsilent_s = 20",
            self.address, self.events.0, self.events.1
        );
        toml::from_str(&file).expect("a file")
    }

    pub(crate) fn manner(&self, manner: Manner) {
        *self.played.manner.lock().expect("no panic") = manner;
    }

    pub(crate) fn asked(&self) -> usize {
        self.played.asked.lock().expect("no panic").len()
    }

    /// It stores the whole blocks of a prompt.
    pub(crate) async fn store(&mut self, tokens: &[u32]) {
        let whole = tokens.chunks_exact(BLOCK as usize);
        let said = Said::Stored {
            blocks: (1..=whole.len() as u64).collect(),
            parent: None,
            tokens: whole.flatten().copied().collect(),
            size: BLOCK as u32,
            medium: "GPU",
            lora: None,
            salt: None,
        };
        let payload = Writer::batch(Form::Maps, Hashes::Unsigned, &[said]);
        self.publisher.publish(payload, true).await;
    }

    /// In whatever form: it has nothing any more, after it has lost a block that nobody knows.
    pub(crate) async fn clear(&mut self) {
        let lost = Said::Removed {
            blocks: vec![u64::MAX],
            medium: "GPU",
        };
        for (form, hashes) in [(Form::Arrays, Hashes::Signed), (Form::Maps, Hashes::Bytes)] {
            let payload = Writer::batch(form, hashes, &[lost.clone(), Said::Cleared]);
            self.publisher.publish(payload, true).await;
        }
    }

    /// As if its process had been killed.
    pub(crate) fn kill(&self) {
        self.serving.abort();
        for connection in self.connections.lock().expect("no panic").drain(..) {
            connection.abort();
        }
    }
}

async fn tokenize(State(played): State<Arc<Played>>, request: Request) -> Response {
    let asked = body(request).await;
    let tokens = match asked["messages"].as_array() {
        Some(messages) => {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let message = |message: &Value| Message {
                role: text(&message["role"]),
                content: text(&message["content"]),
            };
            let messages: Vec<Message> = messages.iter().map(message).collect();
            Text::chat(&played.text, &messages)
        }
        None => Text::encode(&played.text, asked["prompt"].as_str().expect("text")),
    };
    let mut tokens = tokens.expect("tokens");
    tokens.extend(played.differs.then_some(0));
    json!({"tokens": tokens, "count": tokens.len()})
        .to_string()
        .into_response()
}

async fn body(request: Request) -> Value {
    let bytes = to_bytes(request.into_body(), 1 << 20).await;
    serde_json::from_slice(&bytes.expect("a body")).expect("JSON")
}

/// Counts its end, unless all was sent.
struct Sending {
    played: Arc<Played>,
    lines: std::vec::IntoIter<String>,
    stalls: bool,
    breaks: bool,
    complete: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.complete {
            self.played.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn complete(State(played): State<Arc<Played>>, request: Request) -> Response {
    let asked = body(request).await;
    played.asked.lock().expect("no panic").push(asked.clone());
    let manner = *played.manner.lock().expect("no panic");
    let error = |status: u16| {
        let status = StatusCode::from_u16(status).expect("a status");
        (status, json!({"error": {"message": "no"}}).to_string()).into_response()
    };
    let limit = match manner {
        Manner::Busy => return error(503),
        Manner::Refuse => return error(400),
        Manner::Break(tokens) | Manner::Stall(tokens) => tokens,
        Manner::Answer => usize::MAX,
    };
    let prompt = asked["prompt"].as_array().expect("token ids");
    let count = asked["max_tokens"].as_u64().expect("a number") as usize;
    let mut lines = Vec::new();
    for position in 0..count.min(limit) {
        let token = &prompt[position % prompt.len()];
        let last = (position + 1 == count).then_some("length");
        lines
            .push(json!({"choices": [{"text": "x", "token_ids": [token], "finish_reason": last}]}));
    }
    lines.push(json!({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 0}}}));
    let mut lines: Vec<String> = lines
        .iter()
        .map(|line| format!("data: {line}\n\n"))
        .collect();
    lines.push("data: [DONE]\n\n".into());
    if limit != usize::MAX {
        lines.truncate(limit);
    }
    let sending = Sending {
        played,
        lines: lines.into_iter(),
        stalls: matches!(manner, Manner::Stall(_)),
        breaks: matches!(manner, Manner::Break(_)),
        complete: false,
    };
    let stream = stream::unfold(sending, |mut sending| async {
        match sending.lines.next() {
            Some(line) => Some((Ok::<_, std::io::Error>(Bytes::from(line)), sending)),
            None if sending.stalls => std::future::pending::<Option<Infallible>>()
                .await
                .map(|never| match never {}),
            None if sending.breaks => {
                sending.breaks = false;
                sending.complete = true;
                Some((Err(std::io::Error::other("broken")), sending))
            }
            None => {
                sending.complete = true;
                drop(sending);
                None
            }
        }
    });
    Body::from_stream(stream).into_response()
}

/// A driver whose nodes are engines.
pub(crate) struct World {
    pub(crate) driver: DriverHandle,
    pub(crate) news: Arc<Mutex<Vec<(NodeId, EngineNews)>>>,
    journal: MemoryJournal,
    _engines: Engines,
}

pub(crate) fn cluster(nodes: usize) -> ClusterConfig {
    let text = format!(
        "name = \"engines\"\nprofile = \"test\"\nblock_tokens = {BLOCK}\n[[nodes]]\ncount = {nodes}\nrole = \"coupled\"\n[coupled]\nschedule = \"chunked\"\nprefix_caching = true\n"
    );
    let profile = Profile::parse(include_str!("../nodes/profile.toml")).expect("a profile");
    ClusterConfig::parse(&text, &[profile]).expect("a cluster")
}

impl World {
    pub(crate) async fn start(engines: &[&Engine]) -> Self {
        let cluster = cluster(engines.len());
        let policy = PolicyConfig::built_in("kvcache-centric").expect("built in");
        let (journal, clock) = (MemoryJournal::default(), MonotonicClock::start());
        let (driver, _) = task::spawn(&cluster, &policy, 1, Box::new(journal.clone()), clock);
        let news: Arc<Mutex<Vec<(NodeId, EngineNews)>>> = Arc::default();
        let heard = Arc::clone(&news);
        let setting = Setting {
            block: cluster.block,
            model: "m".into(),
            text: Arc::new(TextModel::tiny()),
            driver: driver.clone(),
            report: Arc::new(move |node, news: &EngineNews| {
                heard.lock().expect("no panic").push((node, news.clone()));
            }),
        };
        let files: Vec<EngineFile> = engines.iter().map(|engine| engine.file()).collect();
        EngineFile::check(&files, &cluster).expect("a list");
        Self {
            news,
            journal,
            _engines: engines::spawn(&files, &setting).expect("addresses"),
            driver,
        }
    }

    /// Waits until these nodes are up.
    pub(crate) async fn up(&self, wanted: &[bool]) {
        until("nodes are up", async || {
            self.driver.status().await.expect("it runs").up == wanted
        })
        .await;
    }

    pub(crate) async fn submit(
        &self,
        tokens: Vec<u32>,
        output: u64,
        salt: Option<&str>,
    ) -> Answers {
        let space = CacheSpace {
            model: "m",
            adapter: None,
            salt,
        };
        let prompt = Prompt {
            input: Tokens(tokens.len() as u64),
            blocks: block_hashes(&space, Tokens(BLOCK), &tokens).into(),
            tokens: tokens.into(),
            space: Space {
                adapter: None,
                salt: salt.map(Into::into),
            },
            output_max: Tokens(output),
            sampling: Sampling::GREEDY,
        };
        let submission = Submission {
            prompt: Arc::new(prompt),
            class: ClassId(0),
            workflow: None,
            answer: None,
        };
        self.driver.submit(submission).await.expect("it runs")
    }

    /// Ends, and has the journal decided again.
    pub(crate) async fn end(self) {
        until("all is answered", async || {
            self.driver.status().await.expect("it runs").live == 0
        })
        .await;
        self.driver.end().await;
        let lines = self.journal.lines();
        let mut auditor = Auditor::new(lines[0].as_bytes(), None).expect("a header");
        for line in &lines[1..] {
            let decided = auditor.line(line.as_bytes());
            decided.expect("decided the same again");
        }
        assert!(auditor.finish().complete);
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "in time: {what}");
}

/// Tokens of an answer, and its end.
pub(crate) async fn whole(mut answers: Answers) -> (Vec<u32>, Answer) {
    let mut tokens = Vec::new();
    loop {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
        match answer.expect("in time").expect("an end") {
            Answer::Token { token, .. } => tokens.push(token),
            end => return (tokens, end),
        }
    }
}
