//! Tables in, SVG and HTML out: the pictures of Conductor.
//!
//! A chart is a plain struct of numbers and names with one method, `to_svg`. Two promises hold for
//! all of them: the same input gives the same bytes on every machine (no fonts are read, no
//! platform maths is called, every number is printed with fixed digits), and odd input (no data,
//! one point, equal values, NaN, infinity) gives a sensible picture or a [`PlotError`], never a
//! panic.
//!
//! - charts: [`CdfChart`], [`BoxChart`], [`TimeChart`], [`BarChart`], [`LineChart`],
//!   [`LinePanels`], [`HeatChart`];
//! - [`Table`] reads the project's CSV files back, so that a figure can be redrawn from disk alone;
//! - [`Report`] puts figures and tables on one self-contained page;
//! - `to_png`, with the feature `png`, makes pixels of a picture.
//!
//! What is *not* here: simulation, trace formats, the choice of what to plot.
//!
//! # How a picture is made
//!
//! `sheet` is the page (title, legend), `panel` a pair of axes on it, `elements` the marks. They are
//! drawn with plotters' areas, coordinates and elements onto `canvas`, a plotters back end of our
//! own: the stock one has whole pixels and no dashes. Published curves are always dashed and
//! darkened, legends and labels of reference lines always lie outside of the data area.
#![forbid(unsafe_code)]

mod axis;
mod bar_chart;
mod box_chart;
mod canvas;
mod cdf_chart;
mod elements;
mod error;
mod heat_chart;
mod line_chart;
mod line_panels;
mod panel;
#[cfg(feature = "png")]
mod png;
mod report;
mod sheet;
mod spots;
mod stats;
mod style;
mod table;
mod text;
mod thin;
mod ticks;
mod time_chart;

pub use bar_chart::{BarChart, BarSeries};
pub use box_chart::BoxChart;
pub use cdf_chart::{CdfChart, CdfData, CdfSeries};
pub use error::PlotError;
pub use heat_chart::HeatChart;
pub use line_chart::{LineChart, LineSeries};
pub use line_panels::{LinePanel, LinePanels};
pub use panel::Reference;
#[cfg(feature = "png")]
pub use png::to_png;
pub use report::{Best, Cell, Column, ColumnKind, Figure, Report, ResultTable, Verdict};
pub use stats::{BoxStats, percentile};
pub use style::SERIES_LIMIT;
pub use table::Table;
pub use time_chart::{TimeChart, TimePanel, TimeSeries};
