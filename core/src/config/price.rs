//! What a cluster costs an hour, where its file says so.
//!
//! No built-in cluster has a price, and scheduling never sees one. A price is one machine's: of a pipeline, of each of
//! its stages. Either each group of nodes has one or none has: a part of the cluster's cost is not its cost.

use super::{ClusterText, ConfigError};
use alloc::format;
use alloc::string::String;

/// A machine costs no more than this an hour, in whatever currency.
const PER_HOUR_MAX: f64 = 1e9;

/// The price of a whole cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Of all machines together, an hour.
    pub per_hour: f64,
    /// In what, for example `USD`; empty if the file does not say.
    pub currency: String,
}

impl Price {
    /// The sum over the groups of nodes; none if no group has a price.
    pub(super) fn of(text: &ClusterText) -> Result<Option<Self>, ConfigError> {
        const KEY: &str = "nodes.price_per_hour";
        let currency = text.currency.clone().unwrap_or_default();
        if text.currency.is_some() && !(1..=8).contains(&currency.chars().count()) {
            return Err(ConfigError::new(
                "currency",
                format!("expected 1 to 8 letters, as in \"USD\", found {currency:?}"),
            ));
        }
        let mut per_hour = 0.0;
        for group in &text.nodes {
            let Some(price) = group.price_per_hour else {
                continue;
            };
            if !(0.0..=PER_HOUR_MAX).contains(&price) {
                return Err(ConfigError::new(
                    KEY,
                    format!("expected a price from 0 to {PER_HOUR_MAX:.0}, found {price}"),
                ));
            }
            per_hour += price * group.count as f64 * group.pipeline.unwrap_or(1) as f64;
        }
        let priced = text.nodes.iter().filter(|g| g.price_per_hour.is_some());
        match priced.count() {
            0 => Ok(None),
            some if some == text.nodes.len() => Ok(Some(Self { per_hour, currency })),
            some => Err(ConfigError::new(
                KEY,
                format!(
                    "expected in each [[nodes]] or in none, found in {some} of {}",
                    text.nodes.len()
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ClusterConfig;
    use alloc::format;

    fn cluster(
        currency: &str,
        prefill: &str,
        decode: &str,
    ) -> Result<ClusterConfig, super::ConfigError> {
        let text = format!(
            "name = \"x\"\n{currency}\n[[nodes]]\ncount = 2\nrole = \"prefill\"\npipeline = 4\n{prefill}\n\
             [[nodes]]\ncount = 3\nrole = \"decode\"\n{decode}\n"
        );
        ClusterConfig::parse(&text, &[])
    }

    #[test]
    fn machines_are_priced_one_by_one() {
        let found = cluster(
            "currency = \"EUR\"",
            "price_per_hour = 10",
            "price_per_hour = 2.5",
        );
        let cluster = found.expect("a priced cluster");
        let price = cluster.price.clone().expect("both groups have one");
        assert!((price.per_hour - (2.0 * 4.0 * 10.0 + 3.0 * 2.5)).abs() < 1e-9);
        assert_eq!(price.currency, "EUR");
        assert_eq!(ClusterConfig::parse(&cluster.to_toml(), &[]), Ok(cluster));
        assert_eq!(
            ClusterConfig::built_in("8p8d").expect("built in").price,
            None
        );
    }

    #[test]
    fn half_a_price_is_refused() {
        for (currency, prefill, decode, expected) in [
            (
                "",
                "price_per_hour = 1",
                "",
                "expected in each [[nodes]] or in none, found in 1 of 2",
            ),
            (
                "",
                "price_per_hour = -1",
                "price_per_hour = 1",
                "expected a price from 0 to 1000000000, found -1",
            ),
            (
                "",
                "price_per_hour = nan",
                "price_per_hour = 1",
                "found NaN",
            ),
            (
                "currency = \"\"",
                "",
                "",
                "line 2: `currency`: expected 1 to 8 letters",
            ),
        ] {
            let error = cluster(currency, prefill, decode).expect_err(expected);
            assert!(format!("{error}").contains(expected), "{error}");
        }
    }
}
