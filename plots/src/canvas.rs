//! The sheet of paper: a plotters back end that writes SVG.
//!
//! Plotters' own SVG back end has whole pixels, no dashes and no groups; this one counts in tenths
//! of a pixel ([`SUB`]), knows [`Dash`], names each series in a group (which a viewer shows as a
//! tooltip) and writes no `id`, so that several pictures share one page without clashes. Groups with
//! `data-` attributes say where axes and points lie: the script of a report zooms by them.
//!
//! Not here: layout, scales, any knowledge of charts.

use std::convert::Infallible;
use std::fmt::Write as _;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontStyle, FontTransform,
};

use crate::style::{Anchor, Dash, FONTS, PAPER, Pen, Rgb, TextPen};
use crate::text::{escape, width};

/// Back-end units in one px.
pub(crate) const SUB: f64 = 10.0;

/// A length in px as back-end units.
pub(crate) fn sub(px: f64) -> i32 {
    // Saturating, and 0 for NaN: no input can make this fail.
    (px * SUB).round() as i32
}

/// What was drawn so far.
pub(crate) struct SvgCanvas {
    body: String,
    /// Width and height in back-end units.
    size: (u32, u32),
}

impl SvgCanvas {
    /// An empty sheet of `width` × `height` px.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let units = |px: f64| u32::try_from(sub(px)).unwrap_or(0);
        Self {
            body: String::new(),
            size: (units(width), units(height)),
        }
    }

    /// The whole picture, named `title` for those who cannot see it.
    pub(crate) fn finish(&self, title: &str) -> String {
        let (width, height) = (self.size.0 / 10, self.size.1 / 10);
        let (title, paper) = (escape(title), Hex(PAPER));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\" \
             font-family=\"{FONTS}\" stroke-linejoin=\"round\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"{paper}\"/>\n{}</svg>\n",
            self.body
        )
    }

    /// Opens a group of class `class` that a viewer names `name`, with data attributes for a script.
    pub(crate) fn begin_group(&mut self, class: &str, name: &str, data: &[(&str, String)]) {
        self.begin_part(class, data);
        let name = escape(name);
        self.write(format_args!("<title>{name}</title>\n"));
    }

    /// Opens a nameless group of class `class` for a script, with data attributes (name, value).
    pub(crate) fn begin_part(&mut self, class: &str, data: &[(&str, String)]) {
        self.write(format_args!("<g class=\"{class}\""));
        for (name, value) in data.iter().filter(|(_, value)| !value.is_empty()) {
            let value = escape(value);
            self.write(format_args!(" data-{name}=\"{value}\""));
        }
        self.body.push_str(">\n");
    }

    /// Closes the group opened last.
    pub(crate) fn end_group(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// A line through `points`.
    pub(crate) fn line(&mut self, points: &[BackendCoord], pen: &Pen) {
        let Some((first, rest)) = points.split_first() else {
            return;
        };
        self.write(format_args!(
            "<path d=\"M{} {}",
            Tenths(first.0),
            Tenths(first.1)
        ));
        // `L` is implied by further pairs; a point equal to its neighbour adds nothing.
        let mut last = first;
        for point in rest {
            if point != last {
                self.write(format_args!(" {} {}", Tenths(point.0), Tenths(point.1)));
                last = point;
            }
        }
        let (color, line_width) = (Hex(pen.color), Tenths(sub(pen.width)));
        let dash = match pen.dash {
            Dash::Solid => "",
            Dash::Dashed => " stroke-dasharray=\"6 3.5\"",
            Dash::Dotted => " stroke-dasharray=\"1.5 2.5\"",
        };
        self.write(format_args!(
            "\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{line_width}\"{dash}/>\n"
        ));
    }

    /// A filled area within `points`, with or without an outline.
    pub(crate) fn area(&mut self, points: &[BackendCoord], fill: Rgb, outline: Option<&Pen>) {
        self.body.push_str("<path d=\"M");
        for (i, point) in points.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            self.write(format_args!("{gap}{} {}", Tenths(point.0), Tenths(point.1)));
        }
        self.write(format_args!("Z\" fill=\"{}\"", Hex(fill)));
        self.outline(outline);
    }

    /// A filled disc; `radius` in back-end units.
    pub(crate) fn disc(
        &mut self,
        center: BackendCoord,
        radius: i32,
        fill: Rgb,
        outline: Option<&Pen>,
    ) {
        let (x, y, r) = (Tenths(center.0), Tenths(center.1), Tenths(radius));
        self.write(format_args!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"{}\"",
            Hex(fill)
        ));
        self.outline(outline);
    }

    /// One line of text, its middle height at `at`.
    pub(crate) fn text(&mut self, text: &str, at: BackendCoord, pen: &TextPen) {
        // Half the height of a capital letter.
        let drop = sub(pen.size * 0.36);
        let (x, y) = if pen.upwards {
            (at.0 + drop, at.1)
        } else {
            (at.0, at.1 + drop)
        };
        let (x, y, size) = (Tenths(x), Tenths(y), Tenths(sub(pen.size)));
        self.write(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\""
        ));
        match pen.anchor {
            Anchor::Start => {}
            Anchor::Middle => self.body.push_str(" text-anchor=\"middle\""),
            Anchor::End => self.body.push_str(" text-anchor=\"end\""),
        }
        if pen.halo {
            let paper = Hex(PAPER);
            self.write(format_args!(
                " paint-order=\"stroke\" stroke=\"{paper}\" stroke-width=\"3\""
            ));
        }
        if pen.bold {
            self.body.push_str(" font-weight=\"600\"");
        }
        if pen.upwards {
            self.write(format_args!(" transform=\"rotate(-90 {x} {y})\""));
        }
        self.write(format_args!(
            " fill=\"{}\">{}</text>\n",
            Hex(pen.color),
            escape(text)
        ));
    }

    fn outline(&mut self, pen: Option<&Pen>) {
        if let Some(pen) = pen {
            let (color, line_width) = (Hex(pen.color), Tenths(sub(pen.width)));
            self.write(format_args!(
                " stroke=\"{color}\" stroke-width=\"{line_width}\""
            ));
            if pen.dash != Dash::Solid {
                self.body.push_str(" stroke-dasharray=\"4 2.5\"");
            }
        }
        self.body.push_str("/>\n");
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(what);
    }
}

/// A number of back-end units, written in px.
pub(crate) struct Tenths(pub(crate) i32);

impl std::fmt::Display for Tenths {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, tenths) = (self.0.unsigned_abs() / 10, self.0.unsigned_abs() % 10);
        match tenths {
            0 => write!(out, "{sign}{whole}"),
            _ => write!(out, "{sign}{whole}.{tenths}"),
        }
    }
}

struct Hex(Rgb);

impl std::fmt::Display for Hex {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rgb(red, green, blue) = self.0;
        write!(out, "#{red:02x}{green:02x}{blue:02x}")
    }
}

fn rgb(color: BackendColor) -> Rgb {
    Rgb(color.rgb.0, color.rgb.1, color.rgb.2)
}

fn pen(style: &impl BackendStyle) -> Pen {
    Pen::solid(rgb(style.color()), f64::from(style.stroke_width()) / SUB)
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// For plotters' own elements; their colours are taken as opaque.
impl DrawingBackend for SvgCanvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, at: BackendCoord, color: BackendColor) -> Drawn {
        let far = (at.0 + 1, at.1 + 1);
        self.draw_rect(at, far, &color, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.line(&[from, to], &pen(style));
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        near: BackendCoord,
        far: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let corners = [near, (far.0, near.1), far, (near.0, far.1)];
        if fill {
            self.area(&corners, rgb(style.color()), None);
        } else {
            self.line(
                &[corners[0], corners[1], corners[2], corners[3]],
                &pen(style),
            );
            self.line(&[corners[3], corners[0]], &pen(style));
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let points: Vec<_> = path.into_iter().collect();
        self.line(&points, &pen(style));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let radius = i32::try_from(radius).unwrap_or(i32::MAX);
        if fill {
            self.disc(center, radius, rgb(style.color()), None);
        } else {
            self.disc(center, radius, PAPER, Some(&pen(style)));
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        vert: I,
        style: &S,
    ) -> Drawn {
        let points: Vec<_> = vert.into_iter().collect();
        self.area(&points, rgb(style.color()), None);
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, at: BackendCoord) -> Drawn {
        let size = style.size() / SUB;
        let down = match style.anchor().v_pos {
            VPos::Top => sub(size / 2.0),
            VPos::Center => 0,
            VPos::Bottom => -sub(size / 2.0),
        };
        let anchor = match style.anchor().h_pos {
            HPos::Left => Anchor::Start,
            HPos::Center => Anchor::Middle,
            HPos::Right => Anchor::End,
        };
        let upwards = matches!(style.transform(), FontTransform::Rotate270);
        let bold = matches!(style.style(), FontStyle::Bold);
        let pen = TextPen {
            color: rgb(style.color()),
            size,
            bold,
            anchor,
            upwards,
            halo: false,
        };
        let at = if upwards {
            (at.0 + down, at.1)
        } else {
            (at.0, at.1 + down)
        };
        self.text(text, at, &pen);
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let size = style.size() / SUB;
        let units = |px: f64| u32::try_from(sub(px)).unwrap_or(0);
        Ok((units(width(text, size, false)), units(size)))
    }
}
