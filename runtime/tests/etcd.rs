//! Nodes in a real etcd, started here on free ports of the loopback; `tests/etcd/run.sh` installs it.

use conductor_core::ids::NodeId;
use conductor_runtime::daemon::{self, GatewayParts};
use conductor_runtime::discovery::etcd::{announce, watch_nodes};
use conductor_runtime::discovery::{EtcdConfig, NodeList};
use conductor_runtime::node::{self, NodeConfig, NodeParts};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

/// An etcd with its own data; ended when dropped.
struct Etcd {
    process: Child,
    endpoint: String,
    data: tempfile::TempDir,
    ports: (u16, u16),
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    listener.local_addr().expect("bound").port()
}

fn launch(data: &std::path::Path, (client, peer): (u16, u16)) -> Child {
    let (client, peer) = (
        format!("http://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    Command::new("etcd")
        .args(["--name", "t", "--data-dir"])
        .arg(data)
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .args(["--initial-cluster", &format!("t={peer}")])
        .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd starts: tests/etcd/run.sh installs it")
}

impl Etcd {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let ports = (free_port(), free_port());
        let etcd = Self {
            process: launch(data.path(), ports),
            endpoint: format!("http://127.0.0.1:{}", ports.0),
            data,
            ports,
        };
        etcd.wait().await;
        etcd
    }

    async fn wait(&self) {
        for _ in 0..200 {
            if watch_nodes(self.config(), 1).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not answer within 20 s");
    }

    fn config(&self) -> EtcdConfig {
        EtcdConfig {
            endpoints: vec![self.endpoint.clone()],
            prefix: "/test/nodes".into(),
            lease_s: 2,
        }
    }

    fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until the list is as `wanted`.
async fn until(list: &mut watch::Receiver<Arc<NodeList>>, wanted: &[(u16, &str)]) {
    let wanted: NodeList = wanted
        .iter()
        .map(|&(node, address)| (NodeId(node), address.to_string()))
        .collect();
    let seen = tokio::time::timeout(
        Duration::from_secs(30),
        list.wait_for(|list| **list == wanted),
    );
    let _ = seen.await.expect("within 30 s").expect("it is watched");
}

#[tokio::test]
async fn nodes_come_go_die_and_survive_a_restart_of_etcd() {
    let mut etcd = Etcd::start().await;
    let mut list = watch_nodes(etcd.config(), 4).await.expect("etcd is there");
    until(&mut list, &[]).await;
    let a = announce(etcd.config(), NodeId(0), "127.0.0.1:70".into());
    let b = announce(etcd.config(), NodeId(3), "127.0.0.1:73".into());
    until(&mut list, &[(0, "127.0.0.1:70"), (3, "127.0.0.1:73")]).await;
    // A node that the cluster does not have is said and left out.
    let stray = announce(etcd.config(), NodeId(9), "127.0.0.1:79".into());
    // One that withdraws is gone; one that dies is gone when its lease has ended.
    a.withdraw().await;
    until(&mut list, &[(3, "127.0.0.1:73")]).await;
    drop(b);
    until(&mut list, &[]).await;
    let c = announce(etcd.config(), NodeId(1), "127.0.0.1:71".into());
    until(&mut list, &[(1, "127.0.0.1:71")]).await;
    // Without etcd the last list stays in force.
    etcd.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(list.borrow().len(), 1);
    etcd.process = launch(etcd.data.path(), etcd.ports);
    etcd.wait().await;
    let d = announce(etcd.config(), NodeId(2), "127.0.0.1:72".into());
    until(&mut list, &[(1, "127.0.0.1:71"), (2, "127.0.0.1:72")]).await;
    drop((c, d, stray));
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_said() {
    let config = EtcdConfig {
        endpoints: vec![format!("http://127.0.0.1:{}", free_port())],
        prefix: "/test".into(),
        lease_s: 2,
    };
    let error = watch_nodes(config, 1).await.expect_err("nobody listens");
    assert!(
        error.to_string().starts_with("etcd http://127.0.0.1:"),
        "{error}"
    );
}

/// One exchange with a gateway.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_finds_its_nodes_in_etcd_and_loses_those_that_withdraw() {
    let etcd = Etcd::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    };
    write("cpu-tiny.toml", include_str!("../profiles/cpu-tiny.toml"));
    let secret = write("secret", "a-secret-for-tests-alone");
    let cluster = write(
        "cluster.toml",
        "name = \"test\"\nprofile = \"cpu-tiny\"\nblock_tokens = 16\n[[nodes]]\ncount = 2\nrole = \"coupled\"\n\
         [coupled]\nschedule = \"chunked\"\nprefix_caching = true\n",
    );
    let common = format!("cluster = {cluster:?}\nsecret_file = {secret:?}\n");
    let place = format!(
        "etcd]\nendpoints = [{:?}]\nprefix = \"/e2e\"\nlease_s = 2\n",
        etcd.endpoint
    );
    let file = format!(
        "listen = \"127.0.0.1:0\"\n{common}[nodes.{place}[gateway]\nlog_requests = false\ndrain_s = 1\n"
    );
    let parts = GatewayParts::read(&write("gateway.toml", &file)).expect("a gateway's file");
    let (ready, at) = oneshot::channel();
    let (stop_gateway, gateway_stops) = oneshot::channel::<()>();
    let ready = |address| ready.send(address).expect("somebody waits");
    let gateway = tokio::spawn(daemon::run(parts, ready, async {
        let _ = gateway_stops.await;
    }));
    let node = |number: u16| {
        let file = format!(
            "node = {number}\nlisten = \"127.0.0.1:0\"\ntransfer = \"tcp://127.0.0.1:0\"\n{common}\
             [engine]\nkind = \"sleep\"\n[{place}"
        );
        let config: NodeConfig = toml::from_str(&file).expect("a node's file");
        let parts = NodeParts::read(&config).expect("its parts");
        node::start(config, parts)
    };
    let (first, second) = (
        node(0).await.expect("starts"),
        node(1).await.expect("starts"),
    );
    let address = at.await.expect("it is ready");
    let body = r#"{"model":"tiny","prompt":"Hello","max_tokens":4}"#;
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // One of the nodes withdraws, and what comes after is served by the other.
    first.end().await;
    for _ in 0..4 {
        let answer = ask(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    second.end().await;
    let ready = "GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let gone = async {
        while !ask(address, ready).await.contains("no-nodes") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .expect("it knows that nobody is there");
    stop_gateway.send(()).expect("it runs");
    gateway.await.expect("no panic").expect("it ends in order");
}
