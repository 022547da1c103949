//! Configuration that somebody has mangled: any text is parsed or refused in one line, and never a panic; what is
//! parsed survives being written and read again.

use conductor_core::config::{ClusterConfig, PolicyConfig, Profile};
use proptest::prelude::*;

/// Files with every section, to be mangled.
fn files() -> Vec<String> {
    let admissions = PolicyConfig::ADMISSIONS.iter();
    let policies = admissions.map(|admission| {
        let name = format!("kvcache-centric+{admission}");
        let classes = "[[classes]]\nname = \"chat\"\nttft_s = 5.0\n[[classes]]\nname = \"agent\"\nworkflow_s = 60\nceiling = 0.9\n\
                       [[classes]]\nname = \"batch\"\ncompletion_s = 3600\nceiling = 0.5\nweight = 2\n";
        let roles = "[roles]\nselect = \"load-gap\"\n";
        PolicyConfig::built_in(&name).expect("built in").to_toml() + roles + classes
    });
    let cluster = ClusterConfig::built_in("8p8d").expect("built in");
    let text = toml_of(&cluster);
    policies.chain([text]).collect()
}

fn toml_of(cluster: &ClusterConfig) -> String {
    toml::to_string(cluster.text()).expect("a cluster is plain tables")
}

/// Words that mean trouble.
const WORDS: [&str; 14] = [
    "-1",
    "0",
    "1e308",
    "nan",
    "inf",
    "18446744073709551616",
    "\"\"",
    "[]",
    "true",
    "\n[[classes]]\n",
    "=",
    "\"none\"",
    "0.0005",
    "\u{0}",
];

/// Replaces the part of `text` between two places, which are thousandths of it, by one of the words or nothing.
fn mangle(text: &str, edits: &[(usize, usize, usize)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for &(from, length, word) in edits {
        let from = text.len() * from / 1_000;
        let to = (from + length).min(text.len());
        let word = WORDS.get(word).copied().unwrap_or("");
        text.splice(from..to, word.chars());
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn mangled_files_are_parsed_or_refused_in_one_line(
        file in 0_usize..8, edits in proptest::collection::vec((0_usize..1_000, 0_usize..12, 0_usize..16), 0..4),
    ) {
        let files = files();
        let text = mangle(&files[file % files.len()], &edits);
        match PolicyConfig::parse(&text) {
            Ok(policy) => prop_assert_eq!(PolicyConfig::parse(&policy.to_toml()), Ok(policy)),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
        for error in [
            ClusterConfig::parse(&text, &[]).err().map(|error| error.to_string()),
            Profile::parse(&text).err().map(|error| error.to_string()),
        ].into_iter().flatten() {
            prop_assert!(!error.contains('\n'), "{error}");
        }
    }
}
