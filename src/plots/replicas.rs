//! How many prefill nodes hold blocks of given ranks over time, a panel a run, in the manner of Fig 11 of FAST'25.

use super::failure;
use crate::failure::Failure;
use conductor_experiments::Spec;
use conductor_experiments::spec::{Plot, ReplicasPlot};
use conductor_plots::{Table, TimeChart, TimePanel, TimeSeries};
use std::path::Path;

/// Which line, when, how many.
struct Row {
    panel: String,
    rank: String,
    point: (f64, f64),
}

pub(super) fn chart(
    folder: &Path,
    spec: &Spec,
    plot: &Plot,
    kind: &ReplicasPlot,
) -> Result<String, Failure> {
    let path = folder.join("replicas.csv");
    let table = Table::open(&path).map_err(|error| failure(&error))?;
    let seeds = table.column_text("seed").map_err(|error| failure(&error))?;
    let first = seeds.first().cloned();
    let drawn = rows(&table, "cell")?.into_iter().zip(&seeds);
    let drawn: Vec<Row> = drawn
        .filter(|(_, seed)| Some(*seed) == first.as_ref())
        .map(|(row, _)| row)
        .collect();
    let published = match &kind.published {
        Some(_) => super::published(folder, plot)?,
        None => None,
    };
    let published = published.map_or(Ok(Vec::new()), |table| rows(&table, "panel"))?;
    let ranks = spec.watch.iter().flat_map(|watch| &watch.ranks);
    let ranks: Vec<String> = ranks.map(u64::to_string).collect();
    let most = drawn.iter().chain(&published).map(|row| row.point.1);
    let most = most.fold(1.0, f64::max);
    let mut panels = Vec::new();
    for (name, run) in &kind.panels {
        let (name, label) = (super::name(name), spec.label(*run));
        let mut series = Vec::new();
        for rank in &ranks {
            let line = |rows: &[Row], panel: &str| -> Vec<(f64, f64)> {
                let rows = rows.iter();
                let rows = rows.filter(|row| row.panel == panel && row.rank == *rank);
                rows.map(|row| row.point).collect()
            };
            for (points, published) in [
                (line(&drawn, &label), false),
                (line(&published, &name), true),
            ] {
                let name = format!("rank {rank}");
                series.extend(
                    Some(TimeSeries {
                        name,
                        points,
                        published,
                    })
                    .filter(|series| !series.points.is_empty()),
                );
            }
        }
        if series.iter().all(|series| series.published) {
            let path = path.display();
            return Err(Failure::Input(format!(
                "{path}: no sample of the run \"{label}\""
            )));
        }
        panels.push(TimePanel {
            title: name,
            caption: String::new(),
            y_label: "nodes that hold the block".to_string(),
            y_limits: Some((0.0, most + 0.5)),
            series,
            references: Vec::new(),
        });
    }
    let chart = TimeChart {
        title: plot.title.clone(),
        x_label: "time".to_string(),
        panels,
    };
    chart.to_svg().map_err(|error| failure(&error))
}

fn rows(table: &Table, panel: &str) -> Result<Vec<Row>, Failure> {
    let text = |name: &str| table.column_text(name).map_err(|error| failure(&error));
    let column = |name: &str| table.column(name).map_err(|error| failure(&error));
    let points = column("time_s")?.into_iter().zip(column("replicas")?);
    let names = text(panel)?.into_iter().zip(text("rank")?);
    let rows = names
        .zip(points)
        .map(|((panel, rank), point)| Row { panel, rank, point });
    Ok(rows.collect())
}
