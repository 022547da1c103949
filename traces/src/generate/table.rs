//! A distribution: quantiles at equal steps of probability, or a histogram as a paper prints it.
//!
//! Of quantiles, one number is a constant, two are a uniform distribution, 81 describe a heavy tail; between them
//! lie straight lines. A histogram, `{ edges = […], counts = […] }`, is even within each of its bins; two equal
//! edges are a single value, and a bin of count 0 is a gap. Why tables: they say what was measured without claiming
//! a law, and a person can read and edit them.
//!
//! Not here: the range that a quantity allows (`check`).

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// The most points that a table may have.
const MAX_POINTS: usize = 100;

/// A distribution over the values of one quantity, whose unit is that of the key it stands at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Table(Shape);

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Shape {
    /// At equal steps of probability, from the least value to the greatest.
    Quantiles(Vec<f64>),
    Histogram(Histogram),
}

/// Bins between neighbouring edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Histogram {
    edges: Vec<f64>,
    counts: Vec<f64>,
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableVisitor).map(Self)
    }
}

/// Tells the shapes apart by their syntax. (Serde's own way, `untagged`, would hide what is wrong and where.)
struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of quantiles, or a histogram with `edges` and `counts`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Shape, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Shape::Quantiles)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shape, A::Error> {
        Histogram::deserialize(MapAccessDeserializer::new(map)).map(Shape::Histogram)
    }
}

impl Table {
    /// A table of these quantiles; `None` unless there are 1 to 100 finite numbers in ascending order.
    #[must_use]
    pub fn new(quantiles: Vec<f64>) -> Option<Self> {
        let table = Self(Shape::Quantiles(quantiles));
        table.fault().is_none().then_some(table)
    }

    /// A histogram of `counts` between neighbouring `edges`; `None` unless there are 2 to 100 finite edges in
    /// ascending order and one count of 0 or more between each two, not all 0.
    #[must_use]
    pub fn histogram(edges: Vec<f64>, counts: Vec<f64>) -> Option<Self> {
        let table = Self(Shape::Histogram(Histogram { edges, counts }));
        table.fault().is_none().then_some(table)
    }

    /// The table of `points` quantiles that describes a sample best, rounded to whole `step`s; `None` for an
    /// empty sample.
    ///
    /// The last point is not the maximum but keeps the mean of the uppermost stretch, so that a single extreme
    /// value does not lift the whole tail.
    pub(super) fn fit(sample: Vec<f64>, points: usize, step: f64) -> Option<Self> {
        Self::fit_weighted(
            sample.into_iter().map(|value| (value, 1.0)).collect(),
            points,
            step,
        )
    }

    /// The same for values that count with a positive weight each.
    pub(super) fn fit_weighted(
        mut sample: Vec<(f64, f64)>,
        points: usize,
        step: f64,
    ) -> Option<Self> {
        sample.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (last, _) = *sample.last()?;
        if points < 2 || sample.len() < 2 {
            return Some(Self(Shape::Quantiles(vec![round(sample[0].0, step)])));
        }
        // Each value stands at the middle of its weight.
        let mut total = 0.0;
        let mut places: Vec<(f64, f64)> = Vec::with_capacity(sample.len());
        for (value, weight) in &sample {
            places.push((total + weight / 2.0, *value));
            total += weight;
        }
        let steps = (points - 1) as f64;
        let mut quantiles: Vec<f64> = (0..points)
            .map(|i| value_at(&places, total * i as f64 / steps))
            .collect();
        let tail = sample
            .iter()
            .zip(&places)
            .filter(|(_, place)| place.0 >= total * (1.0 - 1.0 / steps));
        let (sum, weight) = tail.fold((0.0, 0.0), |(sum, all), ((value, weight), _)| {
            (sum + value * weight, all + weight)
        });
        let below = quantiles[points - 2];
        if weight > 0.0 {
            quantiles[points - 1] = (2.0 * sum / weight - below).clamp(below, last);
        }
        for value in &mut quantiles {
            *value = round(*value, step);
        }
        Some(Self(Shape::Quantiles(quantiles)))
    }

    /// What a valid table would be, if this is none.
    pub(super) fn fault(&self) -> Option<&'static str> {
        const QUANTILES: &str = "1 to 100 finite numbers in ascending order";
        const EDGES: &str = "a histogram with 2 to 100 finite edges in ascending order";
        const COUNTS: &str = "a histogram with one count from 0 to 1e15 in each bin, not all 0";
        match &self.0 {
            Shape::Quantiles(quantiles) => {
                (quantiles.is_empty() || !ascending(quantiles)).then_some(QUANTILES)
            }
            Shape::Histogram(Histogram { edges, counts }) => {
                let one_each = edges.len() == counts.len() + 1;
                let valid = counts.iter().all(|count| (0.0..=1e15).contains(count));
                if edges.len() < 2 || !ascending(edges) {
                    Some(EDGES)
                } else if !one_each || !valid || counts.iter().sum::<f64>() <= 0.0 {
                    Some(COUNTS)
                } else {
                    None
                }
            }
        }
    }

    fn points(&self) -> &[f64] {
        match &self.0 {
            Shape::Quantiles(points) => points,
            Shape::Histogram(histogram) => &histogram.edges,
        }
    }

    /// The least value.
    pub(super) fn least(&self) -> f64 {
        self.points()[0]
    }

    /// The greatest value.
    pub(super) fn greatest(&self) -> f64 {
        self.points()[self.points().len() - 1]
    }

    /// The value at a share of probability from 0 to 1.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        match &self.0 {
            Shape::Quantiles(quantiles) => interpolate(quantiles, share),
            Shape::Histogram(histogram) => histogram.at(share),
        }
    }
}

impl Histogram {
    fn at(&self, share: f64) -> f64 {
        let mut rest = share * self.counts.iter().sum::<f64>();
        let mut reached = self.edges[0];
        for (bin, count) in self.counts.iter().enumerate() {
            // A gap has no values, not even its edges.
            if *count <= 0.0 {
                continue;
            }
            let (low, high) = (self.edges[bin], self.edges[bin + 1]);
            if rest < *count {
                return low + (high - low) * (rest / count);
            }
            rest -= count;
            reached = high;
        }
        reached
    }
}

fn ascending(points: &[f64]) -> bool {
    points.len() <= MAX_POINTS && points.iter().all(|value| value.is_finite()) && points.is_sorted()
}

fn interpolate(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = share * last as f64;
    let below = (place as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The value at a place of the accumulated weight, by straight lines between ascending places.
fn value_at(places: &[(f64, f64)], at: f64) -> f64 {
    let above = places.partition_point(|(place, _)| *place < at);
    match (places[..above].last(), places.get(above)) {
        (Some(low), Some(high)) => low.1 + (high.1 - low.1) * (at - low.0) / (high.0 - low.0),
        (Some(end), None) | (None, Some(end)) => end.1,
        (None, None) => 0.0,
    }
}

/// `value` as a multiple of `step`, halves away from zero; `1 / step` is a whole number.
pub(super) fn round(value: f64, step: f64) -> f64 {
    let per_unit = libm::round(1.0 / step);
    libm::round(value * per_unit) / per_unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_even_within_its_bins() {
        let table = Table::histogram(vec![3.0, 3.0, 20.0, 30.0], vec![6.0, 0.0, 4.0]);
        let table = table.expect("valid");
        for (share, value) in [
            (0.0, 3.0),
            (0.59, 3.0),
            (0.6, 20.0),
            (0.8, 25.0),
            (1.0, 30.0),
        ] {
            assert!((table.at(share) - value).abs() < 1e-9, "{share}");
        }
        assert_eq!((table.least(), table.greatest()), (3.0, 30.0));
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for (edges, counts) in [
            (vec![1.0], vec![]),
            (vec![2.0, 1.0], vec![1.0]),
            (vec![1.0, f64::NAN], vec![1.0]),
            (vec![1.0, 2.0], vec![0.0]),
            (vec![1.0, 2.0], vec![-1.0]),
            (vec![1.0, 2.0], vec![f64::INFINITY]),
            (vec![1.0, 2.0], vec![1.0, 1.0]),
            (vec![0.0; 101], vec![1.0; 100]),
        ] {
            assert_eq!(Table::histogram(edges.clone(), counts), None, "{edges:?}");
        }
        assert_eq!(Table::new(vec![]), None);
        assert_eq!(Table::new(vec![2.0, 1.0]), None);
    }
}
