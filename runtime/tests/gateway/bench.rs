//! A gateway, its nodes, and how to ask it something.

use crate::support::audit::audit;
use crate::support::fake::Fake;
use crate::support::http::{Connection, Reply};
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_engine::text::TextModel;
use conductor_runtime::gateway::{Front, GatewayConfig, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Where completions are.
pub(crate) const COMPLETIONS: &str = "/v1/completions";
/// Where chats are.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// The text of the model `tiny`, for long prompts.
pub(crate) fn text() -> TextModel {
    TextModel {
        positions: 1 << 20,
        ..TextModel::tiny()
    }
}

/// A running gateway.
pub(crate) struct Bench {
    pub(crate) fake: Fake,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

/// What a gateway is started with.
pub(crate) struct Setup {
    pub(crate) config: GatewayConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) policy: PolicyConfig,
    /// Steps wait for the test.
    pub(crate) held: bool,
}

impl Setup {
    /// One prefill and one decode node, the usual limits.
    pub(crate) fn new() -> Self {
        Self {
            config: GatewayConfig {
                log_requests: false,
                ..GatewayConfig::default()
            },
            cluster: ClusterConfig::built_in("1p1d").expect("built in"),
            policy: PolicyConfig::built_in("kvcache-centric").expect("built in"),
            held: false,
        }
    }

    /// With steps that wait for the test.
    pub(crate) fn held() -> Self {
        Self {
            held: true,
            ..Self::new()
        }
    }

    /// The same, for a cluster that takes one request at a time.
    pub(crate) fn one_at_a_time(mut self) -> Self {
        let mut text = self.cluster.text().clone();
        text.limits.live_requests = 1;
        self.cluster = ClusterConfig::from_text(text, &[]).expect("a cluster");
        self
    }

    /// The gateway's part.
    pub(crate) fn front(&self) -> Front {
        Front::new(self.config.clone(), &self.cluster, &self.policy)
    }

    pub(crate) async fn start(self) -> Bench {
        let fake = Fake::start(&self.cluster, &self.policy, self.held).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (shutdown, wait) = oneshot::channel::<()>();
        let front = self.front();
        let wait = async {
            // A test that ends takes its gateway with it.
            let _ = wait.await;
        };
        let text = Arc::new(text());
        let served = tokio::spawn(serve(front, fake.driver.clone(), text, listener, wait));
        Bench {
            fake,
            address,
            shutdown: Some(shutdown),
            served,
        }
    }
}

impl Bench {
    /// Posts a body.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        self.post_with(path, &[], body).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut connection = self.sent(path, headers, body).await;
        connection.reply().await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let mut connection = Connection::open(self.address).await;
        connection.request("GET", path, &[], "").await;
        connection.reply().await
    }

    /// A connection on which a body was posted.
    pub(crate) async fn sent(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Connection {
        let mut connection = Connection::open(self.address).await;
        connection.request("POST", path, headers, body).await;
        connection
    }

    /// Waits until so many requests are in the driver.
    pub(crate) async fn until_live(&self, live: usize) {
        while self.fake.live().await != live {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until nothing is under way, and then that the gateway has room for all.
    pub(crate) async fn until_idle(&self) {
        self.until_live(0).await;
        loop {
            let page = self.get("/metrics").await.body;
            if page.contains("conductor_requests_under_way 0\n") {
                return;
            }
        }
    }

    /// Requests that were put before the Conductor.
    pub(crate) async fn arrived(&self) -> u64 {
        let status = self.fake.driver.status().await;
        status.expect("runs").counters.arrived
    }

    /// A sample of the metrics. What the driver counts may be a little old.
    pub(crate) async fn sample(&self, name: &str) -> u64 {
        let page = self.get("/metrics").await.body;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name} in {page}"));
        value.trim().parse().expect("a number")
    }

    /// Ends, and the journal must be right.
    pub(crate) async fn end(self) {
        self.end_driver().await;
    }

    /// Ends the driver under the gateway; its journal must be right.
    pub(crate) async fn end_driver(&self) {
        let counts = self.fake.driver.status().await.expect("runs").counts;
        self.fake.driver.end().await;
        let lines = self.fake.journal.lines();
        let lines = lines.iter().map(String::as_str);
        audit(lines, counts.executed, counts.journaled);
    }

    /// Tells the gateway to end.
    pub(crate) fn shut_down(&mut self) {
        let shutdown = self.shutdown.take().expect("once");
        let _ = shutdown.send(());
    }
}
