//! What clients see of engines that answer, refuse, break and go.

use crate::bench::{BLOCK, Engine, Manner, World, until, whole};
use conductor_core::ids::NodeId;
use conductor_core::units::Tokens;
use conductor_runtime::driver::Answer;
use conductor_runtime::engines::EngineNews;
use conductor_runtime::protocol::EndReason;
use std::sync::atomic::Ordering;

fn prompt(first: u32, tokens: u32) -> Vec<u32> {
    (first..first + tokens).collect()
}

fn is_complete(answer: &Answer, tokens: u64) -> bool {
    let Answer::Finished { output, reason, .. } = answer else {
        return false;
    };
    (*output, *reason) == (Tokens(tokens), EndReason::Length)
}

#[tokio::test]
async fn an_engines_answer_is_passed_on_token_by_token() {
    let engine = Engine::start(false).await;
    let world = World::start(&[&engine]).await;
    world.up(&[true]).await;
    let mut many = Vec::new();
    for number in 0..8 {
        many.push(
            world
                .submit(prompt(number * 100, 10), 5, Some("tenantA"))
                .await,
        );
    }
    for (number, answers) in (0..).zip(many) {
        let (tokens, end) = whole(answers).await;
        assert_eq!(tokens, prompt(number * 100, 5));
        assert!(is_complete(&end, 5), "{end:?}");
    }
    let asked = engine.played.asked.lock().expect("no panic")[0].clone();
    assert_eq!(asked["cache_salt"], "tenantA");
    assert_eq!(asked["stream"], true);
    world.end().await;
}

#[tokio::test]
async fn a_client_that_goes_or_has_enough_ends_the_engines_work() {
    let engine = Engine::start(false).await;
    let world = World::start(&[&engine]).await;
    world.up(&[true]).await;
    engine.manner(Manner::Stall(2));
    let gone = async |dropped: usize| {
        until("the stream is dropped", async || {
            engine.played.dropped.load(Ordering::SeqCst) == dropped
        })
        .await;
    };
    let mut answers = world.submit(prompt(0, 10), 5, None).await;
    assert!(matches!(answers.next().await, Some(Answer::Token { .. })));
    drop(answers);
    gone(1).await;
    let mut answers = world.submit(prompt(0, 10), 5, None).await;
    for _ in 0..2 {
        assert!(matches!(answers.next().await, Some(Answer::Token { .. })));
    }
    answers.stop();
    let Some(Answer::Finished { output, reason, .. }) = answers.next().await else {
        panic!("it ends by the client's word");
    };
    assert_eq!((output, reason), (Tokens(2), EndReason::Stop));
    gone(2).await;
    world.end().await;
}

#[tokio::test]
async fn an_engine_that_is_killed_in_the_middle_costs_no_answer() {
    let (one, other) = (Engine::start(false).await, Engine::start(false).await);
    let world = World::start(&[&one, &other]).await;
    world.up(&[true, true]).await;
    one.manner(Manner::Stall(3));
    other.manner(Manner::Stall(3));
    let mut answers = world.submit(prompt(0, 10), 6, None).await;
    for _ in 0..3 {
        assert!(matches!(answers.next().await, Some(Answer::Token { .. })));
    }
    let (dead, alive, left) = match one.asked() {
        1 => (&one, &other, [false, true]),
        _ => (&other, &one, [true, false]),
    };
    alive.manner(Manner::Answer);
    dead.kill();
    let (tokens, end) = whole(answers).await;
    assert_eq!(
        tokens,
        prompt(3, 3),
        "what the client has is not said again"
    );
    assert!(is_complete(&end, 6), "{end:?}");
    world.up(&left).await;
    world.end().await;
}

#[tokio::test]
async fn a_stream_that_breaks_or_an_engine_that_is_busy_is_tried_again() {
    for manner in [Manner::Break(2), Manner::Busy] {
        let engine = Engine::start(false).await;
        let world = World::start(&[&engine]).await;
        world.up(&[true]).await;
        engine.manner(manner);
        let answers = world.submit(prompt(0, 10), 4, None).await;
        until("it was asked", async || engine.asked() > 0).await;
        engine.manner(Manner::Answer);
        let (tokens, end) = whole(answers).await;
        assert_eq!(tokens, prompt(0, 4), "{manner:?}");
        assert!(is_complete(&end, 4), "{end:?}");
        world.end().await;
    }
}

#[tokio::test]
async fn one_clients_error_is_its_own() {
    let engine = Engine::start(false).await;
    let world = World::start(&[&engine]).await;
    world.up(&[true]).await;
    engine.manner(Manner::Refuse);
    let (tokens, end) = whole(world.submit(prompt(0, 10), 4, None).await).await;
    assert!(
        tokens.is_empty() && matches!(end, Answer::Rejected { .. }),
        "{end:?}"
    );
    assert_eq!(engine.asked(), 1, "it is not tried again");
    engine.manner(Manner::Answer);
    let (_, end) = whole(world.submit(prompt(0, 10), 4, None).await).await;
    assert!(is_complete(&end, 4), "{end:?}");
    world.end().await;
}

#[tokio::test]
async fn a_prompt_goes_where_its_prefix_is() {
    let (mut one, other) = (Engine::start(false).await, Engine::start(false).await);
    let world = World::start(&[&one, &other]).await;
    world.up(&[true, true]).await;
    let whole_blocks = 10 * BLOCK;
    let shared = prompt(0, whole_blocks as u32);
    one.store(&shared).await;
    // The report is on its way: until it has arrived nothing is taken for cached.
    let mut long = shared.clone();
    long.extend(prompt(1500, 2));
    let mut hits = 0;
    until("the prefix is known", async || {
        let (_, end) = whole(world.submit(long.clone(), 1, None).await).await;
        let Answer::Finished { cached, .. } = end else {
            panic!("{end:?}");
        };
        hits += u64::from(cached == Tokens(whole_blocks));
        hits > 0
    })
    .await;
    let before = one.asked();
    for _ in 0..5 {
        let (_, end) = whole(world.submit(long.clone(), 1, None).await).await;
        let cached = Tokens(whole_blocks);
        assert!(
            matches!(end, Answer::Finished { cached: found, .. } if found == cached),
            "{end:?}"
        );
    }
    assert_eq!(one.asked() - before, 5);
    one.clear().await;
    until("and forgotten again", async || {
        let (_, end) = whole(world.submit(long.clone(), 1, None).await).await;
        matches!(
            end,
            Answer::Finished {
                cached: Tokens(0),
                ..
            }
        )
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn an_engine_that_makes_other_tokens_of_a_text_is_not_used() {
    let engine = Engine::start(true).await;
    let world = World::start(&[&engine]).await;
    until("it is said", async || {
        !world.news.lock().expect("no panic").is_empty()
    })
    .await;
    let (node, news) = world.news.lock().expect("no panic")[0].clone();
    let EngineNews::Unusable(why) = news else {
        panic!("{news:?}");
    };
    assert_eq!(node, NodeId(0));
    assert!(why.contains("the first that differs is number"), "{why}");
    world.up(&[false]).await;
    world.end().await;
}
