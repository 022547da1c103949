//! Progress on stderr, where it is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar over `total` requests, or a counter where the number is not known.
pub(crate) fn requests(total: Option<u64>, label: &str) -> ProgressBar {
    let bar = match total {
        Some(total) => ProgressBar::new(total).with_style(style(
            "{prefix:>18} [{bar:30}] {pos}/{len} requests, {elapsed} so far, {eta} left",
        )),
        None => ProgressBar::new_spinner().with_style(style(
            "{prefix:>18} {spinner} {pos} requests, {elapsed} so far",
        )),
    };
    bar.set_prefix(label.to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar over `total` runs.
pub(crate) fn runs(total: u64, label: &str) -> ProgressBar {
    let bar = ProgressBar::new(total).with_style(style(
        "{prefix:>18} [{bar:30}] {pos}/{len} runs, {elapsed} so far, {eta} left",
    ));
    bar.set_prefix(label.to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar over runs whose number becomes known as they are done.
pub(crate) fn tries(label: &str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_style(style(
        "{prefix:>18} [{bar:30}] {pos} runs of about {len}, {elapsed} so far, about {eta} left",
    ));
    bar.set_prefix(label.to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are valid")
}
