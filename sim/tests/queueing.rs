//! The simulator against queueing theory: mean waits before prefill in systems whose answer is known in closed form.
//!
//! Answers have one token, handing over takes no time and a prefill takes 1 us a token, so a prefill node is a server
//! and a prompt's length its service time: exponential with a mean of 10,000 tokens (rounded up to whole tokens, which
//! makes the mean 5e-5 longer) or constant. Arrivals are a Poisson process. With rho the load of a node:
//!
//! - M/M/1: `rho / (1 - rho)` services;
//! - M/D/1: half of that (Pollaczek and Khinchine);
//! - M/M/k: `C(k, k rho) / (k (1 - rho))`, with Erlang's C;
//! - k nodes chosen at random are k times M/M/1: a Poisson process that is split at random is Poisson again.
//!
//! M/M/k has one queue for all servers; here each node has its own. With `least-queued` and exact estimates a request
//! goes to the node that will be free first, and so starts when the first of all nodes has done the work of all who
//! came before; and that is when the head of one common queue would start. By induction over arrivals the times at
//! which the nodes are free are the same (J. Kiefer and J. Wolfowitz, "On the theory of queues with many servers",
//! Trans. Amer. Math. Soc. 78, 1955: their recursion for the common queue is this rule).
//!
//! That is checked too, without statistics: every single wait equals that of the recursion, to the nanosecond.
//!
//! The error of a mean is estimated from means of 30 batches, after a first batch that is not counted. The seed is the
//! date on which this was written, for all and for ever.

use conductor_core::config::{ClusterConfig, PolicyConfig, Profile};
use conductor_core::ids::ClassId;
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::record::RequestRecord;
use conductor_sim::{FaultPlan, Mode, Observer, RetryConfig, RunConfig};
use std::convert::Infallible;

const SEED: u64 = 20_261_125;
/// Mean service in tokens, which are microseconds.
const SERVICE: f64 = 10_000.0;
const BATCHES: u64 = 30;
/// Standard errors within which a mean must be.
const ERRORS_MAX: f64 = 3.0;

struct System {
    name: &'static str,
    nodes: u64,
    policy: &'static str,
    /// Load of a node.
    rho: f64,
    constant: bool,
    /// Mean wait, in services.
    wait: f64,
}

fn systems() -> [System; 4] {
    let mm1 = |rho: f64| rho / (1.0 - rho);
    let system = |name, nodes, policy, rho, constant, wait| System {
        name,
        nodes,
        policy,
        rho,
        constant,
        wait,
    };
    [
        system("M/M/1", 1, "least-queued", 0.7, false, mm1(0.7)),
        system("M/D/1", 1, "least-queued", 0.8, true, mm1(0.8) / 2.0),
        system(
            "M/M/4",
            4,
            "least-queued",
            0.8,
            false,
            erlang_c(4, 3.2) / (4.0 * 0.2),
        ),
        system("4 x M/M/1", 4, "random", 0.7, false, mm1(0.7)),
    ]
}

/// The chance that all of `k` servers are busy when `load` are on average: Erlang's C.
fn erlang_c(k: u32, load: f64) -> f64 {
    // Erlang's B by its recursion over servers.
    let b = (1..=k).fold(1.0, |b, servers| load * b / (f64::from(servers) + load * b));
    b / (1.0 - load / f64::from(k) * (1.0 - b))
}

/// A mean and its standard error from means of equal batches, in the order in which values come.
struct BatchMeans {
    batch: u64,
    seen: u64,
    sum: u128,
    means: Vec<f64>,
}

impl BatchMeans {
    fn add(&mut self, value: Nanos) {
        self.seen += 1;
        self.sum += u128::from(value.0);
        if self.seen.is_multiple_of(self.batch) {
            self.means.push(self.sum as f64 / self.batch as f64);
            self.sum = 0;
        }
    }

    /// Without the first batch, in which the system fills.
    fn mean_and_error(&self) -> (f64, f64) {
        let means = &self.means[1..];
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let squares: f64 = means.iter().map(|other| (other - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0) / n).sqrt())
    }
}

impl System {
    fn config(&self) -> RunConfig {
        let profile = "name = \"server\"\nsource = \"none\"\nengine = \"none\"\ndate = \"2026\"\n\
             kv_bytes_per_token = 1\nlayers = 1\nschedule_s = 0\ncache_tokens = 0\n\
             hbm_kv_tokens = 4_000_000_000\nprefill_chunk_tokens = 16_777_216\n\
             nic_gbytes_per_s = 1\nload_gbytes_per_s = 1\n\
             [prefill]\nmodel = \"polynomial\"\nbase_s = 0\ntoken_s = 1e-6\ntoken2_s = 0\nhit_base_s = 0\n\
             cached_token_s = 0\n[decode]\nmodel = \"polynomial\"\nbase_s = 1e-3\nrequest_s = 0\ncontext_token_s = 0\n";
        let cluster = format!(
            "name = \"queue\"\nprofile = \"server\"\n[[nodes]]\ncount = {}\nrole = \"prefill\"\n\
             [[nodes]]\ncount = 1\nrole = \"decode\"\n[limits]\nlive_requests = 1_000_000\n",
            self.nodes
        );
        let profile = Profile::parse(profile).expect("the profile is valid");
        let policy = format!("[prefill]\nselect = \"{}\"\n", self.policy);
        RunConfig {
            cluster: ClusterConfig::parse(&cluster, &[profile]).expect("the cluster is valid"),
            policy: PolicyConfig::parse(&policy).expect("the policy is valid"),
            retry: RetryConfig::default(),
            closed_loop: None,
            faults: FaultPlan::default(),
            seed: SEED,
            mode: Mode::FastForward,
            node_samples: false,
        }
    }

    fn requests(&self, count: u64) -> impl Iterator<Item = WorkloadRequest> {
        let (gaps, lengths) = (
            Stream::new(SEED, "queueing-gaps"),
            Stream::new(SEED, "queueing-lengths"),
        );
        // Uniform above 0 and up to 1.
        let unit = |bits: u64| ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let exponential = move |bits| -libm::log(unit(bits));
        let gap = SERVICE * 1000.0 / (self.rho * self.nodes as f64);
        let constant = self.constant;
        let mut arrival = Nanos::ZERO;
        (0..count).map(move |i| {
            arrival += Nanos((gap * exponential(gaps.draw(i)) + 0.5) as u64);
            let service = match constant {
                true => SERVICE,
                false => SERVICE * exponential(lengths.draw(i)),
            };
            WorkloadRequest {
                class: ClassId::default(),
                workflow: None,
                arrival,
                input: Tokens((service.ceil() as u64).max(1)),
                output: Tokens(1),
                blocks: Vec::new(),
            }
        })
    }

    /// Mean wait and its standard error, in services.
    fn measure(&self, batch: u64) -> (f64, f64) {
        let mut means = BatchMeans {
            batch,
            seen: 0,
            sum: 0,
            means: Vec::new(),
        };
        let mut take = |record: &RequestRecord| {
            let ttft = record.ttft.expect("nobody is turned away");
            means.add(ttft - record.prefill);
        };
        let observer = Observer {
            records: Some(&mut take),
            ..Observer::default()
        };
        let requests = self
            .requests(batch * (BATCHES + 1))
            .map(Ok::<_, Infallible>);
        let result = conductor_sim::run(&self.config(), requests, observer).expect("it ends");
        assert!(result.records.is_empty(), "the observer has them");
        assert_eq!(result.counters.finished, batch * (BATCHES + 1));
        let (mean, error) = means.mean_and_error();
        (mean / (SERVICE * 1000.0), error / (SERVICE * 1000.0))
    }
}

#[test]
fn mean_waits_are_within_three_standard_errors_of_theory() {
    for system in systems() {
        let (mean, error) = system.measure(10_000);
        let off = (mean - system.wait) / error;
        assert!(
            off.abs() < ERRORS_MAX && error < 0.05 * system.wait,
            "{}: {mean} +- {error}, expected {}",
            system.name,
            system.wait
        );
    }
}

/// The wait of each request in one queue before `nodes` servers, by the definition: it starts when the first server is
/// free, or at once.
fn waits_in_one_queue(nodes: u64, requests: impl Iterator<Item = WorkloadRequest>) -> Vec<Nanos> {
    let mut free = vec![Nanos::ZERO; nodes as usize];
    let wait = |request: WorkloadRequest| {
        let first = free.iter_mut().min().expect("there are servers");
        let start = request.arrival.max(*first);
        *first = start + Nanos(request.input.0 * 1_000);
        start - request.arrival
    };
    requests.map(wait).collect()
}

#[test]
fn every_wait_is_that_of_one_queue() {
    for system in systems() {
        if system.policy == "random" {
            continue;
        }
        let mut waits = vec![Nanos::MAX; 50_000];
        let mut take = |record: &RequestRecord| {
            let ttft = record.ttft.expect("nobody is turned away");
            waits[record.id.0 as usize] = ttft - record.prefill;
        };
        let observer = Observer {
            records: Some(&mut take),
            ..Observer::default()
        };
        let requests = system.requests(50_000).map(Ok::<_, Infallible>);
        conductor_sim::run(&system.config(), requests, observer).expect("it ends");
        let expected = waits_in_one_queue(system.nodes, system.requests(50_000));
        assert!(waits == expected, "{}", system.name);
    }
}

/// Prints the log that is committed under experiments/results: minutes in release.
#[test]
#[ignore = "minutes; run in release with --ignored --nocapture"]
fn mean_waits_of_twenty_million_requests_are_within_two_percent() {
    println!(
        "seed {SEED}, {BATCHES} batches after a first one that is not counted; waits in mean services"
    );
    println!(
        "system       load    requests    theory  measured  std error  off by   in std errors"
    );
    let mut misses = 0;
    for system in systems() {
        let batch = 20_000_000_u64.div_ceil(BATCHES);
        let (mean, error) = system.measure(batch);
        let off = mean / system.wait - 1.0;
        println!(
            "{:<11}  {:<4}  {:>10}  {:>8.5}  {:>8.5}  {:>9.5}  {:>+6.3} %  {:>+6.2}",
            system.name,
            system.rho,
            batch * BATCHES,
            system.wait,
            mean,
            error,
            off * 100.0,
            (mean - system.wait) / error
        );
        misses += u32::from(off.abs() > 0.02);
    }
    assert_eq!(misses, 0, "means off by more than 2 %");
}
