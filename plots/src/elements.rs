//! The marks that carry data, as plotters elements placed by value.
//!
//! They are tied to our canvas, since plotters' styles know neither dashes nor groups.

use std::convert::Infallible;

use plotters::element::{Drawable, PointCollection};
use plotters_backend::{BackendCoord, DrawingErrorKind};

use crate::canvas::{SvgCanvas, Tenths, sub};
use crate::style::{Marker, PAPER, Pen, Rgb};

/// A line through points.
pub(crate) struct Curve {
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) pen: Pen,
}

/// One point.
pub(crate) struct Mark {
    pub(crate) at: (f64, f64),
    pub(crate) marker: Marker,
    pub(crate) color: Rgb,
    /// Half its width in px.
    pub(crate) radius: f64,
}

/// A rectangle between two opposite corners.
pub(crate) struct Block {
    pub(crate) corners: [(f64, f64); 2],
    pub(crate) fill: Rgb,
    pub(crate) outline: Option<Pen>,
    /// Diagonal lines over the fill.
    pub(crate) hatch: Option<Pen>,
}

impl<'a> PointCollection<'a, (f64, f64)> for &'a Curve {
    type IntoIter = &'a [(f64, f64)];
    type Point = &'a (f64, f64);

    fn point_iter(self) -> Self::IntoIter {
        &self.points
    }
}

impl Drawable<SvgCanvas> for Curve {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        points: I,
        canvas: &mut SvgCanvas,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let points: Vec<_> = points.collect();
        canvas.line(&points, &self.pen);
        Ok(())
    }
}

impl<'a> PointCollection<'a, (f64, f64)> for &'a Mark {
    type IntoIter = std::iter::Once<&'a (f64, f64)>;
    type Point = &'a (f64, f64);

    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.at)
    }
}

impl Drawable<SvgCanvas> for Mark {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        mut points: I,
        canvas: &mut SvgCanvas,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        if let Some(at) = points.next() {
            let place = format!("{} {}", Tenths(at.0), Tenths(at.1));
            canvas.begin_part("mark", &[("at", place)]);
            draw_marker(canvas, at, self.marker, self.color, self.radius);
            canvas.end_group();
        }
        Ok(())
    }
}

/// Draws `marker` around `at`; a white rim keeps it apart from lines beneath it.
pub(crate) fn draw_marker(
    canvas: &mut SvgCanvas,
    (x, y): BackendCoord,
    marker: Marker,
    color: Rgb,
    radius: f64,
) {
    let rim = Pen::solid(PAPER, 1.0);
    let r = sub(radius);
    // Equal areas look equally large.
    let (side, tip) = (sub(radius * 0.89), sub(radius * 1.2));
    match marker {
        Marker::Circle => canvas.disc((x, y), r, color, Some(&rim)),
        Marker::Ring => canvas.disc(
            (x, y),
            sub(radius * 0.85),
            PAPER,
            Some(&Pen::solid(color, 1.7)),
        ),
        Marker::Square => {
            let corners = [(-side, -side), (side, -side), (side, side), (-side, side)];
            canvas.area(&corners.map(|(dx, dy)| (x + dx, y + dy)), color, Some(&rim));
        }
        Marker::Diamond => {
            let corners = [(0, -tip), (tip, 0), (0, tip), (-tip, 0)];
            canvas.area(&corners.map(|(dx, dy)| (x + dx, y + dy)), color, Some(&rim));
        }
        Marker::TriangleUp => {
            let corners = [(0, -tip), (tip, r), (-tip, r)];
            canvas.area(&corners.map(|(dx, dy)| (x + dx, y + dy)), color, Some(&rim));
        }
        Marker::TriangleDown => {
            let corners = [(0, tip), (tip, -r), (-tip, -r)];
            canvas.area(&corners.map(|(dx, dy)| (x + dx, y + dy)), color, Some(&rim));
        }
        Marker::Cross => {
            let pen = Pen::solid(color, 2.0);
            canvas.line(&[(x - side, y - side), (x + side, y + side)], &pen);
            canvas.line(&[(x - side, y + side), (x + side, y - side)], &pen);
        }
        Marker::Plus => {
            let pen = Pen::solid(color, 2.0);
            canvas.line(&[(x - tip, y), (x + tip, y)], &pen);
            canvas.line(&[(x, y - tip), (x, y + tip)], &pen);
        }
    }
}

impl<'a> PointCollection<'a, (f64, f64)> for &'a Block {
    type IntoIter = &'a [(f64, f64)];
    type Point = &'a (f64, f64);

    fn point_iter(self) -> Self::IntoIter {
        &self.corners
    }
}

impl Drawable<SvgCanvas> for Block {
    fn draw<I: Iterator<Item = BackendCoord>>(
        &self,
        mut points: I,
        canvas: &mut SvgCanvas,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        if let (Some(one), Some(other)) = (points.next(), points.next()) {
            draw_block(
                canvas,
                one,
                other,
                self.fill,
                self.outline.as_ref(),
                self.hatch.as_ref(),
            );
        }
        Ok(())
    }
}

/// Draws a rectangle between two opposite corners.
pub(crate) fn draw_block(
    canvas: &mut SvgCanvas,
    one: BackendCoord,
    other: BackendCoord,
    fill: Rgb,
    outline: Option<&Pen>,
    hatch: Option<&Pen>,
) {
    let (left, right) = (one.0.min(other.0), one.0.max(other.0));
    let (top, bottom) = (one.1.min(other.1), one.1.max(other.1));
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom)];
    let Some(hatch) = hatch else {
        canvas.area(&corners, fill, outline);
        return;
    };
    canvas.area(&corners, fill, None);
    // Lines x + y = const through the rectangle, 5.5 px apart.
    let mut sum = left + top + sub(5.5);
    while sum < right + bottom {
        let from = if sum - top <= right {
            (sum - top, top)
        } else {
            (right, sum - right)
        };
        let to = if sum - left <= bottom {
            (left, sum - left)
        } else {
            (sum - bottom, bottom)
        };
        canvas.line(&[from, to], hatch);
        sum += sub(5.5);
    }
    if let Some(pen) = outline {
        canvas.line(
            &[corners[0], corners[1], corners[2], corners[3], corners[0]],
            pen,
        );
    }
}
