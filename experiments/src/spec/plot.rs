//! What an experiment draws, as data: which runs are where on a picture, under which names.
//!
//! Not here: the values (`raw.csv`, `loads.csv` and `replicas.csv` of a results folder have them) and drawing, which is
//! not this package's business.

use crate::metric::Metric;

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Name of its file, without ending: lower-case letters, digits and dashes.
    pub file: String,
    /// One line for people.
    pub title: String,
    /// What is drawn.
    pub kind: PlotKind,
}

/// Kinds of pictures.
#[derive(Clone, Debug, PartialEq)]
pub enum PlotKind {
    /// A metric over an axis of numbers.
    Lines(LinesPlot),
    /// A metric by the values of an axis.
    Bars(BarsPlot),
    /// The loads of the two pools over time.
    Loads(LoadsPlot),
    /// Copies of watched blocks over time.
    Replicas(ReplicasPlot),
}

impl PlotKind {
    /// The published curve that it draws, if it draws one.
    #[must_use]
    pub const fn published(&self) -> Option<&PublishedCurve> {
        match self {
            Self::Loads(plot) => plot.published.as_ref(),
            Self::Replicas(plot) => plot.published.as_ref(),
            Self::Lines(_) | Self::Bars(_) => None,
        }
    }
}

/// What is measured of a run, and how it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The metric.
    pub metric: Metric,
    /// It is drawn times this.
    pub scale: f64,
    /// What it is called, with its unit.
    pub label: String,
}

/// Lines in one panel or several.
#[derive(Clone, Debug, PartialEq)]
pub struct LinesPlot {
    /// What y is.
    pub y: Measure,
    /// What x is, with its unit.
    pub x_label: String,
    /// Logarithmic x axis.
    pub log_x: bool,
    /// Logarithmic y axis.
    pub log_y: bool,
    /// The panels; a single one has no title.
    pub panels: Vec<LinesPanel>,
}

/// One panel of [`LinesPlot`].
#[derive(Clone, Debug, PartialEq)]
pub struct LinesPanel {
    /// The value of the axis that makes panels; empty without one.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Where on x, and the number of the run that is there.
    pub points: Vec<(f64, usize)>,
}

/// Bars in groups.
#[derive(Clone, Debug, PartialEq)]
pub struct BarsPlot {
    /// What y is.
    pub y: Measure,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// The bars of one colour: a name, and the number of a run for each group.
    pub series: Vec<(String, Vec<usize>)>,
}

/// Loads over time, a panel a run.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadsPlot {
    /// Names of the panels and the numbers of their runs.
    pub panels: Vec<(String, usize)>,
    /// The seed that is drawn; none where runs are not repeated and have only their own.
    pub seed: Option<u64>,
    /// Seconds into the run at which the picture begins; there is its time 0.
    pub from_s: f64,
    /// Seconds into the run at which it ends; infinite for all there is.
    pub to_s: f64,
    /// A published curve, as one more panel.
    pub published: Option<PublishedCurve>,
}

/// Copies of watched blocks over time, a panel a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicasPlot {
    /// Names of the panels and the numbers of their runs; the first seed is drawn.
    pub panels: Vec<(String, usize)>,
    /// Published points, drawn into the panels that they name.
    pub published: Option<PublishedCurve>,
}

/// A published curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedCurve {
    /// A built-in curve, or a CSV file: of loads with the columns `time_s`, `prefill_load` and `decode_load` (shares),
    /// of replicas with `panel`, `rank`, `time_s` and `replicas`. A file that is not there is no error: the curve is
    /// left out.
    pub file: String,
    /// Where it is published.
    pub source: String,
}
