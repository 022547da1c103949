//! A publisher over real sockets on this machine: what an engine does, as far as listeners can see.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use zeromq::{PubSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// See the module. Dropping it closes its sockets.
pub(crate) struct Publisher {
    socket: PubSocket,
    next: u64,
    kept: Arc<Mutex<BTreeMap<u64, Bytes>>>,
    answering: JoinHandle<()>,
}

/// Addresses that are free now.
pub(crate) fn addresses() -> (String, String) {
    let free = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, format!("tcp://{address}"))
    };
    let ((_one, events), (_other, replay)) = (free(), free());
    (events, replay)
}

impl Publisher {
    /// Publishes at `events`, and answers at `replay`; with the topic in its answers as newer engines do, or without.
    pub(crate) async fn start(events: &str, replay: &str, with_topic: bool) -> Self {
        let mut socket = PubSocket::new();
        bind(&mut socket, events).await;
        let mut router = RouterSocket::new();
        bind(&mut router, replay).await;
        let kept = Arc::new(Mutex::new(BTreeMap::new()));
        let answering = tokio::spawn(answer(router, Arc::clone(&kept), with_topic));
        Self {
            socket,
            next: 0,
            kept,
            answering,
        }
    }

    /// Publishes a batch, or keeps it for replays only as if it were lost.
    pub(crate) async fn publish(&mut self, payload: Bytes, heard: bool) {
        let number = self.next;
        self.next += 1;
        let kept = Arc::clone(&self.kept);
        kept.lock()
            .expect("no panic")
            .insert(number, payload.clone());
        if heard {
            let number = Bytes::copy_from_slice(&number.to_be_bytes());
            let frames = vec![Bytes::from_static(b"kv@test"), number, payload];
            let message = ZmqMessage::try_from(frames).expect("three frames");
            self.socket.send(message).await.expect("an open socket");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// The one before it closes its sockets some time after it was dropped.
async fn bind(socket: &mut impl Socket, address: &str) {
    let bound = async {
        while socket.bind(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let bound = tokio::time::timeout(Duration::from_secs(20), bound).await;
    bound.expect("a free port");
}

async fn answer(
    mut router: RouterSocket,
    kept: Arc<Mutex<BTreeMap<u64, Bytes>>>,
    with_topic: bool,
) {
    while let Ok(request) = router.recv().await {
        let frames = request.into_vec();
        let [who, empty, from] = &frames[..] else {
            panic!("a request of {} frames", frames.len());
        };
        assert!(empty.is_empty());
        let from = u64::from_be_bytes(from[..].try_into().expect("8 bytes"));
        let batches: Vec<(u64, Bytes)> = {
            let kept = kept.lock().expect("no panic");
            let from = kept.range(from..);
            from.map(|(&number, payload)| (number, payload.clone()))
                .collect()
        };
        for (number, payload) in batches.into_iter().chain([(u64::MAX, Bytes::new())]) {
            let number = Bytes::copy_from_slice(&number.to_be_bytes());
            let mut frames = vec![who.clone(), Bytes::new()];
            frames.extend(with_topic.then(|| Bytes::from_static(b"kv@test")));
            frames.extend([number, payload]);
            let message = ZmqMessage::try_from(frames).expect("frames");
            if router.send(message).await.is_err() {
                break;
            }
        }
    }
}
