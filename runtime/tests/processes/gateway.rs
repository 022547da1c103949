//! The gateway is killed: its nodes give up what they did for it, and the next one knows their caches.

use crate::client::Ask;
use crate::cluster::{Cluster, Setup};
use conductor_core::action::Action;
use conductor_core::journal::{Auditor, Line};
use conductor_runtime::node::GIVE_UP;
use std::time::{Duration, Instant};

/// How soon after its process was started a gateway knows all caches.
const REBUILT: Duration = Duration::from_secs(2);

fn prompt(number: u32) -> String {
    format!(
        "{number} {}",
        "Colourless green ideas sleep furiously. ".repeat(12)
    )
}

/// What the journal says of the first dispatch: leading blocks that the prompt's node is expected to reuse.
fn first_reuse(journal: &str) -> Option<u32> {
    journal.lines().skip(1).find_map(|line| {
        let Ok(Line::Step(step)) = serde_json::from_str(line) else {
            return None;
        };
        step.actions.iter().find_map(|action| match action {
            Action::Dispatch { reuse, .. } => Some(*reuse),
            _ => None,
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_give_up_the_work_of_a_gateway_that_is_killed_and_the_next_one_knows_their_caches() {
    let mut cluster = Cluster::start(&Setup::new(2, 2));
    let keyed = Ask {
        key: Some("the-same-again"),
        ..Ask::new(prompt(0), 400)
    };
    let expected = cluster.answer(&Ask::new(prompt(0), 400)).await;
    // Streams, prompts that wait, KV on its way.
    let mut repeated = cluster.ask(&keyed);
    let streams: Vec<_> = (1..5)
        .map(|i| cluster.ask(&Ask::new(prompt(i), 1_000)))
        .collect();
    repeated.has(20).await;
    let waiting: Vec<_> = (5..15)
        .map(|i| cluster.ask(&Ask::new(format!("{i} {}", "long ".repeat(400)), 1_000)))
        .collect();
    cluster.computing(0..2).await;
    cluster.kill_gateway();
    let killed = Instant::now();
    let broken = repeated.said().await;
    assert!(broken.broken && !broken.done);
    assert!(expected.text.starts_with(&broken.text));
    for asked in streams.into_iter().chain(waiting) {
        assert!(asked.said().await.broken);
    }
    cluster.is_still().await;
    assert!(killed.elapsed() < GIVE_UP, "{:?}", killed.elapsed());
    eprintln!("nodes were free {:?} after the kill", killed.elapsed());
    let cached = cluster.standing(0).await.blocks_cached + cluster.standing(1).await.blocks_cached;
    assert!(cached > 20, "{cached} blocks stay");

    let said = cluster.status();
    let free = said.matches("without a gateway").count();
    let held = said.matches(" 0 for requests (0 tables)").count();
    assert_eq!((free, held), (4, 4), "{said}");

    // The old journal ends somewhere; up to there it holds.
    let old = cluster.journal_text();
    let mut lines = old.lines();
    let header = lines.next().expect("a header");
    let mut auditor = Auditor::new(header.as_bytes(), None).expect("a header");
    let whole = old.matches('\n').count() - 1;
    for line in lines.take(whole) {
        auditor.line(line.as_bytes()).expect("decided the same");
    }
    assert!(!auditor.finish().complete);

    let started = Instant::now();
    cluster.start_gateway();
    cluster.up(4).await;
    let again = cluster.ask(&keyed);
    assert!(started.elapsed() < REBUILT, "{:?}", started.elapsed());
    eprintln!(
        "all caches were known {:?} after the start",
        started.elapsed()
    );
    let said = again.said().await;
    assert!(said.done && said.cached > 0, "{said:?}");
    assert_eq!((said.text, said.tokens), (expected.text, 400));
    let repeats = cluster.metric("repeated_total").await;
    assert_eq!(repeats, 0, "it was made anew");
    let journal = cluster.end().await;
    let blocks = prompt(0).len() as u32 / 16;
    let reuse = first_reuse(&journal).expect("it was dispatched");
    assert!(
        reuse >= blocks - 1,
        "{reuse} of {blocks} blocks: the index is there"
    );
    let said = journal.matches("cache_reported").count();
    assert!(said >= 2, "both prefill nodes said what they have");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_give_up_the_work_of_a_gateway_that_stands_still_and_its_streams_go_on_with_it() {
    let silent = Duration::from_millis(500);
    let setup = Setup {
        silent_ms: Some(silent.as_millis() as u64),
        ..Setup::new(2, 2)
    };
    let cluster = Cluster::start(&setup);
    let ask = Ask::new(prompt(0), 900);
    let expected = cluster.answer(&ask).await;
    let mut asked = cluster.ask(&ask);
    asked.has(20).await;
    cluster.signal_gateway("-STOP");
    let stopped = Instant::now();
    cluster.are_without_gateway().await;
    cluster.is_still().await;
    assert!(
        stopped.elapsed() < silent + GIVE_UP,
        "{:?}",
        stopped.elapsed()
    );
    cluster.signal_gateway("-CONT");
    let said = asked.said().await;
    assert!(said.done && said.error.is_none(), "{said:?}");
    assert_eq!((said.text, said.tokens), (expected.text, 900));
    cluster.up(4).await;
    assert!(cluster.metric("resubmitted_total").await >= 1);
    cluster.end().await;
}
