//! What can be typed behind `conductor capacity`.

use super::WorldArgs;
use clap::Args as ClapArgs;

pub(super) const LONG_ABOUT: &str = "Find the largest load that keeps the limits.

The same requests are replayed faster and faster: first at twice the speed each time until a limit does not hold, then by \
bisection until the speed that holds and the one that does not are --tolerance apart. The answer is a speed and, from the \
span of the arrivals, requests a second.

With several --clusters each is searched: the split of prefill and decode nodes that carries most, or the smallest cluster \
that carries a load. With --seeds each seed is a workload of its own and has its own search; the mean has its 95 % \
confidence interval.

Without limits of your own 90 % of all requests must be within the policy's SLO. Whatever the limits are, requests that are \
turned away or given up may not be more than 1 % (--completed).";

const EXAMPLES: &str = "Examples:
  conductor capacity                                                  kimi-conversation on 8p8d, 90 % within the SLO
  conductor capacity --trace conversation --ttft-p90 10 --tbt-p90 0.1
  conductor capacity --clusters 6p10d,8p8d,10p6d --seeds 5            which split carries most
  conductor capacity --clusters a800-16,a800-16-cp,8p8d --policy least-loaded";

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CapacityArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// Policy: a name or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "kvcache-centric")]
    pub(crate) policy: String,
    /// Clusters to search one by one, in place of --cluster.
    #[arg(
        long,
        value_name = "NAME|FILE,…",
        value_delimiter = ',',
        conflicts_with = "cluster"
    )]
    pub(crate) clusters: Vec<String>,
    /// The 90th percentile of TTFT is at most this many seconds.
    #[arg(long, value_name = "S")]
    pub(crate) ttft_p90: Option<f64>,
    /// The 90th percentile of TBT is at most this many seconds.
    #[arg(long, value_name = "S")]
    pub(crate) tbt_p90: Option<f64>,
    /// At least this share of all requests is within the policy's SLO [default: 0.9 without another limit].
    #[arg(long, value_name = "SHARE")]
    pub(crate) effective: Option<f64>,
    /// At least this share of all requests is completed.
    #[arg(long, value_name = "SHARE", default_value_t = 0.99)]
    pub(crate) completed: f64,
    /// How far apart, as a share, the largest speed that holds and one that does not may be.
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub(crate) tolerance: f64,
    /// The lowest speed, which is tried first.
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub(crate) low: f64,
    /// No speed above this is tried.
    #[arg(long, value_name = "X", default_value_t = 64.0)]
    pub(crate) high: f64,
    /// Seeds from --seed on, each with a search of its own; a trace has one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Searches at once; the results do not depend on it [default: one a processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
}
