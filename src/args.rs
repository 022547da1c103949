//! What can be typed.

mod calibrate;
mod capacity;
mod tune;

pub(crate) use calibrate::CalibrateArgs;
pub(crate) use capacity::CapacityArgs;
pub(crate) use tune::TuneArgs;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use conductor_experiments::Shard;
use conductor_experiments::window::Window;
use conductor_sim::clients::TRIES_MAX;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

/// Replay LLM traces through Mooncake's scheduler, compare policies, draw the papers' figures.
#[derive(Debug, Parser)]
#[command(name = "conductor", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  conductor replay                                   an hour of Kimi-like traffic on 8 prefill and 8 decode nodes
  conductor replay --out results                     the same, with CSV, plots and results/report.html
  conductor compare --trace conversation             the real hour, four policies side by side
  conductor compare --policy kvcache-centric --policy my-policy.toml --speed 2
  conductor replay --speed 3 --policy kvcache-centric+early --retry 2      what a rejection costs if clients come again
  conductor trace stats --json my-trace.jsonl
  conductor experiment run prefill-scheduling
  conductor experiment run seesaw --out results      checks, numbers and plots in results/seesaw; `experiment plot` redraws

Exit codes: 0 done, 1 the run failed, 2 usage or bad input, 3 divergence (audit), 4 a bug.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay a trace or a generated workload with one policy: the main job.
    Replay(ReplayArgs),
    /// Replay the same requests with several policies, side by side.
    Compare(CompareArgs),
    /// Look at traces, make them, convert them.
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Price prefill and decode with a hardware profile.
    Cost(CostArgs),
    /// Fit a hardware profile to measurements, with its held-out error.
    #[command(long_about = calibrate::LONG_ABOUT)]
    Calibrate(CalibrateArgs),
    /// Find the largest load, the fewest nodes or the best split that keeps the limits.
    #[command(long_about = capacity::LONG_ABOUT)]
    Capacity(CapacityArgs),
    /// Search a policy's parameters on one part of a workload, and measure the gain on another.
    #[command(long_about = tune::LONG_ABOUT)]
    Tune(TuneArgs),
    /// List or run the papers' experiments, draw their plots.
    #[command(subcommand)]
    Experiment(ExperimentCommand),
    /// Decide a journal again and fail at the first difference.
    Audit(AuditArgs),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Formats beside SVG and CSV.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct FormatArgs {
    /// Write each picture as PNG too, with two pixels for each of its own.
    ///
    /// Needs a build with `--features png`.
    #[arg(long)]
    pub(crate) png: bool,
    /// Write each table as Parquet too; experiments/COLUMNS.md says what the columns mean.
    ///
    /// Needs a build with `--features parquet`. examples/pandas_results.py reads both.
    #[arg(long)]
    pub(crate) parquet: bool,
}

/// What to replay, and on what.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct WorldArgs {
    /// Trace: `conversation`, `synthetic`, `toolagent`, `azure-conv`, or a file (Mooncake JSONL, plain, .gz or
    /// .zst; Azure
    /// CSV).
    #[arg(long, value_name = "FILE", conflicts_with = "workload")]
    pub(crate) trace: Option<String>,
    /// Generate requests instead: `kimi-conversation`, `kimi-toolagent` (a synthetic stand-in for the tool&agent
    /// trace), `poisson-fixed`, others (an unknown name lists all), or a TOML file [default: kimi-conversation].
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) workload: Option<String>,
    /// Cluster: `a800-8p8d`, any `<P>p<D>d`, a count of coupled nodes (`a800-16`, with prefix caching `a800-16-pc`,
    /// with
    /// chunked prefill `a800-16-cp`), or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "a800-8p8d")]
    pub(crate) cluster: String,
    /// Replay this many times faster than the stamps say.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub(crate) speed: f64,
    /// Replay at most this many requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Count only requests that arrive in these seconds of the trace's own stamps, before --speed: 600..1800, 600.. or
    /// ..1800. What arrives before is replayed all the same, as what fills caches and queues; what arrives after is
    /// not.
    #[arg(long, value_name = "FROM..UNTIL", value_parser = Window::from_str)]
    pub(crate) measure: Option<Window>,
    /// Generate this many requests.
    #[arg(long, value_name = "N", conflicts_with = "trace", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Generate this many requests a second.
    #[arg(
        long,
        value_name = "R",
        conflicts_with = "trace",
        allow_negative_numbers = true
    )]
    pub(crate) rate: Option<f64>,
    /// Generate stamps on a grid of this many seconds, 0 for none; the real conversation trace has 3 [default: the
    /// workload's].
    #[arg(
        long,
        value_name = "S",
        conflicts_with = "trace",
        allow_negative_numbers = true
    )]
    pub(crate) grid: Option<f64>,
    /// Clients that are turned away try again, up to N further times each [default: 0, they give up at once].
    ///
    /// The first wait is 0.5 s and each further one twice as long, up to 8 s; up to a quarter is taken off by chance;
    /// a Retry-After of up to 60 s is waited for. Those are the defaults of OpenAI's Python client, which makes 2
    /// further tries; an experiment's `[workload]` can change each: `retry = { tries = 2, first_s = 1 }`. A prompt
    /// that is too long for every node is not tried again. TTFT, e2e and "within SLO" then count from the first try.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(TRIES_MAX)))]
    pub(crate) retry: Option<u32>,
    /// A closed loop of N clients, as benchmarks have: arrival times are ignored (and `--speed` with them), and the
    /// next request comes when one has ended.
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<NonZeroU32>,
    /// Give shares of the requests to classes of the policy file, as in `batch=0.3,agent=0.2`; the rest belongs to the
    /// first class. All requests of a session are of one class.
    #[arg(long, value_name = "NAME=SHARE,…")]
    pub(crate) classes: Option<String>,
    /// What goes wrong: a TOML file with nodes that crash or become slow, links that are cut, reports of caches that
    /// are lost or late, a Conductor that restarts, clients that go; or drawn from the seed.
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Seed of the generator, of random policies, of noise, of clients' waits and of faults that are drawn.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Tokens in a KV block of the cluster. Ids of a trace that stand for more are split into equal parts [default:
    /// the cluster's, 512].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub(crate) block_tokens: Option<u64>,
    /// Tokens that a hash id of the trace stands for [default: 512].
    #[arg(long, value_name = "N", conflicts_with = "workload", requires = "trace", value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub(crate) id_tokens: Option<u64>,
    /// Sort a trace whose timestamps go back, instead of refusing it.
    #[arg(long)]
    pub(crate) sort: bool,
    /// Write CSV, plots and report.html into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) formats: FormatArgs,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// Policy: random, round-robin, least-loaded, least-queued, local-cache-aware, kvcache-centric, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "kvcache-centric")]
    pub(crate) policy: String,
    /// Write every event and decision to this file (.jsonl, or .jsonl.gz), for `conductor audit`.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) world: WorldArgs,
    /// A policy, once for each [default: random, least-loaded, local-cache-aware, kvcache-centric].
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) policy: Vec<String>,
    /// Write the journal of each run to this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    /// Runs at once; the results do not depend on it [default: one a processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Requests, lengths, and how much of them an infinite cache would reuse.
    Stats(TraceStatsArgs),
    /// Hit ratio of one cache over its capacity, by eviction policy.
    Cache(TraceCacheArgs),
    /// Write a generated workload as a trace.
    Generate(TraceGenerateArgs),
    /// Describe a trace as a workload that can be generated.
    Fit(TraceFitArgs),
    /// Write a trace in another format or compression.
    Convert(TraceConvertArgs),
}

/// How to read a trace.
#[derive(Debug, ClapArgs)]
pub(crate) struct TraceFileArgs {
    /// A well-known name or a file.
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// Tokens in a KV block, which is what a hash id stands for.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=4096))]
    pub(crate) block_tokens: u64,
    /// Sort a trace whose timestamps go back, instead of refusing it.
    #[arg(long)]
    pub(crate) sort: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TraceStatsArgs {
    #[command(flatten)]
    pub(crate) trace: TraceFileArgs,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What capacities count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnitArg {
    Blocks,
    Tokens,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TraceCacheArgs {
    #[command(flatten)]
    pub(crate) trace: TraceFileArgs,
    /// Eviction policies.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "lru,lfu,length-aware,belady"
    )]
    pub(crate) policy: Vec<String>,
    /// Capacities; `inf` for a cache that never evicts.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        allow_negative_numbers = true,
        default_value = "1000,10000,30000,50000,100000,inf"
    )]
    pub(crate) capacity: Vec<String>,
    /// What capacities count.
    #[arg(long, value_enum, default_value_t = UnitArg::Blocks)]
    pub(crate) unit: UnitArg,
    /// Count hits in tokens, with what ids of 512 tokens do not show: a system prompt of 880 tokens that is shared
    /// whole, and half a block wherever else a prefix breaks (an assumption; see experiments/FIGURES.md).
    #[arg(long)]
    pub(crate) sub_block: bool,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TraceGenerateArgs {
    /// `kimi-conversation`, `kimi-toolagent` (a synthetic stand-in for the tool&agent trace), `poisson-fixed`, or a
    /// TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "kimi-conversation")]
    pub(crate) workload: String,
    /// How many requests [default: the workload's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Requests a second [default: the workload's].
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,
    /// Stamps on a grid of this many seconds, 0 for none [default: the workload's].
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub(crate) grid: Option<f64>,
    /// Seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// File to write: Mooncake JSONL; compressed if it ends in .gz or .zst.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TraceFitArgs {
    #[command(flatten)]
    pub(crate) trace: TraceFileArgs,
    /// Workload file to write.
    #[arg(short, long, value_name = "WORKLOAD.toml")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TraceConvertArgs {
    #[command(flatten)]
    pub(crate) trace: TraceFileArgs,
    /// File to write: Mooncake JSONL, or Azure CSV if it ends in .csv; compressed with .gz or .zst behind that.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CostArgs {
    /// A built-in profile or a TOML file.
    #[arg(value_name = "PROFILE", default_value = "a800-llama3-70b")]
    pub(crate) profile: String,
    /// Prompt lengths, tokens.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "8192,16384,32768,65536,131072"
    )]
    pub(crate) prompt: Vec<u64>,
    /// Cached shares of the prompt, 0 to 1.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "0,0.95"
    )]
    pub(crate) cached: Vec<f64>,
    /// Decode batch sizes.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "1,8,16,32,64"
    )]
    pub(crate) batch: Vec<u32>,
    /// Decode contexts, tokens a request.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "8192"
    )]
    pub(crate) context: Vec<u64>,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExperimentCommand {
    /// Name, source and title of each.
    List,
    /// Run some or all, and compare with what was published.
    Run(ExperimentRunArgs),
    /// Draw the plots of a results folder again, from its files alone.
    Plot(ExperimentPlotArgs),
    /// Write report.html over the experiments of a results folder again, from its files alone.
    Report(ExperimentReportArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExperimentReportArgs {
    /// What `experiment run --out` wrote: the folder of one experiment, or the folder of all of them.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExperimentPlotArgs {
    /// What `experiment run --out` wrote: the folder of one experiment, or the folder of all of them.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Draw the `[[plots]]` of this experiment or TOML file instead of those of the folder's own spec.toml.
    ///
    /// For results that are older than a plot. Plots of loads need a `loads.csv`, which only a run can write.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) spec: Option<String>,
    #[command(flatten)]
    pub(crate) formats: FormatArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExperimentRunArgs {
    /// Which: names, or TOML specs of your own.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// All built-in ones but those that take long.
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// With --all, also those that take long ("heavy" in `experiment list`).
    #[arg(long, requires = "all", conflicts_with = "names")]
    pub(crate) heavy: bool,
    /// Write results into this folder, one folder an experiment: tables, numbers of every run, and the plots that the
    /// specification names; report.html, verdicts.md and verdicts.csv have all experiments of the folder, summary.md
    /// says what was run and how long it took.
    ///
    /// Each run is kept in DIR/.runs, by a digest of all that decides it, and is not done again: a call that was
    /// interrupted goes on where it was. Nothing of it is needed afterwards.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Do every run anew, whatever is in DIR/.runs.
    #[arg(long, requires = "out")]
    pub(crate) fresh: bool,
    /// Do part K of N of the runs only, for machines that work side by side, and keep them in DIR/.runs; no results
    /// yet.
    ///
    /// The same call without --shard, on a folder with the .runs of all parts, puts them together: the results are
    /// those of one machine, byte for byte, but for times. See experiments/slurm and experiments/k8s.
    #[arg(long, value_name = "K/N", requires = "out", value_parser = Shard::from_str)]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    pub(crate) formats: FormatArgs,
    /// Runs at once, of whichever experiment; the results do not depend on it [default: one a processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Print one JSON document and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuditArgs {
    /// The journal (.jsonl, or .jsonl.gz).
    #[arg(value_name = "JOURNAL")]
    pub(crate) journal: PathBuf,
    /// Decide with this policy file instead of the recorded policy.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) policy: Option<String>,
}
