//! Nodes that die, stop, and come back; a gateway that begins anew. No request is lost, and no client sees more than a
//! pause.

use super::cluster::{Gateway, SECRET, Setup, World, answer, prompt, until};
use super::serving::prompts;
use conductor_runtime::driver::Answer;
use conductor_runtime::links::{LinkError, LinkNews};
use std::time::Duration;

/// The first of these nodes that computes.
async fn computing(world: &World, nodes: &[usize]) -> usize {
    let found = std::sync::Mutex::new(None);
    let one = async || {
        for &node in nodes {
            if world.nodes[node].status().await.computing {
                *found.lock().expect("no panic") = Some(node);
                return true;
            }
        }
        false
    };
    until("a node computes", one).await;
    found.into_inner().expect("no panic").expect("it was found")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefill_node_dies_while_it_computes() {
    let mut world = World::start(Setup::new("2xprefill 2xdecode")).await;
    // Half a second each.
    let long: Vec<_> = (0..6)
        .map(|i| prompt((0..1500).map(|at| 97 + (at * 7 + i) % 26).collect(), 4))
        .collect();
    let mut answers = Vec::new();
    for prompt in &long {
        answers.push(world.gateway.submit(prompt).await);
    }
    let node = computing(&world, &[0, 1]).await;
    world.nodes[node].kill();
    let mut model = world.model();
    for (answers, prompt) in answers.into_iter().zip(&long) {
        assert_eq!(answer(answers).await.0, model.answer(prompt));
    }
    let down = |news: &LinkNews| matches!(news, LinkNews::Down(_));
    world.gateway.hears(node, down).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decode_node_dies_in_the_middle_of_a_stream() {
    let mut world = World::start(Setup::new("2xprefill 2xdecode")).await;
    let long = prompt((0..100).map(|at| 97 + at % 26).collect(), 200);
    let expected = world.model().answer(&long);
    let mut answers = world.gateway.submit(&long).await;
    let mut got = Vec::new();
    while got.len() < 5 {
        match answers.next().await {
            Some(Answer::Token {
                position, token, ..
            }) => {
                assert_eq!(position, got.len() as u64);
                got.push(token);
            }
            other => panic!("{other:?}"),
        }
    }
    let node = computing(&world, &[2, 3]).await;
    world.nodes[node].kill();
    loop {
        match answers.next().await {
            Some(Answer::Token {
                position, token, ..
            }) => {
                assert_eq!(position, got.len() as u64, "neither a gap nor a repetition");
                got.push(token);
            }
            Some(Answer::Finished { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, expected);
    let status = world.gateway.driver.status().await.expect("it lives");
    assert_eq!(status.counts.resubmitted, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_is_down_and_up_again_when_it_goes_on() {
    let setup = Setup {
        silent: Duration::from_millis(400),
        ..Setup::new("1xprefill 2xdecode")
    };
    let world = World::start(setup).await;
    let long = prompt((0..100).map(|at| 97 + at % 26).collect(), 150);
    let expected = world.model().answer(&long);
    let answers = world.gateway.submit(&long).await;
    let node = computing(&world, &[1, 2]).await;
    world.nodes[node].pause(Duration::from_millis(1500)).await;
    let silent = |news: &LinkNews| matches!(news, LinkNews::Down(LinkError::Silent { .. }));
    world.gateway.hears(node, silent).await;
    assert_eq!(
        answer(answers).await.0,
        expected,
        "it is answered elsewhere"
    );
    world.gateway.up(3).await;
    // Also the node that was away serves again.
    for prompt in prompts(20, 8) {
        let answers = world.gateway.submit(&prompt).await;
        assert_eq!(answer(answers).await.0, world.model().answer(&prompt));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_empty_serves() {
    let mut world = World::start(Setup::new("1xprefill 1xdecode")).await;
    let asked = prompts(12, 9);
    let mut model = world.model();
    for (number, prompt) in asked.iter().enumerate() {
        if number == 4 || number == 8 {
            let node = number / 4 - 1;
            let address = world.nodes[node].address();
            world.nodes[node].kill();
            let down = |news: &LinkNews| matches!(news, LinkNews::Down(_));
            world.gateway.hears(node, down).await;
            world.nodes[node] = world.setup.start(node, address).await;
            world.gateway.up(2).await;
        }
        let answers = world.gateway.submit(prompt).await;
        assert_eq!(answer(answers).await.0, model.answer(prompt));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_begins_anew_knows_the_caches() {
    let mut world = World::start(Setup::new("2xprefill 2xdecode")).await;
    let long = prompt((0..640).map(|at| 97 + at % 26).collect(), 3);
    let expected = world.model().answer(&long);
    assert_eq!(answer(world.gateway.submit(&long).await).await.0, expected);
    // It dies with requests under way; their numbers are given again by the next one.
    let mut lost = Vec::new();
    for prompt in prompts(10, 10) {
        lost.push(world.gateway.submit(&prompt).await);
    }
    let fresh = Gateway::start(&world.setup, world.addresses(), SECRET);
    let old = std::mem::replace(&mut world.gateway, fresh);
    drop(old);
    drop(lost);
    world.gateway.up(4).await;
    let (tokens, cached) = answer(world.gateway.submit(&long).await).await;
    assert_eq!(
        (tokens, cached.0),
        (expected, 639),
        "what was cached is known"
    );
    let mut model = world.model();
    for prompt in prompts(10, 11) {
        let answers = world.gateway.submit(&prompt).await;
        assert_eq!(answer(answers).await.0, model.answer(&prompt));
    }
    let lines = world.end().await;
    let reports = lines.iter().filter(|line| line.contains("cache_reported"));
    assert!(
        reports.count() >= 2,
        "both prefill nodes said what they have"
    );
}
