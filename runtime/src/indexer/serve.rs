//! Connections: within a bound, with a bound on each wait, until it is enough.

use super::routes::{Shared, router};
use super::state::{IndexerConfig, State};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// For a request's head to come; a kept connection that is idle for longer is closed, too.
const HEAD: Duration = Duration::from_secs(30);
/// Before the next try to accept when the system has no room for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// Serves until `shutdown`. Requests under way are cut: they take no longer than a look into the index.
pub async fn serve(
    config: IndexerConfig,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(Shared {
        state: Arc::new(State::new(config)),
        body_bytes_max: config.body_bytes_max,
    });
    let room = Arc::new(Semaphore::new(config.connections_max));
    let mut tasks = JoinSet::new();
    let accept = async {
        loop {
            // One too many waits in the system's queue.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            while tasks.try_join_next().is_some() {}
            let router = router.clone();
            tasks.spawn(async move {
                connection(stream, router).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
}

async fn connection(stream: TcpStream, router: axum::Router) {
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    // What goes wrong is the client's end, which needs no word.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}
