//! Series over simulated time: loads, queue lengths, hit ratios; in one panel or several that share
//! their time axis.
//!
//! A long series is thinned to at most [`MOST_POINTS`] points by keeping the extremes of equal
//! slices: peaks stay, nothing is averaged.

use crate::PlotError;
use crate::axis::{Axis, extent, is_usable};
use crate::panel::{Panel, Reference, Scale, X_LABELS, left_margin, right_margin, worth_reaching};
use crate::sheet::{Cast, Line, Rect, Sheet};
use crate::style::{self, HEIGHT, Pen, RIM, WIDTH};
use crate::thin;
use crate::ticks::{Step, Ticks, linear};

/// Series over time.
#[derive(Clone, Debug, Default)]
pub struct TimeChart {
    /// What is shown, in a few words.
    pub title: String,
    /// What x is, without a unit ("simulated time"): the chart adds s, min or h to suit the span.
    pub x_label: String,
    /// The panels, top to bottom. A series name has the same colour in all of them.
    pub panels: Vec<TimePanel>,
}

/// One panel of a [`TimeChart`].
#[derive(Clone, Debug, Default)]
pub struct TimePanel {
    /// What this panel shows, above it; empty where the y label says enough.
    pub title: String,
    /// What its numbers are, in short, right of the title.
    pub caption: String,
    /// What y is, with its unit: "load (share of SLO)".
    pub y_label: String,
    /// Exact ends of the y axis; without them it holds all values.
    pub y_limits: Option<(f64, f64)>,
    /// The lines.
    pub series: Vec<TimeSeries>,
    /// Horizontal lines.
    pub references: Vec<Reference>,
}

/// One line of a [`TimePanel`].
#[derive(Clone, Debug)]
pub struct TimeSeries {
    /// Its name.
    pub name: String,
    /// (time in seconds, value), in any order. A value that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// From a paper: drawn dashed and darker.
    pub published: bool,
}

/// Points of a line that are drawn at most.
const MOST_POINTS: usize = 600;

impl TimeChart {
    /// A chart with one panel.
    pub fn single(title: impl Into<String>, panel: TimePanel) -> Self {
        Self {
            title: title.into(),
            x_label: "time".to_owned(),
            panels: vec![panel],
        }
    }

    /// The picture.
    ///
    /// # Errors
    ///
    /// [`PlotError::TooManySeries`] with more than [`SERIES_LIMIT`](crate::SERIES_LIMIT) names.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        let series = || self.panels.iter().flat_map(|panel| &panel.series);
        let named: Vec<_> = series().map(|s| (s.name.as_str(), s.published)).collect();
        let cast = Cast::of_lines(&self.title, &named)?;
        let times = series().flat_map(|s| &s.points).map(|point| point.0);
        let x = time_scale(extent(times).unwrap_or((0.0, 1.0)), &self.x_label);
        let ys: Vec<Scale> = self.panels.iter().map(TimePanel::y_scale).collect();
        let left = RIM + ys.iter().map(left_margin).fold(0.0, f64::max);
        let right = self
            .panels
            .iter()
            .map(|panel| right_margin(&panel.references));
        let right = WIDTH - RIM - right.fold(0.0, f64::max);

        let count = self.panels.len().max(1) as f64;
        let height = if count > 1.0 { 165.0 } else { HEIGHT - 90.0 };
        let heads = self.panels.iter().map(TimePanel::head).sum::<f64>();
        let body = 10.0 + count * height + (count - 1.0) * 22.0 + heads + X_LABELS;
        let sheet = Sheet::new(&self.title, &cast.keys, body);
        let mut top = sheet.body().top + 10.0;
        let mut slots = cast.slots.iter().copied();
        for (i, panel) in self.panels.iter().enumerate() {
            top += panel.head();
            let plot = Rect {
                left,
                top,
                right,
                bottom: top + height,
            };
            let axes = Panel::new(&sheet, plot, &x, &ys[i]);
            if i + 1 == self.panels.len() {
                axes.label_x(&x);
            }
            if panel.head() > 0.0 {
                axes.head(&panel.title, &panel.caption);
            }
            axes.horizontals(&panel.references);
            let slots: Vec<usize> = slots.by_ref().take(panel.series.len()).collect();
            panel.draw(&axes, &slots)?;
            top += height + 22.0;
        }
        if self.panels.is_empty() {
            let plot = Rect {
                left,
                top,
                right,
                bottom: top + height,
            };
            Panel::new(&sheet, plot, &x, &Scale::new(Axis::exact(0.0, 1.0), 5, "")).note("no data");
        }
        Ok(sheet.finish())
    }
}

impl TimePanel {
    /// Height in px of the title above the data area.
    fn head(&self) -> f64 {
        match self.title.is_empty() && self.caption.is_empty() {
            true => 0.0,
            false => 14.0,
        }
    }

    fn y_scale(&self) -> Scale {
        let values = || {
            self.series
                .iter()
                .flat_map(|s| &s.points)
                .map(|point| point.1)
        };
        let limits = self
            .y_limits
            .filter(|(low, high)| is_usable(*low) && is_usable(*high));
        let axis = match limits {
            Some((low, high)) => Axis::exact(low, high),
            None => {
                let most = extent(values()).map_or(1.0, |(_, most)| most);
                Axis::linear(values().chain(worth_reaching(&self.references, most)), 5)
            }
        };
        Scale::new(axis, 5, &self.y_label)
    }

    fn draw(&self, axes: &Panel<'_>, slots: &[usize]) -> Result<(), PlotError> {
        let mut is_empty = true;
        for (series, &slot) in self.series.iter().zip(slots) {
            let pen = Pen::series(slot, series.published);
            let is_long = series.points.len() > MOST_POINTS / 2;
            let pen = if is_long {
                Pen { width: 1.3, ..pen }
            } else {
                pen
            };
            let origin = if series.published { " (published)" } else { "" };
            let name = format!("{}{origin}", series.name);
            axes.sheet.begin_series(&name, Line::Samples);
            let runs = series.runs();
            let total: usize = runs.iter().map(Vec::len).sum();
            for run in runs {
                is_empty = false;
                let share = (run.len() * MOST_POINTS).div_ceil(total.max(1));
                mark_run(axes, &run, slot, pen)?;
                axes.curve(thin::min_max(&run, share), pen)?;
            }
            mark_series(axes, series, slot, pen)?;
            axes.sheet.end_group();
        }
        if is_empty {
            axes.note("no data");
        }
        Ok(())
    }
}

/// A run of one sample has no length: it is drawn as a point.
fn mark_run(axes: &Panel<'_>, run: &[(f64, f64)], slot: usize, pen: Pen) -> Result<(), PlotError> {
    match run {
        [only] => axes.mark(*only, style::marker(slot), pen.color, 3.0),
        _ => Ok(()),
    }
}

/// A few markers along the line, so that lines can be told apart in black and white.
fn mark_series(
    axes: &Panel<'_>,
    series: &TimeSeries,
    slot: usize,
    pen: Pen,
) -> Result<(), PlotError> {
    let mut points = series.points.clone();
    points.retain(|&(t, value)| is_usable(t) && is_usable(value));
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.len() < 2 {
        return Ok(());
    }
    for i in 0..6 {
        let share = (i as f64 + (slot as f64 + 1.0) / 9.0) / 6.0;
        let at = points[((points.len() - 1) as f64 * share) as usize];
        axes.mark(at, style::marker(slot), pen.color, 3.6)?;
    }
    Ok(())
}

impl TimeSeries {
    /// A simulated line through `points`.
    pub fn simulated(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            published: false,
        }
    }

    /// A published line through `points`.
    pub fn published(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            published: true,
        }
    }

    /// The samples in order of time, cut where one is missing.
    fn runs(&self) -> Vec<Vec<(f64, f64)>> {
        let mut points = self.points.clone();
        points.retain(|point| is_usable(point.0));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let runs = points.split(|point| !is_usable(point.1));
        runs.filter(|run| !run.is_empty())
            .map(<[_]>::to_vec)
            .collect()
    }
}

/// An axis over the given seconds, with ticks in the unit that suits them.
fn time_scale((from, to): (f64, f64), label: &str) -> Scale {
    let from = if from > 0.0 && from <= 0.2 * to {
        0.0
    } else {
        from
    };
    let axis = Axis::exact(from, to);
    let (unit, seconds) = match axis.high() - axis.low() {
        span if span <= 600.0 => ("s", 1.0),
        span if span <= 3.0 * 3600.0 => ("min", 60.0),
        _ => ("h", 3600.0),
    };
    let (low, high) = (axis.low() / seconds, axis.high() / seconds);
    // Clock-like steps where decimal ones would be odd.
    let step = match (unit, high - low) {
        ("min", span) if (25.0..=80.0).contains(&span) => Step::of(1.0, 1),
        ("min", span) if span > 80.0 => Step::of(3.0, 1),
        ("h", span) if (8.0..=30.0).contains(&span) => Step::of(3.0, 0),
        (_, span) => Step::at_least(span, 8),
    };
    // A last sample shortly before a round time (3,599 s) must not lose its tick.
    let round = libm::ceil(high / step.size() - 1e-6) * step.size();
    let high = if round - high <= 0.01 * (high - low) {
        round
    } else {
        high
    };
    let ticks = linear(low, high, step);
    let at = ticks.at.iter().map(|at| at * seconds).collect();
    let ticks = Ticks {
        at,
        labels: ticks.labels,
    };
    Scale {
        axis: Axis::exact(axis.low(), high * seconds),
        ticks,
        label: format!("{label} ({unit})"),
        unit: seconds,
    }
}
