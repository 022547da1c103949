//! A sheet: the title, the legend under it, and the space left for panels.
//!
//! The legend stands above the data area, never in it. Which series exist and which colour and
//! marker each has is decided here too: equal names get equal colours, so that a published curve
//! matches the simulated one of its name.

use std::cell::RefCell;
use std::rc::Rc;

use plotters::coord::Shift;
use plotters::drawing::DrawingArea;

use crate::PlotError;
use crate::canvas::{SvgCanvas, sub};
use crate::elements::{draw_block, draw_marker};
use crate::style::{
    self, Anchor, INK, LABEL, Marker, PUBLISHED, Pen, RIM, Rgb, SERIES_LIMIT, SMALL, SOFT_INK,
    TITLE, TextPen, WIDTH,
};
use crate::text::{ellipsize, width, wrap};

const ROW: f64 = 19.0;
const NOTE_ROW: f64 = 14.0;

/// Height in px that a note at the foot of a sheet takes.
pub(crate) fn note_height(note: &str) -> f64 {
    match note_lines(note).len() {
        0 => 0.0,
        lines => lines as f64 * NOTE_ROW + 4.0,
    }
}

fn note_lines(note: &str) -> Vec<String> {
    if note.is_empty() {
        return Vec::new();
    }
    wrap(note, SMALL, false, WIDTH - 2.0 * RIM, 3)
}

/// A rectangle on the sheet in px.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }
}

/// One entry of the legend.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) sign: Sign,
}

/// What stands before the name in the legend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sign {
    Line(Pen, Option<(Marker, Rgb)>),
    Block {
        fill: Rgb,
        outline: Option<Pen>,
        hatch: Option<Pen>,
    },
    Mark(Marker, Rgb),
}

impl Sign {
    /// Its width in px.
    fn wide(&self) -> f64 {
        match self {
            Self::Line(..) => 26.0,
            Self::Block { .. } => 14.0,
            Self::Mark(..) => 10.0,
        }
    }
}

/// What a line's values follow from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line<'a> {
    /// The line itself, at every place.
    Steps,
    /// The line's corners.
    Samples,
    /// These: x, y, half the interval's height.
    Points(&'a [(f64, f64, f64)]),
}

/// A picture in the making.
pub(crate) struct Sheet {
    canvas: Rc<RefCell<SvgCanvas>>,
    title: String,
    body: Rect,
}

impl Sheet {
    /// A sheet with its head drawn and `body_height` px below it.
    pub(crate) fn new(title: &str, keys: &[Key], body_height: f64) -> Self {
        let room = WIDTH - 2.0 * RIM;
        let lines = if title.is_empty() {
            Vec::new()
        } else {
            wrap(title, TITLE, true, room, 3)
        };
        let legend_top = RIM + lines.len() as f64 * ROW + if lines.is_empty() { 0.0 } else { 3.0 };
        let (spots, rows) = flow(keys, room);
        let top = legend_top + rows as f64 * ROW + if rows > 0 { 5.0 } else { 2.0 };
        let mut canvas = SvgCanvas::new(WIDTH, (top + body_height).ceil());
        let mut pen = TextPen::new(TITLE, Anchor::Start);
        pen.bold = true;
        for (i, line) in lines.iter().enumerate() {
            let middle = RIM + (i as f64 + 0.5) * ROW - 2.0;
            canvas.text(line, (sub(RIM), sub(middle)), &pen);
        }
        for (key, (x, row)) in keys.iter().zip(spots) {
            draw_key(
                &mut canvas,
                key,
                RIM + x,
                legend_top + (row as f64 + 0.5) * ROW,
                room,
            );
        }
        let body = Rect {
            left: RIM,
            top,
            right: WIDTH - RIM,
            bottom: top + body_height,
        };
        Self {
            canvas: Rc::new(RefCell::new(canvas)),
            title: title.to_owned(),
            body,
        }
    }

    /// Writes `note` at the foot; the sheet's body was made higher by [`note_height`].
    pub(crate) fn note(&self, note: &str) {
        let pen = TextPen::new(SMALL, Anchor::Start).color(SOFT_INK);
        let top = self.body.bottom - note_height(note);
        for (i, line) in note_lines(note).iter().enumerate() {
            self.text(line, RIM, top + (i as f64 + 0.5) * NOTE_ROW - 2.0, &pen);
        }
    }

    /// The space for panels.
    pub(crate) fn body(&self) -> Rect {
        self.body
    }

    /// The whole sheet as a plotters area.
    pub(crate) fn root(&self) -> DrawingArea<SvgCanvas, Shift> {
        DrawingArea::from(&self.canvas)
    }

    /// Writes `text` with its middle height at (`x`, `y`) px.
    pub(crate) fn text(&self, text: &str, x: f64, y: f64, pen: &TextPen) {
        self.canvas.borrow_mut().text(text, (sub(x), sub(y)), pen);
    }

    /// A marker at (`x`, `y`) px.
    pub(crate) fn mark(&self, x: f64, y: f64, marker: Marker, color: Rgb, radius: f64) {
        draw_marker(
            &mut self.canvas.borrow_mut(),
            (sub(x), sub(y)),
            marker,
            color,
            radius,
        );
    }

    /// A straight line between two points in px.
    pub(crate) fn line(&self, from: (f64, f64), to: (f64, f64), pen: &Pen) {
        let ends = [from, to].map(|(x, y)| (sub(x), sub(y)));
        self.canvas.borrow_mut().line(&ends, pen);
    }

    /// A filled rectangle in px.
    pub(crate) fn block(&self, rect: Rect, fill: Rgb, outline: Option<&Pen>) {
        let (near, far) = ((rect.left, rect.top), (rect.right, rect.bottom));
        let [near, far] = [near, far].map(|(x, y)| (sub(x), sub(y)));
        draw_block(
            &mut self.canvas.borrow_mut(),
            near,
            far,
            fill,
            outline,
            None,
        );
    }

    /// Opens a group of marks that a viewer names `name`.
    pub(crate) fn begin_group(&self, name: &str) {
        self.canvas.borrow_mut().begin_group("item", name, &[]);
    }

    /// As [`Sheet::begin_group`], for a line whose values a script is to say.
    pub(crate) fn begin_series(&self, name: &str, line: Line<'_>) {
        let mut canvas = self.canvas.borrow_mut();
        match line {
            Line::Steps => canvas.begin_group("series steps", name, &[]),
            Line::Samples => canvas.begin_group("series", name, &[]),
            Line::Points(values) => {
                let one = |(x, y, half): &(f64, f64, f64)| match *half > 0.0 {
                    true => format!("{x} {y} {half}"),
                    false => format!("{x} {y}"),
                };
                let values: Vec<String> = values.iter().map(one).collect();
                canvas.begin_group("series", name, &[("values", values.join(";"))]);
            }
        }
    }

    /// Opens a group for a script.
    pub(crate) fn begin_part(&self, class: &str, data: &[(&str, String)]) {
        self.canvas.borrow_mut().begin_part(class, data);
    }

    pub(crate) fn end_group(&self) {
        self.canvas.borrow_mut().end_group();
    }

    /// The SVG.
    pub(crate) fn finish(&self) -> String {
        self.canvas.borrow().finish(&self.title)
    }
}

/// The place (x in px, row) of each key, and the number of rows.
fn flow(keys: &[Key], room: f64) -> (Vec<(f64, usize)>, usize) {
    let (mut x, mut row) = (0.0, 0);
    let mut spots = Vec::new();
    for key in keys {
        let wide = key.sign.wide() + 7.0 + width(&key.name, LABEL, false);
        if x > 0.0 && x + wide > room {
            (x, row) = (0.0, row + 1);
        }
        spots.push((x, row));
        x += wide + 16.0;
    }
    let rows = if keys.is_empty() { 0 } else { row + 1 };
    (spots, rows)
}

fn draw_key(canvas: &mut SvgCanvas, key: &Key, x: f64, y: f64, room: f64) {
    let wide = key.sign.wide();
    let middle = (sub(x + wide / 2.0), sub(y));
    match &key.sign {
        Sign::Line(pen, mark) => {
            canvas.line(&[(sub(x), sub(y)), (sub(x + wide), sub(y))], pen);
            if let Some((marker, color)) = mark {
                draw_marker(canvas, middle, *marker, *color, 4.0);
            }
        }
        Sign::Block {
            fill,
            outline,
            hatch,
        } => {
            let (near, far) = ((sub(x), sub(y - 6.0)), (sub(x + wide), sub(y + 6.0)));
            draw_block(canvas, near, far, *fill, outline.as_ref(), hatch.as_ref());
        }
        Sign::Mark(marker, color) => draw_marker(canvas, middle, *marker, *color, 4.0),
    }
    let name = ellipsize(&key.name, LABEL, false, room - wide - 7.0);
    let pen = TextPen::new(LABEL, Anchor::Start).color(INK);
    canvas.text(&name, (sub(x + wide + 7.0), sub(y)), &pen);
}

/// Which colour and marker each series of a chart has.
#[derive(Debug)]
pub(crate) struct Cast {
    /// For each series its slot.
    pub(crate) slots: Vec<usize>,
    /// The legend.
    pub(crate) keys: Vec<Key>,
}

impl Cast {
    /// The cast of `series` (name, whether published) drawn as lines. A published series whose name
    /// a simulated one shares has no entry of its own: one entry "published" explains all dashes.
    pub(crate) fn of_lines(chart: &str, series: &[(&str, bool)]) -> Result<Self, PlotError> {
        let slots = slots(chart, series.iter().map(|(name, _)| *name))?;
        let mut keys = Vec::new();
        let mut has_pairs = false;
        for (i, &(name, published)) in series.iter().enumerate() {
            if published && series.contains(&(name, false)) {
                has_pairs = true;
                continue;
            }
            if series[..i].contains(&(name, published)) {
                continue;
            }
            let (slot, pen) = (slots[i], Pen::series(slots[i], published));
            let name = if published && name != "published" {
                format!("{name} (published)")
            } else {
                name.to_owned()
            };
            let sign = Sign::Line(pen, Some((style::marker(slot), pen.color)));
            keys.push(Key { name, sign });
        }
        if has_pairs {
            let pen = Pen {
                color: PUBLISHED,
                ..Pen::series(0, true)
            };
            keys.push(Key {
                name: "published".to_owned(),
                sign: Sign::Line(pen, None),
            });
        }
        Ok(Self { slots, keys })
    }
}

/// For each name its index among the different names, at most [`SERIES_LIMIT`] of them.
fn slots<'a>(chart: &str, names: impl Iterator<Item = &'a str>) -> Result<Vec<usize>, PlotError> {
    let mut seen: Vec<&str> = Vec::new();
    let mut slots = Vec::new();
    for name in names {
        let slot = seen
            .iter()
            .position(|other| *other == name)
            .unwrap_or(seen.len());
        if slot == seen.len() {
            seen.push(name);
        }
        slots.push(slot);
    }
    if seen.len() > SERIES_LIMIT {
        let (chart, found) = (chart.to_owned(), seen.len());
        return Err(PlotError::TooManySeries {
            chart,
            found,
            limit: SERIES_LIMIT,
        });
    }
    Ok(slots)
}
