//! Box plots, as in the papers' figures of TTFT by policy: quartiles, whiskers, median and mean.

use crate::PlotError;
use crate::axis::Axis;
use crate::elements::Block;
use crate::panel::{Panel, Reference, Scale, left_margin, right_margin, worth_reaching};
use crate::sheet::{Key, Rect, Sheet, Sign};
use crate::stats::BoxStats;
use crate::style::{
    self, Anchor, HEIGHT, INK, Marker, PAPER, PUBLISHED, Pen, RIM, SMALL, SOFT_INK, TICK, TextPen,
    WIDTH,
};
use crate::text::wrap;
use crate::ticks::short;

/// Boxes side by side, each with the published one next to it where there is one.
#[derive(Clone, Debug, Default)]
pub struct BoxChart {
    /// What is shown, in a few words.
    pub title: String,
    /// What y is, with its unit: "TTFT (s)".
    pub y_label: String,
    /// The boxes, left to right.
    pub boxes: Vec<BoxStats>,
    /// Published boxes, each drawn beside that of the same name, or after all if there is none. A
    /// published box may lack its whiskers and its mean (NaN).
    pub published: Vec<BoxStats>,
    /// The upper end of the y axis; what lies above is cut off and marked so. Without one the axis
    /// reaches the longest whisker and the largest mean.
    pub y_max: Option<f64>,
    /// Logarithmic y axis.
    pub log_y: bool,
    /// Horizontal lines.
    pub references: Vec<Reference>,
}

/// One place on the x axis.
struct Place<'a> {
    name: &'a str,
    simulated: Option<&'a BoxStats>,
    published: Option<&'a BoxStats>,
}

impl BoxChart {
    /// The picture.
    ///
    /// # Errors
    ///
    /// None is known; the signature is that of all charts.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        let places = self.places();
        let all = || self.boxes.iter().chain(&self.published);
        let drawn = all()
            .flat_map(|b| [b.whisker_low, b.q1, b.median, b.q3, b.whisker_high, b.mean])
            .filter(|value| value.is_finite());
        let most = drawn.clone().fold(0.0, f64::max);
        let values = drawn.chain(worth_reaching(&self.references, most));
        let y = if self.log_y {
            Axis::log(values)
        } else {
            Axis::linear(values, 7)
        };
        let y = Scale::new(y.up_to(self.y_max), 7, &self.y_label);
        let x = Scale::categories(places.len());

        let left = RIM + left_margin(&y);
        let right = WIDTH - RIM - right_margin(&self.references);
        let slot = (right - left) / places.len().max(1) as f64;
        let names: Vec<Vec<String>> = places
            .iter()
            .map(|place| wrap(place.name, TICK, false, slot - 8.0, 5))
            .collect();
        let lines = names.iter().map(Vec::len).max().unwrap_or(1) as f64;
        let foot = 10.0 + lines * 15.0 + 17.0 * if self.published.is_empty() { 1.0 } else { 2.0 };
        let sheet = Sheet::new(&self.title, &self.keys(), 13.0 + HEIGHT - 40.0 + foot + 4.0);
        let top = sheet.body().top + 13.0;
        let plot = Rect {
            left,
            top,
            right,
            bottom: top + HEIGHT - 40.0,
        };
        let panel = Panel::new(&sheet, plot, &x, &y);
        panel.horizontals(&self.references);
        if places.is_empty() {
            panel.note("no data");
        }
        for (i, place) in places.iter().enumerate() {
            self.draw_place(&panel, i, place, slot)?;
            let middle = panel.place_of(i as f64);
            let mut below = plot.bottom + 14.0;
            for line in &names[i] {
                sheet.text(line, middle, below, &TextPen::new(TICK, Anchor::Middle));
                below += 15.0;
            }
            write_means(&panel, place, middle, plot.bottom + 16.0 + lines * 15.0);
        }
        Ok(sheet.finish())
    }

    fn places(&self) -> Vec<Place<'_>> {
        let mut places: Vec<Place<'_>> = Vec::new();
        for stats in &self.boxes {
            places.push(Place {
                name: &stats.name,
                simulated: Some(stats),
                published: None,
            });
        }
        for stats in &self.published {
            let free =
                |place: &&mut Place<'_>| place.name == stats.name && place.published.is_none();
            match places.iter_mut().find(free) {
                Some(place) => place.published = Some(stats),
                None => {
                    let published = Some(stats);
                    places.push(Place {
                        name: &stats.name,
                        simulated: None,
                        published,
                    });
                }
            }
        }
        places
    }

    fn keys(&self) -> Vec<Key> {
        let blue = style::color(0);
        let sign = |fill, pen| Sign::Block {
            fill,
            outline: Some(pen),
            hatch: None,
        };
        let key = |name: &str, sign| Key {
            name: name.to_owned(),
            sign,
        };
        let mut keys = vec![key(
            "quartiles, median; whiskers to 1.5 IQR",
            sign(blue.mix(PAPER, 60), Pen::solid(blue, 1.5)),
        )];
        if !self.published.is_empty() {
            keys.push(key(
                "published",
                sign(PAPER.mix(PUBLISHED, 12), Pen::series(0, true).grey()),
            ));
        }
        keys.push(key("mean", Sign::Mark(Marker::Diamond, INK)));
        keys
    }

    fn draw_place(
        &self,
        panel: &Panel<'_>,
        i: usize,
        place: &Place<'_>,
        slot: f64,
    ) -> Result<(), PlotError> {
        // Half widths and offsets as shares of the slot; boxes never become wider than 64 px.
        let pair = place.simulated.is_some() && place.published.is_some();
        let half = if pair {
            0.17_f64.min(32.0 / slot)
        } else {
            0.25_f64.min(32.0 / slot)
        };
        let shift = if pair { half + 3.0 / slot } else { 0.0 };
        let at = i as f64;
        if let Some(stats) = place.simulated {
            let color = style::color(0);
            let look = Look {
                pen: Pen::solid(color, 1.6),
                fill: color.mix(PAPER, 60),
                ink: INK,
            };
            draw_box(panel, stats, at - shift, half, &look)?;
        }
        if let Some(stats) = place.published {
            let fill = PAPER.mix(PUBLISHED, 12);
            let look = Look {
                pen: Pen::series(0, true).grey(),
                fill,
                ink: PUBLISHED,
            };
            draw_box(panel, stats, at + shift, half, &look)?;
        }
        Ok(())
    }
}

impl Pen {
    /// The same line in the grey of published things.
    pub(crate) fn grey(self) -> Self {
        Self {
            color: PUBLISHED,
            ..self
        }
    }
}

struct Look {
    pen: Pen,
    fill: style::Rgb,
    ink: style::Rgb,
}

fn draw_box(
    panel: &Panel<'_>,
    stats: &BoxStats,
    at: f64,
    half: f64,
    look: &Look,
) -> Result<(), PlotError> {
    let Some(stats) = sound(stats) else {
        let pen = TextPen::new(SMALL, Anchor::Middle).color(SOFT_INK);
        panel.sheet.text(
            "no data",
            panel.place_of(at),
            panel.plot.bottom - 10.0,
            &pen,
        );
        return Ok(());
    };
    panel.sheet.begin_group(&format!(
        "{}: median {}, quartiles {} and {}, mean {}",
        stats.name,
        short(stats.median),
        short(stats.q1),
        short(stats.q3),
        short(stats.mean)
    ));
    let solid = Pen {
        dash: style::Dash::Solid,
        ..look.pen
    };
    for (from, to) in [
        (stats.whisker_low, stats.q1),
        (stats.q3, stats.whisker_high),
    ] {
        panel.curve(vec![(at, from), (at, to)], look.pen)?;
    }
    for end in [stats.whisker_low, stats.whisker_high] {
        panel.curve(vec![(at - half * 0.5, end), (at + half * 0.5, end)], solid)?;
    }
    let corners = [(at - half, stats.q1), (at + half, stats.q3)];
    panel.block(Block {
        corners,
        fill: look.fill,
        outline: Some(look.pen),
        hatch: None,
    })?;
    let pen = Pen::solid(look.ink, 2.2);
    panel.curve(
        vec![(at - half, stats.median), (at + half, stats.median)],
        pen,
    )?;
    panel.mark((at, stats.mean), Marker::Diamond, look.ink, 4.0)?;
    if !panel.holds((at, stats.whisker_high)) || !panel.holds((at, stats.mean.max(stats.q3))) {
        // It goes on above.
        let (x, y) = (panel.place_of(at), panel.plot.top - 6.0);
        panel.sheet.mark(x, y, Marker::TriangleUp, look.ink, 3.2);
    }
    panel.sheet.end_group();
    Ok(())
}

/// `stats` with the whiskers it lacks drawn in, or nothing if it is not a box.
fn sound(stats: &BoxStats) -> Option<BoxStats> {
    let mut stats = stats.clone();
    if stats.whisker_low.is_nan() {
        stats.whisker_low = stats.q1;
    }
    if stats.whisker_high.is_nan() {
        stats.whisker_high = stats.q3;
    }
    stats.is_sound().then_some(stats)
}

fn write_means(panel: &Panel<'_>, place: &Place<'_>, middle: f64, mut below: f64) {
    let pen = TextPen::new(SMALL, Anchor::Middle);
    let mean = |stats: &BoxStats| match stats.mean.is_finite() {
        true => short(stats.mean),
        false => "–".to_owned(),
    };
    if let Some(stats) = place.simulated {
        panel
            .sheet
            .text(&format!("mean {}", mean(stats)), middle, below, &pen);
        below += 15.0;
    }
    if let Some(stats) = place.published {
        let text = format!("published {}", mean(stats));
        panel
            .sheet
            .text(&text, middle, below, &pen.color(PUBLISHED));
    }
}
