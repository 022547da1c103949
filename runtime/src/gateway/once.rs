//! Answers with an `Idempotency-Key`: who repeats a request with its key gets the same answer, as it is made or
//! afterwards.
//!
//! An answer with a key is made by a task of its own and written down here; its client, and whoever repeats it, reads
//! along. When the last reader goes before the end, the answer is given up: its client has gone. What is complete is
//! kept for a while, within bounds. Errors are not kept: a request that was turned away is decided anew. A gateway that
//! restarts has forgotten all, and computes the answer again: with the seed that is the hash of the key its tokens are
//! the same.

use super::body::Head;
use super::config::GatewayConfig;
use super::error::ApiError;
use super::generation::{Generation, Piece};
use axum::http::StatusCode;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What a token of a kept answer costs besides its text.
const PIECE_BYTES: usize = 64;

/// An answer with a key.
struct Record {
    head: Head,
    steps: Mutex<Vec<Result<Piece, ApiError>>>,
    /// How many steps there are, and whether no more come.
    progress: watch::Sender<(usize, bool)>,
}

struct Entry {
    /// Of the request: the same key for another one is an error.
    digest: u64,
    record: Arc<Record>,
    readers: usize,
    /// Who makes the answer; none when it is complete.
    maker: Option<AbortHandle>,
    bytes: usize,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<String, Entry>,
    /// Complete answers, the oldest first, with the time at which they go.
    complete: VecDeque<(Instant, String)>,
    bytes: usize,
}

/// See the module.
pub(super) struct Kept {
    table: Mutex<Table>,
    keep: Duration,
    entries_max: usize,
    bytes_max: usize,
}

/// Reads an answer along.
pub(super) struct Reader {
    kept: Arc<Kept>,
    key: String,
    record: Arc<Record>,
    progress: watch::Receiver<(usize, bool)>,
    at: usize,
    /// It is not the one for which the answer is made.
    pub(super) repeats: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        Self {
            table: Mutex::default(),
            keep: Duration::from_secs(config.idempotency_s),
            entries_max: config.idempotency_entries_max,
            bytes_max: config.idempotency_bytes_max,
        }
    }

    /// Reads the answer with this key, which `make` makes if there is none. `None` if no more answers can be kept.
    ///
    /// # Errors
    /// If the key belongs to another request.
    pub(super) fn open<F>(
        self: &Arc<Self>,
        key: &str,
        digest: u64,
        head: &Head,
        make: impl FnOnce() -> F,
    ) -> Result<Option<Reader>, ApiError>
    where
        F: Future<Output = Result<Generation, ApiError>> + Send + 'static,
    {
        let mut table = lock(&self.table);
        table.expire(self, Instant::now());
        if let Some(entry) = table.entries.get_mut(key) {
            if entry.digest != digest {
                let message = "this Idempotency-Key belongs to another request";
                let code = "idempotency-key-reused";
                return Err(ApiError::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    code,
                    message,
                ));
            }
            entry.readers += 1;
            let record = Arc::clone(&entry.record);
            return Ok(Some(self.reader(key, record, true)));
        }
        if table.entries.len() >= self.entries_max && !table.forget_oldest() {
            return Ok(None);
        }
        let record = Arc::new(Record {
            head: head.clone(),
            steps: Mutex::default(),
            progress: watch::Sender::new((0, false)),
        });
        let maker = tokio::spawn(run(
            Arc::clone(self),
            key.to_owned(),
            Arc::clone(&record),
            make(),
        ));
        let entry = Entry {
            digest,
            record: Arc::clone(&record),
            readers: 1,
            maker: Some(maker.abort_handle()),
            bytes: 0,
        };
        table.entries.insert(key.to_owned(), entry);
        Ok(Some(self.reader(key, record, false)))
    }

    fn reader(self: &Arc<Self>, key: &str, record: Arc<Record>, repeats: bool) -> Reader {
        Reader {
            kept: Arc::clone(self),
            key: key.to_owned(),
            progress: record.progress.subscribe(),
            record,
            at: 0,
            repeats,
        }
    }

    /// The answer is there, or there is none.
    fn made(&self, key: &str, record: &Arc<Record>) {
        let mut guard = lock(&self.table);
        let table = &mut *guard;
        let entry = table.entries.get_mut(key);
        let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.record, record)) else {
            return;
        };
        entry.maker = None;
        let steps = lock(&record.steps);
        let failed = steps.last().is_none_or(Result::is_err);
        entry.bytes = steps.iter().map(bytes_of).sum();
        if failed || self.keep.is_zero() {
            table.entries.remove(key);
            return;
        }
        table.bytes += entry.bytes;
        let until = Instant::now() + self.keep;
        table.complete.push_back((until, key.to_owned()));
        while table.bytes > self.bytes_max && table.forget_oldest() {}
    }
}

fn bytes_of(step: &Result<Piece, ApiError>) -> usize {
    PIECE_BYTES
        + match step {
            Ok(Piece::Token(text)) => text.len(),
            Ok(Piece::End(ending)) => ending.text.len(),
            Err(error) => error.message.len(),
        }
}

impl Table {
    fn expire(&mut self, kept: &Kept, now: Instant) {
        while self
            .complete
            .front()
            .is_some_and(|&(until, _)| until <= now)
            || self.bytes > kept.bytes_max
        {
            if !self.forget_oldest() {
                break;
            }
        }
    }

    /// Forgets the oldest complete answer; its readers read on.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.complete.pop_front() else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= entry.bytes;
        }
        true
    }
}

async fn run(
    kept: Arc<Kept>,
    key: String,
    record: Arc<Record>,
    make: impl Future<Output = Result<Generation, ApiError>>,
) {
    match make.await {
        Ok(mut generation) => {
            while let Some(step) = generation.next().await {
                record.push(step);
            }
        }
        Err(error) => record.push(Err(error)),
    }
    kept.made(&key, &record);
    record.progress.send_modify(|(_, ended)| *ended = true);
}

impl Record {
    fn push(&self, step: Result<Piece, ApiError>) {
        let mut steps = lock(&self.steps);
        steps.push(step);
        let count = steps.len();
        drop(steps);
        self.progress.send_modify(|(known, _)| *known = count);
    }
}

impl Reader {
    /// What all parts of the answer say.
    pub(super) fn head(&self) -> &Head {
        &self.record.head
    }

    /// What comes next; `None` after the end. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Result<Piece, ApiError>> {
        let at = self.at;
        // The sender is in the record, which this keeps.
        let there = self
            .progress
            .wait_for(|&(known, ended)| known > at || ended);
        let known = there.await.map_or(0, |progress| progress.0);
        if known <= at {
            return None;
        }
        self.at += 1;
        lock(&self.record.steps).get(at).cloned()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut table = lock(&self.kept.table);
        let entry = table.entries.get_mut(&self.key);
        let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.record, &self.record)) else {
            return;
        };
        entry.readers -= 1;
        if entry.readers == 0
            && let Some(maker) = entry.maker.take()
        {
            maker.abort();
            table.entries.remove(&self.key);
        }
    }
}
