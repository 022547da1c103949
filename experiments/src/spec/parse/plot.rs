//! Plots: which keys a kind has, and which runs are where.

use super::Parser;
use crate::spec::plot::{
    BarsPlot, Line, LinesPanel, LinesPlot, LoadsPlot, Measure, Plot, PlotKind, PublishedFile,
};
use crate::spec::text::{PlotText, Values};
use crate::spec::{Search, SpecError, Value};
use std::collections::BTreeSet;
use toml::Spanned;

/// More names than this cannot be told apart by their colours (`conductor-plots` has as many).
const NAMES_MAX: usize = 8;

impl Parser<'_> {
    /// All plots. Their files have different names.
    pub(super) fn plots(
        &self,
        plots: &[PlotText],
        seeds: Option<u64>,
        search: Option<&Search>,
    ) -> Result<Vec<Plot>, SpecError> {
        let mut files = BTreeSet::new();
        for plot in plots {
            if !files.insert(plot.file.get_ref()) {
                let message = format!("two plots are called \"{}\"", plot.file.get_ref());
                return Err(self.error(&plot.file, "plots.file", message));
            }
        }
        let plots = plots.iter().map(|plot| self.plot(plot, seeds, search));
        plots.collect()
    }

    fn plot(
        &self,
        plot: &PlotText,
        seeds: Option<u64>,
        search: Option<&Search>,
    ) -> Result<Plot, SpecError> {
        let kind = plot.kind.get_ref().as_str();
        let used: &[&str] = match kind {
            "lines" => &[
                "metric", "scale", "y_label", "over", "by", "values", "panels", "x_label", "x_one",
                "log_x", "log_y",
            ],
            "bars" => &["metric", "scale", "y_label", "over", "by", "values"],
            "loads" => &["panels", "values", "seed", "from_s", "to_s", "published"],
            "replicas" => &["panels", "values", "published"],
            "cdf" => &[
                "metric",
                "scale",
                "by",
                "values",
                "x_label",
                "log_x",
                "x_max",
                "marks",
                "published",
            ],
            "box" => &[
                "metric",
                "scale",
                "by",
                "values",
                "y_label",
                "log_y",
                "y_max",
                "marks",
                "published",
            ],
            "heat" => &[
                "metric",
                "scale",
                "value_label",
                "over",
                "x_label",
                "by",
                "values",
                "y_label",
            ],
            "search" => &["by", "values", "x_label", "log_x", "log_y", "published"],
            other => {
                let message = format!(
                    "unknown kind \"{other}\", expected lines, bars, loads, replicas, cdf, box, heat or search"
                );
                return Err(self.error(&plot.kind, "plots.kind", message));
            }
        };
        for (key, line) in self.written(plot) {
            if let Some(line) = line.filter(|_| !used.contains(&key)) {
                let message = format!("has no meaning for a plot of kind \"{kind}\"");
                return Err(SpecError::new(line, &format!("plots.{key}"), message));
            }
        }
        self.not_fixed(plot)?;
        Ok(Plot {
            file: self.name(&plot.file, "plots.file")?,
            title: plot.title.clone(),
            caption: plot.caption.clone(),
            kind: match kind {
                "lines" => PlotKind::Lines(self.lines(plot)?),
                "bars" => PlotKind::Bars(self.bars(plot)?),
                "replicas" => self.replicas(plot)?,
                "cdf" => PlotKind::Cdf(self.cdf(plot)?),
                "box" => PlotKind::Box(self.boxes(plot)?),
                "heat" => PlotKind::Heat(self.heat(plot)?),
                "search" => PlotKind::Search(self.tries(plot, search)?),
                _ => PlotKind::Loads(self.loads(plot, seeds)?),
            },
        })
    }

    /// The keys that not every kind has, and where those that are there stand.
    fn written(&self, plot: &PlotText) -> [(&'static str, Option<usize>); 19] {
        fn at<T>(parser: &Parser<'_>, value: Option<&Spanned<T>>) -> Option<usize> {
            value.map(|value| parser.line(value))
        }
        [
            ("metric", at(self, plot.metric.as_ref())),
            ("scale", at(self, plot.scale.as_ref())),
            ("y_label", at(self, plot.y_label.as_ref())),
            ("value_label", at(self, plot.value_label.as_ref())),
            ("over", at(self, plot.over.as_ref())),
            ("by", at(self, plot.by.as_ref())),
            ("values", at(self, plot.values.as_ref())),
            ("panels", at(self, plot.panels.as_ref())),
            ("x_label", at(self, plot.x_label.as_ref())),
            ("x_one", at(self, plot.x_one.as_ref())),
            ("log_x", at(self, plot.log_x.as_ref())),
            ("log_y", at(self, plot.log_y.as_ref())),
            ("seed", at(self, plot.seed.as_ref())),
            ("from_s", at(self, plot.from_s.as_ref())),
            ("to_s", at(self, plot.to_s.as_ref())),
            ("x_max", at(self, plot.x_max.as_ref())),
            ("y_max", at(self, plot.y_max.as_ref())),
            ("marks", at(self, plot.marks.as_ref())),
            ("published", at(self, plot.published.as_ref())),
        ]
    }

    /// An axis that is drawn is not fixed, and is drawn once.
    fn not_fixed(&self, plot: &PlotText) -> Result<(), SpecError> {
        let drawn = [&plot.over, &plot.by, &plot.panels];
        let drawn: Vec<_> = drawn.into_iter().flatten().collect();
        for (i, axis) in drawn.iter().enumerate() {
            let name = axis.get_ref();
            if let Some((fixed, _)) = plot.at.get_key_value(name.as_str()) {
                let message = "the axis is drawn: it cannot be fixed";
                return Err(self.error(fixed, &format!("plots.at.{name}"), message));
            }
            if drawn[..i].iter().any(|other| other.get_ref() == name) {
                let message = format!("the axis {name} is drawn twice");
                return Err(self.error(axis, "plots", message));
            }
        }
        Ok(())
    }

    fn lines(&self, plot: &PlotText) -> Result<LinesPlot, SpecError> {
        let over = self.needed_by(plot, "over", plot.over.as_ref())?;
        let one = plot.x_one.as_ref().map_or(1.0, |one| *one.get_ref());
        if let Some(at) = plot
            .x_one
            .as_ref()
            .filter(|_| !(one.is_finite() && one > 0.0))
        {
            return Err(self.error(at, "plots.x_one", "expected a number above 0"));
        }
        let mut xs = Vec::new();
        for value in &self.along(over, "plots.over")?.values {
            let Some(x) = value.number() else {
                let message = format!("expected an axis of numbers, and {value} is none");
                return Err(self.error(over, "plots.over", message));
            };
            xs.push((value, x / one));
        }
        let names = self.drawn(plot, "by", plot.by.as_ref())?;
        let panels = match &plot.panels {
            Some(axis) => self
                .along(axis, "plots.panels")?
                .values
                .iter()
                .map(Some)
                .collect(),
            None => vec![None],
        };
        let panel = |panel: Option<&Value>| {
            let line = |(name, value): &(String, Option<&Value>)| {
                let point = |&(at, x): &(&Value, f64)| {
                    let along = [
                        Some((over, at)),
                        plot.by.as_ref().zip(*value),
                        plot.panels.as_ref().zip(panel),
                    ];
                    Ok((x, self.cell(plot, &along)?))
                };
                Ok(Line {
                    name: name.clone(),
                    points: xs.iter().map(point).collect::<Result<_, SpecError>>()?,
                })
            };
            Ok(LinesPanel {
                title: panel.map_or_else(String::new, Value::to_string),
                lines: names.iter().map(line).collect::<Result<_, SpecError>>()?,
            })
        };
        let is_true = |key: &Option<Spanned<bool>>| key.as_ref().is_some_and(|key| *key.get_ref());
        Ok(LinesPlot {
            y: self.measure(plot, "y_label", plot.y_label.as_ref())?,
            x_label: self
                .needed_by(plot, "x_label", plot.x_label.as_ref())?
                .get_ref()
                .clone(),
            log_x: is_true(&plot.log_x),
            log_y: is_true(&plot.log_y),
            panels: panels
                .into_iter()
                .map(panel)
                .collect::<Result<_, SpecError>>()?,
        })
    }

    fn bars(&self, plot: &PlotText) -> Result<BarsPlot, SpecError> {
        let over = self.needed_by(plot, "over", plot.over.as_ref())?;
        let groups: Vec<&Value> = self.along(over, "plots.over")?.values.iter().collect();
        let series = |(name, value): (String, Option<&Value>)| {
            let run = |&group: &&Value| {
                let along = [Some((over, group)), plot.by.as_ref().zip(value)];
                self.cell(plot, &along)
            };
            Ok((
                name,
                groups.iter().map(run).collect::<Result<_, SpecError>>()?,
            ))
        };
        let names = self.drawn(plot, "by", plot.by.as_ref())?;
        Ok(BarsPlot {
            y: self.measure(plot, "y_label", plot.y_label.as_ref())?,
            groups: short_names(&groups),
            series: names
                .into_iter()
                .map(series)
                .collect::<Result<_, SpecError>>()?,
        })
    }

    fn loads(&self, plot: &PlotText, seeds: Option<u64>) -> Result<LoadsPlot, SpecError> {
        let seed = match (&plot.seed, seeds) {
            (None, seeds) => seeds.map(|_| 1),
            (Some(seed), Some(seeds)) if (1..=seeds).contains(seed.get_ref()) => {
                Some(*seed.get_ref())
            }
            (Some(seed), seeds) => {
                let message = match seeds {
                    Some(seeds) => format!("expected 1 to {seeds}, found {}", seed.get_ref()),
                    None => "without `seeds` a run has only its own".to_string(),
                };
                return Err(self.error(seed, "plots.seed", message));
            }
        };
        let from_s = plot.from_s.as_ref().map_or(0.0, |from| *from.get_ref());
        let to_s = plot.to_s.as_ref().map_or(f64::INFINITY, |to| *to.get_ref());
        if let Some(at) = plot
            .from_s
            .as_ref()
            .filter(|_| !(from_s.is_finite() && from_s >= 0.0))
        {
            return Err(self.error(at, "plots.from_s", "expected seconds from 0"));
        }
        if let Some(at) = plot
            .to_s
            .as_ref()
            .filter(|_| to_s.is_nan() || to_s <= from_s)
        {
            let message = format!("expected seconds above `from_s` ({from_s})");
            return Err(self.error(at, "plots.to_s", message));
        }
        Ok(LoadsPlot {
            panels: self.panels(plot)?,
            seed,
            from_s,
            to_s,
            published: published(plot),
        })
    }

    /// A panel for each value of an axis, by name and run.
    pub(super) fn panels(&self, plot: &PlotText) -> Result<Vec<(String, usize)>, SpecError> {
        let panel = |(name, value): (String, Option<&Value>)| {
            let along = [plot.panels.as_ref().zip(value)];
            Ok((name, self.cell(plot, &along)?))
        };
        let names = self.drawn(plot, "panels", plot.panels.as_ref())?;
        names.into_iter().map(panel).collect()
    }

    pub(super) fn scale(&self, plot: &PlotText) -> Result<f64, SpecError> {
        let scale = plot.scale.as_ref().map_or(1.0, |scale| *scale.get_ref());
        if let Some(at) = plot.scale.as_ref().filter(|_| !scale.is_finite()) {
            return Err(self.error(at, "plots.scale", "expected a number"));
        }
        Ok(scale)
    }

    /// What is measured; its label is at `key`.
    pub(super) fn measure(
        &self,
        plot: &PlotText,
        key: &str,
        label: Option<&Spanned<String>>,
    ) -> Result<Measure, SpecError> {
        let metric = self.needed_by(plot, "metric", plot.metric.as_ref())?;
        let scale = self.scale(plot)?;
        let label = self.needed_by(plot, key, label)?;
        Ok(Measure {
            metric: self.metric(metric, "plots.metric")?,
            scale,
            label: label.get_ref().clone(),
        })
    }

    /// What has a colour or a panel of its own: values of the axis at `key`, or without one a single nameless thing.
    pub(super) fn drawn<'b>(
        &'b self,
        plot: &'b PlotText,
        key: &str,
        axis: Option<&Spanned<String>>,
    ) -> Result<Vec<(String, Option<&'b Value>)>, SpecError> {
        let Some(axis) = axis else {
            if let Some(values) = &plot.values {
                let message = format!("values of what: give `{key}`");
                return Err(self.error(values, "plots.values", message));
            }
            return Ok(vec![(String::new(), None)]);
        };
        let all = &self.along(axis, &format!("plots.{key}"))?.values;
        let values: Vec<&Value> = plot
            .values
            .as_ref()
            .map_or(all, Spanned::get_ref)
            .iter()
            .collect();
        if values.is_empty() || values.len() > NAMES_MAX {
            let message = format!("expected 1 to {NAMES_MAX} values, found {}", values.len());
            return Err(match &plot.values {
                Some(at) => self.error(at, "plots.values", message),
                None => self.error(
                    axis,
                    &format!("plots.{key}"),
                    message + "; choose by `values`",
                ),
            });
        }
        Ok(short_names(&values)
            .into_iter()
            .zip(values.into_iter().map(Some))
            .collect())
    }

    /// The run at values of axes that are drawn and those that are fixed.
    pub(super) fn cell(
        &self,
        plot: &PlotText,
        along: &[Option<(&Spanned<String>, &Value)>],
    ) -> Result<usize, SpecError> {
        let along = along.iter().flatten();
        let along: Values = along
            .map(|&(axis, value)| (axis.clone(), value.clone()))
            .collect();
        self.one("plots.at", &plot.kind, &[&plot.at, &along])
    }

    pub(super) fn needed_by<'b, T>(
        &self,
        plot: &'b PlotText,
        key: &str,
        value: Option<&'b Spanned<T>>,
    ) -> Result<&'b Spanned<T>, SpecError> {
        value.ok_or_else(|| {
            let message = format!("a plot of kind \"{}\" needs it", plot.kind.get_ref());
            self.error(&plot.kind, &format!("plots.{key}"), message)
        })
    }
}

pub(super) fn published(plot: &PlotText) -> Option<PublishedFile> {
    let written = plot.published.as_ref()?.get_ref();
    Some(PublishedFile {
        file: written.file.clone(),
        source: written.source.clone(),
    })
}

/// Names without what all have in common up to a `+`: in a legend, `kvcache-centric+` only takes room.
pub(super) fn short_names(values: &[&Value]) -> Vec<String> {
    let names: Vec<String> = values.iter().map(|value| value.to_string()).collect();
    let common = names[0]
        .split_once('+')
        .map(|(common, _)| format!("{common}+"));
    match common {
        Some(common) if names.len() > 1 && names.iter().all(|name| name.starts_with(&common)) => {
            names
                .iter()
                .map(|name| name[common.len()..].to_string())
                .collect()
        }
        _ => names,
    }
}
