//! How many nodes a cluster has of each kind: the same cluster, larger, smaller or split in another way.
//!
//! The name follows: `a800-8p8d` with ten prefill nodes of sixteen is `a800-10p6d`, and a cluster from a file has its
//! new shape behind its own name.

use crate::inputs::profile_of;
use conductor_core::config::{ClusterConfig, ClusterText, Role};

/// Prefill and decode nodes of a cluster with one group of each, which is what can be split in another way.
///
/// # Errors
/// If it has other groups.
pub fn split_of(cluster: &ClusterConfig) -> Result<(u64, u64), String> {
    match &cluster.text().nodes[..] {
        [first, second] => match (first.role, second.role) {
            (Role::Prefill, Role::Decode) => Ok((first.count, second.count)),
            (Role::Decode, Role::Prefill) => Ok((second.count, first.count)),
            _ => Err(expected_split(cluster)),
        },
        _ => Err(expected_split(cluster)),
    }
}

fn expected_split(cluster: &ClusterConfig) -> String {
    format!(
        "expected one group of prefill nodes and one of decode nodes, which {} has not",
        cluster.name
    )
}

/// The cluster with so many prefill and decode nodes.
///
/// # Errors
/// If it cannot be split, or a count is refused.
pub fn split(cluster: &ClusterConfig, prefill: u64, decode: u64) -> Result<ClusterConfig, String> {
    split_of(cluster)?;
    let groups = cluster.text().nodes.iter();
    let counts = groups.map(|group| match group.role {
        Role::Prefill => prefill,
        Role::Decode | Role::Coupled => decode,
    });
    resized(cluster, counts.collect())
}

/// The cluster with so many nodes in all, each group with its share: what is left by rounding down goes to the groups
/// that lose most by it, the first of equal ones.
///
/// # Errors
/// If there are fewer nodes than groups, or a count is refused.
pub fn scaled(cluster: &ClusterConfig, nodes: u64) -> Result<ClusterConfig, String> {
    let groups: Vec<u64> = cluster
        .text()
        .nodes
        .iter()
        .map(|group| group.count)
        .collect();
    let (total, least) = (groups.iter().sum::<u64>(), groups.len() as u64);
    if nodes < least {
        return Err(format!(
            "expected at least {least} nodes, one a group, found {nodes}"
        ));
    }
    let share = |count: u64| u128::from(count) * u128::from(nodes);
    let floor = |count: u64| ((share(count) / u128::from(total)) as u64).max(1);
    let mut counts: Vec<u64> = groups.iter().map(|&count| floor(count)).collect();
    // How far each count is below its share, in parts of `total`.
    let lack = |place: usize, counts: &[u64]| {
        let has = u128::from(counts[place]) * u128::from(total);
        share(groups[place]) as i128 - has as i128
    };
    let mut left = nodes as i128 - counts.iter().map(|&count| i128::from(count)).sum::<i128>();
    while left != 0 {
        let places = 0..groups.len();
        let (place, step) = match left > 0 {
            true => (places.rev().max_by_key(|&at| lack(at, &counts)), 1),
            // Groups that would have none were given one: who has most too much gives it.
            false => {
                let able = places.filter(|&at| counts[at] > 1);
                (able.min_by_key(|&at| lack(at, &counts)), -1)
            }
        };
        let place = place.expect("as many nodes as groups");
        counts[place] = counts[place].saturating_add_signed(step);
        left -= i128::from(step);
    }
    resized(cluster, counts)
}

/// `after` with its shape in its name, if it is `before` with other counts and still has its name.
///
/// # Errors
/// If the name becomes too long.
pub(crate) fn renamed(
    before: &ClusterConfig,
    after: ClusterConfig,
) -> Result<ClusterConfig, String> {
    let (was, is) = (shape_of(before.text()), shape_of(after.text()));
    if was == is || before.name != after.name {
        return Ok(after);
    }
    let mut text = after.text().clone();
    text.name = match text.name.replacen(&was, &is, 1) {
        replaced if replaced != text.name => replaced,
        _ => format!("{}-{is}", text.name),
    };
    with_text(&after, text)
}

/// `8p8d` where there is a split, else the number of nodes.
fn shape_of(text: &ClusterText) -> String {
    match &text.nodes[..] {
        [first, second] => match (first.role, second.role) {
            (Role::Prefill, Role::Decode) => format!("{}p{}d", first.count, second.count),
            (Role::Decode, Role::Prefill) => format!("{}p{}d", second.count, first.count),
            _ => (first.count + second.count).to_string(),
        },
        groups => groups
            .iter()
            .map(|group| group.count)
            .sum::<u64>()
            .to_string(),
    }
}

/// The cluster with these counts of its groups.
fn resized(cluster: &ClusterConfig, counts: Vec<u64>) -> Result<ClusterConfig, String> {
    let mut text = cluster.text().clone();
    for (group, count) in text.nodes.iter_mut().zip(counts) {
        group.count = count;
    }
    renamed(cluster, with_text(cluster, text)?)
}

/// A cluster of the same profiles.
fn with_text(cluster: &ClusterConfig, text: ClusterText) -> Result<ClusterConfig, String> {
    let profiles: Result<Vec<_>, _> = cluster.profile_texts().iter().map(profile_of).collect();
    profiles
        .and_then(|profiles| ClusterConfig::from_text(text, &profiles))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ClusterConfig {
        ClusterConfig::built_in(name).expect("built in")
    }

    #[test]
    fn shapes_are_those_of_their_names() {
        assert_eq!(split(&named("8p8d"), 10, 6), Ok(named("10p6d")));
        assert_eq!(scaled(&named("10p6d"), 8), Ok(named("5p3d")));
        assert_eq!(scaled(&named("16-cp"), 3), Ok(named("3-cp")));
        assert_eq!(scaled(&named("15p1d"), 2), Ok(named("1p1d")));
        assert_eq!(scaled(&named("15p1d"), 4), Ok(named("3p1d")));
        assert_eq!(scaled(&named("8p8d"), 5), Ok(named("3p2d")));
        for nodes in 2..70 {
            let scaled = scaled(&named("7p2d"), nodes).expect("enough");
            assert_eq!(scaled.nodes.len() as u64, nodes);
        }
    }

    #[test]
    fn what_has_no_split_is_refused() {
        let error = split_of(&named("16")).expect_err("coupled");
        assert!(
            error.starts_with("expected one group of prefill nodes"),
            "{error}"
        );
        let error = scaled(&named("8p8d"), 1).expect_err("two groups");
        assert_eq!(error, "expected at least 2 nodes, one a group, found 1");
    }
}
