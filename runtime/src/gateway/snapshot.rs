//! How things stand with the driver, asked of it at most so often: whoever reads metrics or readiness in a loop does
//! not keep the scheduler busy.

use crate::task::{DriverHandle, Ended, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer is used again for so long. Counting loads costs the driver microseconds a hundred requests.
const FRESH: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Default)]
pub(super) struct Snapshot(Mutex<Option<(Instant, Arc<Status>)>>);

impl Snapshot {
    pub(super) async fn of(&self, driver: &DriverHandle) -> Result<Arc<Status>, Ended> {
        // Who comes meanwhile waits for the same answer.
        let mut last = self.0.lock().await;
        if let Some((at, status)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(status));
        }
        let status = Arc::new(driver.status().await?);
        *last = Some((Instant::now(), Arc::clone(&status)));
        Ok(status)
    }
}
