//! Bounded depth: how many operations and bytes may be under way on a link. Who comes when it is full waits, in order.

use crate::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bytes are counted in pages, since a semaphore hands out at most 2^32 permits at once.
const UNIT: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Gate {
    ops: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    units: u32,
}

/// Room for one operation, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _op: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(ops: u32, bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .max(1);
        Self {
            ops: Arc::new(Semaphore::new(ops.max(1) as usize)),
            bytes: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Waits for room, until `deadline` at most. What is larger than all the room waits for all of it.
    pub(crate) async fn enter(
        &self,
        bytes: u64,
        deadline: Instant,
        limit: Duration,
    ) -> Result<Permit, Error> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let both = async {
            let op = self.ops.clone().acquire_owned().await;
            let bytes = self.bytes.clone().acquire_many_owned(units.min(self.units));
            Some(Permit {
                _op: op.ok()?,
                _bytes: bytes.await.ok()?,
            })
        };
        match timeout_at(deadline, both).await {
            Ok(permit) => permit.ok_or(Error::Closed),
            Err(_) => Err(Error::Deadline(limit)),
        }
    }

    /// Waits until nothing is under way, and lets nobody in any more.
    pub(crate) async fn close(&self) {
        let all = self.bytes.acquire_many(self.units).await;
        self.ops.close();
        drop(all);
        self.bytes.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_most_so_many_operations_and_bytes_are_inside() {
        let gate = Gate::new(3, 10 * UNIT);
        let (soon, limit) = (Duration::from_millis(1), Duration::from_secs(9));
        let enter = |bytes: u64| gate.enter(bytes, Instant::now() + soon, limit);
        let first = enter(6 * UNIT).await.expect("room");
        assert_eq!(
            enter(5 * UNIT).await.err(),
            Some(Error::Deadline(limit)),
            "too many bytes"
        );
        let second = enter(4 * UNIT).await.expect("room");
        let third = enter(0).await.expect("room");
        assert!(enter(0).await.is_err(), "too many operations");
        drop((first, second, third));
        let large = enter(1000 * UNIT).await.expect("all of the room");
        assert!(enter(1).await.is_err());
        drop(large);
        gate.close().await;
        assert_eq!(enter(1).await.err(), Some(Error::Closed));
    }
}
