//! Lines through few, marked points: goodput over load, hit ratio over cache capacity.

use crate::PlotError;
use crate::axis::{Axis, extent, is_usable};
use crate::panel::{Panel, Reference, Scale, X_LABELS, left_margin, right_margin, worth_reaching};
use crate::sheet::{Cast, Line, Rect, Sheet};
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
    /// Half the height of the interval around each point, in the unit of y: one a point, or fewer where there is
    /// none (NaN and 0 are none either).
    pub halves: Vec<f64>,
    /// From a paper: drawn dashed and darker.
    pub published: bool,
}

impl LineSeries {
    /// A simulated line through `points`.
    pub fn simulated(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            halves: Vec::new(),
            published: false,
        }
    }

    /// A published line through `points`.
    pub fn published(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            halves: Vec::new(),
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
        let logs = (self.log_x, self.log_y);
        let lines: Vec<Vec<Spot>> = self.series.iter().map(|s| usable(s, logs)).collect();
        let xs = lines.iter().flatten().map(|spot| spot.at.0);
        let ys = lines.iter().flatten().flat_map(Spot::reach);
        let x = Scale::new(
            fit(xs, Values::Chosen, &self.verticals, self.log_x, 8),
            8,
            &self.x_label,
        );
        let y = Scale::new(
            fit(ys, Values::Measured, &self.horizontals, self.log_y, 6),
            6,
            &self.y_label,
        );

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
        draw_all(&panel, &self.series, &cast.slots, &lines)?;
        Ok(sheet.finish())
    }
}

/// A point that can be drawn, with its interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) at: (f64, f64),
    /// Ends of the interval; both the point itself if it has none.
    interval: (f64, f64),
    /// The x value, wherever the point is drawn.
    x: f64,
    half: f64,
}

impl Spot {
    /// What a reader wants to know: x, y, and half the height of the interval, 0 without one.
    fn value(&self) -> (f64, f64, f64) {
        (self.x, self.at.1, self.half)
    }

    /// What a y axis has to hold for it.
    pub(crate) fn reach(&self) -> [f64; 2] {
        [self.interval.0, self.interval.1]
    }

    /// The same `aside` px further right, or as it is where that leaves the axis.
    pub(crate) fn beside(&self, panel: &Panel<'_>, aside: f64) -> Self {
        let at = (panel.beside(self.at.0, aside), self.at.1);
        let at = if panel.holds(at) { at } else { self.at };
        Self { at, ..*self }
    }
}

/// The points of a series in order of x, without those that cannot be drawn on axes that are logarithmic or not.
pub(crate) fn usable(series: &LineSeries, (log_x, log_y): (bool, bool)) -> Vec<Spot> {
    let fits = |value: f64, log: bool| is_usable(value) && (!log || value > 1e-100);
    let halves = series.halves.iter().copied().chain(std::iter::repeat(0.0));
    let mut spots: Vec<Spot> = series
        .points
        .iter()
        .zip(halves)
        .filter(|((x, y), _)| fits(*x, log_x) && fits(*y, log_y))
        .map(|(&at, half)| {
            let half = if is_usable(half) { half.abs() } else { 0.0 };
            // A logarithmic axis has no place for what reaches below 0: the axis ends at the points then.
            let low = if fits(at.1 - half, log_y) {
                at.1 - half
            } else {
                at.1
            };
            Spot {
                at,
                interval: (low, at.1 + half),
                x: at.0,
                half,
            }
        })
        .collect();
    spots.sort_by(|a, b| a.at.0.total_cmp(&b.at.0));
    spots
}

/// Where the values on an axis are from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values {
    /// Somebody chose them.
    Chosen,
    /// They came out.
    Measured,
}

/// An axis for `values`, and the references near them.
pub(crate) fn fit(
    values: impl Iterator<Item = f64> + Clone,
    from: Values,
    references: &[Reference],
    log: bool,
    most: usize,
) -> Axis {
    let largest = extent(values.clone()).map_or(1.0, |(_, largest)| largest);
    let all = values.chain(worth_reaching(references, largest));
    match (log, from) {
        (true, _) => Axis::log(all),
        (false, Values::Chosen) => Axis::along(all, most),
        (false, Values::Measured) => Axis::linear(all, most),
    }
}

/// Draws all series, what was published beneath.
pub(crate) fn draw_all(
    panel: &Panel<'_>,
    series: &[LineSeries],
    slots: &[usize],
    lines: &[Vec<Spot>],
) -> Result<(), PlotError> {
    for published in [true, false] {
        for (i, series) in series.iter().enumerate() {
            if series.published == published {
                draw(panel, series, slots[i], &lines[i])?;
            }
        }
    }
    Ok(())
}

fn draw(
    panel: &Panel<'_>,
    series: &LineSeries,
    slot: usize,
    spots: &[Spot],
) -> Result<(), PlotError> {
    let origin = if series.published { " (published)" } else { "" };
    let values: Vec<_> = spots.iter().map(Spot::value).collect();
    let name = format!("{}{origin}", series.name);
    panel.sheet.begin_series(&name, Line::Points(&values));
    let pen = Pen::series(slot, series.published);
    if spots.len() > 1 {
        panel.curve(spots.iter().map(|spot| spot.at).collect(), pen)?;
    }
    let radius = if series.published { 3.2 } else { 4.0 };
    for spot in spots {
        let (low, high) = spot.interval;
        if low < high {
            panel.whisker(spot.at.0, spot.interval, Pen::solid(pen.color, 1.2));
        }
        panel.mark(spot.at, style::marker(slot), pen.color, radius)?;
    }
    panel.sheet.end_group();
    Ok(())
}
