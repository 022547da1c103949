//! More requests than can be served: turned away at once, with the policy's word for when to come again.

use crate::bench::{COMPLETIONS, Setup};
use conductor_core::config::PolicyConfig;

const BODY: &str = r#"{"model": "tiny", "prompt": "abc"}"#;

#[tokio::test]
async fn one_request_too_many_for_the_gateway_is_not_even_read() {
    let mut setup = Setup::held();
    setup.config.concurrent_max = 1;
    let bench = setup.start().await;
    let mut first = bench.sent(COMPLETIONS, &[], BODY).await;
    bench.until_live(1).await;
    // It says that it has a body, and none comes.
    let mut second = bench
        .sent(COMPLETIONS, &[("expect", "100-continue")], "")
        .await;
    let refused = second.reply().await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "too-many-requests")
    );
    assert_eq!(refused.header("retry-after"), "1");
    bench.fake.release(10);
    assert_eq!(first.reply().await.status, 200);
    assert_eq!(bench.post(COMPLETIONS, BODY).await.status, 200);
    assert_eq!(bench.arrived().await, 2);
    bench.end().await;
}

#[tokio::test]
async fn one_request_too_many_for_the_cluster_is_turned_away_by_the_conductor() {
    let bench = Setup::held().one_at_a_time().start().await;
    let _first = bench.sent(COMPLETIONS, &[], BODY).await;
    bench.until_live(1).await;
    let reply = bench.post(COMPLETIONS, BODY).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (429, "too-many-requests")
    );
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    assert!(reply.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    let sample = "conductor_rejections_total{reason=\"too-many-requests\"}";
    assert_eq!(bench.sample(sample).await, 1);
    assert_eq!(
        bench
            .sample("conductor_requests_total{outcome=\"rejected\"}")
            .await,
        1
    );
    bench.end().await;
}

#[tokio::test]
async fn a_first_token_that_would_come_too_late_is_turned_away_with_an_estimate() {
    let mut setup = Setup::held();
    setup.policy = PolicyConfig::built_in("kvcache-centric+early").expect("built in");
    let bench = setup.start().await;
    // Each takes many seconds by the profile, and the limit is 30 s.
    let ask = |first: u32| {
        let tokens = vec![format!("{first}"); 100_000].join(",");
        format!(r#"{{"model": "tiny", "prompt": [{tokens}], "stream": true}}"#)
    };
    let mut waiting = Vec::new();
    let refused = loop {
        let count = waiting.len() as u32;
        assert!(count < 20, "an unbounded queue");
        let mut next = bench.sent(COMPLETIONS, &[], &ask(count)).await;
        // Whether it is answered or taken is known when the driver has counted it.
        let driver = &bench.fake.driver;
        while driver.status().await.expect("runs").counters.arrived <= u64::from(count) {
            tokio::task::yield_now().await;
        }
        if driver.status().await.expect("runs").live == waiting.len() {
            break next.reply().await;
        }
        waiting.push(next);
    };
    assert!(!waiting.is_empty());
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "prefill-load")
    );
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((2..=120).contains(&seconds), "{seconds}");
    bench.end().await;
}

#[tokio::test]
async fn many_at_once_are_each_answered_or_turned_away() {
    let mut setup = Setup::new();
    setup.config.concurrent_max = 8;
    let bench = setup.start().await;
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(bench.sent(COMPLETIONS, &[], BODY).await);
    }
    let mut counts = (0, 0);
    for mut connection in open {
        match connection.reply().await.status {
            200 => counts.0 += 1,
            429 => counts.1 += 1,
            status => panic!("{status}"),
        }
    }
    assert!(counts.0 > 0 && counts.0 + counts.1 == 200, "{counts:?}");
    bench.until_idle().await;
    assert_eq!(
        bench
            .sample("conductor_requests_total{outcome=\"completed\"}")
            .await,
        counts.0
    );
    bench.end().await;
}
