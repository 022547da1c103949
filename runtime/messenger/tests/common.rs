//! Two nodes, over any transport.

use conductor_core::ids::NodeId;
use conductor_messenger::{
    Access, Address, Grant, Handler, Link, NoCalls, Notices, Options, Pages, Region, Rights,
    Secret, Shm, Span, Tcp, Transport,
};
use std::sync::Arc;
use std::time::Duration;

/// Which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Shm,
    #[cfg(feature = "rdma")]
    Verbs,
}

/// Those that what holds for all is tested with. With the feature `rdma` it is verbs alone, which needs devices:
/// `tests/rdma-vm/` has some.
#[cfg(not(feature = "rdma"))]
pub(crate) const KINDS: [Kind; 2] = [Kind::Tcp, Kind::Shm];
#[cfg(feature = "rdma")]
pub(crate) const KINDS: [Kind; 1] = [Kind::Verbs];

/// Long enough for a busy machine; nothing that works waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) notices: Notices,
    pub(crate) region: Region,
    _folder: tempfile::TempDir,
}

pub(crate) fn options(node: u16) -> Options {
    let mut options = Options::new(NodeId(node), Secret::new(b"tests"));
    options.deadline = LONG;
    // An emulated machine that moves blocks has no time for questions.
    #[cfg(feature = "rdma")]
    {
        options.heartbeat = LONG;
        options.idle = 4 * LONG;
        options.connect = LONG;
    }
    options
}

pub(crate) async fn node_with(kind: Kind, options: Options, handler: Arc<dyn Handler>) -> Node {
    let folder = tempfile::tempdir().expect("a folder");
    let (transport, notices): (Box<dyn Transport>, Notices) = match kind {
        #[cfg(feature = "rdma")]
        Kind::Verbs => {
            let mut settings = crate::rdma::settings(options.node);
            // As a link with one lane: operations keep their order on one rail.
            settings.devices.truncate(options.lanes.into());
            let (verbs, notices) = crate::rdma::bind(options, &settings, handler).await;
            (Box::new(verbs), notices)
        }
        Kind::Tcp => {
            let any = "127.0.0.1:0".parse().expect("an address");
            let (tcp, notices) = Tcp::bind(any, options, handler).await.expect("a port");
            (Box::new(tcp), notices)
        }
        Kind::Shm => {
            let path = folder.path().join("node.sock");
            let (shm, notices) = Shm::bind(&path, options, handler).expect("a socket");
            (Box::new(shm), notices)
        }
    };
    let region = Region::allocate(8 << 20, Pages::default()).expect("memory");
    Node {
        transport,
        notices,
        region,
        _folder: folder,
    }
}

pub(crate) async fn node(kind: Kind, number: u16) -> Node {
    node_with(kind, options(number), Arc::new(NoCalls)).await
}

impl Node {
    pub(crate) fn grant(&self, window: Span, rights: Rights) -> Grant {
        let node = None;
        let access = Access {
            window,
            rights,
            node,
        };
        self.transport
            .register(&self.region, access)
            .expect("within")
    }

    pub(crate) fn grant_all(&self) -> Grant {
        self.grant(self.region.whole(), Rights::BOTH)
    }

    pub(crate) async fn link(&self, to: &Address) -> Arc<dyn Link> {
        self.transport.connect(to).await.expect("a link")
    }
}

/// Bytes that differ by seed and place.
pub(crate) fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| step()).collect()
}

/// A minute; on an emulated processor more.
const LIMIT: Duration = Duration::from_secs(if cfg!(feature = "rdma") { 200 } else { 60 });

/// Runs a test on two threads, within a limit.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let limited = async { tokio::time::timeout(LIMIT, test).await };
    runtime.block_on(limited).expect("the test ends");
}
