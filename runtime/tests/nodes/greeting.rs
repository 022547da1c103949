//! Who may not take part is told why.

use super::cluster::{Gateway, SECRET, Setup, World};
use conductor_core::config::PolicyConfig;
use conductor_runtime::links::{LinkError, LinkNews};

/// What a gateway of this setup hears of node 0.
async fn hears(world: &World, setup: &Setup, addresses: Vec<String>, secret: &str) -> String {
    let gateway = Gateway::start(setup, addresses, secret);
    let any = |news: &LinkNews| matches!(news, LinkNews::Unreachable(_));
    let news = gateway.hears(0, any).await;
    assert!(!matches!(news, LinkNews::Up { .. }));
    drop(gateway);
    // Nobody else is disturbed by it.
    world.gateway.up(world.nodes.len()).await;
    match news {
        LinkNews::Unreachable(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_cluster_policy_or_node_is_refused_with_the_reason() {
    let world = World::start(Setup::new("1xprefill 1xdecode")).await;
    let good = &world.setup;
    let addresses = world.addresses();
    let why = hears(&world, good, addresses.clone(), "another-secret-for-tests").await;
    assert!(why.contains("the secret is another one"), "{why}");

    let other = Setup::new("1xdecode 1xprefill");
    let why = hears(&world, &other, addresses.clone(), SECRET).await;
    assert!(why.contains("cluster or policy differ"), "{why}");

    let other = Setup {
        policy: PolicyConfig::built_in("round-robin").expect("a policy"),
        ..good.clone()
    };
    let why = hears(&world, &other, addresses.clone(), SECRET).await;
    assert!(why.contains("cluster or policy differ"), "{why}");

    let swapped = addresses.iter().rev().cloned().collect();
    let why = hears(&world, good, swapped, SECRET).await;
    assert!(why.contains("the gateway has 0, the node has 1"), "{why}");

    let nobody = vec!["127.0.0.1:1".to_string(); 2];
    let why = hears(&world, good, nobody, SECRET).await;
    assert!(why.starts_with("127.0.0.1:1: cannot connect: "), "{why}");

    let nonsense = vec!["no address".to_string(); 2];
    let why = hears(&world, good, nonsense, SECRET).await;
    assert_eq!(why, LinkError::Address("no address".into()).to_string());
    world.end().await;
}
