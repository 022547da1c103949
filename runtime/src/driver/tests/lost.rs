//! Attempts that are lost: how often a request is given in again, and what is in flight for it meanwhile.

use super::*;
use conductor_core::action::RejectReason;
use conductor_core::ids::RequestId;

fn attempt(ticket: Ticket, attempt: u32) -> Ticket {
    Ticket { attempt, ..ticket }
}

fn is_rejected(answer: &Answer, reason: RejectReason) -> bool {
    matches!(answer, Answer::Rejected { reason: found, .. } if *found == reason)
}

#[test]
fn a_request_that_every_node_fails_is_turned_away_in_the_end() {
    let mut bench = Bench::new("kvcache-centric");
    let most = bench.driver.policy.lost.attempts_max;
    let ticket = bench.submit(0..2, 4);
    for number in 0..most {
        let (prefill, _) = bench.placed();
        assert_eq!(bench.answers(), []);
        let ticket = attempt(ticket, number);
        let why = "the engine cannot".into();
        bench.says(prefill, [started(ticket), FromNode::Failed { ticket, why }]);
    }
    let answers = bench.answers();
    assert!(is_rejected(&answers[0], RejectReason::TooManyAttempts));
    assert_eq!(bench.driver.live(), 0);
    assert_eq!(bench.driver.due(), None, "it does not come again");
    assert_eq!(bench.driver.counters().given_up, 1);
    assert_eq!(bench.driver.counts().resubmitted, u64::from(most) - 1);
    bench.audit();
}

#[test]
fn one_that_waits_for_a_node_does_so_for_as_long_as_the_policy_says_and_loses_no_attempt_by_it() {
    let text = "[lost]\nattempts_max = 4\nwait_s = 3\n";
    let mut bench = Bench::with(&PolicyConfig::parse(text).expect("it is right"));
    let down = |bench: &mut Bench| {
        for node in [2, 3] {
            let now = bench.tick();
            bench.driver.node_down(now, NodeId(node));
        }
    };
    let ticket = bench.submit(0..2, 2);
    down(&mut bench);
    let mut tries = 0;
    while let Some(due) = bench.driver.due() {
        assert_eq!(bench.answers(), []);
        bench.now = due;
        bench.driver.timer(due);
        tries += 1;
    }
    assert_eq!(tries, 3, "once a second");
    assert!(is_rejected(&bench.answers()[0], RejectReason::NoDecodeNode));
    assert!(!bench.driver.is_live(ticket.request));

    let now = bench.tick();
    bench.driver.node_up(now, NodeId(3));
    let ticket = bench.submit(0..2, 2);
    down(&mut bench);
    bench.now = bench.driver.due().expect("it comes again");
    bench.driver.timer(bench.now);
    let now = bench.tick();
    bench.driver.node_up(now, NodeId(2));
    bench.sent();
    bench.now = bench.driver.due().expect("it comes again");
    bench.driver.timer(bench.now);
    let (prefill, decode) = bench.placed();
    // It was lost with the one that was up, and waited without being tried.
    let ticket = attempt(ticket, 1);
    bench.says(prefill, [started(ticket), first(ticket)]);
    let rest = [token(ticket, 1), ended(ticket, 2)];
    bench.says(decode, [FromNode::Received { ticket }]);
    bench.says(decode, rest);
    assert_eq!(tokens_of(&bench.answers()), [100, 101]);
    bench.audit();
}

/// A request of which the client has two tokens, and its nodes.
fn answering(bench: &mut Bench) -> (Ticket, NodeId, NodeId) {
    let ticket = bench.submit(0..2, 100);
    let (prefill, decode) = bench.placed();
    bench.says(prefill, [started(ticket), first(ticket)]);
    bench.says(decode, [FromNode::Received { ticket }, token(ticket, 1)]);
    assert_eq!(tokens_of(&bench.answers()), [100, 101]);
    (ticket, prefill, decode)
}

fn ends_with_two_tokens(bench: &mut Bench, request: RequestId) {
    let [
        Answer::Finished {
            output: Tokens(2), ..
        },
    ] = bench.answers()[..]
    else {
        panic!("it ends with what the client has");
    };
    assert!(!bench.driver.is_live(request));
}

#[test]
fn a_stop_that_is_lost_with_its_attempt_ends_the_answer_and_nothing_is_made_again() {
    let mut bench = Bench::new("kvcache-centric");
    let (ticket, prefill, decode) = answering(&mut bench);
    bench.driver.stop(ticket.request);
    let now = bench.tick();
    bench.driver.node_down(now, decode);
    ends_with_two_tokens(&mut bench, ticket.request);
    let sent = bench.sent();
    assert!(sent.contains(&(prefill, ToNode::Abort { ticket })));
    let prompts = sent.iter();
    let mut prompts = prompts.filter(|(_, sent)| matches!(sent, ToNode::Prefill { .. }));
    assert_eq!(prompts.next(), None);
    // What the node had said before it died is late.
    bench.says(
        prefill,
        [FromNode::Failed {
            ticket,
            why: String::new(),
        }],
    );
    assert_eq!(bench.answers(), []);
    assert_eq!(bench.driver.counts().resubmitted, 0);
    bench.audit();
}

#[test]
fn a_stop_of_a_request_without_a_node_ends_it_at_once() {
    let mut bench = Bench::new("kvcache-centric");
    let (ticket, ..) = answering(&mut bench);
    for node in [2, 3] {
        let now = bench.tick();
        bench.driver.node_down(now, NodeId(node));
    }
    assert_eq!(bench.answers(), []);
    bench.driver.stop(ticket.request);
    ends_with_two_tokens(&mut bench, ticket.request);
    bench.now = bench.driver.due().expect("the timer is still set");
    bench.driver.timer(bench.now);
    assert_eq!(bench.driver.due(), None);
    bench.audit();
}

#[test]
fn a_stop_of_a_later_attempt_ends_it_although_its_prompt_was_never_computed() {
    let mut bench = Bench::new("kvcache-centric");
    let (ticket, _, decode) = answering(&mut bench);
    let now = bench.tick();
    bench.driver.node_down(now, decode);
    let (_, other) = bench.placed();
    bench.driver.stop(ticket.request);
    // Its prefill node took it out of its queue; its decode node says that it has ended, with less than the client has.
    bench.says(other, [ended(attempt(ticket, 1), 1)]);
    ends_with_two_tokens(&mut bench, ticket.request);
    bench.audit();
}

#[test]
fn an_abort_that_crosses_what_nodes_say_of_a_lost_attempt_does_no_harm() {
    let mut bench = Bench::new("kvcache-centric");
    let (ticket, prefill, decode) = answering(&mut bench);
    let now = bench.tick();
    bench.driver.node_down(now, decode);
    let sent = bench.sent();
    assert_eq!(sent[0], (prefill, ToNode::Abort { ticket }));
    // Said before the abort was heard, of the attempt that is lost; then the client goes, while the next is under way.
    let why = String::new();
    bench.says(
        prefill,
        [
            first(ticket),
            FromNode::Failed { ticket, why },
            ended(ticket, 1),
        ],
    );
    assert_eq!(bench.answers(), []);
    assert!(bench.driver.is_live(ticket.request));
    let now = bench.tick();
    bench.driver.cancel(now, ticket.request);
    let again = attempt(ticket, 1);
    let aborts = bench.sent();
    assert!(
        aborts.len() == 2
            && aborts
                .iter()
                .all(|(_, sent)| *sent == ToNode::Abort { ticket: again })
    );
    // And its nodes die with the aborts.
    for (node, _) in aborts {
        let now = bench.tick();
        bench.driver.node_down(now, node);
    }
    assert_eq!((bench.answers(), bench.driver.live()), (vec![], 0));
    bench.audit();
}
