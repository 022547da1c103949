//! A table of coloured cells, light to dark: a value by two parameters.

use crate::PlotError;
use crate::axis::{Axis, extent, is_usable};
use crate::panel::Scale;
use crate::sheet::{Rect, Sheet};
use crate::style::{
    AXIS, Anchor, GRID, INK, LABEL, PAPER, Pen, RIM, Rgb, SMALL, SOFT_INK, TICK, TextPen, WIDTH,
};
use crate::text::{ellipsize, width, wrap};
use crate::ticks::short;

/// Values by two parameters.
#[derive(Clone, Debug, Default)]
pub struct HeatChart {
    /// What is shown, in a few words.
    pub title: String,
    /// What the columns differ in, with its unit.
    pub x_label: String,
    /// What the rows differ in, with its unit.
    pub y_label: String,
    /// Names of the columns, left to right.
    pub columns: Vec<String>,
    /// Names of the rows, top to bottom.
    pub rows: Vec<String>,
    /// For each row one value a column; NaN leaves the cell empty.
    pub values: Vec<Vec<f64>>,
    /// What a value is, with its unit; stands at the colour scale.
    pub unit: String,
}

/// Light to dark; lightness falls evenly, so that it survives a black-and-white print.
const RAMP: [Rgb; 6] = [
    Rgb(0xf3, 0xf6, 0xd9),
    Rgb(0xc2, 0xe3, 0xb8),
    Rgb(0x74, 0xc3, 0xbb),
    Rgb(0x2f, 0x94, 0xb5),
    Rgb(0x23, 0x5d, 0x9c),
    Rgb(0x1d, 0x2c, 0x6b),
];

fn shade(position: f64) -> Rgb {
    let steps = RAMP.len() - 1;
    let along = position.clamp(0.0, 1.0) * steps as f64;
    let from = (along as usize).min(steps - 1);
    RAMP[from].mix(RAMP[from + 1], ((along - from as f64) * 100.0) as u32)
}

impl HeatChart {
    /// The picture.
    ///
    /// # Errors
    ///
    /// [`PlotError::Shape`] if the values are not one row of values a row name, with one value a
    /// column name.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        self.check()?;
        let values = self.values.iter().flatten().copied();
        let scale = Scale::new(Axis::linear(values.clone(), 5), 5, &self.unit);
        let names = self
            .rows
            .iter()
            .map(|name| width(name, TICK, false))
            .fold(0.0, f64::max);
        let left = RIM + LABEL + 8.0 + names.min(170.0) + 8.0;
        let bar = scale
            .ticks
            .labels
            .iter()
            .map(|text| width(text, TICK, false))
            .fold(0.0, f64::max);
        let right = WIDTH - RIM - (22.0 + 14.0 + 8.0 + bar + LABEL + 8.0);
        let cell = ((right - left) / self.columns.len().max(1) as f64).min(150.0);
        // Few rows are tall enough for the colour scale beside them.
        let rows = self.rows.len().max(1) as f64;
        let high = (280.0 / rows).clamp(4.0, 34.0).max(120.0 / rows);
        let columns: Vec<Vec<String>> = self
            .columns
            .iter()
            .map(|name| wrap(name, TICK, false, cell - 4.0, 3))
            .collect();
        let lines = columns.iter().map(Vec::len).max().unwrap_or(1) as f64;
        let height = high * rows;
        let sheet = Sheet::new(&self.title, &[], 6.0 + height + 12.0 + lines * 15.0 + 30.0);
        let top = sheet.body().top + 6.0;
        let right = left + cell * self.columns.len().max(1) as f64;
        let plot = Rect {
            left,
            top,
            right,
            bottom: top + height,
        };
        self.write_names(&sheet, &plot, &columns, (cell, high));
        if extent(values).is_none() {
            let pen = TextPen::new(LABEL, Anchor::Middle).color(SOFT_INK);
            sheet.text("no data", (left + right) / 2.0, top + height / 2.0, &pen);
        }
        self.draw_cells(&sheet, &scale.axis, (left, top), (cell, high));
        draw_ramp(
            &sheet,
            &scale,
            Rect {
                left: right + 22.0,
                right: right + 36.0,
                ..plot
            },
        );
        Ok(sheet.finish())
    }

    fn check(&self) -> Result<(), PlotError> {
        let wrong = |what: String, found, expected, per| {
            let chart = self.title.clone();
            Err(PlotError::Shape {
                chart,
                what,
                found,
                expected,
                per,
            })
        };
        if self.values.len() != self.rows.len() {
            let (found, expected) = (self.values.len(), self.rows.len());
            return wrong("the table".to_owned(), found, expected, "one a row");
        }
        for (row, name) in self.values.iter().zip(&self.rows) {
            if row.len() != self.columns.len() {
                let what = format!("row `{name}`");
                return wrong(what, row.len(), self.columns.len(), "one a column");
            }
        }
        Ok(())
    }

    fn write_names(
        &self,
        sheet: &Sheet,
        plot: &Rect,
        columns: &[Vec<String>],
        (cell, high): (f64, f64),
    ) {
        let pen = TextPen::new(TICK, Anchor::End).color(SOFT_INK);
        let skip = (13.0 / high).ceil().max(1.0) as usize;
        for (i, name) in self.rows.iter().enumerate().step_by(skip) {
            let middle = plot.top + (i as f64 + 0.5) * high;
            sheet.text(
                &ellipsize(name, TICK, false, 170.0),
                plot.left - 7.0,
                middle,
                &pen,
            );
        }
        let mut pen = TextPen::new(LABEL, Anchor::Middle);
        let below = columns.iter().map(Vec::len).max().unwrap_or(1) as f64 * 15.0;
        let (across, down) = (
            (plot.left + plot.right) / 2.0,
            (plot.top + plot.bottom) / 2.0,
        );
        let label = ellipsize(&self.x_label, LABEL, false, WIDTH / 2.0);
        sheet.text(&label, across, plot.bottom + 20.0 + below, &pen);
        pen.upwards = true;
        let label = ellipsize(&self.y_label, LABEL, false, plot.height());
        sheet.text(&label, RIM + LABEL / 2.0, down, &pen);
        let pen = TextPen::new(TICK, Anchor::Middle).color(SOFT_INK);
        for (i, name) in columns.iter().enumerate() {
            for (line, text) in name.iter().enumerate() {
                let middle = plot.left + (i as f64 + 0.5) * cell;
                sheet.text(text, middle, plot.bottom + 13.0 + line as f64 * 15.0, &pen);
            }
        }
    }

    fn draw_cells(&self, sheet: &Sheet, axis: &Axis, (x, y): (f64, f64), (cell, high): (f64, f64)) {
        for (i, row) in self.values.iter().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                let (left, top) = (x + j as f64 * cell, y + i as f64 * high);
                let rect = Rect {
                    left,
                    top,
                    right: left + cell,
                    bottom: top + high,
                };
                if !is_usable(value) {
                    sheet.block(rect, PAPER, Some(&Pen::solid(GRID, 1.0)));
                    continue;
                }
                let fill = shade(axis.position(value));
                sheet.begin_group(&format!(
                    "{} {}, {} {}: {value}",
                    self.y_label, self.rows[i], self.x_label, self.columns[j]
                ));
                sheet.block(rect, fill, Some(&Pen::solid(PAPER, 1.0)));
                let text = short(value);
                if width(&text, SMALL, false) <= cell - 4.0 && high >= 14.0 {
                    let ink = if fill.is_dark() { PAPER } else { INK };
                    let pen = TextPen::new(SMALL, Anchor::Middle).color(ink);
                    sheet.text(&text, left + cell / 2.0, top + high / 2.0, &pen);
                }
                sheet.end_group();
            }
        }
    }
}

fn draw_ramp(sheet: &Sheet, scale: &Scale, bar: Rect) {
    const PARTS: usize = 40;
    let part = bar.height() / PARTS as f64;
    for i in 0..PARTS {
        let top = bar.top + i as f64 * part;
        let fill = shade(1.0 - (i as f64 + 0.5) / PARTS as f64);
        // A hair of overlap hides seams.
        sheet.block(
            Rect {
                top,
                bottom: (top + part + 0.5).min(bar.bottom),
                ..bar
            },
            fill,
            None,
        );
    }
    let pen = TextPen::new(TICK, Anchor::Start).color(SOFT_INK);
    let mut widest: f64 = 0.0;
    for (&at, label) in scale.ticks.at.iter().zip(&scale.ticks.labels) {
        let height = bar.bottom - scale.axis.position(at) * bar.height();
        sheet.line(
            (bar.right, height),
            (bar.right + 3.0, height),
            &Pen::solid(AXIS, 1.0),
        );
        sheet.text(label, bar.right + 7.0, height, &pen);
        widest = widest.max(width(label, TICK, false));
    }
    let mut pen = TextPen::new(LABEL, Anchor::Middle);
    pen.upwards = true;
    let label = ellipsize(&scale.label, LABEL, false, bar.height());
    let middle = (bar.top + bar.bottom) / 2.0;
    sheet.text(
        &label,
        bar.right + 14.0 + widest + LABEL / 2.0,
        middle,
        &pen,
    );
}
