//! Bars in groups: simulated values, each with the published one outlined beside it.

use crate::PlotError;
use crate::axis::{Axis, extent, is_usable};
use crate::elements::Block;
use crate::panel::{Panel, Reference, Scale, left_margin, right_margin, worth_reaching};
use crate::sheet::{Cast, Key, Rect, Sheet, Sign, note_height};
use crate::style::{
    self, Anchor, Dash, HEIGHT, INK, PAPER, PUBLISHED, Pen, RIM, SMALL, TICK, TextPen, WIDTH,
};
use crate::text::{width, wrap};
use crate::ticks::short;

/// Groups of bars.
#[derive(Clone, Debug, Default)]
pub struct BarChart {
    /// What is shown, in a few words.
    pub title: String,
    /// What y is, with its unit.
    pub y_label: String,
    /// Names of the groups, left to right.
    pub groups: Vec<String>,
    /// One bar a group each.
    pub series: Vec<BarSeries>,
    /// Horizontal lines.
    pub references: Vec<Reference>,
    /// What the whiskers are, and the like: small, below the groups.
    pub note: String,
}

/// One bar in each group of a [`BarChart`].
#[derive(Clone, Debug)]
pub struct BarSeries {
    /// Its name.
    pub name: String,
    /// One value a group; NaN where there is none.
    pub values: Vec<f64>,
    /// Half the height of the interval around each value: empty, or one a group, NaN where there is none.
    pub halves: Vec<f64>,
    /// The published values to compare with: empty, or one a group, NaN where there is none.
    pub published: Vec<f64>,
}

impl BarChart {
    /// The picture. Bars start at 0 and carry their values if all of them fit.
    ///
    /// # Errors
    ///
    /// [`PlotError::Shape`] if a series does not have one value a group,
    /// [`PlotError::TooManySeries`] with more than [`SERIES_LIMIT`](crate::SERIES_LIMIT) names.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        self.check()?;
        let (slots, keys) = self.legend()?;
        let values = || {
            self.series
                .iter()
                .flat_map(|s| s.values.iter().chain(&s.published))
                .copied()
        };
        let most = extent(values()).map_or(1.0, |(_, most)| most);
        let all = values()
            .chain(self.series.iter().flat_map(BarSeries::reach))
            .chain([0.0])
            .chain(worth_reaching(&self.references, most));
        let y = Scale::new(Axis::linear(all, 6), 6, &self.y_label);
        let x = Scale::categories(self.groups.len());

        let left = RIM + left_margin(&y);
        let right = WIDTH - RIM - right_margin(&self.references);
        let slot = (right - left) / self.groups.len().max(1) as f64;
        let names: Vec<Vec<String>> = self
            .groups
            .iter()
            .map(|name| wrap(name, TICK, false, slot - 6.0, 4))
            .collect();
        let lines = names.iter().map(Vec::len).max().unwrap_or(1) as f64;
        let head = 16.0;
        let sheet = Sheet::new(
            &self.title,
            &keys,
            head + HEIGHT - 60.0 + 12.0 + lines * 15.0 + 8.0 + note_height(&self.note),
        );
        let top = sheet.body().top + head;
        let plot = Rect {
            left,
            top,
            right,
            bottom: top + HEIGHT - 60.0,
        };
        let panel = Panel::new(&sheet, plot, &x, &y);
        if !values().any(is_usable) {
            panel.note("no data");
        }
        for (i, name) in names.iter().enumerate() {
            for (line, text) in name.iter().enumerate() {
                let below = plot.bottom + 14.0 + line as f64 * 15.0;
                sheet.text(
                    text,
                    panel.place_of(i as f64),
                    below,
                    &TextPen::new(TICK, Anchor::Middle),
                );
            }
        }
        self.draw_bars(&panel, slot, &slots)?;
        panel.horizontals(&self.references);
        sheet.note(&self.note);
        Ok(sheet.finish())
    }

    fn check(&self) -> Result<(), PlotError> {
        for series in &self.series {
            for (values, kind) in [
                (&series.values, ""),
                (&series.halves, " (intervals)"),
                (&series.published, " (published)"),
            ] {
                let is_absent = !kind.is_empty() && values.is_empty();
                if values.len() != self.groups.len() && !is_absent {
                    return Err(PlotError::Shape {
                        chart: self.title.clone(),
                        what: format!("series `{}`{kind}", series.name),
                        found: values.len(),
                        expected: self.groups.len(),
                        per: "one a group",
                    });
                }
            }
        }
        Ok(())
    }

    fn legend(&self) -> Result<(Vec<usize>, Vec<Key>), PlotError> {
        let named: Vec<_> = self
            .series
            .iter()
            .map(|s| (s.name.as_str(), false))
            .collect();
        let slots = Cast::of_lines(&self.title, &named)?.slots;
        let mut keys: Vec<Key> = Vec::new();
        for (series, &slot) in self.series.iter().zip(&slots) {
            if keys.len() <= slot {
                let sign = Sign::Block {
                    fill: style::color(slot),
                    outline: None,
                    hatch: None,
                };
                keys.push(Key {
                    name: series.name.clone(),
                    sign,
                });
            }
        }
        if self
            .series
            .iter()
            .any(|series| !series.published.is_empty())
        {
            let (outline, hatch) = (Some(published_pen()), Some(hatch_pen()));
            let sign = Sign::Block {
                fill: PAPER,
                outline,
                hatch,
            };
            keys.push(Key {
                name: "published".to_owned(),
                sign,
            });
        }
        Ok((slots, keys))
    }

    fn draw_bars(&self, panel: &Panel<'_>, slot: f64, slots: &[usize]) -> Result<(), PlotError> {
        let has_published = |series: &BarSeries, group: usize| {
            let value = series.published.get(group);
            value.is_some_and(|&value| is_usable(value))
        };
        // A group has room for the published values that it has, not for those of other groups.
        let bars = |group: usize| {
            let published = self.series.iter().filter(|s| has_published(s, group));
            self.series.len() + published.count()
        };
        let most = (0..self.groups.len()).map(bars).max().unwrap_or(0).max(1);
        // In shares of a group's slot; a bar never becomes wider than 60 px.
        let wide = (0.82 / most as f64).min(60.0 / slot);
        // Some bars with their values and some without would look like a difference between them.
        let values = self
            .series
            .iter()
            .flat_map(|s| s.values.iter().chain(&s.published));
        let fits = |value: &f64| width(&short(*value), SMALL, false) <= wide * slot + 2.0;
        let written = values.filter(|value| is_usable(**value)).all(fits);
        let mut free: Vec<f64> = (0..self.groups.len())
            .map(|group| group as f64 - wide * bars(group) as f64 / 2.0)
            .collect();
        for (series, &color) in self.series.iter().zip(slots) {
            for (i, &value) in series.values.iter().enumerate() {
                let half = series.halves.get(i).copied().unwrap_or(f64::NAN);
                let span = (free[i], free[i] + wide);
                panel
                    .sheet
                    .begin_group(&self.said(series, i, value, half, ""));
                draw_bar(panel, span, (value, half), Some(color), written)?;
                panel.sheet.end_group();
                free[i] = span.1;
            }
            for (i, &value) in series.published.iter().enumerate() {
                if has_published(series, i) {
                    let span = (free[i], free[i] + wide);
                    panel
                        .sheet
                        .begin_group(&self.said(series, i, value, f64::NAN, " (published)"));
                    draw_bar(panel, span, (value, f64::NAN), None, written)?;
                    panel.sheet.end_group();
                    free[i] = span.1;
                }
            }
        }
        Ok(())
    }

    /// What a bar shows, in words.
    fn said(
        &self,
        series: &BarSeries,
        group: usize,
        value: f64,
        half: f64,
        origin: &str,
    ) -> String {
        let (name, group) = (&series.name, &self.groups[group]);
        let number = |value: f64| match is_usable(value) {
            true => short(value),
            false => "none".to_owned(),
        };
        let half = match half > 0.0 {
            true => format!(" ± {}", number(half)),
            false => String::new(),
        };
        format!("{group}, {name}{origin}: {}{half}", number(value))
    }
}

impl BarSeries {
    /// What a y axis has to hold for the intervals.
    fn reach(&self) -> impl Iterator<Item = f64> {
        let pairs = self.values.iter().zip(&self.halves);
        pairs.flat_map(|(&value, &half)| <[f64; 2]>::from(interval(value, half)))
    }
}

/// The interval around a value. What is never negative has no interval below 0, though it may be computed so.
fn interval(value: f64, half: f64) -> (f64, f64) {
    let low = value - half;
    (if value >= 0.0 { low.max(0.0) } else { low }, value + half)
}

fn published_pen() -> Pen {
    Pen {
        color: PUBLISHED,
        width: 1.3,
        dash: Dash::Dashed,
    }
}

fn hatch_pen() -> Pen {
    Pen::solid(PAPER.mix(PUBLISHED, 45), 0.8)
}

/// A bar of series colour `slot` with its interval, or a published one.
fn draw_bar(
    panel: &Panel<'_>,
    (from, to): (f64, f64),
    (value, half): (f64, f64),
    slot: Option<usize>,
    is_written: bool,
) -> Result<(), PlotError> {
    if !is_usable(value) {
        return Ok(());
    }
    let inset = (to - from) * 0.05;
    let corners = [(from + inset, 0.0), (to - inset, value)];
    let block = match slot {
        Some(slot) => Block {
            corners,
            fill: style::color(slot),
            outline: None,
            hatch: None,
        },
        None => {
            let (outline, hatch) = (Some(published_pen()), Some(hatch_pen()));
            Block {
                corners,
                fill: PAPER,
                outline,
                hatch,
            }
        }
    };
    panel.block(block)?;
    let middle = (from + to) / 2.0;
    let half = if is_usable(half) { half.abs() } else { 0.0 };
    if half > 0.0 {
        panel.whisker(middle, interval(value, half), Pen::solid(INK, 1.2));
    }
    let text = short(value);
    if is_written {
        let pen = TextPen {
            halo: true,
            ..TextPen::new(SMALL, Anchor::Middle)
        };
        let pen = if slot.is_none() {
            pen.color(PUBLISHED)
        } else {
            pen
        };
        let (end, side) = match value < 0.0 {
            true => (value - half, 8.0),
            false => (value + half, -8.0),
        };
        let middle = panel.place_of(middle);
        panel
            .sheet
            .text(&text, middle, panel.height_of(end) + side, &pen);
    }
    Ok(())
}
