//! What an experiment draws, as data: which runs are where on a picture, under which names.
//!
//! Not here: the values (`raw.csv`, `loads.csv`, `replicas.csv`, `cdf.csv` and `search.csv` of a results folder have
//! them) and drawing, which is not this package's business.

use crate::metric::Metric;

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Name of its file, without ending: lower-case letters, digits and dashes.
    pub file: String,
    /// One line for people.
    pub title: String,
    /// What to see in it, for people; empty if nothing is said.
    pub caption: String,
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
    /// Cumulative distributions over requests.
    Cdf(CdfPlot),
    /// Quartiles and whiskers of distributions over requests.
    Box(BoxPlot),
    /// A metric by two axes, as colours.
    Heat(HeatPlot),
    /// What searches tried.
    Search(SearchPlot),
}

impl Plot {
    /// What is published as a file and drawn beside the runs.
    #[must_use]
    pub const fn published(&self) -> Option<&PublishedFile> {
        match &self.kind {
            PlotKind::Loads(plot) => plot.published.as_ref(),
            PlotKind::Replicas(plot) => plot.published.as_ref(),
            PlotKind::Cdf(plot) => plot.published.as_ref(),
            PlotKind::Box(plot) => plot.published.as_ref(),
            PlotKind::Search(plot) => plot.published.as_ref(),
            PlotKind::Lines(_) | PlotKind::Bars(_) | PlotKind::Heat(_) => None,
        }
    }

    /// The runs whose requests' distributions are drawn, and of what.
    #[must_use]
    pub fn distributions(&self) -> Option<(Distribution, &[(String, usize)])> {
        match &self.kind {
            PlotKind::Cdf(plot) => Some((plot.of, &plot.series)),
            PlotKind::Box(plot) => Some((plot.of, &plot.series)),
            _ => None,
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
    pub published: Option<PublishedFile>,
}

/// Copies of watched blocks over time, a panel a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicasPlot {
    /// Names of the panels and the numbers of their runs; the first seed is drawn.
    pub panels: Vec<(String, usize)>,
    /// Published points, drawn into the panels that they name.
    pub published: Option<PublishedFile>,
}

/// Distributions, a curve a run. Runs that are repeated with several seeds have one curve over all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct CdfPlot {
    /// Of what.
    pub of: Distribution,
    /// It is drawn times this.
    pub scale: f64,
    /// What x is, with its unit.
    pub x_label: String,
    /// Logarithmic x axis.
    pub log_x: bool,
    /// The right end of the x axis.
    pub x_max: Option<f64>,
    /// Where there are vertical lines.
    pub marks: Vec<f64>,
    /// Names of the curves and the numbers of their runs.
    pub series: Vec<(String, usize)>,
    /// Published curves.
    pub published: Option<PublishedFile>,
}

/// Boxes, one a run, over all of its seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxPlot {
    /// Of what.
    pub of: Distribution,
    /// It is drawn times this.
    pub scale: f64,
    /// What y is, with its unit.
    pub y_label: String,
    /// Logarithmic y axis.
    pub log_y: bool,
    /// The upper end of the y axis.
    pub y_max: Option<f64>,
    /// Where there are horizontal lines.
    pub marks: Vec<f64>,
    /// Names of the boxes and the numbers of their runs.
    pub series: Vec<(String, usize)>,
    /// Published boxes.
    pub published: Option<PublishedFile>,
}

/// Cells, one a run.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatPlot {
    /// What a cell is; its label stands at the colours.
    pub of: Measure,
    /// What the columns differ in, with its unit.
    pub x_label: String,
    /// What the rows differ in, with its unit.
    pub y_label: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, top to bottom: a name, and the number of a run for each column.
    pub rows: Vec<(String, Vec<usize>)>,
}

/// The metrics of a search's conditions over their limits, a panel a condition, at the values that the searches of all
/// seeds have tried.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchPlot {
    /// What x is, with its unit.
    pub x_label: String,
    /// Logarithmic x axis.
    pub log_x: bool,
    /// Logarithmic y axis.
    pub log_y: bool,
    /// Names of the lines and the numbers of their runs.
    pub series: Vec<(String, usize)>,
    /// Names of the panels: the metrics of the conditions.
    pub panels: Vec<String>,
    /// Published lines.
    pub published: Option<PublishedFile>,
}

/// What a request has that distributions are drawn of, by the name of its summary in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distribution {
    /// `ttft_s`
    Ttft,
    /// `tbt_s`
    Tbt,
    /// `tpot_s`
    Tpot,
    /// `e2e_s`
    E2e,
}

impl Distribution {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Tbt, Self::Tpot, Self::E2e];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_s",
            Self::Tbt => "tbt_s",
            Self::Tpot => "tpot_s",
            Self::E2e => "e2e_s",
        }
    }
}

/// Published curves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// A built-in file, or a CSV file. Of loads: columns `time_s`, `prefill_load` and `decode_load` (shares). Of
    /// distributions: `series`, `x` as it is drawn, and `share_percent`; of boxes `series`, `whisker_low`, `q1`,
    /// `median`, `q3`, `whisker_high` and `mean` as they are drawn, empty where not known. Of searches: `metric`,
    /// `series`, `x` and
    /// `normalised`. Of replicas: `panel`, `rank`, `time_s` and `replicas`. A file that is not there is no error: what
    /// is published is left out.
    pub file: String,
    /// Where it is published.
    pub source: String,
}
