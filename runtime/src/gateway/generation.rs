//! An answer as it is made: tokens from the driver in, text out, until something ends it.
//!
//! Dropping it before its end tells the driver that the client has gone.

use super::error::ApiError;
use super::metrics::Observed;
use super::text::Decode;
use crate::driver::Answer;
use crate::protocol::EndReason;
use crate::task::Answers;
use conductor_engine::text::Stops;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long the driver may take to say that an answer has ended which was told to stop. The text is complete by then:
/// all that is waited for is how much of the prompt was cached. A node that was lost just then would not say it.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What comes of an answer.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// One more token, and the text that it adds, often none.
    Token(String),
    /// The end.
    End(Ending),
}

/// The end of an answer.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// What was held back until now.
    pub(super) text: String,
    /// Why.
    pub(super) reason: EndReason,
    /// Tokens.
    pub(super) usage: Usage,
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Of its prompt.
    pub(super) prompt: u64,
    /// Of its answer.
    pub(super) output: u64,
    /// Of its prompt, cached before.
    pub(super) cached: u64,
}

/// See the module.
pub(super) struct Generation {
    answers: Answers,
    decoder: Box<dyn Decode>,
    stops: Stops,
    usage: Usage,
    /// Until when the driver may say that the answer has ended, once a stop string has come.
    stop_by: Option<Instant>,
    ended: bool,
    observed: Observed,
}

impl Generation {
    pub(super) fn new(
        answers: Answers,
        prompt: u64,
        decoder: Box<dyn Decode>,
        stops: Stops,
        observed: Observed,
    ) -> Self {
        Self {
            answers,
            decoder,
            stops,
            usage: Usage {
                prompt,
                output: 0,
                cached: 0,
            },
            stop_by: None,
            ended: false,
            observed,
        }
    }

    /// What comes next; `None` after the end or an error. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Result<Piece, ApiError>> {
        while !self.ended {
            let answer = match self.stop_by {
                None => self.answers.next().await,
                Some(at) => timeout_at(at, self.answers.next()).await.unwrap_or(None),
            };
            match answer {
                // Made before the node heard that it should stop.
                Some(Answer::Token { .. }) if self.stops.stopped() => {}
                Some(Answer::Token { token, at, .. }) => {
                    self.usage.output += 1;
                    self.observed.token(at);
                    let text = self.decoder.push(token);
                    let text = self.stops.push(&text);
                    if self.stops.stopped() {
                        self.answers.stop();
                        self.stop_by = Some(Instant::now() + STOP_MAX);
                    }
                    return Some(Ok(Piece::Token(text)));
                }
                Some(Answer::Finished { reason, cached, .. }) => {
                    self.usage.cached = cached.0;
                    return Some(Ok(self.end(reason)));
                }
                Some(Answer::Rejected {
                    reason,
                    retry_after,
                }) => {
                    self.ended = true;
                    self.observed.rejected(reason);
                    return Some(Err(ApiError::rejected(reason, retry_after)));
                }
                None if self.stops.stopped() => return Some(Ok(self.end(EndReason::Stop))),
                None => {
                    self.ended = true;
                    self.observed.failed();
                    return Some(Err(ApiError::ended()));
                }
            }
        }
        None
    }

    fn end(&mut self, reason: EndReason) -> Piece {
        self.ended = true;
        let rest = self.decoder.finish();
        let mut text = self.stops.push(&rest);
        let reason = match self.stops.stopped() {
            true => EndReason::Stop,
            false => reason,
        };
        text.push_str(&self.stops.finish());
        self.observed.completed(self.usage);
        Piece::End(Ending {
            text,
            reason,
            usage: self.usage,
        })
    }
}
