//! What is printed of one experiment: its points, published beside simulated, and its checks.

use crate::render;
use conductor_experiments::ExperimentReport;

/// Points and checks of one experiment.
pub(super) fn table(report: &ExperimentReport) -> String {
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_string(), |value| format!("{value:.3}"));
    let interval = |value: f64, half: Option<f64>| {
        half.map_or_else(
            || format!("{value:.3}"),
            |half| format!("{value:.3} ± {half:.3}"),
        )
    };
    let points = report.points.iter().map(|point| {
        let verdict = point.verdict.as_ref();
        let error = verdict.and_then(|verdict| verdict.error);
        let error = error.map(|error| format!("{:+.1} %", error * 100.0));
        let holds = verdict.map(|verdict| if verdict.holds { "yes" } else { "NO" });
        vec![
            point.series.clone(),
            point.x.to_string().trim_matches('"').to_string(),
            number(point.published),
            interval(point.simulated, point.ci95),
            error.unwrap_or_else(|| "-".to_string()),
            point.unit.clone(),
            holds.unwrap_or("-").to_string(),
        ]
    });
    let points = render::table(
        &[
            "series",
            "x",
            "published",
            "simulated",
            "error",
            "unit",
            "holds",
        ],
        points,
    );
    let checks = report.checks.iter().map(|check| {
        vec![
            check.id.clone(),
            check.what.clone(),
            number(check.published),
            check
                .simulated
                .map_or_else(|| "-".to_string(), |value| interval(value, check.ci95)),
            check.required.clone(),
            if check.holds { "yes" } else { "NO" }.to_string(),
        ]
    });
    let checks = render::text_table(
        &[
            "check",
            "what",
            "published",
            "simulated",
            "expected",
            "holds",
        ],
        checks,
    );
    format!(
        "{} ({})\n{points}\n\n{checks}\n",
        report.name, report.source
    )
}
