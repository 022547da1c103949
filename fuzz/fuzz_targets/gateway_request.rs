//! Any bytes as the body of a completion and of a chat: an error of one line that names a status, or a prompt within
//! the limits, with a name for each whole block, and the same twice.
#![no_main]

use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_engine::text::TextModel;
use conductor_runtime::gateway::{Api, Front, GatewayConfig, prepare};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static FRONT: LazyLock<(Front, TextModel)> = LazyLock::new(|| {
    let cluster = ClusterConfig::built_in("1p1d").expect("built in");
    let policy = PolicyConfig::built_in("kvcache-centric").expect("built in");
    let config = GatewayConfig {
        prompt_tokens_max: 600,
        ..GatewayConfig::default()
    };
    (Front::new(config, &cluster, &policy), TextModel::tiny())
});

fuzz_target!(|body: &[u8]| {
    let (front, text) = &*FRONT;
    for api in [Api::Completions, Api::Chat] {
        match prepare(api, front, text, body, 7) {
            Ok(prepared) => {
                let prompt = &prepared.prompt;
                assert!((1..=600).contains(&prompt.tokens.len()));
                assert!((1..=front.config.output_tokens_max).contains(&prompt.output_max.0));
                assert!(prompt.tokens.iter().all(|&token| token < 258));
                assert_eq!(prompt.blocks.len() as u64, prompt.input.0 / front.block.0);
                assert!((0.0..=2.0).contains(&prompt.sampling.temperature));
                let again = prepare(api, front, text, body, 7).expect("as before");
                assert!(again.prompt == *prompt);
            }
            Err(error) => {
                assert!(error.status.is_client_error());
                assert!(error.message.lines().count() == 1, "{}", error.message);
            }
        }
    }
});
