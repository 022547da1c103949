//! Whatever the numbers and names: a well-formed picture or an error, never a panic.

use conductor_plots::{
    BarChart, BarSeries, BoxChart, BoxStats, CdfChart, CdfData, CdfSeries, HeatChart, LineChart,
    LinePanel, LinePanels, LineSeries, PlotError, Reference, TimeChart, TimePanel, TimeSeries,
};
use proptest::prelude::*;

use crate::xml;

/// Any float, often one that repeats or is close to another.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => proptest::num::f64::ANY,
        3 => -10.0..10.0,
        1 => Just(0.0),
        1 => Just(1.0),
        1 => Just(1.0 + f64::EPSILON),
        1 => Just(f64::MAX),
        1 => Just(f64::MIN_POSITIVE),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(number(), 0..30)
}

fn points() -> impl Strategy<Value = Vec<(f64, f64)>> {
    proptest::collection::vec((number(), number()), 0..30)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("<b>&\"'\u{0}</b>".to_owned()),
        Just("a-name-so-long-that-it-can-never-fit-on-one-line-of-any-picture".repeat(4)),
        proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter),
    ]
}

fn references() -> impl Strategy<Value = Vec<Reference>> {
    proptest::collection::vec(
        (number(), name()).prop_map(|(at, label)| Reference { at, label }),
        0..4,
    )
}

fn check(svg: Result<String, PlotError>) {
    let svg = match svg {
        Ok(svg) => svg,
        Err(PlotError::TooManySeries { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    xml::check(&svg);
    let (width, height) = xml::size(&svg);
    for (name, end) in [("x", width), ("y", height)] {
        for place in xml::text_places(&svg, name) {
            assert!(
                (0.0..=end).contains(&place),
                "a text at {name} = {place} of {end}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        // A failure prints its input; no file is left in the tree.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn cdf(
        title in name(),
        series in proptest::collection::vec((name(), numbers(), points(), any::<bool>()), 0..5),
        markers in references(),
        log_x in any::<bool>(),
        x_max in proptest::option::of(number()),
    ) {
        let series = series.into_iter().map(|(name, values, points, published)| {
            let data = if published { CdfData::Points(points) } else { CdfData::Values(values) };
            CdfSeries { name, data, published }
        });
        let series = series.collect();
        check(CdfChart { title, log_x, x_max, series, markers, ..CdfChart::default() }.to_svg());
    }

    #[test]
    fn boxes(
        title in name(),
        boxes in proptest::collection::vec((name(), numbers()), 0..12),
        odd in proptest::collection::vec((name(), proptest::array::uniform6(number())), 0..3),
        references in references(),
        log_y in any::<bool>(),
        y_max in proptest::option::of(number()),
    ) {
        let boxes = boxes.into_iter().map(|(name, values)| BoxStats::from_values(name, &values));
        let odd = odd.into_iter().map(|(name, [whisker_low, q1, median, q3, whisker_high, mean])| {
            BoxStats { name, whisker_low, q1, median, q3, whisker_high, mean }
        });
        let (boxes, published) = (boxes.collect(), odd.collect());
        let y_label = title.clone();
        check(BoxChart { title, y_label, boxes, published, y_max, log_y, references }.to_svg());
    }

    #[test]
    fn time(
        title in name(),
        series in proptest::collection::vec((name(), points()), 0..4),
        y_limits in proptest::option::of((number(), number())),
        references in references(),
    ) {
        let line = |(name, points)| TimeSeries { name, points, published: false };
        let series: Vec<TimeSeries> = series.into_iter().map(line).collect();
        let free = TimePanel {
            title: title.clone(),
            caption: title.repeat(3),
            series: series.clone(),
            ..TimePanel::default()
        };
        let y_label = title.clone();
        let fixed = TimePanel { y_label, y_limits, series, references, ..TimePanel::default() };
        check(TimeChart { title, x_label: "time".to_owned(), panels: vec![free, fixed] }.to_svg());
    }

    #[test]
    fn bars(
        title in name(),
        groups in proptest::collection::vec((name(), number(), number()), 0..12),
        references in references(),
    ) {
        let values = groups.iter().map(|group| group.1).collect();
        let published = groups.iter().map(|group| group.2).collect();
        let halves = groups.iter().map(|group| group.2).collect();
        let groups = groups.into_iter().map(|group| group.0).collect();
        let series = vec![BarSeries { name: title.clone(), values, halves, published }];
        check(BarChart { title, groups, series, references, ..BarChart::default() }.to_svg());
    }

    #[test]
    fn lines(
        title in name(),
        series in proptest::collection::vec((name(), points(), any::<bool>()), 0..5),
        verticals in references(),
        horizontals in references(),
        log_x in any::<bool>(),
        log_y in any::<bool>(),
    ) {
        let line = |(name, points, published): (String, Vec<(f64, f64)>, bool)| {
            let halves = points.iter().map(|point| point.0).collect();
            LineSeries { name, points, halves, published }
        };
        let series: Vec<_> = series.into_iter().map(line).collect();
        let (x_label, y_label) = (title.clone(), title.clone());
        let panels = (0..series.len()).map(|i| {
            LinePanel { title: title.clone(), series: series[i..].to_vec() }
        });
        let panels = LinePanels {
            panels: panels.collect(),
            title: title.clone(),
            x_label: x_label.clone(),
            y_label: y_label.clone(),
            note: title.clone(),
            log_x,
            log_y,
        };
        check(panels.to_svg());
        let chart =
            LineChart { title, x_label, y_label, log_x, log_y, series, verticals, horizontals };
        check(chart.to_svg());
    }

    #[test]
    fn heat(
        title in name(),
        columns in proptest::collection::vec(name(), 0..6),
        rows in proptest::collection::vec(name(), 0..40),
        number in numbers(),
    ) {
        let value = |i: usize| number.get(i % number.len().max(1)).copied().unwrap_or(f64::NAN);
        let values =
            (0..rows.len()).map(|i| (0..columns.len()).map(|j| value(i * 7 + j)).collect());
        let values = values.collect();
        let unit = title.clone();
        check(HeatChart { title, columns, rows, values, unit, ..HeatChart::default() }.to_svg());
    }
}
