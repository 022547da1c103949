//! An engine behind HTTP that takes no time: what a router in front of it takes is the router's own.
//!
//! It answers OpenAI's completions and chat completions with `max_tokens` letters, streamed a letter a frame or whole,
//! and whatever else routers ask of an engine with a name and a status. Used by `benches/gateway/run.sh`:
//!
//! ```text
//! cargo run --release -p conductor-runtime --example null_engine -- 127.0.0.1:9000
//! ```

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::convert::Infallible;
use tokio::net::TcpListener;

type Answer = BoxBody<Bytes, Infallible>;

/// What matters of a request.
#[derive(Deserialize)]
struct Asked {
    #[serde(default = "one")]
    max_tokens: u32,
    #[serde(default)]
    stream: bool,
}

const fn one() -> u32 {
    1
}

fn json(text: String) -> Response<Answer> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    let json = hyper::header::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, json);
    response
}

fn completion(asked: &Asked, chat: bool) -> Response<Answer> {
    let (prefix, object, chunk) = match chat {
        true => ("chatcmpl", "chat.completion", "chat.completion.chunk"),
        false => ("cmpl", "text_completion", "text_completion"),
    };
    let head =
        |object| format!(r#""id":"{prefix}-1","object":"{object}","created":1,"model":"tiny""#);
    if !asked.stream {
        let text = "a".repeat(asked.max_tokens as usize);
        let content = match chat {
            true => format!(r#""message":{{"role":"assistant","content":"{text}"}}"#),
            false => format!(r#""text":"{text}""#),
        };
        let tokens = asked.max_tokens;
        return json(format!(
            r#"{{{},"choices":[{{"index":0,{content},"finish_reason":"length","logprobs":null}}],"usage":{{"prompt_tokens":1,"completion_tokens":{tokens},"total_tokens":{}}}}}"#,
            head(object),
            tokens + 1
        ));
    }
    let content = match chat {
        true => r#""delta":{"content":"a"}"#,
        false => r#""text":"a""#,
    };
    let event = Bytes::from(format!(
        "data: {{{},\"choices\":[{{\"index\":0,{content},\"finish_reason\":null}}]}}\n\n",
        head(chunk)
    ));
    // A frame each, as an engine makes them: not all at once.
    let tokens = asked.max_tokens;
    let frames = futures_util::stream::unfold(0, move |sent| {
        let event = event.clone();
        async move {
            tokio::task::yield_now().await;
            let frame = match sent {
                sent if sent < tokens => event,
                sent if sent == tokens => Bytes::from_static(b"data: [DONE]\n\n"),
                _ => return None,
            };
            Some((Ok(Frame::data(frame)), sent + 1))
        }
    });
    let mut response = Response::new(StreamBody::new(frames).boxed());
    let events = hyper::header::HeaderValue::from_static("text/event-stream");
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, events);
    response
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if head.method == Method::POST && path.ends_with("completions") {
        let chat = path.ends_with("chat/completions");
        let bytes = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let asked = serde_json::from_slice(&bytes.unwrap_or_default());
        let asked = asked.unwrap_or(Asked {
            max_tokens: 1,
            stream: false,
        });
        return Ok(completion(&asked, chat));
    }
    Ok(json(match path {
        "/v1/models" => {
            r#"{"object":"list","data":[{"id":"tiny","object":"model","created":1,"owned_by":"null","max_model_len":131072}]}"#.into()
        }
        "/version" => r#"{"version":"0.32.0"}"#.into(),
        _ => r#"{"status":"ok","model_path":"tiny"}"#.into(),
    }))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let Some(address) = address else {
        eprintln!("null_engine: expected an address such as 127.0.0.1:9000");
        std::process::exit(2);
    };
    let listener = TcpListener::bind(address).await?;
    println!("ready http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
}
