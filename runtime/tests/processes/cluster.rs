//! A gateway and its nodes, each a process of its own that this test started, from files as one writes them by hand.

use crate::audit::audit;
use crate::client::{self, Ask, Asked, Said};
use conductor_runtime::node::{self, NodeStatus};
use conductor_runtime::wire::Secret;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Waiting for what must come; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const SECRET: &str = "a-secret-for-tests-alone";

/// How it is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    /// `ROLE` by node.
    pub(crate) roles: Vec<&'static str>,
    /// The policy's file.
    pub(crate) policy: &'static str,
    pub(crate) engine: &'static str,
    /// Where nodes tell others to bring their KV, by node; where they listen if there is none.
    pub(crate) seen_at: Vec<(usize, SocketAddr)>,
    /// Where the gateway, and through it other nodes, look for a node; where it listens if there is none.
    pub(crate) looked_for_at: Vec<(usize, SocketAddr)>,
    /// The journal, if not a file of the folder.
    pub(crate) journal: Option<PathBuf>,
    /// Nodes take a gateway that is silent for so long for gone; none: the usual time.
    pub(crate) silent_ms: Option<u64>,
    /// The gateway's files cannot grow beyond this.
    pub(crate) file_kib_max: Option<u32>,
}

impl Setup {
    /// Nodes with the real model, that many for prefill and for decode; KV goes over TCP.
    pub(crate) fn new(prefill: usize, decode: usize) -> Self {
        Self {
            roles: [vec!["prefill"; prefill], vec!["decode"; decode]].concat(),
            policy: "",
            engine: "kind = \"cpu\"\nmodel = \"tiny\"",
            seen_at: Vec::new(),
            looked_for_at: Vec::new(),
            journal: None,
            silent_ms: None,
            file_kib_max: None,
        }
    }
}

/// A process that this test started; killed with this.
pub(crate) struct Part {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Part {
    fn start(folder: &Path, command: &str, name: &str, file_kib_max: Option<u32>) -> Self {
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
        let program = env!("CARGO_BIN_EXE_conductord");
        let mut start = match file_kib_max {
            None => Command::new(program),
            Some(most) => {
                // A write beyond the limit fails, like one to a disk that is full.
                let script = format!("trap '' XFSZ; ulimit -f {most}; exec \"$0\" \"$@\"");
                let mut shell = Command::new("bash");
                shell.args(["-c", &script, program]);
                shell
            }
        };
        let mut child = start
            .arg(command)
            .arg("--config")
            .arg(folder.join(format!("{name}.toml")))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary of this package starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("it says something");
        let address = line.trim().strip_prefix("ready ").unwrap_or_else(|| {
            let log = std::fs::read_to_string(folder.join(format!("{name}.log")));
            panic!("{name}: {line} {log:?}")
        });
        let address = address.trim_start_matches("http://");
        Self {
            child,
            address: address.parse().expect("an address"),
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Ends it as a service manager would.
    fn end(mut self) {
        let begun = Instant::now();
        self.signal("-TERM");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// See the module.
pub(crate) struct Cluster {
    pub(crate) folder: tempfile::TempDir,
    setup: Setup,
    /// Where nodes listen.
    addresses: Vec<SocketAddr>,
    nodes: Vec<Option<Part>>,
    gateway: Option<Part>,
    /// `http://ADDRESS` of the gateway, and of those that follow it.
    pub(crate) base: String,
}

impl Cluster {
    pub(crate) fn start(setup: &Setup) -> Self {
        Self::start_with(setup, |_| {})
    }

    /// `ready` hears where nodes listen, before the gateway looks for them.
    pub(crate) fn start_with(setup: &Setup, ready: impl FnOnce(&[SocketAddr])) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a temporary folder");
        };
        write("secret", SECRET);
        write("policy.toml", setup.policy);
        write(
            "cpu-tiny.toml",
            include_str!("../../profiles/cpu-tiny.toml"),
        );
        let mut cluster = "name = \"test\"\nprofile = \"cpu-tiny\"\nblock_tokens = 16\n".to_owned();
        for role in &setup.roles {
            write!(cluster, "[[nodes]]\ncount = 1\nrole = \"{role}\"\n").expect("text");
        }
        write("cluster.toml", &cluster);
        let mut made = Self {
            folder,
            setup: setup.clone(),
            addresses: Vec::new(),
            nodes: Vec::new(),
            gateway: None,
            base: String::new(),
        };
        for node in 0..setup.roles.len() {
            made.write_node(node, "127.0.0.1:0".parse().expect("an address"));
            let part = Part::start(made.path(), "node", &format!("node-{node}"), None);
            made.addresses.push(part.address);
            made.nodes.push(Some(part));
        }
        ready(&made.addresses);
        made.write_gateway("127.0.0.1:0");
        made.start_gateway();
        made
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn common(&self) -> String {
        let at = |name: &str| self.path().join(name).display().to_string();
        format!(
            "cluster = {:?}\npolicy = {:?}\nsecret_file = {:?}\n",
            at("cluster.toml"),
            at("policy.toml"),
            at("secret")
        )
    }

    fn write_node(&self, node: usize, listen: SocketAddr) {
        let seen = self.setup.seen_at.iter().find(|(other, _)| *other == node);
        let transfer = match seen {
            None => "transfer = \"tcp://127.0.0.1:0\"\n".into(),
            Some((_, seen)) => {
                let own = free_address();
                std::fs::write(self.path().join(format!("kv-{node}")), own.to_string())
                    .expect("a temporary folder");
                format!("transfer = \"tcp://{own}\"\nadvertise_transfer = \"tcp://{seen}\"\n")
            }
        };
        let silent = self.setup.silent_ms.map(|ms| format!("silent_ms = {ms}\n"));
        let text = format!(
            "node = {node}\nlisten = \"{listen}\"\n{transfer}{}[engine]\n{}\n[limits]\n{}",
            self.common(),
            self.setup.engine,
            silent.unwrap_or_default()
        );
        std::fs::write(self.path().join(format!("node-{node}.toml")), text).expect("a folder");
    }

    /// Where a node's KV really goes, if others see it elsewhere.
    pub(crate) fn transfer(&self, node: usize) -> SocketAddr {
        let text = std::fs::read_to_string(self.path().join(format!("kv-{node}")));
        text.expect("it is seen elsewhere")
            .parse()
            .expect("an address")
    }

    fn write_gateway(&self, listen: &str) {
        let nodes: Vec<String> = (0..self.addresses.len())
            .map(|node| {
                let mut elsewhere = self.setup.looked_for_at.iter();
                let elsewhere = elsewhere.find(|(other, _)| *other == node);
                elsewhere
                    .map_or(self.addresses[node], |&(_, address)| address)
                    .to_string()
            })
            .collect();
        let journal = self.journal().display().to_string();
        let text = format!(
            "listen = \"{listen}\"\n{}[nodes]\nlist = {nodes:?}\n[journal]\npath = {journal:?}\n\
             [gateway]\nlog_requests = false\ndrain_s = 5\n",
            self.common()
        );
        std::fs::write(self.path().join("gateway.toml"), text).expect("a folder");
    }

    fn journal(&self) -> PathBuf {
        let own = || self.path().join("journal.jsonl");
        self.setup.journal.clone().unwrap_or_else(own)
    }

    /// Starts a gateway, at the address of the one before it.
    pub(crate) fn start_gateway(&mut self) {
        let most = self.setup.file_kib_max;
        let gateway = Part::start(self.path(), "gateway", "gateway", most);
        self.base = format!("http://{}", gateway.address);
        self.write_gateway(&gateway.address.to_string());
        self.gateway = Some(gateway);
    }

    /// `kill -9`.
    pub(crate) fn kill_gateway(&mut self) {
        drop(self.gateway.take().expect("it runs"));
    }

    /// What the journal's file has.
    pub(crate) fn journal_text(&self) -> String {
        std::fs::read_to_string(self.journal()).expect("a journal")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, node: usize) {
        drop(self.nodes[node].take().expect("it runs"));
    }

    /// Starts a node that was killed, where it was.
    pub(crate) fn revive(&mut self, node: usize) {
        self.write_node(node, self.addresses[node]);
        let part = Part::start(self.path(), "node", &format!("node-{node}"), None);
        self.nodes[node] = Some(part);
    }

    pub(crate) fn signal(&self, node: usize, signal: &str) {
        self.nodes[node].as_ref().expect("it runs").signal(signal);
    }

    pub(crate) fn signal_gateway(&self, signal: &str) {
        self.gateway.as_ref().expect("it runs").signal(signal);
    }

    /// What `conductord status` says.
    pub(crate) fn status(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_conductord"))
            .args(["status", "--config"])
            .arg(self.path().join("gateway.toml"))
            .output()
            .expect("the binary of this package starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn ask(&self, ask: &Ask) -> Asked {
        client::ask(&self.base, ask)
    }

    /// A complete answer.
    pub(crate) async fn answer(&self, ask: &Ask) -> Said {
        let said = self.ask(ask).said().await;
        assert!(said.done && said.error.is_none(), "{said:?}");
        assert_eq!(said.tokens, ask.tokens as usize);
        said
    }

    pub(crate) async fn metric(&self, name: &str) -> u64 {
        client::metric(&self.base, name).await
    }

    /// Waits until that many nodes are up.
    pub(crate) async fn up(&self, count: u64) {
        let up = async || self.metric("nodes_up").await == count;
        until("nodes are up", up).await;
    }

    /// How a node stands, by its own word.
    pub(crate) async fn standing(&self, node: usize) -> NodeStatus {
        let secret = Secret::new(SECRET).expect("a secret");
        let standing = node::standing(&self.addresses[node].to_string(), &secret, None).await;
        standing.expect("it answers")
    }

    /// Waits until no node that lives is in a gateway's session.
    pub(crate) async fn are_without_gateway(&self) {
        for node in (0..self.nodes.len()).filter(|&node| self.nodes[node].is_some()) {
            let gone = async || !self.standing(node).await.in_session;
            until("a node is without a gateway", gone).await;
        }
    }

    /// The first of these nodes that computes.
    pub(crate) async fn computing(&self, nodes: std::ops::Range<usize>) -> usize {
        let found = std::cell::Cell::new(None);
        let one = async || {
            for node in nodes.clone() {
                if self.standing(node).await.computing {
                    found.set(Some(node));
                }
            }
            found.get().is_some()
        };
        until("a node computes", one).await;
        found.get().expect("it was found")
    }

    /// Waits until all nodes that live have no work; then nothing may hold a block but their caches.
    pub(crate) async fn is_still(&self) {
        for node in (0..self.nodes.len()).filter(|&node| self.nodes[node].is_some()) {
            let still = async || {
                let standing = self.standing(node).await;
                standing.idle && standing.tables_held == 0
            };
            until("a node is idle", still).await;
            let standing = self.standing(node).await;
            assert_eq!(standing.blocks_used, standing.blocks_cached, "{standing:?}");
            assert_eq!(standing.blocks_missing, 0, "node {node}: {standing:?}");
        }
    }

    /// Ends all, which must be right: nothing is held, and every decision was journaled, carried out, and is decided
    /// the same again. Gives back the journal.
    pub(crate) async fn end(self) -> String {
        let (text, decisions) = self.stop().await;
        audit(text.lines(), decisions, decisions);
        text
    }

    /// The same for one whose journal is not whole.
    pub(crate) async fn end_without_journal(self) -> String {
        self.stop().await.0
    }

    async fn stop(mut self) -> (String, u64) {
        self.is_still().await;
        // What the gateway says of its driver may be a tenth of a second old.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(self.metric("live_requests").await, 0);
        assert_eq!(self.metric("differing_tokens_total").await, 0);
        let executed = self.metric("decisions_executed_total").await;
        assert_eq!(executed, self.metric("decisions_journaled_total").await);
        self.gateway.take().expect("it runs").end();
        for node in self.nodes.drain(..).flatten() {
            node.end();
        }
        // A device that takes everything and gives back as much as is read has no text.
        let text = match self.journal().is_file() {
            true => self.journal_text(),
            false => String::new(),
        };
        (text, executed)
    }

    /// The gateway's words.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("gateway.log")).expect("a log")
    }
}

/// An address that nobody has just now.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !so().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
