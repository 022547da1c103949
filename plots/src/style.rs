//! One look for all pictures: sizes, colours, dashes, markers.
//!
//! Colours are Okabe and Ito's colour-blind-safe set, with its pale yellow (unreadable on white)
//! and its black (kept for reference lines) replaced by two of Paul Tol's. So that a black-and-white
//! print can be read too, each series has its own marker; dashes are kept for what was published.

/// How many differently named series one chart can hold: one colour and marker each.
pub const SERIES_LIMIT: usize = 8;

/// Fonts, most wanted first. Attribute-safe: no double quotes inside.
pub(crate) const FONTS: &str = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif";

/// Width of a sheet in px.
pub(crate) const WIDTH: f64 = 720.0;
/// Height in px of the data area and its axes on a sheet with one panel.
pub(crate) const HEIGHT: f64 = 340.0;
/// Free space in px at the rim of a sheet.
pub(crate) const RIM: f64 = 14.0;

/// Font sizes in px.
pub(crate) const TITLE: f64 = 15.0;
pub(crate) const LABEL: f64 = 12.5;
pub(crate) const TICK: f64 = 11.5;
pub(crate) const SMALL: f64 = 10.5;

/// An opaque colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rgb(pub(crate) u8, pub(crate) u8, pub(crate) u8);

pub(crate) const INK: Rgb = Rgb(0x22, 0x26, 0x2b);
pub(crate) const SOFT_INK: Rgb = Rgb(0x4a, 0x50, 0x58);
pub(crate) const AXIS: Rgb = Rgb(0x8a, 0x90, 0x98);
pub(crate) const GRID: Rgb = Rgb(0xe6, 0xe8, 0xeb);
pub(crate) const PAPER: Rgb = Rgb(0xff, 0xff, 0xff);
pub(crate) const PUBLISHED: Rgb = Rgb(0x5f, 0x63, 0x68);

const PALETTE: [Rgb; SERIES_LIMIT] = [
    Rgb(0x00, 0x72, 0xb2), // blue
    Rgb(0xd5, 0x5e, 0x00), // vermilion
    Rgb(0x00, 0x9e, 0x73), // bluish green
    Rgb(0xb8, 0x5c, 0x92), // reddish purple, darkened for white paper
    Rgb(0xe6, 0x9f, 0x00), // orange
    Rgb(0x56, 0xb4, 0xe9), // sky blue
    Rgb(0x88, 0x22, 0x55), // wine
    Rgb(0x44, 0x4f, 0x9c), // indigo
];

const MARKERS: [Marker; SERIES_LIMIT] = [
    Marker::Circle,
    Marker::Square,
    Marker::TriangleUp,
    Marker::Diamond,
    Marker::TriangleDown,
    Marker::Ring,
    Marker::Cross,
    Marker::Plus,
];

/// Colour of the series with index `slot`, counted from 0; wraps after [`SERIES_LIMIT`].
pub(crate) fn color(slot: usize) -> Rgb {
    PALETTE[slot % SERIES_LIMIT]
}

/// Marker of the series with index `slot`.
pub(crate) fn marker(slot: usize) -> Marker {
    MARKERS[slot % SERIES_LIMIT]
}

/// The colour of a published curve: that of its series, halfway to dark grey.
pub(crate) fn published(slot: usize) -> Rgb {
    color(slot).mix(Rgb(0x38, 0x3c, 0x42), 55)
}

impl Rgb {
    /// This colour with `percent` of `other` in it.
    pub(crate) fn mix(self, other: Self, percent: u32) -> Self {
        let blend = |a: u8, b: u8| {
            let sum = u32::from(a) * (100 - percent) + u32::from(b) * percent;
            u8::try_from(sum / 100).unwrap_or(u8::MAX)
        };
        Self(
            blend(self.0, other.0),
            blend(self.1, other.1),
            blend(self.2, other.2),
        )
    }

    /// Whether white text is easier to read on it than dark text.
    pub(crate) fn is_dark(self) -> bool {
        let luma = 299 * u32::from(self.0) + 587 * u32::from(self.1) + 114 * u32::from(self.2);
        luma < 140_000
    }
}

/// How a line is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dash {
    Solid,
    /// What was published.
    Dashed,
    /// Reference lines.
    Dotted,
}

/// The shape of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    TriangleUp,
    Diamond,
    TriangleDown,
    Ring,
    Cross,
    Plus,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    pub(crate) color: Rgb,
    /// Width in px.
    pub(crate) width: f64,
    pub(crate) dash: Dash,
}

impl Pen {
    pub(crate) const fn solid(color: Rgb, width: f64) -> Self {
        Self {
            color,
            width,
            dash: Dash::Solid,
        }
    }

    /// The line of series `slot`, simulated or published.
    pub(crate) fn series(slot: usize, is_published: bool) -> Self {
        if is_published {
            Self {
                color: published(slot),
                width: 1.6,
                dash: Dash::Dashed,
            }
        } else {
            Self::solid(color(slot), 1.9)
        }
    }

    pub(crate) const fn reference() -> Self {
        Self {
            color: INK,
            width: 1.2,
            dash: Dash::Dotted,
        }
    }
}

/// Where the given point of a text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is written. Its given point is the middle of its height.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextPen {
    pub(crate) color: Rgb,
    /// Font size in px.
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) anchor: Anchor,
    /// Reads from bottom to top.
    pub(crate) upwards: bool,
    /// A white rim keeps it readable over grid lines.
    pub(crate) halo: bool,
}

impl TextPen {
    pub(crate) const fn new(size: f64, anchor: Anchor) -> Self {
        Self {
            color: INK,
            size,
            bold: false,
            anchor,
            upwards: false,
            halo: false,
        }
    }

    pub(crate) const fn color(mut self, color: Rgb) -> Self {
        self.color = color;
        self
    }
}
