//! `conductord load`: replays a trace as real requests against an OpenAI-compatible server and measures what a client
//! sees.
//!
//! Requests leave at the trace's times (open loop): a slow server does not slow the offered load. Lengths are divided
//! by a scale, blocks too, so that prompts share prefixes as in the trace. A token is stamped when its chunk is read
//! from the socket.
//!
//! Not here: the server; what a trace is (`conductor-traces`).

mod client;
mod prompt;
mod report;

pub use client::{Client, ClientError, Streamed, Target};
pub use prompt::Scale;
pub use report::{LoadReport, Slo, Summary};

use conductor_core::slo::Gaps;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How many times faster than its stamps.
    pub speed: f64,
    /// How lengths become smaller.
    pub scale: Scale,
    /// Requests that are under way at once, at most. One more waits, which the report says.
    pub concurrency: usize,
    /// A request that takes longer than this has failed.
    pub timeout: Duration,
    /// Limits that a request shall meet.
    pub slo_ttft: Nanos,
    /// See `slo_ttft`.
    pub slo_tbt: Nanos,
}

/// How one request went.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its place in the trace.
    pub id: u64,
    /// When the trace says, since the start.
    pub due: Nanos,
    /// How much later it was sent.
    pub late: Nanos,
    /// Prompt tokens that were sent.
    pub input: Tokens,
    /// How it ended.
    pub outcome: SampleOutcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleOutcome {
    /// With a complete answer.
    Completed {
        /// Tokens that came.
        output: Tokens,
        /// Prompt tokens that were cached, as the server says.
        cached: Tokens,
        /// From when it was due to the first token.
        ttft: Nanos,
        /// Mean of the longest 10 % of its token gaps.
        tbt: Option<Nanos>,
        /// From the first token to the last, over the gaps.
        tpot: Option<Nanos>,
        /// From when it was due to the end.
        e2e: Nanos,
    },
    /// Turned away (429 or 503).
    Rejected {
        /// From its sending to the answer.
        after: Nanos,
    },
    /// Anything else.
    Failed {
        /// In words.
        why: String,
    },
}

/// Sends all requests and waits for the last. `done` hears of each as it ends.
pub async fn run(
    target: Arc<Target>,
    requests: impl IntoIterator<Item = WorkloadRequest>,
    options: &LoadOptions,
    mut done: impl FnMut(&Sample),
) -> Vec<Sample> {
    let client = Client::new();
    let room = Arc::new(Semaphore::new(options.concurrency));
    let (results, mut ended) = mpsc::channel(options.concurrency.max(1));
    let start = Instant::now();
    let mut samples = Vec::new();
    for (id, request) in requests.into_iter().enumerate() {
        let due = Duration::from_secs_f64(request.arrival.as_secs_f64() / options.speed);
        // Results are taken in while the next request is waited for.
        let sleep = tokio::time::sleep_until(start + due);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => break,
                Some(sample) = ended.recv() => {
                    done(&sample);
                    samples.push(sample);
                }
            }
        }
        let permit = loop {
            tokio::select! {
                permit = Arc::clone(&room).acquire_owned() => break permit,
                Some(sample) = ended.recv() => {
                    done(&sample);
                    samples.push(sample);
                }
            }
        };
        let (client, target, results) = (client.clone(), Arc::clone(&target), results.clone());
        let (scale, timeout) = (options.scale, options.timeout);
        tokio::spawn(async move {
            let _permit = permit;
            let due_at = start + due;
            let late = due_at.elapsed();
            let body = scale.body(&target.model, &request);
            let input = scale.input(&request);
            let work = one(&client, &target, body, due_at);
            let outcome = match tokio::time::timeout(timeout, work).await {
                Ok(outcome) => outcome,
                Err(_) => SampleOutcome::Failed {
                    why: format!("no end within {} s", timeout.as_secs_f64()),
                },
            };
            let sample = Sample {
                id: id as u64,
                due: nanos(due),
                late: nanos(late),
                input,
                outcome,
            };
            let _ = results.send(sample).await;
        });
    }
    drop(results);
    while let Some(sample) = ended.recv().await {
        done(&sample);
        samples.push(sample);
    }
    samples.sort_by_key(|sample| sample.id);
    samples
}

/// One request, from its sending to its end.
async fn one(client: &Client, target: &Target, body: String, due: Instant) -> SampleOutcome {
    let sent = Instant::now();
    let answer = match client.complete(target, body).await {
        Ok(answer) => answer,
        Err(ClientError::Status { status, .. }) if status == 429 || status == 503 => {
            return SampleOutcome::Rejected {
                after: nanos(sent.elapsed()),
            };
        }
        Err(error) => {
            return SampleOutcome::Failed {
                why: error.to_string(),
            };
        }
    };
    let Some((&first, &last)) = answer.stamps.first().zip(answer.stamps.last()) else {
        return SampleOutcome::Failed {
            why: "the answer has no token".into(),
        };
    };
    let mut gaps = Gaps::default();
    for pair in answer.stamps.windows(2) {
        gaps.push(nanos(pair[1] - pair[0]));
    }
    let count = gaps.count();
    SampleOutcome::Completed {
        output: Tokens(answer.output.max(answer.stamps.len() as u64)),
        cached: Tokens(answer.cached),
        ttft: nanos(first - due),
        tbt: gaps.tail_mean(),
        tpot: (count > 0).then(|| nanos(last - first) / count),
        e2e: nanos(last - due),
    }
}

fn nanos(time: Duration) -> Nanos {
    Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
