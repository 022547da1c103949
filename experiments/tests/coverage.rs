//! `COVERAGE.md` and the specifications agree: every experiment is named there, what it names exists, and no figure is
//! left without an experiment or a reason.

use conductor_experiments::{Spec, list};
use std::collections::BTreeSet;

const TEXT: &str = include_str!("../COVERAGE.md");

/// Rows of the tables, without their heads.
fn rows() -> Vec<[&'static str; 3]> {
    let rows = TEXT.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| {
        let cells: Vec<&str> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        <[&str; 3]>::try_from(cells).unwrap_or_else(|cells| panic!("three cells: {cells:?}"))
    });
    cells.filter(|cells| cells[0] != "what").collect()
}

/// Experiments in a cell, without remarks in parentheses.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    let names = cell
        .split(", ")
        .map(|name| name.split(' ').next().unwrap_or(name));
    names.filter(|name| *name != "none")
}

#[test]
fn every_figure_has_an_experiment_or_a_reason() {
    let known: BTreeSet<String> = list().into_iter().map(|info| info.name).collect();
    let rows = rows();
    for [what, experiments, reason] in &rows {
        let mut some = false;
        for name in named(experiments) {
            assert!(known.contains(name), "{what}: no experiment {name}");
            some = true;
        }
        assert!(some || !reason.is_empty(), "{what}");
        assert_eq!(some, *experiments != "none", "{what}");
    }
    // Figures and tables of the papers that have numbers on what is simulated.
    let (fast, report) = TEXT.split_once("## Technical report").expect("two papers");
    for figure in [
        "Fig 1:", "Fig 5:", "Fig 6:", "Fig 7:", "Fig 9:", "Fig 10:", "Fig 11:", "Fig 12:",
        "Fig 13:", "Fig 14:", "Fig 15:",
    ] {
        assert!(fast.contains(&format!("| {figure}")), "FAST'25 {figure}");
    }
    for figure in [
        "Table 1:", "Fig 2:", "Fig 7:", "Fig 8:", "Fig 9:", "Fig 10:", "Table 2:", "Table 3:",
        "Fig 11:", "Fig 12:", "Fig 13:",
    ] {
        assert!(report.contains(&format!("| {figure}")), "v3 {figure}");
    }
}

#[test]
fn every_experiment_is_named_where_it_belongs() {
    let covered: BTreeSet<&str> = rows().iter().flat_map(|row| named(row[1])).collect();
    let unpublished = TEXT
        .split_once("## Nothing published")
        .expect("a chapter")
        .1;
    let (unpublished, heavy) = unpublished
        .split_once("\n\nMarked")
        .expect("a list of heavy ones");
    let words: BTreeSet<&str> = unpublished.split([' ', ',', '.', '\n', ':']).collect();
    for info in list() {
        let spec = Spec::builtin(&info.name).expect("listed");
        let published =
            !spec.published.is_empty() || spec.checks.iter().any(|check| check.published.is_some());
        let name = info.name.as_str();
        assert!(
            !published || covered.contains(name),
            "{name} has published values"
        );
        assert!(
            covered.contains(name) != words.contains(name),
            "{name}: in one of both"
        );
        // What has published values is part of what everybody runs.
        assert!(!(published && info.heavy), "{name}");
        if info.heavy {
            let found = heavy.contains(name)
                || (name.starts_with("sensitivity-") && heavy.contains("five of sensitivity"));
            assert!(found, "{name} is heavy");
        }
    }
}

/// One tolerance for all, as `COVERAGE.md` says.
#[test]
fn no_built_in_value_has_a_tolerance_of_its_own() {
    for info in list() {
        let spec = Spec::builtin(&info.name).expect("listed");
        let same = |tolerance: f64| (tolerance - Spec::TOLERANCE).abs() < 1e-12;
        assert!(
            spec.published.iter().all(|row| same(row.tolerance)),
            "{}",
            info.name
        );
    }
}
