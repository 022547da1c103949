//! Tokens of disaggregated requests: those of one coupled node, for 200 random prompts, whatever way their KV took.
//!
//! A run in which nothing was reused, copied or computed in chunks would prove nothing: that it was is asserted.

use super::cluster::{Setup, World, answer, tiny};
use super::serving::prompts;
use conductor_core::config::PolicyConfig;
use conductor_runtime::protocol::Prompt;
use std::sync::Arc;

const PROMPTS: u64 = 200;

const SEED: u64 = 21;

/// A node fetches whatever is longer than what it has: hot blocks are copied as often as can be.
fn copying() -> PolicyConfig {
    let text = "[prefill]\nselect = \"kvcache-centric\"\nbalancing_threshold = 1.0\n";
    PolicyConfig::parse(text).expect("a policy")
}

/// All answers, some at a time, and how many prompts reused something.
async fn serve(world: &World, prompts: &[Arc<Prompt>]) -> (Vec<Vec<u32>>, usize) {
    let (mut tokens, mut reusing) = (Vec::new(), 0);
    for some in prompts.chunks(8) {
        let mut answers = Vec::new();
        for prompt in some {
            answers.push(world.gateway.submit(prompt).await);
        }
        for answers in answers {
            let (made, cached) = answer(answers).await;
            tokens.push(made);
            reusing += usize::from(cached.0 > 0);
        }
    }
    (tokens, reusing)
}

async fn equal_those_of_one_coupled_node(shm: bool) {
    let prompts = prompts(PROMPTS, SEED);
    let one = World::start(Setup {
        engine: tiny(),
        ..Setup::new("1xcoupled")
    })
    .await;
    let (expected, _) = serve(&one, &prompts).await;
    one.end().await;

    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(Setup {
        engine: tiny(),
        policy: copying(),
        shm: shm.then(|| folder.path().into()),
        ..Setup::new("2xprefill 2xdecode")
    })
    .await;
    let (tokens, reusing) = serve(&world, &prompts).await;
    assert!(tokens == expected, "tokens are those of one node");

    let status = world.gateway.driver.status().await.expect("it lives");
    let (mut fetched, mut chunked, mut sent) = (0, 0, 0);
    for node in &world.nodes {
        let status = node.status().await;
        fetched += status.fetched;
        chunked += status.chunked;
        sent += status.sent;
    }
    let all = PROMPTS as usize;
    assert!(
        reusing > all / 10 && reusing < all * 9 / 10,
        "{reusing} with prefix hits"
    );
    assert!(status.counters.replications > 5, "{:?}", status.counters);
    assert!(fetched > 20, "{fetched} blocks were copied");
    assert!(chunked > PROMPTS / 10, "{chunked} prompts in chunks");
    let several = prompts.iter().filter(|prompt| prompt.output_max.0 > 1);
    assert_eq!(sent, several.count() as u64, "each went to its decode node");
    assert_eq!(status.counts.resubmitted, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_they_are_those_of_one_coupled_node() {
    equal_those_of_one_coupled_node(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_shared_memory_they_are_those_of_one_coupled_node() {
    equal_those_of_one_coupled_node(true).await;
}
