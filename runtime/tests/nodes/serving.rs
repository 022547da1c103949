//! Requests that are served: their tokens are those of an engine alone, whoever computed them and wherever their KV
//! went.

use super::cluster::{Setup, World, answer, prompt, tiny};
use conductor_core::rng::Stream;
use conductor_runtime::protocol::Prompt;
use std::sync::Arc;

/// Prompts that share beginnings, of all lengths, with answers of all lengths.
pub(crate) fn prompts(count: u64, seed: u64) -> Vec<Arc<Prompt>> {
    let draw = Stream::new(seed, "prompts");
    let of = |i: u64| {
        let (family, length) = (draw.draw(3 * i) % 4, 1 + draw.draw(3 * i + 1) % 250);
        let output = 1 + draw.draw(3 * i + 2) % 12;
        let shared = draw.draw(1 << 32 | i) % 200;
        let token = |at: u64| {
            let whose = if at < shared { family } else { 1000 + i };
            97 + (Stream::new(whose, "token").draw(at) % 26) as u32
        };
        prompt((0..length).map(token).collect(), output)
    };
    (0..count).map(of).collect()
}

/// Serves them all, some at a time; how many tokens were reused.
async fn serve(world: &World, prompts: &[Arc<Prompt>], at_a_time: usize) -> u64 {
    let mut model = world.model();
    let mut reused = 0;
    for some in prompts.chunks(at_a_time) {
        let mut answers = Vec::new();
        for prompt in some {
            answers.push(world.gateway.submit(prompt).await);
        }
        for (answers, prompt) in answers.into_iter().zip(some) {
            let (tokens, cached) = answer(answers).await;
            assert_eq!(tokens, model.answer(prompt), "{} tokens", prompt.input.0);
            reused += cached.0;
        }
    }
    reused
}

async fn serves(setup: Setup, count: u64, seed: u64) {
    let world = World::start(setup).await;
    let reused = serve(&world, &prompts(count, seed), 8).await;
    assert!(reused > 0, "something is reused");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_prefill_and_one_decode_node_serve() {
    serves(Setup::new("1xprefill 1xdecode"), 40, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_each_serve_over_tcp() {
    serves(Setup::new("2xprefill 2xdecode"), 80, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_each_serve_over_shared_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup {
        shm: Some(folder.path().into()),
        ..Setup::new("2xprefill 2xdecode")
    };
    serves(setup, 80, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_model_over_two_of_each_answers_as_it_does_alone() {
    let setup = Setup {
        engine: tiny(),
        ..Setup::new("2xprefill 2xdecode")
    };
    serves(setup, 24, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_is_cached_whole_is_answered_the_same_again() {
    let world = World::start(Setup::new("1xprefill 1xdecode")).await;
    let whole = prompt((0..64).map(|at| 97 + at % 25).collect(), 5);
    let again = [whole.clone(), whole.clone(), whole];
    assert_eq!(
        serve(&world, &again, 1).await,
        2 * 63,
        "one token is computed"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_leaves_nothing() {
    let world = World::start(Setup::new("1xprefill 1xdecode")).await;
    for (number, prompt) in prompts(30, 6).iter().enumerate() {
        let mut answers = world.gateway.submit(prompt).await;
        for _ in 0..number % 4 {
            answers.next().await;
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_blocks_are_copied_to_the_node_that_has_none() {
    let world = World::start(Setup::new("2xprefill 1xdecode")).await;
    let long = |i: u32| {
        let shared = (0..600).map(|at| 97 + at % 23);
        prompt(shared.chain([97 + i % 26, 98, 99]).collect(), 3)
    };
    let prompts: Vec<_> = (0..25).map(long).collect();
    serve(&world, &prompts[..1], 1).await;
    serve(&world, &prompts[1..], 24).await;
    let mut fetched = 0;
    for node in &world.nodes {
        fetched += node.status().await.fetched;
    }
    assert!(fetched > 0, "blocks were copied");
    world.end().await;
}

/// Nodes whose HBM is so small that requests are put back, or lose their KV, all the time.
const TIGHT: &str = "hbm_kv_tokens = 640";

/// Answers that grow.
fn growing(count: u64, seed: u64) -> Vec<Arc<Prompt>> {
    let prompts = prompts(count, seed).into_iter();
    prompts
        .map(|short| prompt(short.tokens.to_vec(), short.output_max.0 * 6))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decode_node_with_little_memory_serves() {
    let world = World::start(Setup::new(&format!("1xprefill 2xdecode;{TIGHT}"))).await;
    serve(&world, &growing(40, 12), 20).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coupled_nodes_with_little_memory_serve_whole_prompts() {
    let coupled = "[coupled]\nprefix_caching = true";
    let world = World::start(Setup::new(&format!("2xcoupled;{TIGHT};{coupled}"))).await;
    let reused = serve(&world, &growing(40, 13), 20).await;
    assert!(reused > 0, "something is reused");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_model_on_coupled_nodes_serves_in_chunks() {
    let coupled = "[coupled]\nprefix_caching = true\nschedule = \"chunked\"\npass_tokens = 96";
    let setup = Setup {
        engine: tiny(),
        ..Setup::new(&format!("2xcoupled;{TIGHT};{coupled}"))
    };
    let world = World::start(setup).await;
    serve(&world, &growing(16, 14), 16).await;
    world.end().await;
}
