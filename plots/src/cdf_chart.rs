//! Cumulative distributions, as in the papers' figures of TBT: the share of requests at or below x.

use crate::PlotError;
use crate::axis::{Axis, extent, is_usable};
use crate::panel::{Panel, Reference, Scale, X_LABELS, left_margin, right_margin, worth_reaching};
use crate::sheet::{Cast, Line, Rect, Sheet};
use crate::spots::strip;
use crate::style::{self, HEIGHT, Pen};
use crate::thin;

/// Cumulative distributions over one x axis.
#[derive(Clone, Debug, Default)]
pub struct CdfChart {
    /// What is shown, in a few words.
    pub title: String,
    /// What x is, with its unit: "TTFT (s)".
    pub x_label: String,
    /// What has the distribution: "requests" gives the y label "share of requests (%)".
    pub of: String,
    /// Logarithmic x axis; values ≤ 0 then count as lying left of it.
    pub log_x: bool,
    /// The right end of the x axis; without one it reaches the largest value.
    pub x_max: Option<f64>,
    /// The curves.
    pub series: Vec<CdfSeries>,
    /// Vertical lines. One that lies far right of all values is named at the rim instead.
    pub markers: Vec<Reference>,
}

/// One curve of a [`CdfChart`].
#[derive(Clone, Debug)]
pub struct CdfSeries {
    /// Its name. A published series named like a simulated one gets the same hue.
    pub name: String,
    /// Where the curve comes from.
    pub data: CdfData,
    /// From a paper: drawn dashed and darker.
    pub published: bool,
}

/// The data of one curve.
#[derive(Clone, Debug)]
pub enum CdfData {
    /// The values themselves, in any order. NaN is left out; +∞ stands for "never" and keeps the
    /// curve below 100 %.
    Values(Vec<f64>),
    /// Ready points (x, share), the share between 0 and 1; drawn in the order of x.
    Points(Vec<(f64, f64)>),
}

/// Distance on paper, in tenths of a px, below which points of a curve are merged.
const MERGE: u32 = 15;

impl CdfChart {
    /// The picture.
    ///
    /// # Errors
    ///
    /// [`PlotError::TooManySeries`] with more than [`SERIES_LIMIT`](crate::SERIES_LIMIT) names.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        let named: Vec<_> = self
            .series
            .iter()
            .map(|s| (s.name.as_str(), s.published))
            .collect();
        let cast = Cast::of_lines(&self.title, &named)?;
        let curves: Vec<Vec<(f64, f64)>> = self.series.iter().map(|s| s.data.points()).collect();
        let x = Scale::new(self.x_axis(&curves), 8, &self.x_label);
        let of = if self.of.is_empty() {
            "requests"
        } else {
            &self.of
        };
        let y = Scale::new(Axis::exact(0.0, 100.0), 5, &format!("share of {of} (%)"));

        let mut plot = Rect {
            left: 0.0,
            top: 0.0,
            right: 0.0,
            bottom: HEIGHT - X_LABELS,
        };
        plot.left = style::RIM + left_margin(&y);
        plot.right = style::WIDTH - style::RIM - right_margin(&[]);
        let head = strip(&self.markers, &x.axis, &plot);
        let sheet = Sheet::new(&self.title, &cast.keys, head + HEIGHT);
        plot.top = sheet.body().top + head;
        plot.bottom += plot.top;
        let panel = Panel::new(&sheet, plot, &x, &y);
        panel.label_x(&x);
        panel.verticals(&self.markers);
        if curves.iter().all(Vec::is_empty) {
            panel.note("no data");
        }
        // Published curves first: the simulated ones lie on top.
        for published in [true, false] {
            for (i, series) in self.series.iter().enumerate() {
                if series.published == published {
                    draw(&panel, &series.name, published, cast.slots[i], &curves[i])?;
                }
            }
        }
        Ok(sheet.finish())
    }

    fn x_axis(&self, curves: &[Vec<(f64, f64)>]) -> Axis {
        let values = || curves.iter().flatten().map(|point| point.0);
        let most = extent(values()).map_or(1.0, |(_, most)| most);
        let all = values().chain(worth_reaching(&self.markers, most));
        if self.log_x {
            Axis::log(all)
        } else {
            Axis::linear(all, 8)
        }
        .up_to(self.x_max)
    }
}

impl CdfSeries {
    /// The curve of simulated `values`.
    pub fn simulated(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            data: CdfData::Values(values),
            published: false,
        }
    }

    /// A published curve through `points` (x, share between 0 and 1).
    pub fn published(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            data: CdfData::Points(points),
            published: true,
        }
    }
}

impl CdfData {
    /// The curve's corners (x, share in %), ascending in x.
    fn points(&self) -> Vec<(f64, f64)> {
        match self {
            Self::Values(values) => steps(values),
            Self::Points(points) => {
                let mut points: Vec<_> = points
                    .iter()
                    .filter(|(x, share)| is_usable(*x) && is_usable(*share))
                    .map(|&(x, share)| (x, share.clamp(0.0, 1.0) * 100.0))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                points
            }
        }
    }
}

/// A staircase with one step a value.
fn steps(values: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let percent = 100.0 / sorted.len().max(1) as f64;
    let usable = sorted
        .iter()
        .enumerate()
        .filter(|(_, value)| is_usable(**value));
    usable
        .flat_map(|(i, &value)| {
            [
                (value, i as f64 * percent),
                (value, (i + 1) as f64 * percent),
            ]
        })
        .collect()
}

fn draw(
    panel: &Panel<'_>,
    name: &str,
    published: bool,
    slot: usize,
    curve: &[(f64, f64)],
) -> Result<(), PlotError> {
    let origin = if published { " (published)" } else { "" };
    panel
        .sheet
        .begin_series(&format!("{name}{origin}"), Line::Steps);
    let pen = Pen::series(slot, published);
    let thinned = thin::within(curve, MERGE, |point| panel.place(point));
    panel.curve(thinned, pen)?;
    // Few markers, so that the curves can be told apart in black and white; each series has them at
    // other heights.
    let radius = if published { 3.2 } else { 4.0 };
    for i in 0..4 {
        let share = 100.0 * (i as f64 + (slot as f64 + 1.0) / 10.0) / 4.0;
        let after = curve.partition_point(|point| point.1 < share);
        if let Some(&(x, y)) = curve.get(after) {
            // On a riser the mark stands where the share is reached.
            let before = curve[after.saturating_sub(1)];
            let on_riser = panel.place((before.0, y)).0 == panel.place((x, y)).0;
            panel.mark(
                (x, if on_riser { share } else { y }),
                style::marker(slot),
                pen.color,
                radius,
            )?;
        }
    }
    panel.sheet.end_group();
    Ok(())
}
