//! Lines over several pairs of equal axes, one panel for each value of something: goodput over load, by split.
//!
//! All panels share their scales, because they are there to be compared; they stand side by side, two in a row. A
//! name has the same colour in all of them, and one legend explains it. Lines are set apart sideways by a few pixels,
//! so that equal ones, and their intervals, can be told apart. For one panel with reference lines there is
//! [`LineChart`](crate::LineChart).

use crate::PlotError;
use crate::line_chart::{LineSeries, Spot, Values, draw_all, fit, usable};
use crate::panel::{Panel, Scale, X_LABELS, left_margin, right_margin};
use crate::sheet::{Cast, Rect, Sheet, note_height};
use crate::style::{HEIGHT, RIM, WIDTH};

/// Lines in one panel or several.
#[derive(Clone, Debug, Default)]
pub struct LinePanels {
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
    /// The panels, row by row.
    pub panels: Vec<LinePanel>,
    /// What the intervals are, and the like: small, below the panels.
    pub note: String,
}

/// One panel of [`LinePanels`].
#[derive(Clone, Debug, Default)]
pub struct LinePanel {
    /// What it shows, above it; may be empty.
    pub title: String,
    /// The lines.
    pub series: Vec<LineSeries>,
}

/// Space in px between two columns.
const GAP: f64 = 28.0;
/// Points of different series at one x stand this far apart, in px: policies often tie exactly.
const ASIDE: f64 = 1.8;
/// Space in px above a panel with a title, and above one without.
const HEAD: (f64, f64) = (24.0, 8.0);

impl LinePanels {
    /// The picture.
    ///
    /// # Errors
    ///
    /// [`PlotError::TooManySeries`] with more than [`SERIES_LIMIT`](crate::SERIES_LIMIT) names.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        let series = || self.panels.iter().flat_map(|panel| &panel.series);
        let named: Vec<_> = series().map(|s| (s.name.as_str(), s.published)).collect();
        let cast = Cast::of_lines(&self.title, &named)?;
        let logs = (self.log_x, self.log_y);
        let lines: Vec<Vec<Spot>> = series().map(|series| usable(series, logs)).collect();

        let columns = if self.panels.len() > 1 { 2 } else { 1 };
        // Half as wide, half as many ticks; those of a logarithmic axis need less room.
        let most = match columns > 1 {
            true if self.log_x => 7,
            true => 5,
            false => 8,
        };
        let xs = lines.iter().flatten().map(|spot| spot.at.0);
        let ys = lines.iter().flatten().flat_map(Spot::reach);
        let x = Scale::new(
            fit(xs, Values::Chosen, &[], self.log_x, most),
            most,
            &self.x_label,
        );
        let y = Scale::new(
            fit(ys, Values::Measured, &[], self.log_y, 6),
            6,
            &self.y_label,
        );
        // The scale is shared: only the first column says what it is.
        let mut bare = y.clone();
        bare.label.clear();
        bare.ticks.labels.iter_mut().for_each(String::clear);

        let rows = self.panels.len().div_ceil(columns).max(1) as f64;
        let height = if columns > 1 {
            250.0
        } else {
            HEIGHT - X_LABELS
        };
        let has_title = self.panels.iter().any(|panel| !panel.title.is_empty());
        let head = if has_title { HEAD.0 } else { HEAD.1 };
        let row = head + height + X_LABELS;
        let sheet = Sheet::new(
            &self.title,
            &cast.keys,
            rows * row + note_height(&self.note),
        );
        let left = RIM + left_margin(&y);
        let room = WIDTH - RIM - right_margin(&[]) - left;
        let wide = (room - GAP * (columns - 1) as f64) / columns as f64;
        let place = |i: usize| {
            let left = left + (i % columns) as f64 * (wide + GAP);
            let top = sheet.body().top + (i / columns) as f64 * row + head;
            Rect {
                left,
                top,
                right: left + wide,
                bottom: top + height,
            }
        };
        let names = cast.slots.iter().max().map_or(1, |most| most + 1);
        let mut first = 0;
        for (i, panel) in self.panels.iter().enumerate() {
            let y = if i % columns == 0 { &y } else { &bare };
            let axes = Panel::new(&sheet, place(i), &x, y);
            axes.label_x(&x);
            axes.head(&panel.title, "");
            let range = first..first + panel.series.len();
            if lines[range.clone()].iter().all(Vec::is_empty) {
                axes.note("no data");
            }
            let lines: Vec<Vec<Spot>> = lines[range.clone()]
                .iter()
                .zip(&cast.slots[range.clone()])
                .map(|(spots, &slot)| {
                    let aside = (slot as f64 - (names as f64 - 1.0) / 2.0) * ASIDE;
                    spots.iter().map(|spot| spot.beside(&axes, aside)).collect()
                })
                .collect();
            draw_all(&axes, &panel.series, &cast.slots[range.clone()], &lines)?;
            first = range.end;
        }
        if self.panels.is_empty() {
            Panel::new(&sheet, place(0), &x, &y).note("no data");
        }
        sheet.note(&self.note);
        Ok(sheet.finish())
    }
}
