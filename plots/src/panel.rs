//! A panel: a pair of axes with grid, ticks, labels and reference lines around a data area.
//!
//! Nothing but data and lines is ever drawn inside the data area; the labels of reference lines
//! stand above it (vertical lines) or to its right (horizontal lines).

use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::DrawingArea;

use crate::PlotError;
use crate::axis::{Axis, is_usable};
use crate::canvas::{SvgCanvas, Tenths, sub};
use crate::elements::{Block, Curve, Mark};
use crate::sheet::{Rect, Sheet};
use crate::spots::spots;
use crate::style::{
    AXIS, Anchor, GRID, INK, LABEL, Marker, Pen, RIM, Rgb, SMALL, SOFT_INK, TICK, TextPen,
};
use crate::text::{ellipsize, width, wrap};
use crate::ticks::Ticks;

/// A reference line, such as an SLO, with the label that stands at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Where it crosses the axis, in the unit of the axis.
    pub at: f64,
    /// Its label, with a unit: "SLO 30 s".
    pub label: String,
}

impl Reference {
    /// A line at `at` labelled `label`.
    pub fn new(at: f64, label: impl Into<String>) -> Self {
        Self {
            at,
            label: label.into(),
        }
    }
}

/// Those of `references` that lie so near to the data (whose largest value is `most`) that the axis
/// should reach them.
pub(crate) fn worth_reaching(references: &[Reference], most: f64) -> impl Iterator<Item = f64> {
    references
        .iter()
        .map(|reference| reference.at)
        .filter(move |&at| at <= 2.0 * most)
}

/// An axis with its ticks and its label.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) axis: Axis,
    pub(crate) ticks: Ticks,
    pub(crate) label: String,
    /// The ticks' unit, in the axis' own: 60 where values are seconds and ticks minutes.
    pub(crate) unit: f64,
}

impl Scale {
    /// With up to about `most` ticks.
    pub(crate) fn new(axis: Axis, most: usize, label: &str) -> Self {
        Self {
            axis,
            ticks: axis.ticks(most),
            label: label.to_owned(),
            unit: 1.0,
        }
    }

    /// An axis for `count` categories around 0, 1, 2, …; without ticks.
    pub(crate) fn categories(count: usize) -> Self {
        let axis = Axis::exact(-0.5, count.max(1) as f64 - 0.5);
        let ticks = Ticks {
            at: Vec::new(),
            labels: Vec::new(),
        };
        Self {
            axis,
            ticks,
            label: String::new(),
            unit: 1.0,
        }
    }

    /// Ends, kind and unit, for a script; an axis of names has none of them.
    fn data(&self) -> String {
        if self.ticks.at.is_empty() {
            return "names".to_owned();
        }
        let kind = if self.axis.is_log() { "log" } else { "linear" };
        format!(
            "{} {} {kind} {}",
            self.axis.low(),
            self.axis.high(),
            self.unit
        )
    }

    fn widest_tick(&self) -> f64 {
        self.ticks
            .labels
            .iter()
            .map(|text| width(text, TICK, false))
            .fold(0.0, f64::max)
    }
}

/// Space in px that the labels of `y` need left of a data area.
pub(crate) fn left_margin(y: &Scale) -> f64 {
    let label = if y.label.is_empty() { 0.0 } else { LABEL + 7.0 };
    label + y.widest_tick() + 9.0
}

/// Space in px below a data area for the ticks and the label of its x axis.
pub(crate) const X_LABELS: f64 = 48.0;

/// Space in px right of a data area for the labels of horizontal lines.
pub(crate) fn right_margin(references: &[Reference]) -> f64 {
    let widest = references
        .iter()
        .map(|reference| width(&reference.label, SMALL, false).min(150.0) + 8.0)
        .fold(0.0, f64::max);
    widest.max(12.0)
}

/// A data area with its axes.
pub(crate) struct Panel<'a> {
    pub(crate) sheet: &'a Sheet,
    area: DrawingArea<SvgCanvas, Cartesian2d<Axis, Axis>>,
    pub(crate) plot: Rect,
    x: Axis,
    y: Axis,
}

impl<'a> Panel<'a> {
    /// Draws grid and frame around `plot`, and the y axis' labels left of it.
    pub(crate) fn new(sheet: &'a Sheet, plot: Rect, x: &Scale, y: &Scale) -> Self {
        let corners = [plot.left, plot.top, plot.right, plot.bottom];
        let corners = corners.map(|px| Tenths(sub(px)).to_string()).join(" ");
        let data = [
            ("plot", corners),
            ("x", x.data()),
            ("y", y.data()),
            ("x-label", x.label.clone()),
        ];
        sheet.begin_part("panel", &data);
        sheet.begin_part("grid", &[]);
        let grid = Pen::solid(GRID, 1.0);
        let across = |value: f64| plot.left + x.axis.position(value) * plot.width();
        let up = |value: f64| plot.bottom - y.axis.position(value) * plot.height();
        for &at in &x.ticks.at {
            sheet.line((across(at), plot.top), (across(at), plot.bottom), &grid);
        }
        let pen = TextPen::new(TICK, Anchor::End).color(SOFT_INK);
        for (&at, label) in y.ticks.at.iter().zip(&y.ticks.labels) {
            sheet.line((plot.left, up(at)), (plot.right, up(at)), &grid);
            if !label.is_empty() {
                sheet.text(label, plot.left - 7.0, up(at), &pen);
            }
        }
        sheet.end_group();
        let rule = Pen::solid(AXIS, 1.0);
        sheet.line((plot.left, plot.top), (plot.left, plot.bottom), &rule);
        sheet.line((plot.left, plot.bottom), (plot.right, plot.bottom), &rule);
        let mut pen = TextPen::new(LABEL, Anchor::Middle);
        pen.upwards = true;
        let middle = (plot.top + plot.bottom) / 2.0;
        if !y.label.is_empty() {
            let lines = wrap(&y.label, LABEL, false, plot.height() + 16.0, 1);
            sheet.text(&lines.join(" "), RIM + LABEL / 2.0, middle, &pen);
        }
        sheet.end_group();
        let span = (
            sub(plot.left)..sub(plot.right),
            sub(plot.bottom)..sub(plot.top),
        );
        let area = sheet
            .root()
            .apply_coord_spec(Cartesian2d::new(x.axis, y.axis, span));
        Self {
            sheet,
            area,
            plot,
            x: x.axis,
            y: y.axis,
        }
    }

    /// Ticks and label of the x axis, below the data area.
    pub(crate) fn label_x(&self, x: &Scale) {
        let pen = TextPen::new(TICK, Anchor::Middle).color(SOFT_INK);
        let rule = Pen::solid(AXIS, 1.0);
        let bottom = self.plot.bottom;
        let mut free_from = 0.0;
        self.sheet.begin_part("x-ticks", &[]);
        for (&at, label) in x.ticks.at.iter().zip(&x.ticks.labels) {
            let middle = self.plot.left + x.axis.position(at) * self.plot.width();
            self.sheet
                .line((middle, bottom), (middle, bottom + 4.0), &rule);
            let half = width(label, TICK, false) / 2.0;
            if middle - half >= free_from {
                self.sheet.text(label, middle, bottom + 14.0, &pen);
                free_from = middle + half + 6.0;
            }
        }
        self.sheet.end_group();
        let middle = (self.plot.left + self.plot.right) / 2.0;
        let label = ellipsize(&x.label, LABEL, false, self.plot.width());
        self.sheet.text(
            &label,
            middle,
            bottom + 33.0,
            &TextPen::new(LABEL, Anchor::Middle),
        );
    }

    /// Draws a line through `points`; what lies outside of the data area is cut off.
    pub(crate) fn curve(&self, points: Vec<(f64, f64)>, pen: Pen) -> Result<(), PlotError> {
        if points.iter().all(|&point| self.holds(point)) {
            return Ok(self.area.draw(&Curve { points, pen })?);
        }
        for piece in self.cut(&points) {
            self.area.draw(&Curve { points: piece, pen })?;
        }
        Ok(())
    }

    /// Draws a point, if it lies in the data area.
    pub(crate) fn mark(
        &self,
        at: (f64, f64),
        marker: Marker,
        color: Rgb,
        radius: f64,
    ) -> Result<(), PlotError> {
        if self.holds(at) {
            self.area.draw(&Mark {
                at,
                marker,
                color,
                radius,
            })?;
        }
        Ok(())
    }

    /// Draws an interval at `x` with caps, cut to the data area.
    pub(crate) fn whisker(&self, x: f64, (low, high): (f64, f64), pen: Pen) {
        let (middle, bottom, top) = (self.place_of(x), self.height_of(low), self.height_of(high));
        let at = Tenths(sub(middle)).to_string();
        self.sheet.begin_part("whisker", &[("at", at)]);
        self.sheet.line((middle, bottom), (middle, top), &pen);
        for end in [bottom, top] {
            self.sheet
                .line((middle - 3.0, end), (middle + 3.0, end), &pen);
        }
        self.sheet.end_group();
    }

    /// Draws a rectangle, cut to the data area.
    pub(crate) fn block(&self, mut block: Block) -> Result<(), PlotError> {
        for corner in &mut block.corners {
            corner.0 = corner.0.clamp(self.x.low(), self.x.high());
            corner.1 = corner.1.clamp(self.y.low(), self.y.high());
        }
        Ok(self.area.draw(&block)?)
    }

    /// Where a value is drawn, in back-end units.
    pub(crate) fn place(&self, point: (f64, f64)) -> (i32, i32) {
        self.area.map_coordinate(&point)
    }

    /// Height in px of `value` on the sheet, within the data area.
    pub(crate) fn height_of(&self, value: f64) -> f64 {
        self.plot.bottom - self.y.position(value).clamp(0.0, 1.0) * self.plot.height()
    }

    /// Place in px of `value` on the x axis, within the data area.
    pub(crate) fn place_of(&self, value: f64) -> f64 {
        self.plot.left + self.x.position(value).clamp(0.0, 1.0) * self.plot.width()
    }

    /// Whether `point` lies in the data area.
    pub(crate) fn holds(&self, point: (f64, f64)) -> bool {
        let inside = |position: f64| (-1e-9..=1.0 + 1e-9).contains(&position);
        inside(self.x.position(point.0)) && inside(self.y.position(point.1))
    }

    /// Writes what the panel shows above its data area: its title left, a caption right. The caption goes first.
    pub(crate) fn head(&self, title: &str, caption: &str) {
        let Rect {
            left, right, top, ..
        } = self.plot;
        let mut room = right - left;
        if !caption.is_empty() {
            let caption = ellipsize(caption, SMALL, false, room);
            let pen = TextPen::new(SMALL, Anchor::End).color(SOFT_INK);
            self.sheet.text(&caption, right, top - 10.0, &pen);
            room -= width(&caption, SMALL, false) + 24.0;
        }
        if !title.is_empty() {
            let mut pen = TextPen::new(LABEL, Anchor::Start);
            pen.bold = true;
            let title = ellipsize(title, LABEL, true, room);
            self.sheet.text(&title, left, top - 10.0, &pen);
        }
    }

    /// The value that is drawn `aside` px right of `x`.
    pub(crate) fn beside(&self, x: f64, aside: f64) -> f64 {
        self.x
            .value_at(self.x.position(x) + aside / self.plot.width())
    }

    /// Writes that there is nothing to see.
    pub(crate) fn note(&self, text: &str) {
        let pen = TextPen::new(LABEL, Anchor::Middle).color(SOFT_INK);
        let middle = (self.plot.left + self.plot.right) / 2.0;
        self.sheet
            .text(text, middle, (self.plot.top + self.plot.bottom) / 2.0, &pen);
    }

    /// Horizontal lines, labelled right of the data area.
    pub(crate) fn horizontals(&self, references: &[Reference]) {
        let mut sorted: Vec<&Reference> = references
            .iter()
            .filter(|reference| is_usable(reference.at))
            .collect();
        sorted.sort_by(|a, b| b.at.total_cmp(&a.at));
        let pen = TextPen::new(SMALL, Anchor::Start).color(INK);
        let mut free_from = self.plot.top - SMALL;
        for reference in sorted {
            let position = self.y.position(reference.at);
            let label = ellipsize(&reference.label, SMALL, false, 150.0);
            let height = self.height_of(reference.at);
            let at = Tenths(sub(height)).to_string();
            self.sheet.begin_part("horizontal", &[("at", at)]);
            let label = if position > 1.0 {
                format!("{label} ↑")
            } else if position < 0.0 {
                format!("{label} ↓")
            } else {
                let ends = ((self.plot.left, height), (self.plot.right, height));
                self.sheet.line(ends.0, ends.1, &Pen::reference());
                label
            };
            let middle = height.max(free_from);
            self.sheet.text(&label, self.plot.right + 5.0, middle, &pen);
            self.sheet.end_group();
            free_from = middle + SMALL + 2.0;
        }
    }

    /// Vertical lines; their labels, spread over rows, stand above the data area.
    pub(crate) fn verticals(&self, references: &[Reference]) {
        for (reference, spot) in references
            .iter()
            .zip(spots(references, &self.x, &self.plot))
        {
            let position = self.x.position(reference.at);
            let at = Tenths(sub(self.place_of(reference.at))).to_string();
            self.sheet.begin_part("vertical", &[("at", at)]);
            if (0.0..=1.0).contains(&position) {
                let x = self.place_of(reference.at);
                // Beside its label the line reaches up to it, under it only near.
                let beside = (spot.x - x).abs() * 2.0 >= width(&spot.text, SMALL, false);
                let top = spot.middle + SMALL * if beside { -0.5 } else { 0.6 };
                self.sheet
                    .line((x, top), (x, self.plot.bottom), &Pen::reference());
            }
            let pen = TextPen::new(SMALL, Anchor::Middle).color(INK);
            self.sheet.text(&spot.text, spot.x, spot.middle, &pen);
            self.sheet.end_group();
        }
    }

    fn cut(&self, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut open = false;
        for pair in points.windows(2) {
            let at = |(x, y)| (self.x.position(x), self.y.position(y));
            let (from, to) = (at(pair[0]), at(pair[1]));
            let Some((enter, leave)) = inside(from, to) else {
                open = false;
                continue;
            };
            let along = |t: f64| {
                let x = self.x.value_at(from.0 + t * (to.0 - from.0));
                (x, self.y.value_at(from.1 + t * (to.1 - from.1)))
            };
            let start = if enter > 0.0 { along(enter) } else { pair[0] };
            let end = if leave < 1.0 { along(leave) } else { pair[1] };
            match pieces.last_mut().filter(|_| open && enter <= 0.0) {
                Some(piece) => piece.push(end),
                None => pieces.push(vec![start, end]),
            }
            open = leave >= 1.0;
        }
        pieces
    }
}

/// The part of the way from `from` to `to` that lies in the unit square (Liang and Barsky).
fn inside(from: (f64, f64), to: (f64, f64)) -> Option<(f64, f64)> {
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (start, end) in [(from.0, to.0), (from.1, to.1)] {
        let step = end - start;
        if step.abs() < 1e-12 {
            if !(0.0..=1.0).contains(&start) {
                return None;
            }
            continue;
        }
        let (a, b) = ((0.0 - start) / step, (1.0 - start) / step);
        enter = enter.max(a.min(b));
        leave = leave.min(a.max(b));
    }
    (enter <= leave).then_some((enter, leave))
}
