//! Where the labels of vertical reference lines stand: above the data area, clear of each other and
//! of the other lines.

use crate::axis::{Axis, is_usable};
use crate::panel::Reference;
use crate::sheet::Rect;
use crate::style::SMALL;
use crate::text::{ellipsize, width};

/// Where the label of a vertical line stands.
pub(crate) struct Spot {
    pub(crate) text: String,
    /// Its middle, in px on the sheet.
    pub(crate) x: f64,
    /// The middle of its height, in px on the sheet.
    pub(crate) middle: f64,
}

/// Height in px of the strip above a data area that the labels of vertical lines need.
pub(crate) fn strip(references: &[Reference], x: &Axis, plot: &Rect) -> f64 {
    spots(references, x, plot)
        .iter()
        .map(|spot| plot.top - spot.middle + 8.0)
        .fold(6.0, f64::max)
}

/// A place for each label: over its line, else beside it, else a row higher.
pub(crate) fn spots(references: &[Reference], x: &Axis, plot: &Rect) -> Vec<Spot> {
    let position = |reference: &Reference| match reference.at {
        at if is_usable(at) => x.position(at),
        _ => 2.0,
    };
    let line =
        |reference: &Reference| plot.left + position(reference).clamp(0.0, 1.0) * plot.width();
    let lines: Vec<f64> = references.iter().map(line).collect();
    let mut rows: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut spots = Vec::new();
    for (i, reference) in references.iter().enumerate() {
        let label = ellipsize(&reference.label, SMALL, false, plot.width() / 2.0);
        let text = match position(reference) {
            p if p > 1.0 => format!("{label} →"),
            p if p < 0.0 => format!("← {label}"),
            _ => label,
        };
        let half = width(&text, SMALL, false) / 2.0;
        let fits = |row: &[(f64, f64)], center: f64| {
            let (left, right) = (center - half - 2.0, center + half + 2.0);
            let crosses = |(j, line): (usize, &f64)| j != i && (left..right).contains(line);
            !row.iter()
                .any(|&(from, to)| left < to + 4.0 && right > from - 4.0)
                && !lines.iter().enumerate().any(crosses)
        };
        // Over its line, else left or right of it, else a row higher.
        let wanted = [0.0, -half - 2.0, half + 2.0].map(|aside| {
            (lines[i] + aside)
                .min(plot.right + 8.0 - half)
                .max(plot.left - 8.0 + half)
        });
        let found = rows.iter().enumerate().find_map(|(row, taken)| {
            let center = wanted.into_iter().find(|&center| fits(taken, center))?;
            Some((row, center))
        });
        let (row, center) = found.unwrap_or_else(|| {
            let free = wanted.into_iter().find(|&center| fits(&[], center));
            rows.push(Vec::new());
            (rows.len() - 1, free.unwrap_or(wanted[0]))
        });
        rows[row].push((center - half, center + half));
        spots.push(Spot {
            text,
            x: center,
            middle: plot.top - 9.0 - row as f64 * (SMALL + 3.0),
        });
    }
    spots
}
