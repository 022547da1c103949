//! A node's role changes by the gateway's order, over the wire, and is the cluster file's again for the next gateway.

use super::cluster::{Gateway, SECRET, Setup, World, answer, prompt, until};
use super::serving::prompts;
use conductor_core::config::PolicyConfig;

/// As soon as prefill is behind for a moment a decode node goes over to it.
const POLICY: &str = "
[slo]
ttft_s = 0.5
[roles]
select = \"load-gap\"
gap = 0.3
busy_min = 0.5
hold_s = 0.1
cooldown_s = 60
nodes_min = 1
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decode_node_becomes_a_prefill_node_and_serves_as_one() {
    let setup = Setup {
        policy: PolicyConfig::parse(POLICY).expect("a policy"),
        ..Setup::new("1xprefill 3xdecode")
    };
    let mut world = World::start(setup).await;
    let mut model = world.model();
    // 50 ms of prefill each, and two tokens of decoding.
    let long = |i: u32| prompt((0..1000).map(|at| 97 + (at * 7 + i) % 26).collect(), 3);
    let mut asked = Vec::new();
    for i in 0..60 {
        let prompt = long(i);
        asked.push((world.gateway.submit(&prompt).await, prompt));
    }
    for (answers, prompt) in asked {
        assert_eq!(answer(answers).await.0, model.answer(&prompt));
    }
    let switched = async || {
        let status = world.gateway.driver.status().await.expect("it lives");
        status.counters.role_switches == 1
    };
    until("a node has changed its role", switched).await;
    for some in prompts(60, 22).chunks(20) {
        let mut asked = Vec::new();
        for prompt in some {
            asked.push((world.gateway.submit(prompt).await, prompt));
        }
        for (answers, prompt) in asked {
            assert_eq!(answer(answers).await.0, model.answer(prompt));
        }
    }
    let mut sent = Vec::new();
    for node in &world.nodes[1..] {
        sent.push(node.status().await.sent);
    }
    let senders = sent.iter().filter(|&&sent| sent > 0).count();
    assert_eq!(senders, 1, "one of them computes prompts now: {sent:?}");
    world.is_still().await;

    let fresh = Gateway::start(&world.setup, world.addresses(), SECRET);
    let old = std::mem::replace(&mut world.gateway, fresh);
    let lines = old.end().await;
    let said = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((said("switch_role"), said("role_changed")), (1, 1));
    world.gateway.up(4).await;
    for prompt in prompts(10, 23) {
        let answers = world.gateway.submit(&prompt).await;
        assert_eq!(answer(answers).await.0, model.answer(&prompt));
    }
    world.end().await;
}
