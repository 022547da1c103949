//! Lines through few, marked points: goodput over load, hit ratio over cache capacity.

use crate::PlotError;
use crate::axis::{Axis, extent, is_usable};
use crate::panel::{Panel, Reference, Scale, X_LABELS, left_margin, right_margin, worth_reaching};
use crate::sheet::{Cast, Rect, Sheet};
use crate::spots::strip;
use crate::style::{self, HEIGHT, Pen, RIM, WIDTH};

/// Lines over one pair of axes.
#[derive(Clone, Debug, Default)]
pub struct LineChart {
    /// What is shown, in a few words.
    pub title: String,
    /// What x is, with its unit.
    pub x_label: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// Logarithmic x axis; points with x ≤ 0 are left out.
    pub log_x: bool,
    /// Logarithmic y axis; points with y ≤ 0 are left out.
    pub log_y: bool,
    /// The lines.
    pub series: Vec<LineSeries>,
    /// Vertical lines.
    pub verticals: Vec<Reference>,
    /// Horizontal lines.
    pub horizontals: Vec<Reference>,
}

/// One line of a [`LineChart`].
#[derive(Clone, Debug)]
pub struct LineSeries {
    /// Its name. A published series named like a simulated one gets the same hue.
    pub name: String,
    /// (x, y) in any order; a point that is not finite is left out.
    pub points: Vec<(f64, f64)>,
    /// From a paper: drawn dashed and darker.
    pub published: bool,
}

impl LineSeries {
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
}

impl LineChart {
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
        let lines: Vec<Vec<(f64, f64)>> = self.series.iter().map(|s| self.usable(s)).collect();
        let xs = lines.iter().flatten().map(|point| point.0);
        let ys = lines.iter().flatten().map(|point| point.1);
        let x = Scale::new(fit(xs, &self.verticals, self.log_x, 8), 8, &self.x_label);
        let y = Scale::new(fit(ys, &self.horizontals, self.log_y, 6), 6, &self.y_label);

        let left = RIM + left_margin(&y);
        let right = WIDTH - RIM - right_margin(&self.horizontals);
        let mut plot = Rect {
            left,
            top: 0.0,
            right,
            bottom: HEIGHT - X_LABELS,
        };
        let head = strip(&self.verticals, &x.axis, &plot).max(8.0);
        let sheet = Sheet::new(&self.title, &cast.keys, head + HEIGHT);
        plot.top = sheet.body().top + head;
        plot.bottom += plot.top;
        let panel = Panel::new(&sheet, plot, &x, &y);
        panel.label_x(&x);
        panel.verticals(&self.verticals);
        panel.horizontals(&self.horizontals);
        if lines.iter().all(Vec::is_empty) {
            panel.note("no data");
        }
        for published in [true, false] {
            for (i, series) in self.series.iter().enumerate() {
                if series.published == published {
                    draw(&panel, series, cast.slots[i], &lines[i])?;
                }
            }
        }
        Ok(sheet.finish())
    }

    fn usable(&self, series: &LineSeries) -> Vec<(f64, f64)> {
        let fits = |value: f64, log: bool| is_usable(value) && (!log || value > 1e-100);
        let mut points = series.points.clone();
        points.retain(|&(x, y)| fits(x, self.log_x) && fits(y, self.log_y));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    }
}

fn fit(
    values: impl Iterator<Item = f64> + Clone,
    references: &[Reference],
    log: bool,
    most: usize,
) -> Axis {
    let largest = extent(values.clone()).map_or(1.0, |(_, largest)| largest);
    let all = values.chain(worth_reaching(references, largest));
    if log {
        Axis::log(all)
    } else {
        Axis::linear(all, most)
    }
}

fn draw(
    panel: &Panel<'_>,
    series: &LineSeries,
    slot: usize,
    points: &[(f64, f64)],
) -> Result<(), PlotError> {
    let origin = if series.published { " (published)" } else { "" };
    panel.sheet.begin_group(&format!("{}{origin}", series.name));
    let pen = Pen::series(slot, series.published);
    if points.len() > 1 {
        panel.curve(points.to_vec(), pen)?;
    }
    let radius = if series.published { 3.2 } else { 4.0 };
    for &point in points {
        panel.mark(point, style::marker(slot), pen.color, radius)?;
    }
    panel.sheet.end_group();
    Ok(())
}
