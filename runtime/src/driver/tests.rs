//! The driver against nodes that say what the test wants: messages that cross, nodes that go, reports that are lost.

mod lost;

use super::*;
use crate::journal::MemoryJournal;
use crate::protocol::{EndReason, FromNode, Sampling, Space};
use conductor_core::ids::{BlockHash, ClassId, Ticket};
use conductor_core::journal::Auditor;
use conductor_core::units::Tokens;

#[derive(Default)]
struct Heard {
    sent: Vec<(NodeId, ToNode)>,
    answers: Vec<(RequestId, Answer)>,
}

impl World for Heard {
    fn send(&mut self, node: NodeId, message: ToNode) {
        self.sent.push((node, message));
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        self.answers.push((request, answer));
    }
}

/// A driver of 2 prefill nodes (0, 1) and 2 decode nodes (2, 3), all up.
struct Bench {
    driver: Driver<Heard>,
    journal: MemoryJournal,
    now: Nanos,
}

impl Bench {
    fn new(policy: &str) -> Self {
        let cluster = ClusterConfig::built_in("2p2d").expect("built in");
        Self::of(cluster, &PolicyConfig::built_in(policy).expect("built in"))
    }

    fn with(policy: &PolicyConfig) -> Self {
        Self::of(ClusterConfig::built_in("2p2d").expect("built in"), policy)
    }

    fn of(cluster: ClusterConfig, policy: &PolicyConfig) -> Self {
        let journal = MemoryJournal::default();
        let kept = Box::new(journal.clone());
        let mut driver = Driver::new(&cluster, policy, 1, kept, Heard::default());
        for node in 0..cluster.nodes.len() as u16 {
            driver.node_up(Nanos::ZERO, NodeId(node));
        }
        Self {
            driver,
            journal,
            now: Nanos::ZERO,
        }
    }

    fn tick(&mut self) -> Nanos {
        self.now += Nanos::from_millis(1);
        self.now
    }

    fn submit(&mut self, blocks: std::ops::Range<u64>, output_max: u64) -> Ticket {
        let now = self.tick();
        let blocks: Vec<BlockHash> = blocks.map(BlockHash).collect();
        let prompt = Prompt {
            input: Tokens(512 * blocks.len() as u64 + 10),
            tokens: Arc::new([]),
            blocks: blocks.into(),
            space: Space::default(),
            output_max: Tokens(output_max),
            sampling: Sampling::GREEDY,
        };
        let request = self.driver.submit(
            now,
            Submission {
                prompt: Arc::new(prompt),
                class: ClassId(0),
                workflow: None,
                answer: None,
            },
        );
        Ticket {
            request,
            attempt: 0,
        }
    }

    fn says(&mut self, node: NodeId, facts: impl IntoIterator<Item = FromNode>) {
        let now = self.tick();
        self.driver.node_said(now, node, facts);
    }

    fn sent(&mut self) -> Vec<(NodeId, ToNode)> {
        std::mem::take(&mut self.driver.world().sent)
    }

    fn answers(&mut self) -> Vec<Answer> {
        let answers = std::mem::take(&mut self.driver.world().answers);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Where the latest attempt was sent.
    fn placed(&mut self) -> (NodeId, NodeId) {
        let sent = self.sent();
        let prefill = sent.iter().rev().find_map(|(node, message)| match message {
            ToNode::Prefill { decode, .. } => Some((*node, *decode)),
            _ => None,
        });
        prefill.expect("it was dispatched")
    }

    /// Ends the run, and has its journal decided again.
    fn audit(mut self) {
        self.driver.conductor().assert_idle();
        self.driver.end();
        let counts = *self.driver.counts();
        assert_eq!(counts.executed, counts.journaled);
        let lines = self.journal.lines();
        let mut auditor = Auditor::new(lines[0].as_bytes(), None).expect("a header");
        for line in &lines[1..] {
            auditor
                .line(line.as_bytes())
                .expect("decided the same again");
        }
        assert!(auditor.finish().complete);
    }
}

fn token(ticket: Ticket, position: u64) -> FromNode {
    let token = 100 + position as u32;
    FromNode::Token {
        ticket,
        position,
        token,
    }
}

fn first(ticket: Ticket) -> FromNode {
    FromNode::FirstToken { ticket, token: 100 }
}

fn started(ticket: Ticket) -> FromNode {
    let cached = Tokens::ZERO;
    FromNode::Started { ticket, cached }
}

fn ended(ticket: Ticket, output: u64) -> FromNode {
    FromNode::Ended {
        ticket,
        output: Tokens(output),
        reason: EndReason::Length,
    }
}

fn tokens_of(answers: &[Answer]) -> Vec<u32> {
    let tokens = answers.iter().filter_map(|answer| match answer {
        Answer::Token { token, .. } => Some(*token),
        _ => None,
    });
    tokens.collect()
}

#[test]
fn what_a_decode_node_says_too_early_waits_for_the_first_token() {
    let mut bench = Bench::new("kvcache-centric");
    let ticket = bench.submit(0..2, 3);
    let (prefill, decode) = bench.placed();
    bench.says(prefill, [started(ticket)]);
    let early = [
        FromNode::Received { ticket },
        token(ticket, 1),
        token(ticket, 2),
        ended(ticket, 3),
    ];
    bench.says(decode, early);
    assert_eq!(bench.answers(), []);
    bench.says(prefill, [first(ticket)]);
    let answers = bench.answers();
    assert_eq!(tokens_of(&answers), [100, 101, 102]);
    assert!(matches!(
        answers[3],
        Answer::Finished {
            output: Tokens(3),
            ..
        }
    ));
    assert_eq!(bench.driver.counters().stale, 0);
    assert_eq!(bench.driver.counters().finished, 1);
    bench.audit();
}

#[test]
fn a_client_has_each_token_once_when_its_decode_node_dies() {
    let mut bench = Bench::new("kvcache-centric");
    let ticket = bench.submit(0..2, 4);
    let (prefill, decode) = bench.placed();
    bench.says(prefill, [started(ticket), first(ticket)]);
    bench.says(decode, [FromNode::Received { ticket }, token(ticket, 1)]);
    let now = bench.tick();
    bench.driver.node_down(now, decode);
    let sent = bench.sent();
    assert_eq!(sent[0], (prefill, ToNode::Abort { ticket }));
    let again = Ticket {
        attempt: 1,
        ..ticket
    };
    let placed = sent.iter().find_map(|(node, message)| match message {
        ToNode::Prefill { ticket, decode, .. } if *ticket == again => Some((*node, *decode)),
        _ => None,
    });
    let (prefill, other) = placed.expect("it was given in again");
    assert_ne!(other, decode);
    // A late word of the first attempt says nothing of the second.
    bench.says(prefill, [first(ticket), started(again), first(again)]);
    bench.says(
        other,
        [
            FromNode::Received { ticket: again },
            token(again, 1),
            token(again, 2),
            token(again, 3),
            ended(again, 4),
        ],
    );
    let answers = bench.answers();
    assert_eq!(tokens_of(&answers), [100, 101, 102, 103]);
    assert!(answers[4].is_last());
    assert_eq!(bench.driver.counts().differing_tokens, 0);
    bench.audit();
}

#[test]
fn who_was_taken_in_is_not_turned_away_when_no_node_is_left() {
    let mut bench = Bench::new("kvcache-centric");
    let ticket = bench.submit(0..2, 2);
    let _ = bench.placed();
    for node in [2, 3] {
        let now = bench.tick();
        bench.driver.node_down(now, NodeId(node));
    }
    assert_eq!(bench.answers(), []);
    let due = bench.driver.due().expect("it comes again");
    bench.now = due;
    bench.driver.timer(due);
    assert_eq!(bench.answers(), [], "nor the second time");
    let now = bench.tick();
    bench.driver.node_up(now, NodeId(3));
    bench.sent();
    let due = bench.driver.due().expect("it comes again");
    bench.now = due;
    bench.driver.timer(due);
    let (_, decode) = bench.placed();
    assert_eq!(decode, NodeId(3));
    let now = bench.tick();
    bench.driver.cancel(now, ticket.request);
    assert!(!bench.driver.is_live(ticket.request));
    bench.audit();
}

#[test]
fn a_new_request_is_turned_away_when_no_node_is_there() {
    let mut bench = Bench::new("kvcache-centric");
    for node in 0..2 {
        let now = bench.tick();
        bench.driver.node_down(now, NodeId(node));
    }
    bench.submit(0..2, 2);
    assert!(matches!(bench.answers()[..], [Answer::Rejected { .. }]));
    bench.audit();
}

#[test]
fn a_missing_report_makes_the_node_say_all() {
    let mut bench = Bench::new("kvcache-centric");
    let report = |report, stored: std::ops::Range<u64>| FromNode::Cache {
        report,
        evicted: vec![],
        stored: stored.map(BlockHash).collect(),
    };
    let node = NodeId(1);
    bench.says(node, [report(0, 0..3)]);
    bench.says(node, [report(2, 5..6), report(3, 6..7)]);
    assert_eq!(bench.sent(), [(node, ToNode::ReportCache)]);
    let held = |bench: &Bench| bench.driver.conductor().index().held_by_each()[1];
    assert_eq!(held(&bench), 3, "what follows a gap is not believed");
    let blocks = (0..7).map(BlockHash).collect();
    let whole = FromNode::WholeCache { report: 4, blocks };
    bench.says(node, [whole, report(5, 7..8)]);
    assert_eq!(held(&bench), 8);
    assert_eq!(bench.driver.counts().resyncs, 1);
    bench.audit();
}

#[test]
fn a_request_that_is_stopped_ends_by_its_nodes_word() {
    let mut bench = Bench::new("kvcache-centric");
    let ticket = bench.submit(0..2, 100);
    let (prefill, decode) = bench.placed();
    bench.says(prefill, [started(ticket), first(ticket)]);
    bench.driver.stop(ticket.request);
    let stop = ToNode::Stop { ticket };
    assert_eq!(bench.sent(), [(decode, stop.clone()), (prefill, stop)]);
    bench.says(decode, [ended(ticket, 1)]);
    assert!(bench.answers()[1].is_last());
    bench.audit();
}

#[test]
fn what_a_coupled_node_refuses_before_a_first_token_is_refused() {
    let mut bench = Bench::of(
        ClusterConfig::built_in("a800-16").expect("built in"),
        &PolicyConfig::built_in("least-loaded").expect("built in"),
    );
    let ticket = bench.submit(0..2, 3);
    let (prefill, decode) = bench.placed();
    assert_eq!(prefill, decode);
    bench.says(prefill, [FromNode::Refused { ticket }]);
    assert!(matches!(bench.answers()[..], [Answer::Rejected { .. }]));
    bench.audit();
}
