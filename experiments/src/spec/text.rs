//! A specification as a person writes it. Positions are kept where a value can be wrong in a way that only this
//! crate knows.

use super::Value;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// Plain values by key.
pub(super) type Values = BTreeMap<Spanned<String>, Value>;

/// What stands behind a key of `[workload]`: a plain value, or the values below it (`retry = { tries = 3 }`).
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a number, true or false, or a table of these"
)]
pub(super) enum WorkloadText {
    Plain(Value),
    Below(BTreeMap<String, Value>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecText {
    pub(super) name: Spanned<String>,
    pub(super) title: String,
    pub(super) source: String,
    #[serde(default)]
    pub(super) description: String,
    /// Whether it takes too long to be run with all others.
    #[serde(default)]
    pub(super) heavy: bool,
    /// How far simulated values may be from published ones, as a share, where a value does not say otherwise.
    pub(super) tolerance: Option<Spanned<f64>>,
    pub(super) cluster: Option<Spanned<String>>,
    /// `simulation`, or `pool`: what a run is.
    pub(super) kind: Option<Spanned<String>>,
    /// `[watch]`: blocks whose copies are counted.
    pub(super) watch: Option<WatchText>,
    /// How many seeds every run is repeated with: 1, 2, ...
    pub(super) seeds: Option<Spanned<u64>>,
    /// The first of them, 1 where absent: what was fitted on some seeds is judged on others.
    pub(super) first_seed: Option<Spanned<u64>>,
    /// The innermost axis, named `policy`.
    pub(super) policies: Option<Spanned<Vec<Value>>>,
    /// `[workload]`
    #[serde(default)]
    pub(super) workload: BTreeMap<Spanned<String>, WorkloadText>,
    /// `[set]`: further settings of all runs, by dotted key.
    #[serde(default)]
    pub(super) set: Values,
    /// `[[axes]]`
    #[serde(default)]
    pub(super) axes: Vec<AxisText>,
    /// `[fit]`
    pub(super) fit: Option<FitText>,
    /// `[search]`
    pub(super) search: Option<Spanned<SearchText>>,
    /// `[[published]]`
    #[serde(default)]
    pub(super) published: Vec<PublishedText>,
    /// `[[curves]]`
    #[serde(default)]
    pub(super) curves: Vec<CurveText>,
    /// `[[checks]]`
    #[serde(default)]
    pub(super) checks: Vec<CheckText>,
    /// `[[plots]]`
    #[serde(default)]
    pub(super) plots: Vec<PlotText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchText {
    /// Ranks of the blocks by use, from 1.
    pub(super) ranks: Spanned<Vec<u64>>,
    /// Time between samples.
    pub(super) period_s: Spanned<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AxisText {
    /// What its values set; with `values`.
    pub(super) key: Option<Spanned<String>>,
    /// By default the last part of the key.
    pub(super) name: Option<Spanned<String>>,
    pub(super) values: Option<Spanned<Vec<Value>>>,
    /// In place of `key` and `values`: names, each for settings that go together.
    pub(super) choices: Option<Spanned<Vec<ChoiceText>>>,
}

/// A value of an axis that sets more than one thing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceText {
    /// What selections, tables and legends call it.
    pub(super) name: String,
    /// Settings, by dotted key.
    pub(super) set: Values,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FitText {
    pub(super) key: Spanned<String>,
    /// The run; an axis that is not named here has its first value.
    #[serde(default)]
    pub(super) at: Values,
    pub(super) metric: Spanned<String>,
    pub(super) target: f64,
    pub(super) tolerance: Spanned<f64>,
    pub(super) low: f64,
    pub(super) high: Spanned<f64>,
}

/// What is sought in each run: the largest value of a key at which all conditions hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchText {
    pub(super) key: Spanned<String>,
    /// The lowest value, where the first tries are; not needed where there are grids for all runs.
    pub(super) low: Option<Spanned<f64>>,
    /// Beyond this nothing is tried.
    pub(super) high: Spanned<f64>,
    /// How near the answer is to a value that fails, as a share of it.
    pub(super) tolerance: Spanned<f64>,
    pub(super) conditions: Spanned<Vec<ConditionText>>,
    /// `[[search.grids]]`: values that are tried first, of the runs of `at`.
    #[serde(default)]
    pub(super) grids: Vec<GridText>,
}

/// A condition on a metric: at most, or at least, so much.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionText {
    pub(super) metric: Spanned<String>,
    pub(super) at_most: Option<Spanned<f64>>,
    pub(super) at_least: Option<Spanned<f64>>,
    /// True if the limit is so many times the metric at the lowest value.
    #[serde(default)]
    pub(super) of_first: bool,
    /// With `of_first`: the mean of the metric over this axis, for limits that several runs have in common.
    pub(super) over: Option<Spanned<String>>,
    /// With `over`: values of the axis, if not all.
    pub(super) values: Option<Spanned<Vec<Value>>>,
}

/// Values to try first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GridText {
    #[serde(default)]
    pub(super) at: Values,
    pub(super) values: Spanned<Vec<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedText {
    pub(super) series: String,
    pub(super) x: Value,
    pub(super) at: Spanned<Values>,
    pub(super) metric: Spanned<String>,
    /// The metric is compared as a quotient: over its mean over these runs.
    pub(super) to: Option<Spanned<Values>>,
    #[serde(default = "one")]
    pub(super) scale: f64,
    pub(super) value: f64,
    /// How far the simulated value may be from it, as a share of it, if not as far as others.
    pub(super) tolerance: Option<Spanned<f64>>,
    pub(super) unit: String,
    pub(super) source: String,
}

/// Points that nobody has published: one for each value of an axis, or of two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CurveText {
    /// What is drawn, for the names of the series.
    pub(super) what: String,
    pub(super) metric: Spanned<String>,
    /// The axis whose values are series; one series without it.
    pub(super) by: Option<Spanned<String>>,
    /// The axis whose values are places on them.
    pub(super) over: Spanned<String>,
    /// The values of the other axes.
    #[serde(default)]
    pub(super) at: Values,
    #[serde(default = "one")]
    pub(super) scale: f64,
    pub(super) unit: String,
}

/// All kinds of checks in one, because only so do errors have their lines. Which key belongs to which kind is
/// checked by the parser.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckText {
    pub(super) id: Spanned<String>,
    pub(super) what: String,
    pub(super) kind: Spanned<String>,
    pub(super) metric: Spanned<String>,
    pub(super) published: Option<f64>,
    /// What its runs have in common.
    pub(super) at: Option<Spanned<Values>>,
    /// `order`: the axis along which the metric falls. `flat`: the axis along which it has its peak.
    pub(super) over: Option<Spanned<String>>,
    /// `order`: values of that axis, the largest metric first.
    pub(super) values: Option<Spanned<Vec<Value>>>,
    /// `ratio`: the dividend. `difference`: what is subtracted from.
    pub(super) of: Option<Spanned<Values>>,
    /// `ratio`: the divisor. `difference`: what is subtracted.
    pub(super) to: Option<Spanned<Values>>,
    /// `difference`: the metric of what is subtracted, if another.
    pub(super) minus: Option<Spanned<String>>,
    /// `difference`: `below` or `above`, where the interval must lie.
    pub(super) side: Option<Spanned<String>>,
    /// `difference`: the least size of the difference, as a share of what is subtracted.
    pub(super) at_least: Option<Spanned<f64>>,
    /// `band`
    pub(super) scale: Option<Spanned<f64>>,
    /// `band`, `ratio`
    pub(super) low: Option<Spanned<f64>>,
    /// `band`, `ratio`
    pub(super) high: Option<Spanned<f64>>,
}

/// All kinds of plots in one, as with checks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlotText {
    /// Name of the picture's file, without ending.
    pub(super) file: Spanned<String>,
    pub(super) kind: Spanned<String>,
    pub(super) title: String,
    /// What to see in it.
    #[serde(default)]
    pub(super) caption: String,
    /// Values of the axes that are not drawn.
    #[serde(default)]
    pub(super) at: Values,
    /// `lines`, `bars`, `heat`. `cdf`, `box`: of what it is the distribution.
    pub(super) metric: Option<Spanned<String>>,
    /// `lines`, `bars`, `heat`, `cdf`, `box`: the metric is drawn times this.
    pub(super) scale: Option<Spanned<f64>>,
    /// `lines`, `bars`, `box`: what it is called, with its unit. `heat`: what the rows differ in.
    pub(super) y_label: Option<Spanned<String>>,
    /// `heat`: what a cell is, with its unit.
    pub(super) value_label: Option<Spanned<String>>,
    /// `lines`: the axis that is x. `bars`: the axis that makes groups. `heat`: the axis that makes columns.
    pub(super) over: Option<Spanned<String>>,
    /// `lines`, `bars`, `cdf`: the axis of which each value has a colour. `box`: that of the boxes. `heat`: of the
    /// rows.
    pub(super) by: Option<Spanned<String>>,
    /// Values of `by`, or in `loads` of `panels`, if not all or in another order.
    pub(super) values: Option<Spanned<Vec<Value>>>,
    /// `lines`, `loads`, `replicas`: the axis of which each value has a panel.
    pub(super) panels: Option<Spanned<String>>,
    /// `lines`, `cdf`, `heat`
    pub(super) x_label: Option<Spanned<String>>,
    /// `lines`: the value of the axis that is drawn as 1.
    pub(super) x_one: Option<Spanned<f64>>,
    /// `lines`, `cdf`
    pub(super) log_x: Option<Spanned<bool>>,
    /// `lines`, `box`
    pub(super) log_y: Option<Spanned<bool>>,
    /// `loads`: which seed, the first if nothing is said.
    pub(super) seed: Option<Spanned<u64>>,
    /// `loads`: seconds into the run from which it is drawn.
    pub(super) from_s: Option<Spanned<f64>>,
    /// `loads`: seconds into the run up to which it is drawn.
    pub(super) to_s: Option<Spanned<f64>>,
    /// `cdf`: the right end of the x axis.
    pub(super) x_max: Option<Spanned<f64>>,
    /// `box`: the upper end of the y axis.
    pub(super) y_max: Option<Spanned<f64>>,
    /// `cdf`: where there are vertical lines. `box`: horizontal ones.
    pub(super) marks: Option<Spanned<Vec<f64>>>,
    /// `loads`, `replicas`, `cdf`, `box`, `search`
    pub(super) published: Option<Spanned<PublishedFileText>>,
}

/// Published curves, for `loads`, `replicas`, `cdf`, `box` and `search`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedFileText {
    /// A built-in curve or a CSV file.
    pub(super) file: String,
    /// Where it is published.
    pub(super) source: String,
}

const fn one() -> f64 {
    1.0
}
