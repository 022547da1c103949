//! Nodes that come, move and go while the gateway runs.

use super::cluster::{Gateway, SECRET, Setup, answer, prompt};
use conductor_core::ids::NodeId;
use conductor_runtime::discovery::NodeList;
use conductor_runtime::links::{LinkError, LinkNews};
use std::sync::Arc;
use tokio::sync::watch;

fn is_unlisted(news: &LinkNews) -> bool {
    matches!(
        news,
        LinkNews::Unreachable(LinkError::Unlisted) | LinkNews::Down(LinkError::Unlisted)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_nodes_changes_under_a_gateway_that_serves() {
    let setup = Setup::new("1xprefill 2xdecode");
    let any = || "127.0.0.1:0".parse().expect("an address");
    let mut nodes = Vec::new();
    for node in 0..3 {
        nodes.push(setup.start(node, any()).await);
    }
    let (change, list) = watch::channel(Arc::new(NodeList::new()));
    let entry = |node: usize| (NodeId(node as u16), nodes[node].address().to_string());
    let gateway = Gateway::follow(&setup, list.into(), SECRET);
    gateway.hears(0, is_unlisted).await;

    // The prefill node is greeted before anybody knows where the decode node is, and hears of it later: KV goes there.
    change.send_replace(Arc::new([entry(0)].into()));
    gateway.up(1).await;
    change.send_replace(Arc::new([entry(0), entry(1)].into()));
    gateway.up(2).await;
    let long = prompt((0..100).map(|i| 97 + i % 26).collect(), 8);
    let (first, _) = answer(gateway.submit(&long).await).await;

    // One goes while another comes: the request goes on there.
    let under_way = gateway.submit(&prompt(vec![98; 80], 200)).await;
    change.send_replace(Arc::new([entry(0), entry(2)].into()));
    gateway.hears(1, is_unlisted).await;
    let (tokens, _) = answer(under_way).await;
    assert_eq!(tokens.len(), 200);

    // Node 2 is another process now, elsewhere.
    let mut other = setup.start(2, any()).await;
    let moved = (NodeId(2), other.address().to_string());
    change.send_replace(Arc::new([entry(0), moved.clone()].into()));
    let news = gateway
        .hears(2, |news| {
            matches!(news, LinkNews::Down(LinkError::Moved { .. }))
        })
        .await;
    let LinkNews::Down(error) = news else {
        panic!("{news:?}")
    };
    assert!(
        error
            .to_string()
            .ends_with(&format!("it is now at {}", moved.1))
    );
    gateway.up(2).await;
    let (again, _) = answer(gateway.submit(&long).await).await;
    assert_eq!(again, first);
    gateway.end().await;
    other.end().await;
    for node in &mut nodes {
        node.end().await;
    }
}
