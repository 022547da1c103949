//! A wire between two processes that the test can cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[derive(Default)]
struct Wire {
    to: Mutex<Option<SocketAddr>>,
    carried: AtomicU64,
    open: Mutex<JoinSet<()>>,
    is_cut: Mutex<bool>,
}

/// See the module; all that goes through it ends with it.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    wire: Arc<Wire>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A wire that leads nowhere yet.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let wire = Arc::new(Wire::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&wire)));
        Self {
            address,
            wire,
            accepting,
        }
    }

    /// Where it leads.
    pub(crate) fn lead_to(&self, to: SocketAddr) {
        *self.wire.to.lock().expect("no panic") = Some(to);
    }

    /// Bytes that it has carried, both ways.
    pub(crate) fn carried(&self) -> u64 {
        self.wire.carried.load(Ordering::Relaxed)
    }

    /// Breaks all connections, in the middle of whatever they carry, and refuses new ones.
    pub(crate) fn cut(&self) {
        *self.wire.is_cut.lock().expect("no panic") = true;
        self.wire.open.lock().expect("no panic").abort_all();
    }

    /// New connections are carried again.
    pub(crate) fn mend(&self) {
        *self.wire.is_cut.lock().expect("no panic") = false;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, wire: Arc<Wire>) {
    while let Ok((from, _)) = listener.accept().await {
        let to = *wire.to.lock().expect("no panic");
        let is_cut = *wire.is_cut.lock().expect("no panic");
        if let Some(to) = to.filter(|_| !is_cut) {
            let carried = carry(from, to, Arc::clone(&wire));
            wire.open.lock().expect("no panic").spawn(carried);
        }
    }
}

async fn carry(from: TcpStream, to: SocketAddr, wire: Arc<Wire>) {
    let Ok(to) = TcpStream::connect(to).await else {
        return;
    };
    for side in [&from, &to] {
        let _ = side.set_nodelay(true);
    }
    let ((down, up), (back, on)) = (from.into_split(), to.into_split());
    tokio::select! {
        () = copy(down, on, &wire.carried) => {}
        () = copy(back, up, &wire.carried) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, carried: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        carried.fetch_add(count as u64, Ordering::Relaxed);
    }
}
