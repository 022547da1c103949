//! Prometheus' text form, version 0.0.4: every name has this program's prefix, a help and a type.

use super::histogram::Histogram;
use std::fmt::{Display, Write};

const PREFIX: &str = "conductor_";

/// A page in the making.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}");
        let _ = writeln!(self.0, "# TYPE {PREFIX}{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{PREFIX}{name}{labels} {value}");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.line(name, "", value);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        self.line(name, "", value);
    }

    /// A counter for each value of a label; values are words of this program, which need no escape.
    pub(super) fn labelled(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        self.head(name, help, "counter");
        for (word, value) in values {
            self.line(name, &format!("{{{label}=\"{word}\"}}"), value);
        }
    }

    /// A gauge for each node.
    pub(super) fn nodes(&mut self, name: &str, help: &str, values: impl Iterator<Item = f64>) {
        self.head(name, help, "gauge");
        for (node, value) in values.enumerate() {
            self.line(name, &format!("{{node=\"{node}\"}}"), value);
        }
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let buckets = histogram.cumulated();
        for &(end, count) in &buckets {
            let end = match end.is_finite() {
                true => end.to_string(),
                false => "+Inf".into(),
            };
            self.line(
                &format!("{name}_bucket"),
                &format!("{{le=\"{end}\"}}"),
                count,
            );
        }
        self.line(&format!("{name}_sum"), "", histogram.sum());
        let count = buckets.last().map_or(0, |&(_, count)| count);
        self.line(&format!("{name}_count"), "", count);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}
