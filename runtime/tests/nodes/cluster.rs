//! A driver, its links, and nodes that can be killed.

use super::reference::Model;
use crate::audit::audit;
use conductor_core::config::{ClusterConfig, PolicyConfig, Profile};
use conductor_core::ids::{BlockHash, ClassId, NodeId};
use conductor_core::units::Tokens;
use conductor_runtime::clock::MonotonicClock;
use conductor_runtime::discovery::Nodes;
use conductor_runtime::driver::{Answer, Submission};
use conductor_runtime::journal::MemoryJournal;
use conductor_runtime::links::{self, LinkNews, Links, LinksConfig};
use conductor_runtime::node::{self, EngineConfig, NodeConfig, NodeLimits, NodeParts, NodeStatus};
use conductor_runtime::protocol::{EndReason, Prompt, Sampling, Space};
use conductor_runtime::task::{self, Answers, DriverHandle};
use conductor_runtime::wire::{Secret, Tls};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) const SECRET: &str = "a-secret-for-tests-alone";

/// Tokens of a block.
pub(crate) const BLOCK: u64 = 16;

/// Waiting for what must come; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// `COUNTxROLE COUNTxROLE …`; behind a `;` what else the file says of each group, behind another one what it says at
/// its end.
pub(crate) fn cluster(nodes: &str) -> ClusterConfig {
    let mut parts = nodes.split(';');
    let nodes = parts.next().expect("a first part");
    let (each, end) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let profile = Profile::parse(include_str!("profile.toml")).expect("a profile");
    let groups: String = nodes
        .split(' ')
        .map(|group| {
            let (count, role) = group.split_once('x').expect("COUNTxROLE");
            format!("[[nodes]]\ncount = {count}\nrole = \"{role}\"\n{each}\n")
        })
        .collect();
    let text =
        format!("name = \"test\"\nprofile = \"test\"\nblock_tokens = {BLOCK}\n{groups}{end}");
    ClusterConfig::parse(&text, &[profile]).expect("a cluster")
}

pub(crate) fn sleeping() -> EngineConfig {
    toml::from_str("kind = \"sleep\"\nlayers = 3").expect("an engine")
}

pub(crate) fn tiny() -> EngineConfig {
    toml::from_str("kind = \"cpu\"\nmodel = \"tiny\"").expect("an engine")
}

/// How the parts are set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) cluster: ClusterConfig,
    pub(crate) policy: PolicyConfig,
    pub(crate) engine: EngineConfig,
    /// A folder for Unix sockets: KV goes through shared memory; none: over TCP.
    pub(crate) shm: Option<PathBuf>,
    pub(crate) silent: Duration,
    pub(crate) tls: Option<Tls>,
}

impl Setup {
    pub(crate) fn new(nodes: &str) -> Self {
        Self {
            cluster: cluster(nodes),
            policy: PolicyConfig::built_in("kvcache-centric").expect("a policy"),
            engine: sleeping(),
            shm: None,
            silent: Duration::from_secs(2),
            tls: None,
        }
    }

    fn config(&self, node: usize, listen: SocketAddr) -> NodeConfig {
        NodeConfig {
            node: node as u16,
            listen,
            transfer: match &self.shm {
                Some(folder) => format!("shm://{}/{node}.sock", folder.display()),
                None => "tcp://127.0.0.1:0".into(),
            },
            cluster: String::new(),
            policy: String::new(),
            secret_file: PathBuf::new(),
            tls: None,
            etcd: None,
            advertise: None,
            advertise_transfer: None,
            engine: self.engine.clone(),
            rdma: Default::default(),
            limits: NodeLimits::default(),
        }
    }

    fn parts(&self) -> NodeParts {
        NodeParts {
            cluster: self.cluster.clone(),
            policy: self.policy.clone(),
            secret: Secret::new(SECRET).expect("a secret"),
            tls: self.tls.clone(),
        }
    }

    pub(crate) async fn start(&self, node: usize, listen: SocketAddr) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let start = node::start(self.config(node, listen), self.parts());
        let running = runtime.spawn(start).await.expect("no panic");
        Node {
            running: Some(running.expect("a node")),
            runtime: Some(runtime),
        }
    }
}

/// A node in its own runtime.
pub(crate) struct Node {
    running: Option<node::Running>,
    runtime: Option<Runtime>,
}

impl Node {
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs").address()
    }

    pub(crate) async fn status(&self) -> NodeStatus {
        let running = self.running.as_ref().expect("it runs");
        running.status().await.expect("it lives")
    }

    pub(crate) async fn pause(&self, length: Duration) {
        self.running.as_ref().expect("it runs").pause(length).await;
    }

    /// Ends in order.
    pub(crate) async fn end(&mut self) {
        let (running, runtime) = (self.running.take(), self.runtime.take());
        if let (Some(running), Some(runtime)) = (running, runtime) {
            runtime.spawn(running.end()).await.expect("no panic");
            runtime.shutdown_background();
        }
    }

    /// Ends with all its connections, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.running = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) type News = Arc<Mutex<Vec<(NodeId, LinkNews)>>>;

/// The gateway's side.
pub(crate) struct Gateway {
    pub(crate) driver: DriverHandle,
    links: Links,
    journal: MemoryJournal,
    pub(crate) news: News,
}

impl Gateway {
    pub(crate) fn start(setup: &Setup, addresses: Vec<String>, secret: &str) -> Self {
        Self::follow(setup, Nodes::fixed(addresses), secret)
    }

    pub(crate) fn follow(setup: &Setup, nodes: Nodes, secret: &str) -> Self {
        let journal = MemoryJournal::default();
        let (cluster, policy) = (&setup.cluster, &setup.policy);
        let clock = MonotonicClock::start();
        let (driver, _) = task::spawn(cluster, policy, 1, Box::new(journal.clone()), clock);
        let news = News::default();
        let heard = Arc::clone(&news);
        let report = Arc::new(move |node, news: &LinkNews| {
            heard.lock().expect("no panic").push((node, news.clone()));
        });
        let secret = Secret::new(secret).expect("a secret");
        let config = LinksConfig {
            ping: Duration::from_millis(50),
            silent: setup.silent,
            tls: setup.tls.clone(),
            ..LinksConfig::new(secret)
        };
        Self {
            links: links::spawn(config, nodes, cluster, policy, driver.clone(), report),
            driver,
            journal,
            news,
        }
    }

    /// Waits until that many nodes are up.
    pub(crate) async fn up(&self, count: usize) {
        let up = async || {
            let status = self.driver.status().await.expect("the driver lives");
            status.up.iter().filter(|&&up| up).count() == count
        };
        until("nodes are up", up).await;
    }

    /// Waits until something of that kind was heard of the node.
    pub(crate) async fn hears(&self, node: usize, of: impl Fn(&LinkNews) -> bool) -> LinkNews {
        let found = Mutex::new(None);
        let heard = async || {
            let news = self.news.lock().expect("no panic");
            let mut news = news.iter().filter(|(from, _)| from.index() == node);
            let heard = news.find(|(_, news)| of(news));
            *found.lock().expect("no panic") = heard.map(|(_, news)| news.clone());
            heard.is_some()
        };
        until("news", heard).await;
        found.into_inner().expect("no panic").expect("it was found")
    }

    pub(crate) async fn submit(&self, prompt: &Arc<Prompt>) -> Answers {
        let submission = Submission {
            prompt: Arc::clone(prompt),
            class: ClassId(0),
            workflow: None,
            answer: None,
        };
        self.driver
            .submit(submission)
            .await
            .expect("the driver lives")
    }

    /// Ends, and the journal must be right: every decision is the core's, and every one was carried out.
    pub(crate) async fn end(self) -> Vec<String> {
        let status = self.driver.status().await.expect("the driver lives");
        assert_eq!(status.live, 0, "everything is answered");
        assert_eq!(status.counts.differing_tokens, 0);
        self.driver.end().await;
        drop(self.links);
        let lines = self.journal.lines();
        let text = lines.iter().map(String::as_str);
        audit(text, status.counts.executed, status.counts.journaled);
        lines
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !so().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Gateway and nodes.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) gateway: Gateway,
    pub(crate) nodes: Vec<Node>,
}

impl World {
    pub(crate) async fn start(setup: Setup) -> Self {
        let any = "127.0.0.1:0".parse().expect("an address");
        let mut nodes = Vec::new();
        for node in 0..setup.cluster.nodes.len() {
            nodes.push(setup.start(node, any).await);
        }
        let addresses = nodes.iter().map(|node| node.address().to_string());
        let gateway = Gateway::start(&setup, addresses.collect(), SECRET);
        gateway.up(nodes.len()).await;
        Self {
            setup,
            gateway,
            nodes,
        }
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        let nodes = self.nodes.iter();
        nodes.map(|node| node.address().to_string()).collect()
    }

    /// What should be answered.
    pub(crate) fn model(&self) -> Model {
        Model::new(&self.setup)
    }

    /// All nodes that live have no work, and use no block but for their caches.
    pub(crate) async fn is_still(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            if node.running.is_none() {
                continue;
            }
            let status = Mutex::new(NodeStatus::default());
            let idle = async || {
                let now = node.status().await;
                *status.lock().expect("no panic") = now;
                now.idle
            };
            until(&format!("node {number} is idle"), idle).await;
            let status = status.into_inner().expect("no panic");
            assert_eq!(
                status.blocks_used, status.blocks_cached,
                "node {number}: {status:?}"
            );
            assert_eq!(status.blocks_missing, 0, "node {number}: {status:?}");
        }
    }

    /// Everything is over and right.
    pub(crate) async fn end(mut self) -> Vec<String> {
        self.is_still().await;
        let lines = self.gateway.end().await;
        for node in &mut self.nodes {
            node.end().await;
        }
        lines
    }
}

/// Hashes of the whole blocks of a prompt, chained.
fn hashes(tokens: &[u32]) -> Vec<BlockHash> {
    let mut hash = 7_u64;
    let blocks = tokens.chunks_exact(BLOCK as usize);
    let chained = blocks.map(|block| {
        for &token in block {
            hash = (hash ^ u64::from(token))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29);
        }
        BlockHash(hash)
    });
    chained.collect()
}

pub(crate) fn prompt(tokens: Vec<u32>, output: u64) -> Arc<Prompt> {
    Arc::new(Prompt {
        input: Tokens(tokens.len() as u64),
        blocks: hashes(&tokens).into(),
        space: Space::default(),
        tokens: tokens.into(),
        output_max: Tokens(output),
        sampling: Sampling {
            ignore_end: true,
            ..Sampling::GREEDY
        },
    })
}

/// An answer, which must be whole: no gap and no repetition.
pub(crate) async fn answer(mut answers: Answers) -> (Vec<u32>, Tokens) {
    let mut tokens = Vec::new();
    loop {
        let next = tokio::time::timeout(LONG, answers.next()).await;
        match next.expect("an answer in time").expect("the driver lives") {
            Answer::Token {
                position, token, ..
            } => {
                assert_eq!(position, tokens.len() as u64, "one after the other");
                tokens.push(token);
            }
            Answer::Finished {
                output,
                reason,
                cached,
            } => {
                assert_eq!(output.0, tokens.len() as u64);
                assert_eq!(reason, EndReason::Length);
                return (tokens, cached);
            }
            rejected @ Answer::Rejected { .. } => panic!("{rejected:?}"),
        }
    }
}
