//! A wire that can be cut, frozen and tampered with, between two TCP nodes.

use conductor_messenger::Address;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Gets bytes on their way, and how many went before them in this connection and direction.
type Tamper = Box<dyn Fn(&mut Vec<u8>, u64) + Send>;

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: Address,
    inner: Arc<Inner>,
}

struct Inner {
    /// Bytes that may still go from caller to listener before everything stands still.
    budget: AtomicU64,
    /// The budget is of connections with a number below this.
    limited: AtomicU64,
    /// Connections that began before the last cut are ended.
    cuts: AtomicU64,
    changed: watch::Sender<()>,
    forwards: Mutex<Option<Tamper>>,
    backwards: Mutex<Option<Tamper>>,
    connections: AtomicU64,
}

impl Proxy {
    pub(crate) async fn to(address: &Address) -> Self {
        let Address::Tcp(to) = *address else {
            panic!("proxies are for TCP");
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let inner = Arc::new(Inner {
            budget: AtomicU64::new(u64::MAX),
            limited: AtomicU64::new(u64::MAX),
            cuts: AtomicU64::new(0),
            changed: watch::Sender::new(()),
            forwards: Mutex::default(),
            backwards: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let address = Address::Tcp(listener.local_addr().expect("an address"));
        let accepting = inner.clone();
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let Ok(target) = TcpStream::connect(to).await else {
                    continue;
                };
                let number = accepting.connections.fetch_add(1, SeqCst);
                let ((from, back), (answers, into)) = (caller.into_split(), target.into_split());
                // What is frozen stays frozen for this connection's life, or until it is thawed.
                tokio::spawn(pump(accepting.clone(), from, into, Some(number)));
                tokio::spawn(pump(accepting.clone(), answers, back, None));
            }
        });
        Self { address, inner }
    }

    /// Lets `bytes` more through, then holds everything back that comes from the caller.
    pub(crate) fn freeze_after(&self, bytes: u64) {
        self.inner.limited.store(u64::MAX, SeqCst);
        self.inner.budget.store(bytes, SeqCst);
    }

    /// New connections are not held back; those that there are stay so.
    pub(crate) fn let_new_ones_through(&self) {
        self.inner.limited.store(self.connections(), SeqCst);
    }

    pub(crate) fn thaw(&self) {
        self.inner.budget.store(u64::MAX, SeqCst);
        self.inner.changed.send_replace(());
    }

    /// Ends all connections; new ones go through.
    pub(crate) fn cut(&self) {
        self.inner.cuts.fetch_add(1, SeqCst);
        self.inner.changed.send_replace(());
    }

    pub(crate) fn tamper_forwards(&self, tamper: impl Fn(&mut Vec<u8>, u64) + Send + 'static) {
        *self.inner.forwards.lock().expect("no panic") = Some(Box::new(tamper));
    }

    pub(crate) fn tamper_backwards(&self, tamper: impl Fn(&mut Vec<u8>, u64) + Send + 'static) {
        *self.inner.backwards.lock().expect("no panic") = Some(Box::new(tamper));
    }

    pub(crate) fn connections(&self) -> u64 {
        self.inner.connections.load(SeqCst)
    }
}

impl Inner {
    /// Takes from the budget.
    fn take(&self, number: u64, wanted: usize) -> usize {
        if number >= self.limited.load(SeqCst) {
            return wanted;
        }
        let take = |budget: u64| match budget {
            u64::MAX => Some(budget),
            _ => Some(budget.saturating_sub(wanted as u64)),
        };
        let before = self.budget.fetch_update(SeqCst, SeqCst, take);
        wanted.min(usize::try_from(before.unwrap_or(0)).unwrap_or(usize::MAX))
    }
}

async fn pump(
    inner: Arc<Inner>,
    mut from: OwnedReadHalf,
    mut into: OwnedWriteHalf,
    number: Option<u64>,
) {
    let cuts = inner.cuts.load(SeqCst);
    let mut changed = inner.changed.subscribe();
    let (mut buffer, mut gone) = (vec![0; 16 * 1024], 0u64);
    loop {
        let got = tokio::select! {
            got = from.read(&mut buffer) => got.unwrap_or(0),
            _ = changed.changed() => {
                if inner.cuts.load(SeqCst) != cuts {
                    return;
                }
                continue;
            }
        };
        if got == 0 {
            return;
        }
        let mut bytes = buffer[..got].to_vec();
        let tamper = if number.is_some() {
            &inner.forwards
        } else {
            &inner.backwards
        };
        if let Some(tamper) = &*tamper.lock().expect("no panic") {
            tamper(&mut bytes, gone);
        }
        gone += got as u64;
        let mut sent = 0;
        while sent < bytes.len() {
            let left = bytes.len() - sent;
            let may = number.map_or(left, |number| inner.take(number, left));
            if may == 0 {
                if changed.changed().await.is_err() || inner.cuts.load(SeqCst) != cuts {
                    return;
                }
                continue;
            }
            let some = &bytes[sent..(sent + may).min(bytes.len())];
            if into.write_all(some).await.is_err() {
                return;
            }
            sent += some.len();
        }
    }
}
