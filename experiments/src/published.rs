//! Published curves that come with the built-in experiments, and those in files.
//!
//! Not here: single published values, which are in the specifications themselves.

use crate::spec::PublishedFile;

/// Built-in curves; each file says where it is from.
const BUILT_IN: [(&str, &str); 11] = [
    (
        "v3-fig9-load.csv",
        include_str!("../specs/published/v3-fig9-load.csv"),
    ),
    (
        "fast-fig11-replicas.csv",
        include_str!("../specs/published/fast-fig11-replicas.csv"),
    ),
    (
        "fast25-fig5-ttft.csv",
        include_str!("../specs/published/fast25-fig5-ttft.csv"),
    ),
    (
        "v3-fig8-ttft.csv",
        include_str!("../specs/published/v3-fig8-ttft.csv"),
    ),
    (
        "fast25-fig1-tbt.csv",
        include_str!("../specs/published/fast25-fig1-tbt.csv"),
    ),
    (
        "fast25-fig6-tbt.csv",
        include_str!("../specs/published/fast25-fig6-tbt.csv"),
    ),
    (
        "fast25-fig7-tbt.csv",
        include_str!("../specs/published/fast25-fig7-tbt.csv"),
    ),
    (
        "v3-section8-arxiv-summarization.csv",
        include_str!("../specs/published/v3-section8-arxiv-summarization.csv"),
    ),
    (
        "v3-section8-l-eval.csv",
        include_str!("../specs/published/v3-section8-l-eval.csv"),
    ),
    (
        "v3-section8-simulated-16k.csv",
        include_str!("../specs/published/v3-section8-simulated-16k.csv"),
    ),
    (
        "v3-section8-simulated-64k.csv",
        include_str!("../specs/published/v3-section8-simulated-64k.csv"),
    ),
];

/// The text of published curves; none if there is no such file.
pub(crate) fn text(curve: &PublishedFile) -> Option<String> {
    let built_in = BUILT_IN.iter().find(|(name, _)| *name == curve.file);
    match built_in {
        Some((_, text)) => Some((*text).to_string()),
        None => std::fs::read_to_string(&curve.file).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spec;

    #[test]
    fn built_in_experiments_have_their_published_curves_with_them() {
        let mut seen = 0;
        for info in crate::list() {
            let spec = Spec::builtin(&info.name).expect("listed");
            for curve in spec.plots.iter().filter_map(|plot| plot.published()) {
                assert!(BUILT_IN.iter().any(|(name, _)| *name == curve.file));
                let text = text(curve).expect("built in");
                let header = text.lines().find(|line| !line.starts_with('#'));
                assert!(
                    [
                        "time_s,prefill_load,decode_load",
                        "panel,rank,time_s,replicas",
                        "series,x,share_percent",
                        "series,whisker_low,q1,median,q3,whisker_high,mean",
                        "metric,series,x,normalised"
                    ]
                    .contains(&header.expect("a header"))
                );
                seen += 1;
            }
        }
        assert!(seen > 0);
    }
}
