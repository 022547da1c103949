//! The swarm: a seed draws a cluster, a policy, a workload and which faults there are at all; then everything that must
//! hold is checked after every event, and after the last fault everything heals and every request that was taken in
//! must be answered. After TigerBeetle's VOPR: drawing *which* faults a run has, not only when, reaches states that a
//! mixture of all never does.
//!
//! The seed of all seeds is the commit's hash (`CONDUCTOR_SWARM_SEED`, else what git says): each commit tries new
//! ones, and a failure can be repeated all the same: it names the command. `CONDUCTOR_SWARM_RUNS` says how many, 300
//! by default.

use crate::clusters::{BLOCK, profile};
use conductor_core::action::RejectReason;
use conductor_core::config::{ClusterConfig, PolicyConfig, Profile, Role};
use conductor_core::ids::{BlockHash, ClassId, WorkflowId};
use conductor_core::journal::Auditor;
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::report::{RunLabels, RunReport};
use conductor_sim::{FaultCounts, FaultPlan, Mode, Observer, RetryConfig, RetryText};
use conductor_sim::{RunConfig, RunResult, run};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;

/// Draws of one seed, one after another.
struct Dice {
    stream: Stream,
    rolled: u64,
}

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.rolled += 1;
        self.stream.below(self.rolled, bound)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n`.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// All that a seed draws.
struct Case {
    config: RunConfig,
    requests: Vec<WorkloadRequest>,
}

/// Nodes that shall change their roles must be able to: there are some of each.
fn cluster(dice: &mut Dice, switching: bool) -> ClusterConfig {
    let (least, more) = if switching { (2, 100) } else { (1, 0) };
    let links = [100.0, 100.0, 0.05, 0.004];
    let (nic, load) = (dice.of(&links), dice.of(&links));
    let profile = profile(dice.one_in(2), nic, load, dice.between(1, 4) as u32);
    let mut text = format!("name = \"swarm\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n");
    // Coupled nodes alone, or beside the others.
    let coupled = !switching && dice.one_in(3);
    let pools = if coupled { dice.below(2) } else { 1 };
    if coupled {
        let (count, hbm) = (dice.between(1, 3), dice.between(8, 60));
        let _ = writeln!(
            text,
            "[[nodes]]\ncount = {count}\nrole = \"coupled\"\nhbm_kv_tokens = {}",
            hbm * BLOCK
        );
    }
    for _ in 0..pools * dice.between(1, 2) {
        let (count, cache, hbm) = (
            dice.between(least, 2),
            dice.below(30),
            dice.between(8, 60) + more,
        );
        let _ = writeln!(
            text,
            "[[nodes]]\ncount = {count}\nrole = \"prefill\"\ncache_tokens = {}\nhbm_kv_tokens = {}",
            cache * BLOCK,
            hbm * BLOCK
        );
        if dice.one_in(4) {
            let _ = writeln!(text, "pipeline = {}", dice.between(2, 4));
        }
        if dice.one_in(3) {
            let _ = writeln!(text, "hbm_cache_tokens = {}", dice.below(20) * BLOCK);
        }
        if dice.one_in(3) {
            let (blocks, bandwidth) = (dice.between(1, 60), dice.of(&[1.0, 0.003]));
            let tokens = blocks * BLOCK;
            let _ = writeln!(
                text,
                "ssd_tokens = {tokens}\nssd_gbytes_per_s = {bandwidth:?}"
            );
        }
    }
    for _ in 0..pools * dice.between(1, 2) {
        let (count, cache, hbm) = (
            dice.between(least, 2),
            dice.below(20),
            dice.between(3, 60) + more,
        );
        let _ = writeln!(
            text,
            "[[nodes]]\ncount = {count}\nrole = \"decode\"\ncache_tokens = {}\nhbm_kv_tokens = {}",
            cache * BLOCK,
            hbm * BLOCK
        );
    }
    let _ = write!(
        text,
        "[coupled]\nschedule = \"{}\"\nprefix_caching = {}\npass_tokens = {}\nbatch_requests = {}\nwatermark = {:?}\n",
        dice.of(&["prefill-first", "chunked"]),
        dice.one_in(2),
        dice.between(1, 200),
        dice.between(1, 9),
        dice.of(&[0.0, 0.1]),
    );
    if dice.one_in(4) {
        text += "[network]\nnics = 3\nstriped = false\n";
    }
    if dice.one_in(4) {
        text +=
            "[kv]\ncompression = 1.7\ncompress_gbytes_per_s = 0.1\ndecompress_gbytes_per_s = 0.2\n";
    }
    let noise = dice.of(&["0.0", "0.3"]);
    let estimate = dice.of(&["1.0", "1.0", "0.4", "3.0"]);
    let _ = write!(
        text,
        "[limits]\nlive_requests = {}\n[estimate]\nprefill_factor = {estimate}\ndecode_factor = {estimate}\n\
         [truth]\nprefill_noise = {noise}\ndecode_noise = {noise}\n",
        dice.of(&[4, 12, 1000])
    );
    let profile = Profile::parse(&profile).expect("the profile is valid");
    ClusterConfig::parse(&text, &[profile]).expect("the cluster is valid")
}

fn policy(dice: &mut Dice, switching: bool) -> PolicyConfig {
    let prefill = PolicyConfig::BUILT_IN;
    // Fetching is the most intricate: half of the runs do it.
    let place = (dice.below(2 * prefill.len() as u64) as usize).min(5);
    let mut text = format!(
        "[prefill]\nselect = \"{}\"\n[decode]\nselect = \"{}\"\noutput_reserve_tokens = {}\n[eviction]\nselect = \"{}\"\n",
        prefill[place],
        dice.of(&["least-tbt", "least-loaded"]),
        dice.below(60),
        dice.of(&["lru", "lfu", "length-aware"]),
    );
    let admission = dice.of(&["none", "none", "per-stage", "early", "early-predicted"]);
    let _ = writeln!(text, "[admission]\nselect = \"{admission}\"");
    if switching {
        text += "[slo]\nttft_s = 0.03\ntbt_s = 0.01\n[roles]\nselect = \"load-gap\"\ngap = 0.05\nbusy_min = 0.2\n\
             hold_s = 0.1\ncooldown_s = 0.1\nnodes_min = 1\n";
    } else if dice.one_in(3) {
        text += "[slo]\nttft_s = 0.05\ntbt_s = 0.004\n";
    }
    if dice.one_in(3) {
        text += "[[classes]]\nname = \"chat\"\nttft_s = 0.4\nweight = 3\nceiling = 1.0\n\
             [[classes]]\nname = \"agent\"\nworkflow_s = 5\nweight = 1\nceiling = 0.9\n\
             [[classes]]\nname = \"batch\"\ncompletion_s = 60\nweight = 1\nceiling = 0.8\n";
    }
    PolicyConfig::parse(&text).expect("the policy is valid")
}

fn retry(dice: &mut Dice) -> RetryConfig {
    let text = RetryText {
        tries: dice.of(&[0, 0, 1, 4]),
        first_s: dice.of(&[0.001, 0.05, 0.5]),
        honour_retry_after: dice.one_in(2),
        ..RetryText::default()
    };
    RetryConfig::from_text(&text).expect("in range")
}

/// Which faults there are, and then how many of each. All are over a while before the last requests come.
fn faults(dice: &mut Dice, nodes: usize, until_ms: u64, switching: bool, seed: u64) -> FaultPlan {
    let mut text = format!(
        "detect_s = {}\npatience_s = {}\nresync_s = {}\n",
        dice.of(&[0.0, 0.01, 0.3]),
        dice.of(&[0.02, 0.2, 1.0]),
        dice.of(&[0.0, 0.01, 0.2]),
    );
    if dice.one_in(3) {
        let (share, within) = (dice.of(&[0.1, 0.5, 1.0]), dice.of(&[0.01, 0.3, 2.0]));
        let _ = write!(text, "[cancel]\nshare = {share:?}\nwithin_s = {within:?}\n");
    }
    let all = [
        "crash",
        "slow",
        "link",
        "cut",
        "lose-reports",
        "delay-reports",
        "restart-conductor",
    ];
    let kinds: Vec<&str> = all.into_iter().filter(|_| dice.one_in(2)).collect();
    // From a few long ones to many short ones.
    let (gap, length) = match switching {
        // Loads must be what they are for a second before anything changes.
        true => (1.5, 0.5),
        false => dice.of(&[(0.4, 0.5), (0.1, 0.1), (0.05, 0.3), (0.02, 0.01)]),
    };
    let _ = write!(
        text,
        "[draw]\nkinds = {kinds:?}\nuntil_s = {:?}\ngap_s = {gap:?}\nlength_s = {length:?}\n",
        until_ms as f64 / 1000.0
    );
    // Reports are few: they fare ill for longer.
    for node in 0..nodes {
        for (kind, more) in [("lose-reports", ""), ("delay-reports", "\nby_s = 0.05")] {
            if dice.one_in(6) {
                let (at, lasts) = (dice.below(until_ms), dice.between(1, until_ms));
                let share = dice.of(&[0.2, 0.5, 1.0]);
                let _ = write!(
                    text,
                    "[[faults]]\nkind = \"{kind}\"\nat_s = {:?}\nfor_s = {:?}\nnode = {node}\nshare = {share:?}{more}\n",
                    at as f64 / 1000.0,
                    lasts as f64 / 1000.0
                );
            }
        }
    }
    // Nodes that go one by one and come back in another order, as FoundationDB's tests clog theirs.
    if dice.one_in(4) {
        for node in 0..nodes {
            if dice.one_in(2) {
                let (at, lasts) = (dice.below(until_ms), dice.between(1, 400));
                let kind = dice.of(&["kind = \"crash\"", "kind = \"link\"\npart = 0.0"]);
                let _ = write!(
                    text,
                    "[[faults]]\n{kind}\nat_s = {:?}\nfor_s = {:?}\nnode = {node}\n",
                    at as f64 / 1000.0,
                    lasts as f64 / 1000.0
                );
            }
        }
    }
    FaultPlan::parse(&text, nodes, seed).expect("the plan is valid")
}

/// Bursts of prompts from a few families that share their first blocks.
/// Where nodes change their roles long prompts come first, then long answers.
fn requests(dice: &mut Dice, classes: u64, until_ms: u64, switching: bool) -> Vec<WorkloadRequest> {
    let count = dice.between(5, 90) * (1 + 3 * u64::from(switching));
    let longest = dice.of(&[6, 12, 24]);
    let output = dice.of(&[4, 120]);
    let burst = dice.between(1, 4);
    let mut arrival = Nanos::ZERO;
    let gap = 2 * until_ms * 1_000_000 * burst / count;
    let request = |i| {
        if dice.one_in(burst) {
            arrival += Nanos(dice.below(gap));
        }
        let (family, blocks, lacks) = (dice.below(4), dice.between(1, longest), dice.below(BLOCK));
        let known = !dice.one_in(10);
        let (blocks, output) = match (switching, 2 * i < count) {
            (true, true) => (blocks + 12, 2),
            (true, false) => (blocks.min(2), 120),
            (false, _) => (blocks, output),
        };
        let block = |place| {
            BlockHash(if place < 4 {
                place
            } else {
                family << 10 | place
            })
        };
        WorkloadRequest {
            class: ClassId(dice.below(classes) as u8),
            workflow: dice.one_in(3).then_some(WorkflowId(family)),
            arrival,
            input: Tokens(blocks * BLOCK - lacks),
            output: Tokens(if dice.one_in(5) {
                1
            } else {
                dice.between(2, output)
            }),
            blocks: (0..blocks).filter(|_| known).map(block).collect(),
        }
    };
    (0..count).map(request).collect()
}

fn case(seed: u64) -> Case {
    let mut dice = Dice {
        stream: Stream::new(seed, "swarm-case"),
        rolled: 0,
    };
    let switching = dice.one_in(4);
    let (cluster, policy) = (cluster(&mut dice, switching), policy(&mut dice, switching));
    let until_ms = match switching {
        true => 8_000,
        false => dice.of(&[200, 1_000, 3_000]),
    };
    let classes = policy.classes.len() as u64;
    let requests = requests(&mut dice, classes, until_ms, switching);
    Case {
        config: RunConfig {
            retry: retry(&mut dice),
            closed_loop: None,
            faults: faults(&mut dice, cluster.nodes.len(), until_ms, switching, seed),
            cluster,
            policy,
            seed,
            mode: Mode::FastForward,
            node_samples: false,
        },
        requests,
    }
}

impl Case {
    fn run(&self, mode: Mode) -> (RunResult, Vec<u8>) {
        let mut journal = Vec::new();
        let observer = Observer {
            journal: Some(&mut journal),
            checks: true,
            ..Observer::default()
        };
        let config = RunConfig {
            mode,
            ..self.config.clone()
        };
        let requests = self.requests.iter().cloned().map(Ok::<_, Infallible>);
        let result = run(&config, requests, observer).expect("it ends");
        (result, journal)
    }

    /// True if a decode node of the cluster file can hold the request.
    fn fits(&self, record: &RequestRecord) -> bool {
        let config = &self.config;
        let tokens = record.input + config.policy.decode.output_reserve;
        let decode = config
            .cluster
            .nodes
            .iter()
            .filter(|node| node.role != Role::Prefill);
        let mut capacities = decode.map(|node| config.cluster.block * u64::from(node.hbm_blocks));
        capacities.any(|capacity| tokens <= capacity)
    }
}

/// What happened in runs, in numbers.
#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    faults: FaultCounts,
    counters: [(&'static str, u64); 7],
}

impl Sum {
    fn of(report: &RunReport, result: &RunResult) -> Self {
        let lost = result.records.iter().filter(|record| record.lost > 0);
        let served = lost.filter(|record| record.outcome == Outcome::Completed);
        Self {
            requests: report.requests,
            faults: result.faults,
            counters: [
                ("completed", report.completed),
                ("of them after a loss", served.count() as u64),
                ("rejected", report.rejected),
                ("after their prefill", report.rejected_after_prefill),
                ("copies of blocks", report.replications),
                ("role switches", report.role_switches),
                ("late facts", result.counters.stale),
            ],
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.faults.add(&other.faults);
        for (mine, other) in self.counters.iter_mut().zip(other.counters) {
            *mine = (other.0, mine.1 + other.1);
        }
    }
}

/// Draws, runs and checks one case.
fn check(seed: u64) -> Sum {
    let case = case(seed);
    let (result, journal) = case.run(Mode::FastForward);
    let (slow, slow_journal) = case.run(Mode::StepByStep);
    let lines = journal.split(|&byte| byte == b'\n');
    let slow_lines = slow_journal.split(|&byte| byte == b'\n');
    if let Some((line, slow)) = lines.zip(slow_lines).find(|(line, slow)| line != slow) {
        let text = |line: &[u8]| {
            String::from_utf8_lossy(line)
                .chars()
                .take(400)
                .collect::<String>()
        };
        panic!("jumping: {}\nstepping: {}", text(line), text(slow));
    }
    assert_eq!(result.records, slow.records, "jumping equals stepping");
    assert_eq!(
        journal.len(),
        slow_journal.len(),
        "jumping equals stepping: journals"
    );
    assert_eq!(result.timeline.pools, slow.timeline.pools);
    assert_eq!(
        (result.simulated, result.faults),
        (slow.simulated, slow.faults)
    );

    let mut lines = journal.split(|&byte| byte == b'\n');
    let mut auditor = Auditor::new(lines.next().expect("a header"), None).expect("a header");
    for line in lines.filter(|line| !line.is_empty()) {
        auditor.line(line).expect("decided again, it is the same");
    }
    let audited = auditor.finish();
    assert!(audited.complete);
    assert_eq!(audited.digest, result.digest);

    let report = RunReport::new(&case.config, &result, RunLabels::default());
    let (faults, counters) = (result.faults, result.counters);
    assert_eq!(report.requests, case.requests.len() as u64);
    let cancelled = result
        .records
        .iter()
        .filter(|record| record.outcome == Outcome::Cancelled);
    assert_eq!(cancelled.count() as u64, faults.cancelled);
    assert_eq!(
        report.completed + report.rejected + faults.cancelled,
        report.requests
    );
    assert_eq!(counters.finished, report.completed);
    assert!(
        counters.stale <= faults.in_vain,
        "late facts are those of prefills in vain"
    );
    for record in &result.records {
        let lost = record.tries == 1 && record.lost > 0;
        match record.outcome {
            Outcome::Completed | Outcome::Cancelled | Outcome::RejectedAfterPrefill => {}
            Outcome::Rejected(RejectReason::PromptTooLong) if !case.fits(record) => {}
            Outcome::Rejected(RejectReason::TooManyAttempts) => {
                let most = case.config.policy.lost.attempts_max;
                assert!(record.lost + 1 >= most, "{record:?}");
            }
            Outcome::Rejected(reason) => {
                assert!(
                    !lost,
                    "{} was taken in and is turned away: {reason:?}",
                    record.id
                );
            }
        }
    }
    // It is over some time: when all has healed nothing is lost any more.
    let plan = &case.config.faults;
    let healed = plan.healed() + plan.patience.max(plan.detect);
    assert!(
        faults.last_lost <= healed,
        "an attempt was lost at {}, but all had healed at {healed}",
        faults.last_lost
    );
    Sum::of(&report, &result)
}

/// Like [`check`], and says how to repeat what fails.
fn check_and_tell(seed: u64) -> Sum {
    catch_unwind(AssertUnwindSafe(|| check(seed))).unwrap_or_else(|panic| {
        eprintln!(
            "the swarm found a violation, repeat it with:\n  \
             CONDUCTOR_SWARM_ONE={seed} cargo test -p conductor-sim --test all swarm::one -- --nocapture"
        );
        resume_unwind(panic)
    })
}

/// The commit's hash, from the environment or from git; a fixed word where there is neither.
fn commit() -> String {
    let git = || {
        let output = Command::new("git")
            .args(["rev-parse", "HEAD"])
            .output()
            .ok()?;
        let hash = String::from_utf8(output.stdout).ok()?;
        (output.status.success()).then(|| hash.trim().to_string())
    };
    let given = std::env::var("CONDUCTOR_SWARM_SEED").ok();
    given
        .or_else(git)
        .unwrap_or_else(|| "no commit".to_string())
}

#[test]
fn every_seed_is_safe_and_everyone_is_answered_in_the_end() {
    let commit = commit();
    let runs = std::env::var("CONDUCTOR_SWARM_RUNS").map_or(300, |runs| {
        runs.parse()
            .expect("CONDUCTOR_SWARM_RUNS is a whole number")
    });
    println!("swarm: {runs} runs from seed {commit}");
    let seeds = Stream::new(0, &commit);
    let mut sum = Sum::default();
    for i in 0..runs {
        sum.add(&check_and_tell(seeds.draw(i)));
    }
    println!(
        "swarm: {runs} runs without a violation, {} requests; what happened:",
        sum.requests
    );
    for (name, count) in sum.counters.into_iter().chain(sum.faults.numbers()) {
        println!("  {name:<20} {count:>9}");
        // With fewer runs chance may leave one out.
        assert!(runs < 300 || count > 0, "{name}: none in {runs} runs");
    }
}

/// Repeats one case: its seed is in `CONDUCTOR_SWARM_ONE`.
#[test]
fn one() {
    if let Ok(seed) = std::env::var("CONDUCTOR_SWARM_ONE") {
        let seed = seed.parse().expect("CONDUCTOR_SWARM_ONE is a whole number");
        let config = case(seed).config;
        println!("{}\n{}", config.cluster.to_toml(), config.policy.to_toml());
        println!("{:#?}", config.faults);
        println!("{:#?}", check(seed));
    }
}
