//! Shutting down: what is under way is finished, what is new is refused, and the driver ends.

use crate::bench::{COMPLETIONS, Setup};
use crate::support::audit::audit;
use crate::support::http::Connection;

const STREAM: &str = r#"{"model": "tiny", "prompt": "abc", "stream": true}"#;

#[tokio::test]
async fn answers_under_way_are_finished_and_new_requests_refused() {
    let mut bench = Setup::held().start().await;
    let mut under_way = bench.sent(COMPLETIONS, &[], STREAM).await;
    bench.until_live(1).await;
    assert_eq!(bench.get("/ready").await.status, 200);
    // A connection from before, which goes on.
    let mut idle = Connection::open(bench.address).await;
    idle.request("GET", "/health", &[], "").await;
    assert_eq!(idle.reply().await.status, 200);
    bench.shut_down();
    loop {
        let reply = bench.get("/ready").await;
        if reply.status == 503 {
            assert_eq!(reply.code(), "draining");
            break;
        }
    }
    assert_eq!(bench.get("/health").await.status, 200);
    idle.request("POST", COMPLETIONS, &[], STREAM).await;
    let refused = idle.reply().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "draining"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("connection"), "close");
    assert!(idle.is_closed().await);
    bench.fake.release(10);
    let reply = under_way.reply().await;
    assert!(reply.body.ends_with("data: [DONE]\n\n"), "{}", reply.body);
    bench.served.await.expect("no panic").expect("in order");
    assert!(
        bench.fake.driver.status().await.is_err(),
        "the driver has ended"
    );
    // The journal is complete, and says what the core would say again.
    let lines = bench.fake.journal.lines();
    audit(lines.iter().map(String::as_str), 1, 1);
}

#[tokio::test]
async fn answers_that_take_too_long_are_cut() {
    let mut setup = Setup::held();
    setup.config.drain_s = 0;
    let mut bench = setup.start().await;
    let mut under_way = bench.sent(COMPLETIONS, &[], STREAM).await;
    bench.until_live(1).await;
    bench.shut_down();
    bench.served.await.expect("no panic").expect("in order");
    assert!(under_way.is_closed().await);
    // It was dispatched, and stopped when its client was cut off.
    let lines = bench.fake.journal.lines();
    audit(lines.iter().map(String::as_str), 2, 2);
}
