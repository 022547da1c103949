//! A client that shows what is on the wire: it sends what it is told, and gives out heads and chunks as they come.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// Its body, chunks put together.
    pub(crate) body: String,
}

impl Reply {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .expect("a code")
            .to_owned()
    }
}

/// A connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// To a server.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a server");
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .await
            .expect("takes it");
    }

    /// Sends a request.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.write(text.as_bytes()).await;
    }

    /// Reads the head of an answer.
    pub(crate) async fn head(&mut self) -> Reply {
        let status = self.line().await;
        let status = status.split(' ').nth(1).expect("a status line");
        let mut reply = Reply {
            status: status.parse().expect("a number"),
            headers: BTreeMap::new(),
            body: String::new(),
        };
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else {
                return reply;
            };
            reply.headers.insert(name.to_lowercase(), value.to_owned());
        }
    }

    /// Reads a whole answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await;
        if reply.header("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk().await {
                reply.body.push_str(&chunk);
            }
        } else {
            let length = reply.header("content-length").parse().unwrap_or(0);
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.expect("a body");
            reply.body = String::from_utf8(body).expect("text");
        }
        reply
    }

    /// Reads a chunk; `None` after the last.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let line = self.line().await;
        let length = usize::from_str_radix(&line, 16).expect("a length");
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).await.expect("a chunk");
        chunk.truncate(length);
        (length > 0).then(|| String::from_utf8(chunk).expect("whole characters"))
    }

    /// True if the server has closed it, and nothing more comes.
    pub(crate) async fn is_closed(&mut self) -> bool {
        // A server that closes without reading what was sent resets.
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.is_err() || rest.is_empty()
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("a line");
        line.trim_end().to_owned()
    }
}
