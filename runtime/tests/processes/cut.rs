//! Connections that break in the middle: between the gateway and a node, and between nodes, where KV goes.

use crate::client::Ask;
use crate::cluster::{Cluster, Setup, until};
use crate::proxy::Proxy;
use std::time::Duration;

fn prompt(number: u32, times: usize) -> String {
    format!("{number} {}", "A rose is a rose is a rose. ".repeat(times))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_gateway_loses_gives_up_and_is_found_again() {
    let wires = [Proxy::new().await, Proxy::new().await];
    let setup = Setup {
        looked_for_at: vec![(2, wires[0].address), (3, wires[1].address)],
        ..Setup::new(2, 2)
    };
    let cluster = Cluster::start_with(&setup, |addresses| {
        for (wire, node) in wires.iter().zip([2, 3]) {
            wire.lead_to(addresses[node]);
        }
    });
    cluster.up(4).await;
    let ask = Ask::new(prompt(0, 10), 400);
    let expected = cluster.answer(&ask).await;
    let mut asked = cluster.ask(&ask);
    asked.has(20).await;
    let node = cluster.computing(2..4).await;
    wires[node - 2].cut();
    let said = asked.said().await;
    assert_eq!((said.text, said.tokens), (expected.text.clone(), 400));
    assert!(cluster.metric("resubmitted_total").await >= 1);
    cluster.up(3).await;
    // The node that was cut off lives, and has given up what it did.
    cluster.is_still().await;
    wires[node - 2].mend();
    cluster.up(4).await;

    // Both at once: the stream waits, and goes on when one is found again.
    let mut asked = cluster.ask(&ask);
    asked.has(20).await;
    for wire in &wires {
        wire.cut();
    }
    cluster.up(2).await;
    for wire in &wires {
        wire.mend();
    }
    let said = asked.said().await;
    assert_eq!((said.text, said.tokens), (expected.text, 400));
    assert!(said.done && said.error.is_none());
    cluster.up(4).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kv_that_is_cut_off_on_its_way_is_sent_again() {
    let wires = [Proxy::new().await, Proxy::new().await];
    let setup = Setup {
        seen_at: vec![(2, wires[0].address), (3, wires[1].address)],
        ..Setup::new(2, 2)
    };
    let cluster = Cluster::start(&setup);
    for (wire, node) in wires.iter().zip([2, 3]) {
        wire.lead_to(cluster.transfer(node));
    }
    let asks: Vec<Ask> = (0..8).map(|i| Ask::new(prompt(i, 32), 20)).collect();
    let expected = cluster.answer(&asks[0]).await;
    let carried = || wires.iter().map(Proxy::carried).sum::<u64>();
    let once = carried();
    assert!(once > 500_000, "{once} bytes of KV went this way");
    let asked: Vec<_> = asks.iter().map(|ask| cluster.ask(ask)).collect();
    until("half of the next KV is there", async || {
        carried() > once * 5 / 2
    })
    .await;
    for wire in &wires {
        wire.cut();
    }
    // Attempts that begin now wait for the way to come back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for wire in &wires {
        wire.mend();
    }
    let mut texts = Vec::new();
    for asked in asked {
        let said = asked.said().await;
        assert!(said.done && said.error.is_none(), "{said:?}");
        texts.push(said.text);
    }
    assert_eq!(texts[0], expected.text);
    for (ask, text) in asks.iter().zip(texts) {
        assert_eq!(cluster.answer(ask).await.text, text);
    }
    let unsent = cluster.standing(0).await.unsent + cluster.standing(1).await.unsent;
    let failed = cluster.metric("resubmitted_total").await;
    assert_eq!(unsent, failed, "each was given in again");
    assert!(unsent >= 1, "something was cut");
    cluster.end().await;
}
