//! What can be typed behind `conductor tune`.

use super::WorldArgs;
use clap::Args as ClapArgs;
use conductor_experiments::knob::Param;
use conductor_experiments::tune::Objective;
use conductor_experiments::window::Window;
use std::path::PathBuf;
use std::str::FromStr;

pub(super) const LONG_ABOUT: &str = "Search a policy's parameters on one part of a workload and measure the gain on another.

Parameters are chosen on the training window: the tree-structured Parzen estimator proposes values, each set is replayed, \
and what came of it shapes the next proposals. The choice is judged on the held-out window, which begins where the other \
ends, beside the untouched policy on the same requests. What arrives before a window is replayed and not counted, so that \
caches are warm; what arrives after it is not replayed, so that nothing of the held-out window is known to the search. \
By default the first tenth of the workload is warm-up, and the rest is halved.

The objective is the share of the window's requests that are within the policy's SLO: goodput as a share of the load, to \
which the time in which a run empties does not matter. --objective takes any metric of requests (`ttft_s.p90`: less is \
better, and that is known).

The gain has a 95 % interval: over --seeds workloads where the workload is generated, else over ten batches of the \
window's requests. A gain within it is said to be noise, and one that the held-out window does not share to be \
overfitted. Equal arguments give equal results, whatever --jobs is.";

const EXAMPLES: &str = "Examples:
  conductor tune --trace conversation --speed 3 --policy kvcache-centric+early-predicted -o best.toml
  conductor tune --param policy.prefill.balancing_threshold=1..10:log --tries 20
  conductor tune --param split=4..12 --param cluster.nodes.prefill.chunk_tokens=2048,4096,8192 -o best.toml
  conductor tune --objective ttft_s.p90 --seeds 5 --requests 4000 --out results
  conductor replay --policy best.toml --trace conversation --speed 3 --measure 1945..      gives the numbers again

--param is KEY=LOW..HIGH, with :log (by quotients) or :int (whole numbers) behind it, or KEY=a,b,c. A KEY is `split` (the \
prefill nodes of as many nodes as the cluster has), or a dotted key of the policy or the cluster file. Without any: the \
balancing threshold, the thresholds of admission, its predictor's parameter, and the KV held for answers, where the policy \
has them.";

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// The policy to begin from: a name or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "kvcache-centric")]
    pub(crate) policy: String,
    /// A parameter and what it may be, once for each [default: those that the policy has].
    #[arg(long, value_name = "KEY=VALUES", value_parser = Param::from_str)]
    pub(crate) param: Vec<Param>,
    /// What is to become better: a metric of requests.
    #[arg(long, value_name = "METRIC", default_value = "effective_ratio", value_parser = Objective::from_str)]
    pub(crate) objective: Objective,
    /// How many sets of values are tried.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tries: u32,
    /// Where parameters are chosen, in seconds of the trace's own stamps [default: from a tenth to 55 % of it].
    #[arg(long, value_name = "FROM..UNTIL", value_parser = Window::from_str)]
    pub(crate) train: Option<Window>,
    /// Where the choice is judged [default: from the end of the training window on].
    #[arg(long, value_name = "FROM..UNTIL", value_parser = Window::from_str)]
    pub(crate) held_out: Option<Window>,
    /// Workloads over which each set is judged, seeds from --seed on; a trace is one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Write the best policy to this file, and if something of the cluster was tuned that too, beside it, as
    /// `<name>-cluster.toml`.
    #[arg(short, long, value_name = "FILE.toml")]
    pub(crate) output: Option<PathBuf>,
    /// Runs at once; the results do not depend on it [default: one a processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
}
