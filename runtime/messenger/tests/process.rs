//! Two processes: this test binary runs itself as the peer, and kills it when it is time.

use crate::common::{KINDS, Kind, LONG, node, options, pattern, run};
use conductor_core::ids::NodeId;
use conductor_messenger::{
    Access, Address, Error, Grant, Handler, NoCalls, Op, Pages, Region, Rights, Shm, Span, Tcp,
    Transport,
};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const BYTES: u64 = if cfg!(feature = "rdma") {
    64 << 20
} else {
    16 << 20
};
/// A peer listens in so many ways.
pub(crate) const PEERS: usize = if cfg!(feature = "rdma") { 3 } else { 2 };

/// Says what is in its region: the sum of a span's bytes.
struct Sums(Region);

impl Handler for Sums {
    fn call(&self, _: NodeId, message: &[u8]) -> Option<Vec<u8>> {
        let word = |at: usize| {
            Some(u64::from_le_bytes(
                message.get(at..at + 8)?.try_into().ok()?,
            ))
        };
        let span = Span::new(word(0)?, word(8)?);
        let bytes = span
            .is_within(self.0.whole())
            .then(|| self.0.to_vec(span))?;
        Some(crc32(&bytes).to_le_bytes().to_vec())
    }
}

pub(crate) fn crc32(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, &byte| {
        sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
    })
}

/// The peer. Only a process that was started as one does anything here.
#[test]
fn peer() {
    let Ok(role) = std::env::var("MESSENGER_PEER") else {
        return;
    };
    let words: Vec<String> = role.split(' ').map(str::to_owned).collect();
    run(async {
        match words[0].as_str() {
            "target" => target(&words[1]).await,
            _ => initiator(&words[1], &words[2]).await,
        }
    });
}

async fn target(folder: &str) {
    #[cfg(feature = "rdma")]
    let pages = crate::rdma::cases::pages();
    #[cfg(not(feature = "rdma"))]
    let pages = Pages::default();
    let region = Region::allocate(BYTES, pages).expect("memory");
    let handler = Arc::new(Sums(region.clone()));
    let any = "127.0.0.1:0".parse().expect("an address");
    let path = Path::new(folder).join("peer.sock");
    let (tcp, _notices) = Tcp::bind(any, options(1), handler.clone())
        .await
        .expect("a port");
    let (shm, _more) = Shm::bind(&path, options(1), handler.clone()).expect("a socket");
    // In the order of `Kind`.
    #[cfg(feature = "rdma")]
    let settings = crate::rdma::settings(NodeId(1));
    #[cfg(feature = "rdma")]
    let (verbs, _still_more) = crate::rdma::bind(options(1), &settings, handler.clone()).await;
    let transports: &[&dyn Transport] = &[
        &tcp,
        &shm,
        #[cfg(feature = "rdma")]
        &verbs,
    ];
    for &transport in transports {
        let access = Access {
            window: region.whole(),
            rights: Rights::BOTH,
            node: None,
        };
        let grant = transport.register(&region, access).expect("within");
        println!("READY {} {}", transport.address(), hex(&grant.to_bytes()));
    }
    wait_for_the_end().await;
}

/// Writes for ever into what it is given.
async fn initiator(address: &str, grant: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("i.sock");
    let (shm, _notices) = Shm::bind(&path, options(2), Arc::new(NoCalls)).expect("a socket");
    let region = Region::allocate(BYTES, Pages::default()).expect("memory");
    let link = shm
        .connect(&address.parse().expect("valid"))
        .await
        .expect("a link");
    let grant = unhex(grant);
    let whole = Span::new(0, grant.window.bytes.min(BYTES));
    let once = || async {
        let op = Op::write(&region, [whole], grant, [whole]).expect("valid");
        link.submit(op).await?.await
    };
    once().await.expect("the first");
    println!("READY writing");
    while once().await.is_ok() {}
    wait_for_the_end().await;
}

/// The end of what stands for the parent's life.
async fn wait_for_the_end() {
    let read = || std::io::stdin().read(&mut [0; 1]);
    let _ = tokio::task::spawn_blocking(read).await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Grant {
    let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal");
    let bytes = std::array::from_fn(byte);
    Grant::of_bytes(&bytes).expect("a grant")
}

/// A child that is killed and waited for when it is dropped.
pub(crate) struct Peer(
    Child,
    #[expect(dead_code, reason = "kept open")] Box<dyn BufRead + Send>,
);

#[cfg(feature = "rdma")]
impl Peer {
    /// Kills it as the kernel would.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("gone");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a peer and gives the lines by which it says that it is ready.
pub(crate) fn start(role: &str, lines: usize) -> (Peer, Vec<String>) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "process::peer", "--nocapture"])
        .env("MESSENGER_PEER", role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let said = stdout.by_ref().lines().map(|line| line.expect("text"));
    let ready = said.filter_map(|line| line.split_once("READY ").map(|(_, r)| r.to_owned()));
    let ready: Vec<String> = ready.take(lines).collect();
    assert_eq!(ready.len(), lines, "the peer is ready");
    // Its output stays open: the peer may have more to say.
    (Peer(child, Box::new(stdout)), ready)
}

pub(crate) fn address_and_grant(kind: Kind, ready: &[String]) -> (Address, Grant) {
    let (address, grant) = ready[kind as usize].split_once(' ').expect("two words");
    (address.parse().expect("valid"), unhex(grant))
}

#[test]
fn another_process_sees_what_is_written_and_its_death_ends_what_is_under_way() {
    for kind in KINDS {
        let folder = tempfile::tempdir().expect("a folder");
        let role = format!("target {}", folder.path().display());
        let (mut peer, ready) = start(&role, PEERS);
        let (address, grant) = address_and_grant(kind, &ready);
        run(async {
            let ours = node(kind, 0).await;
            let link = ours.link(&address).await;
            let bytes = pattern(6, 5 << 20);
            ours.region.write(1000, &bytes);
            let (here, there) = (Span::new(1000, 5 << 20), Span::new(12_345, 5 << 20));
            let write = || Op::write(&ours.region, [here], grant, [there]).expect("valid");
            link.submit(write())
                .await
                .expect("room")
                .await
                .expect("done");
            let ask = [there.offset.to_le_bytes(), there.bytes.to_le_bytes()].concat();
            let sum = link.call(ask).await.expect("an answer");
            assert_eq!(
                sum,
                crc32(&bytes).to_le_bytes(),
                "{kind:?}: the other process sees it"
            );
            let back = Region::allocate(5 << 20, Pages::default()).expect("memory");
            let whole = Span::new(0, 5 << 20);
            let read = Op::read(&back, [whole], grant, [there]).expect("valid");
            link.submit(read).await.expect("room").await.expect("done");
            assert!(back.to_vec(whole) == bytes, "{kind:?}: and gives it back");

            let mut tickets = Vec::new();
            for _ in 0..20 {
                tickets.push(link.submit(write()).await.expect("room"));
            }
            peer.0.kill().expect("killed");
            peer.0.wait().expect("gone");
            let limit = Duration::from_secs(20);
            let mut last = Ok(());
            for ticket in tickets {
                last = tokio::time::timeout(limit, ticket).await.expect("it ends");
                assert!(
                    matches!(last, Ok(()) | Err(Error::PeerLost { .. })),
                    "{last:?}"
                );
            }
            if last.is_ok() {
                // All were done before it died.
                last = async { link.submit(write()).await?.await }.await;
            }
            assert!(last.is_err_and(|error| error.is_passing()));
        });
    }
}

#[test]
fn a_neighbour_that_is_killed_in_the_middle_of_a_copy_is_outside_afterwards() {
    run(async {
        let theirs = node(Kind::Shm, 1).await;
        let grant = theirs.grant_all();
        let address = theirs.transport.address().to_string();
        let role = format!("initiator {address} {}", hex(&grant.to_bytes()));
        let start = tokio::task::spawn_blocking(move || start(&role, 1));
        let (mut peer, _) = start.await.expect("started");
        peer.0.kill().expect("killed");
        peer.0.wait().expect("gone");
        // Its word may say that somebody is inside; nobody is.
        let revoked = tokio::time::timeout(LONG, theirs.transport.revoke(grant.key)).await;
        assert_eq!(revoked, Ok(Ok(())));
        let whole = theirs.region.whole();
        theirs.region.write(0, &vec![9; whole.bytes as usize]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(theirs.region.to_vec(whole).iter().all(|&byte| byte == 9));
    });
}

#[test]
fn a_neighbour_that_lives_is_waited_for() {
    run(async {
        let theirs = node(Kind::Shm, 1).await;
        let grant = theirs.grant_all();
        let address = theirs.transport.address().to_string();
        let role = format!("initiator {address} {}", hex(&grant.to_bytes()));
        let start = tokio::task::spawn_blocking(move || start(&role, 1));
        let (mut peer, _) = start.await.expect("started");
        theirs.transport.revoke(grant.key).await.expect("revoked");
        let whole = theirs.region.whole();
        theirs.region.write(0, &vec![9; whole.bytes as usize]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(theirs.region.to_vec(whole).iter().all(|&byte| byte == 9));
        let stdin = peer.0.stdin.take().expect("piped");
        drop(stdin);
        let ended = peer.0.wait().expect("ended");
        assert!(ended.success(), "{ended}");
    });
}

#[test]
fn what_a_dead_process_left_is_replaced_and_who_listens_is_not() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.sock");
        // A socket that nobody listens at, as after a kill.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let bind = || Shm::bind(&path, options(1), Arc::new(NoCalls));
        let (_first, _notices) = bind().expect("replaced");
        assert!(bind().is_err(), "somebody is there");
    });
}
