//! The journal's disk is full: decisions go on, and lost lines are counted and said.

use crate::client::Ask;
use crate::cluster::{Cluster, Setup, until};
use conductor_core::journal::Auditor;
use std::time::Duration;

fn ask(number: u32) -> Ask {
    Ask::new(format!("{number} {}", "to be or not to be ".repeat(20)), 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_nothing_costs_lines_and_no_answer() {
    let setup = Setup {
        journal: Some("/dev/full".into()),
        ..Setup::new(1, 1)
    };
    let cluster = Cluster::start(&setup);
    for number in 0..5 {
        cluster.answer(&ask(number)).await;
    }
    let lost = async || cluster.metric("journal_lost_lines_total").await > 20;
    until("lost lines are counted", lost).await;
    assert!(
        cluster.log().contains("No space left on device"),
        "{}",
        cluster.log()
    );
    cluster.end_without_journal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_keeps_whole_lines_and_all_others_are_counted() {
    let setup = Setup {
        file_kib_max: Some(16),
        ..Setup::new(1, 1)
    };
    let cluster = Cluster::start(&setup);
    // The first lines are kept, at the latest a second after they were made.
    cluster.answer(&ask(0)).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for number in 1..20 {
        cluster.answer(&ask(number)).await;
    }
    let lost = async || cluster.metric("journal_lost_lines_total").await > 0;
    until("lost lines are counted", lost).await;
    assert!(
        cluster.log().contains("lines are lost so far"),
        "{}",
        cluster.log()
    );
    let journal = cluster.end_without_journal().await;
    assert!(journal.ends_with('\n') && journal.len() <= 16 << 10);
    let mut lines = journal.lines();
    let header = lines.next().expect("a header");
    let mut auditor = Auditor::new(header.as_bytes(), None).expect("a header");
    let decided = lines.map_while(|line| auditor.line(line.as_bytes()).ok());
    assert!(
        decided.count() > 5,
        "what came before the gap is decided the same"
    );
}
