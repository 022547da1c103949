//! Several operations at a time, in order of submission, each repeated when its failure may pass.
//!
//! Reads and writes can be repeated: they put the same bytes into the same place, and a link takes over its lost
//! connections before it accepts the repetition (`transport.rs`), so nothing of the failed try comes behind it. The
//! number of tries is bounded; after that the error is the caller's, who gives the transfer up or takes another way.

use crate::error::Error;
use crate::op::{Op, Ticket};
use crate::transport::Link;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How a transfer of many operations is cared for.
#[derive(Clone, Copy, Debug)]
pub struct Care {
    /// Operations under way at a time.
    pub window: usize,
    /// Tries of each, the first one included.
    pub tries: u32,
    /// The wait before the second try; it doubles with each further one.
    pub pause: Duration,
}

impl Default for Care {
    /// Sixteen at a time, three tries, 20 ms.
    fn default() -> Self {
        Self {
            window: 16,
            tries: 3,
            pause: Duration::from_millis(20),
        }
    }
}

pub(crate) struct Convoy {
    pub(crate) link: Arc<dyn Link>,
    care: Care,
    under_way: VecDeque<(Op, Ticket)>,
    /// Operations that were tried again.
    pub(crate) repeats: u64,
}

impl Convoy {
    pub(crate) fn new(link: Arc<dyn Link>, care: Care) -> Self {
        Self {
            link,
            care,
            under_way: VecDeque::new(),
            repeats: 0,
        }
    }

    /// Takes an operation in, after waiting for the oldest if the window is full. After an error nothing is under way.
    pub(crate) async fn push(&mut self, op: Op) -> Result<(), Error> {
        while self.under_way.len() >= self.care.window.max(1) {
            self.settle().await?;
        }
        match self.link.submit(op.clone()).await {
            Ok(ticket) => self.under_way.push_back((op, ticket)),
            Err(error) => self.again(op, error).await?,
        }
        Ok(())
    }

    /// Waits for all.
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let Some((op, ticket)) = self.under_way.pop_front() else {
            return Ok(());
        };
        match ticket.await {
            Ok(()) => Ok(()),
            Err(error) => self.again(op, error).await,
        }
    }

    async fn again(&mut self, op: Op, mut error: Error) -> Result<(), Error> {
        let mut pause = self.care.pause;
        for _ in 1..self.care.tries {
            if !error.is_passing() {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
            self.repeats += 1;
            let tried = match self.link.submit(op.clone()).await {
                Ok(ticket) => ticket.await,
                Err(error) => Err(error),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
        // The caller may use the memory again: let what is under way end first, as it does by its deadline.
        for (_, ticket) in self.under_way.drain(..) {
            let _ended = ticket.await;
        }
        Err(error)
    }
}
