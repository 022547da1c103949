//! Time as the runtime sees it: nanoseconds since the driver's epoch.
//!
//! One trait, so that whoever waits can be made to wait on tokio's paused clock, too. The virtual cluster of
//! [`crate::loopback`] needs none: it sets the time.

use conductor_core::units::Nanos;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// A clock that never goes back.
pub trait Clock: Clone + Send + 'static {
    /// Now.
    fn now(&self) -> Nanos;

    /// Waits until then.
    fn sleep_until(&self, at: Nanos) -> impl Future<Output = ()> + Send;
}

/// The machine's monotonic clock, from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    epoch: Instant,
}

impl MonotonicClock {
    /// Its epoch is now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Nanos {
        let elapsed = self.epoch.elapsed().as_nanos();
        Nanos(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    async fn sleep_until(&self, at: Nanos) {
        tokio::time::sleep_until(self.epoch + Duration::from_nanos(at.0)).await;
    }
}
