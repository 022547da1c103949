//! How many queue pairs a node has opened: a seat for each, and SIEVE says who has to give one up.
//!
//! NICs keep the state of queue pairs in a small cache, so thousands of them are slow long before they are too many. A
//! link that wants a pair waits for a seat; meanwhile owners of others are asked, one after the other, to close theirs.
//! Who is in the middle of something keeps it.

use super::pump::Command;
use super::sieve::Sieve;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::WeakSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long an owner is waited for before the next one is asked.
const TURN: Duration = Duration::from_millis(5);

/// A link and one of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointId {
    pub(crate) link: u64,
    pub(crate) path: usize,
}

#[derive(Clone)]
pub(crate) struct Endpoints(Arc<Shared>);

struct Shared {
    seats: Arc<Semaphore>,
    taken: Mutex<Taken>,
    links: AtomicU64,
}

#[derive(Default)]
struct Taken {
    sieve: Sieve<EndpointId>,
    owners: BTreeMap<EndpointId, WeakSender<Command>>,
}

/// The right to one queue pair, given back when it is dropped.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    id: EndpointId,
    _permit: OwnedSemaphorePermit,
}

impl Endpoints {
    pub(crate) fn new(most: u32) -> Self {
        Self(Arc::new(Shared {
            seats: Arc::new(Semaphore::new(most as usize)),
            taken: Mutex::default(),
            links: AtomicU64::new(0),
        }))
    }

    /// A number that no other link has.
    pub(crate) fn link(&self) -> u64 {
        self.0.links.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for a seat; `None`: until `deadline` nobody gave one up.
    pub(crate) async fn seat(
        &self,
        id: EndpointId,
        owner: WeakSender<Command>,
        deadline: Instant,
    ) -> Option<Seat> {
        loop {
            let seat = self.0.seats.clone().acquire_owned();
            if let Ok(permit) = timeout(TURN, seat).await {
                let mut taken = self.0.lock();
                taken.sieve.insert(id);
                taken.owners.insert(id, owner);
                return Some(Seat {
                    shared: self.0.clone(),
                    id,
                    _permit: permit.ok()?,
                });
            }
            if Instant::now() >= deadline {
                return None;
            }
            self.0.ask_for_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().expect("no panic inside")
    }

    fn ask_for_one(&self) {
        let owner = {
            let mut taken = self.lock();
            let victim = taken.sieve.victim();
            victim.and_then(|id| Some((id.path, taken.owners.get(&id)?.upgrade()?)))
        };
        if let Some((path, owner)) = owner {
            // Its queue is full: then it is busy, and the next one is asked.
            let _busy = owner.try_send(Command::Evict(path));
        }
    }
}

impl Seat {
    /// It is used: others are asked first.
    pub(crate) fn touch(&self) {
        self.shared.lock().sieve.touch(self.id);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        taken.sieve.remove(self.id);
        taken.owners.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn who_wants_a_seat_gets_that_of_the_one_who_is_not_in_use() {
        let endpoints = Endpoints::new(2);
        let (owner, mut asked) = mpsc::channel(4);
        let id = |path| EndpointId { link: 0, path };
        let soon = || Instant::now() + Duration::from_secs(20);
        let seat = |path| endpoints.seat(id(path), owner.downgrade(), soon());
        let (first, second) = (seat(1).await.expect("free"), seat(2).await.expect("free"));
        first.touch();
        let give_up = async {
            let Some(Command::Evict(path)) = asked.recv().await else {
                panic!("somebody is asked");
            };
            assert_eq!(path, 2, "the other one was used");
            drop(second);
        };
        let (third, ()) = tokio::join!(seat(3), give_up);
        assert!(third.is_some());
        let now = Instant::now();
        assert!(
            endpoints
                .seat(id(4), owner.downgrade(), now)
                .await
                .is_none(),
            "nobody gives up"
        );
    }
}
