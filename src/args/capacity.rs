//! What can be typed behind `conductor capacity`.

use super::WorldArgs;
use clap::Args as ClapArgs;
use conductor_experiments::knob::Param;
use std::str::FromStr;

pub(super) const LONG_ABOUT: &str = "Find the largest load, the fewest nodes or the best split that keeps the limits.

The same requests are replayed faster and faster: first at twice the speed each time until a limit does not hold, then by \
bisection until the speed that holds and the one that does not are --tolerance apart. The answer is a speed and, from the \
span of the arrivals, requests a second. With several --clusters each is searched.

--fewest-nodes seeks the smallest cluster that carries the load as it is (--speed, --rate): first larger and smaller with \
the cluster's own shares, then every split of one node fewer, of two fewer, and so on while any holds. --best-split seeks \
the split of the cluster's nodes that carries the largest load: all splits at one speed after the other, without those \
that fail where another holds. --search seeks the largest (or --smallest) value of any setting: a dotted key of a \
specification, `split` (prefill nodes of the same total) or `nodes` (with the same shares).

With --seeds N each try is judged by the same N workloads, and the answer has a stated confidence: with 5 seeds all have \
to hold, with 8 seven, and then at least half of all such workloads (--reliability) hold at the answer with 95 % \
confidence. Fewer seeds state less; one states nothing. `refuted at` is the nearest value that holds for fewer, with 95 % \
confidence. What was chosen among splits is judged again on fresh seeds.

Without limits of your own 90 % of all requests must be within the policy's SLO. Whatever the limits are, requests that are \
turned away or given up may not be more than 1 % (--completed).

If a cluster's file has prices (`price_per_hour` in each [[nodes]], `currency`), what a million tokens costs at the answer \
is shown too, and the cheapest is marked.";

const EXAMPLES: &str = "Examples:
  conductor capacity                                                  kimi-conversation on 8p8d, 90 % within the SLO
  conductor capacity --trace conversation --ttft-p90 10 --tbt-p90 0.1
  conductor capacity --clusters 6p10d,8p8d,10p6d --seeds 5            with 97 % confidence for half of the workloads
  conductor capacity --clusters a800-16,a800-16-cp,8p8d --policy least-loaded
  conductor capacity --best-split --cluster 8p8d                      which of the 15 splits carries most
  conductor capacity --fewest-nodes --trace conversation --speed 2    how many nodes it takes
  conductor capacity --search cluster.nodes.cache_tokens=100000..3000000 --smallest --speed 2
  conductor capacity --clusters examples/clusters/prices.toml,8p8d    with the cost of a million tokens";

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
    /// Seek the largest value of this setting, not the largest speed. The range is of whole numbers with `:int` behind
    /// it, or if the setting takes no others.
    #[arg(long, value_name = "KEY=LOW..HIGH", value_parser = Param::from_str)]
    pub(crate) search: Option<Param>,
    /// With --search: seek the smallest value that holds.
    #[arg(long, requires = "search")]
    pub(crate) smallest: bool,
    /// Seek the fewest nodes that carry the load, prefill and decode nodes each as many as it takes.
    #[arg(long, conflicts_with_all = ["search", "best_split"])]
    pub(crate) fewest_nodes: bool,
    /// With --fewest-nodes: keep the cluster's own shares, to the nearest node. Coupled clusters have no others.
    #[arg(long, requires = "fewest_nodes")]
    pub(crate) keep_shares: bool,
    /// With --fewest-nodes: no more nodes than this.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "fewest_nodes", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pub(crate) most_nodes: u64,
    /// Seek the split of the cluster's nodes into prefill and decode nodes that carries the largest load.
    #[arg(long, conflicts_with = "search")]
    pub(crate) best_split: bool,
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
    /// How far apart, as a share, the value that holds and one that does not may be.
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub(crate) tolerance: f64,
    /// The lowest speed, which is tried first.
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub(crate) low: f64,
    /// No speed above this is tried.
    #[arg(long, value_name = "X", default_value_t = 64.0)]
    pub(crate) high: f64,
    /// Workloads that judge each try, seeds from --seed on; a trace is one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// Share of all such workloads for which the answer has to hold.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub(crate) reliability: f64,
    /// Runs at once; the results do not depend on it [default: one a processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
}
