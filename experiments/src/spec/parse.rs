//! From text to a checked specification.

mod axes;
mod check;
mod curve;
mod kind;
mod plot;
mod search;
mod series;

use super::error::line_of;
use super::text::{FitText, PublishedText, SpecText, Values, WorkloadText};
use super::{
    Axis, Check, Fit, Key, Published, RunKind, Setting, Spec, SpecError, Value, places_of,
    values_of,
};
use crate::fit::Bracket;
use crate::metric::Metric;
use crate::nearest::hint;
use toml::Spanned;

/// More seeds than this are a slip of a digit.
const SEEDS_MAX: u64 = 1_000;
/// More runs than this are a slip of a list.
const RUNS_MAX: usize = 100_000;

pub(super) fn parse(text: &str) -> Result<Spec, SpecError> {
    let written: SpecText =
        toml::from_str(text).map_err(|error| SpecError::from_toml(text, &error))?;
    let mut parser = Parser {
        text,
        axes: Vec::new(),
        kind: RunKind::Simulation,
        watched: 0,
        searches: written.search.is_some(),
    };
    parser.kind = parser.run_kind(&written)?;
    let watch = parser.watch(&written)?;
    parser.watched = watch.as_ref().map_or(0, |watch| watch.ranks.len());
    let name = parser.name(&written.name, "name")?;
    parser.axes(&written)?;
    let base = parser.base(&written)?;
    let fit = written
        .fit
        .as_ref()
        .map(|fit| parser.fit(fit))
        .transpose()?;
    parser.no_stray_fitted(fit.as_ref())?;
    let search = written.search.as_ref();
    let search = search.map(|search| parser.search(search, fit.is_some()));
    let search = search.transpose()?;
    let seeds = parser.seeds(&written)?;
    let first_seed = parser.first_seed(&written)?;
    let curves = written.curves.iter().map(|curve| parser.curve(curve));
    let curves = curves.collect::<Result<Vec<_>, _>>()?.concat();
    let tolerance = match &written.tolerance {
        Some(tolerance) => parser.tolerance(tolerance, "tolerance")?,
        None => Spec::TOLERANCE,
    };
    let published = written.published.into_iter();
    let published = published
        .map(|row| parser.published(row, tolerance))
        .collect::<Result<_, _>>()?;
    let checks = written.checks.into_iter();
    let checks: Vec<Check> = checks
        .map(|check| parser.check(check))
        .collect::<Result<_, _>>()?;
    let plots = parser.plots(&written.plots, seeds, search.as_ref())?;
    Ok(Spec {
        name,
        title: written.title,
        source: written.source,
        description: written.description,
        heavy: written.heavy,
        kind: parser.kind,
        watch,
        base,
        seeds,
        first_seed,
        axes: parser.axes,
        fit,
        search,
        published,
        curves,
        checks,
        plots,
        text: text.to_string(),
    })
}

struct Parser<'a> {
    text: &'a str,
    axes: Vec<Axis>,
    kind: RunKind,
    /// How many blocks are watched.
    watched: usize,
    /// Whether there are answers of searches beside the metrics of runs.
    searches: bool,
}

impl Parser<'_> {
    fn line<T>(&self, value: &Spanned<T>) -> usize {
        line_of(self.text, value.span().start)
    }

    fn error<T>(&self, at: &Spanned<T>, key: &str, message: impl std::fmt::Display) -> SpecError {
        SpecError::new(self.line(at), key, message)
    }

    /// Names become folders and files.
    fn name(&self, name: &Spanned<String>, whose: &str) -> Result<String, SpecError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let text = name.get_ref();
        if text.is_empty() || !text.chars().all(fits) {
            let message =
                format!("expected lower-case letters, digits and dashes, found \"{text}\"");
            return Err(self.error(name, whose, message));
        }
        Ok(text.clone())
    }

    fn key(&self, text: &Spanned<String>, whose: &str) -> Result<Key, SpecError> {
        Key::parse(text.get_ref()).map_err(|message| self.error(text, whose, message))
    }

    /// A metric of a run, or what was found by a search.
    fn metric(&self, path: &Spanned<String>, whose: &str) -> Result<Metric, SpecError> {
        let quartiles = || Metric::of_quartiles(path.get_ref());
        let quartiles = || quartiles().filter(|_| self.kind == RunKind::Simulation);
        let found = Metric::of_search(path.get_ref()).filter(|_| self.searches);
        match found.or_else(quartiles) {
            Some(metric) => Ok(metric),
            None => self.run_metric(path, whose),
        }
    }

    /// A metric that a run has in its report.
    fn run_metric(&self, path: &Spanned<String>, whose: &str) -> Result<Metric, SpecError> {
        Metric::parse(path.get_ref(), self.kind, self.watched)
            .map_err(|message| self.error(path, whose, message))
    }

    /// Seeds belong to the repetitions: nothing else may set one, and a fit has only one run.
    fn seeds(&self, written: &SpecText) -> Result<Option<u64>, SpecError> {
        let Some(seeds) = &written.seeds else {
            return Ok(None);
        };
        let count = *seeds.get_ref();
        if !(2..=SEEDS_MAX).contains(&count) {
            let message = format!("expected a whole number from 2 to {SEEDS_MAX}, found {count}");
            return Err(self.error(seeds, "seeds", message));
        }
        let sets_seed = |key: &str| matches!(key, "seed" | "workload.seed");
        let keys = |axis: &'_ Axis| axis.settings.concat();
        let axes: Vec<Setting> = self.axes.iter().flat_map(keys).collect();
        let axes: Vec<String> = axes.iter().map(|set| set.key.to_string()).collect();
        let axes = axes.iter().map(String::as_str);
        let set = written.set.keys().map(|key| key.get_ref().as_str());
        let workload = written.workload.keys();
        let other = if axes.chain(set).any(sets_seed)
            || workload.clone().any(|key| key.get_ref() == "seed")
        {
            "a setting or an axis of seeds"
        } else if written.fit.is_some() {
            "[fit]"
        } else {
            return Ok(Some(count));
        };
        Err(self.error(seeds, "seeds", format!("cannot stand beside {other}")))
    }

    fn first_seed(&self, written: &SpecText) -> Result<u64, SpecError> {
        let Some(first) = &written.first_seed else {
            return Ok(1);
        };
        let seed = *first.get_ref();
        if written.seeds.is_none() || !(1..=1 << 32).contains(&seed) {
            let message = format!("expected a whole number from 1, beside `seeds`, found {seed}");
            return Err(self.error(first, "first_seed", message));
        }
        Ok(seed)
    }

    /// What all runs share.
    fn base(&self, written: &SpecText) -> Result<Vec<Setting>, SpecError> {
        let mut base = Vec::new();
        if let Some(cluster) = &written.cluster {
            base.push(Setting {
                key: Key::parse("cluster").expect("a part"),
                value: Value::Text(cluster.get_ref().clone()),
                line: self.line(cluster),
            });
        }
        for (key, value) in &written.workload {
            let line = self.line(key);
            let mut put = |below: &str, value: &Value| {
                let key = Key::parse(&format!("workload.{}{below}", key.get_ref()))
                    .expect("every key of a workload is a key");
                let value = value.clone();
                base.push(Setting { key, value, line });
            };
            match value {
                WorkloadText::Plain(value) => put("", value),
                WorkloadText::Below(values) => values
                    .iter()
                    .for_each(|(key, value)| put(&format!(".{key}"), value)),
            }
        }
        for (key, value) in &written.set {
            let (line, value) = (self.line(key), value.clone());
            let key = self.key(key, "set")?;
            base.push(Setting { key, value, line });
        }
        self.parts(&base, self.kind)?;
        Ok(base)
    }

    /// The numbers of the runs that `at` selects.
    fn select(&self, at: &[&Values]) -> Result<Vec<usize>, SpecError> {
        let mut wanted: Vec<Option<&Value>> = vec![None; self.axes.len()];
        for (name, value) in at.iter().copied().flatten() {
            let Some(axis) = self
                .axes
                .iter()
                .position(|axis| axis.name == *name.get_ref())
            else {
                let known: Vec<_> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
                let hint = hint(name.get_ref(), known.iter().copied());
                let message = format!("no such axis{hint}, expected one of: {}", known.join(", "));
                return Err(self.error(name, name.get_ref(), message));
            };
            let label = value.to_string();
            let values = &self.axes[axis].values;
            let Some(found) = values.iter().find(|known| known.to_string() == label) else {
                let known: Vec<_> = values.iter().map(Value::to_string).collect();
                let message = format!(
                    "the axis has no value {label}, expected one of: {}",
                    known.join(", ")
                );
                return Err(self.error(name, name.get_ref(), message));
            };
            wanted[axis] = Some(found);
        }
        let runs: usize = self.axes.iter().map(|axis| axis.values.len()).product();
        let matches = |run: &usize| {
            let values = values_of(&self.axes, *run);
            let mut pairs = wanted.iter().zip(values);
            pairs.all(|(wanted, value)| wanted.is_none_or(|wanted| wanted == value))
        };
        Ok((0..runs).filter(matches).collect())
    }

    /// The number of the one run that `at` selects.
    fn one<T>(&self, whose: &str, place: &Spanned<T>, at: &[&Values]) -> Result<usize, SpecError> {
        let runs = self.select(at)?;
        let [run] = runs[..] else {
            let known: Vec<_> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
            let message = format!(
                "selects {} runs, expected one: give a value of each axis ({})",
                runs.len(),
                known.join(", ")
            );
            return Err(self.error(place, whose, message));
        };
        Ok(run)
    }

    fn fit(&self, fit: &FitText) -> Result<Fit, SpecError> {
        let key = self.key(&fit.key, "fit.key")?;
        let bracket = Bracket {
            low: fit.low,
            high: *fit.high.get_ref(),
            target: fit.target,
            tolerance: *fit.tolerance.get_ref(),
        };
        if !(bracket.low < bracket.high && bracket.high.is_finite()) {
            let message = format!("expected a number above `low` ({})", bracket.low);
            return Err(self.error(&fit.high, "fit.high", message));
        }
        if !(bracket.tolerance > 0.0 && bracket.tolerance.is_finite()) {
            let message = format!("expected a number above 0, found {}", bracket.tolerance);
            return Err(self.error(&fit.tolerance, "fit.tolerance", message));
        }
        // The first run that is selected: other axes have their first value.
        let runs = self.select(&[&fit.at])?;
        let axis = self
            .axes
            .iter()
            .position(|axis| axis.key.as_ref() == Some(&key));
        let run = runs
            .into_iter()
            .find(|&run| axis.is_none_or(|axis| values_of(&self.axes, run)[axis].is_fitted()));
        let Some(run) = run else {
            let message = format!("the axis of {key} has no value \"{}\"", Value::FITTED);
            return Err(self.error(&fit.key, "fit.key", message));
        };
        Ok(Fit {
            key,
            run,
            metric: self.run_metric(&fit.metric, "fit.metric")?,
            bracket,
        })
    }

    /// `"fitted"` stands only where something is fitted.
    fn no_stray_fitted(&self, fit: Option<&Fit>) -> Result<(), SpecError> {
        for axis in &self.axes {
            let fitted = fit.is_some_and(|fit| axis.key.as_ref() == Some(&fit.key));
            if !fitted && axis.values.iter().any(Value::is_fitted) {
                let key = axis.key.as_ref().map_or(String::new(), Key::to_string);
                let message = format!("no [fit] has the key \"{key}\"");
                return Err(SpecError::new(axis.line, "axes.values", message));
            }
        }
        Ok(())
    }

    /// A value of a figure; `tolerance` where it has none of its own.
    fn published(&self, row: PublishedText, tolerance: f64) -> Result<Published, SpecError> {
        let own = row.tolerance.as_ref();
        let own = own.map(|own| self.tolerance(own, "published.tolerance"));
        Ok(Published {
            tolerance: own.unwrap_or(Ok(tolerance))?,
            to: match &row.to {
                Some(to) => self.select(&[to.get_ref()])?,
                None => Vec::new(),
            },
            run: self.one("published.at", &row.at, &[row.at.get_ref()])?,
            metric: self.metric(&row.metric, "published.metric")?,
            series: row.series,
            x: row.x,
            scale: row.scale,
            value: row.value,
            unit: row.unit,
            source: row.source,
        })
    }

    /// A share that a simulated value may be off.
    fn tolerance(&self, share: &Spanned<f64>, whose: &str) -> Result<f64, SpecError> {
        let value = *share.get_ref();
        match (0.0..=1.0).contains(&value) {
            true => Ok(value),
            false => {
                let message = format!("expected a share from 0 to 1, found {value}");
                Err(self.error(share, whose, message))
            }
        }
    }
}
