//! Connections: accepted within a bound, each with its waits bounded, and ended in order.
//!
//! Shutdown has three steps. New requests are refused (and the gateway says that it is not ready) while those under way
//! are finished; when the last is done, or the time is over, every connection is closed as soon as what it is writing
//! is written; what is then still open is cut.

use super::Gateway;
use super::routes;
use super::stall::Stall;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// To write the last bytes of answers that are complete.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// Before the next try to accept when the system has no room for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Room for a request's head, bytes; hyper answers 431 to a larger one.
const HEAD_MAX: usize = 32 << 10;

/// What one connection too many is told; it is not read.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n";

pub(super) async fn run(
    gateway: &Arc<Gateway>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    let config = &gateway.front.config;
    let (close, closing) = watch::channel(false);
    let mut connections = Connections {
        gateway: Arc::clone(gateway),
        router: routes::router(gateway),
        room: Arc::new(Semaphore::new(config.connections_max)),
        closing,
        tasks: JoinSet::new(),
    };
    tokio::select! {
        () = connections.accept(&listener) => {}
        () = shutdown => {}
    }
    gateway.draining.store(true, Ordering::Relaxed);
    let all = config.concurrent_max as u32;
    let drained = timeout(
        Duration::from_secs(config.drain_s),
        gateway.room.acquire_many(all),
    );
    tokio::select! {
        () = connections.accept(&listener) => {}
        _ = drained => {}
    }
    drop(listener);
    let _ = close.send(true);
    let tasks = &mut connections.tasks;
    let rest = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(LAST_BYTES, rest).await;
    connections.tasks.shutdown().await;
}

struct Connections {
    gateway: Arc<Gateway>,
    router: axum::Router,
    room: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Connections {
    /// Never ends by itself.
    async fn accept(&mut self, listener: &TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = self.tasks.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => self.start(stream),
                // A client that went at once, or no file descriptor is left: others may have more luck.
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    fn start(&mut self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            let refused = &self.gateway.metrics.connections_refused;
            refused.fetch_add(1, Ordering::Relaxed);
            let _ = stream.try_write(FULL);
            return;
        };
        // Tokens are small and shall not wait for each other.
        let _ = stream.set_nodelay(true);
        let config = &self.gateway.front.config;
        let stall = Duration::from_secs(config.write_stall_s);
        let stream = TokioIo::new(Stall::new(stream, stall));
        let service = TowerToHyperService::new(self.router.clone());
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(config.header_read_s))
            .max_buf_size(HEAD_MAX);
        let connection = builder.serve_connection(stream, service);
        let mut closing = self.closing.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            let mut connection = std::pin::pin!(connection);
            let closed = tokio::select! {
                _ = connection.as_mut() => true,
                _ = closing.wait_for(|&closing| closing) => false,
            };
            if !closed {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        });
    }
}
