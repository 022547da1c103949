//! A picture as PNG: the SVG that a chart made, drawn by `resvg` with fonts of our own.
//!
//! The fonts are part of the program (`fonts/`, Liberation Sans, whose letters are as wide as Helvetica's), so a
//! picture
//! has the same pixels on every machine, also on one without fonts. It is behind the feature `png`, because drawing
//! text takes more code than everything else that plots are made of.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

use crate::PlotError;

const FONTS: [&[u8]; 2] = [
    include_bytes!("../fonts/LiberationSans-Regular.ttf"),
    include_bytes!("../fonts/LiberationSans-Bold.ttf"),
];

/// `svg` as a PNG file with `scale` pixels for each of its own.
///
/// # Errors
///
/// [`PlotError::Png`] if `svg` is not a picture, or too large a one at that scale.
pub fn to_png(svg: &str, scale: f32) -> Result<Vec<u8>, PlotError> {
    let wrong = |what: &dyn std::fmt::Display| PlotError::Png {
        what: what.to_string(),
    };
    let mut fonts = Database::new();
    for font in FONTS {
        fonts.load_font_data(font.to_vec());
    }
    fonts.set_sans_serif_family("Liberation Sans");
    let options = Options {
        fontdb: Arc::new(fonts),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|error| wrong(&error))?;
    let size = tree.size().to_int_size().scale_by(scale);
    let size = size.ok_or_else(|| wrong(&format!("no size at scale {scale}")))?;
    let pixels = Pixmap::new(size.width(), size.height());
    let mut pixels = pixels.ok_or_else(|| wrong(&"it is too large"))?;
    resvg::render(
        &tree,
        Transform::from_scale(scale, scale),
        &mut pixels.as_mut(),
    );
    pixels.encode_png().map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BarChart, BarSeries};

    #[test]
    fn a_chart_becomes_pixels_with_its_text() {
        let chart = |title: &str| {
            let chart = BarChart {
                title: title.to_owned(),
                groups: vec!["a".to_owned()],
                series: vec![BarSeries {
                    name: "one".to_owned(),
                    values: vec![1.0],
                    halves: Vec::new(),
                    published: Vec::new(),
                }],
                ..BarChart::default()
            };
            to_png(&chart.to_svg().expect("sound"), 2.0).expect("drawn")
        };
        let (one, other) = (chart("Title"), chart("Other"));
        assert_eq!(&one[1..4], b"PNG");
        // Twice the width of a sheet, at its place in the header.
        assert_eq!(
            u32::from_be_bytes([one[16], one[17], one[18], one[19]]),
            1440
        );
        assert_eq!(one, chart("Title"), "the same bytes each time");
        assert_ne!(one, other, "letters are drawn");
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let error = to_png("no picture", 1.0).expect_err("refused").to_string();
        assert!(error.starts_with("cannot make a PNG: "), "{error}");
    }
}
