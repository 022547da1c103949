//! How fast KV moves, from timings of moves.
//!
//! A profile knows a rate and no latency, so sizes should be those of whole prompts: the rate is the one whose relative
//! errors have the least squares. A rate that was set by hand stays.
//!
//! Not here: what limits a link in a cluster, which is the simulator's network.

use super::constants::Constants;
use super::data::{Data, Way, Work};
use super::{Errors, Options};

/// Sets the rates that the data knows.
pub(super) fn rates(data: &Data, options: &Options, constants: &mut Constants) {
    for (way, key) in [
        (Way::Transfer, "nic_gbytes_per_s"),
        (Way::Load, "load_gbytes_per_s"),
    ] {
        let given = options.settings.iter().any(|setting| setting.key == key);
        if let Some((rate, reason)) = rate(data, way)
            && !given
        {
            constants.set(key, rate / 1e9, &reason);
        }
    }
}

/// Bytes a second, and how well that fits.
fn rate(data: &Data, way: Way) -> Option<(f64, String)> {
    let moves: Vec<(f64, f64)> = data
        .settings()
        .iter()
        .filter_map(|point| match point.work {
            Work::Move { way: its, bytes } if its == way => Some((bytes as f64, point.seconds)),
            _ => None,
        })
        .collect();
    let (first, last) = (moves.first()?, moves.last()?);
    // The least squares of bytes / rate / seconds - 1.
    let speeds = || moves.iter().map(|(bytes, seconds)| bytes / seconds);
    let rate = speeds().map(|speed| speed * speed).sum::<f64>() / speeds().sum::<f64>();
    let pairs: Vec<(f64, f64)> = moves
        .iter()
        .map(|(bytes, seconds)| (bytes / rate, *seconds))
        .collect();
    let reason = format!(
        "{} sizes from {} to {} bytes, error {} (median / p95 / max)",
        moves.len(),
        first.0,
        last.0,
        Errors::of(&pairs).text()
    );
    Some((rate, reason))
}

#[cfg(test)]
mod tests {
    use super::super::data::Point;
    use super::*;

    fn data(moves: &[(Way, u64, f64)]) -> Data {
        let points = moves.iter().map(|&(way, bytes, seconds)| Point {
            work: Work::Move { way, bytes },
            seconds,
        });
        Data {
            points: points.collect(),
            ..Data::default()
        }
    }

    #[test]
    fn a_rate_is_that_of_its_moves_unless_it_was_set() {
        let data = data(&[
            (Way::Transfer, 1_000_000, 0.001),
            (Way::Transfer, 1_000_000, 0.5),
            (Way::Transfer, 1_000_000, 0.001),
            (Way::Transfer, 4_000_000, 0.004),
        ]);
        let mut options = Options::new("test");
        let mut constants = Constants::new(&options, None).expect("the base is built in");
        let load = constants.get("load_gbytes_per_s");
        rates(&data, &options, &mut constants);
        assert!((constants.get("nic_gbytes_per_s") - 1.0).abs() < 1e-9);
        assert!((constants.get("load_gbytes_per_s") - load).abs() < 1e-9);
        let setting = super::super::Setting::parse("nic_gbytes_per_s=7").expect("a setting");
        options.settings.push(setting);
        let mut constants = Constants::new(&options, None).expect("the base is built in");
        rates(&data, &options, &mut constants);
        assert!((constants.get("nic_gbytes_per_s") - 7.0).abs() < 1e-9);
    }
}
