//! Journals of random runs: the auditor accepts what was decided, and finds what was altered.

use crate::driver::Driver;
use crate::random_events::{ops, run, settings};
use conductor_core::action::Action;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket};
use conductor_core::journal::{AuditError, AuditReport, Auditor};
use conductor_core::units::{Nanos, Tokens};
use proptest::prelude::*;
use proptest::sample::Index;

fn audit(lines: &[String], policy: Option<PolicyConfig>) -> Result<AuditReport, AuditError> {
    let mut auditor = Auditor::new(lines[0].as_bytes(), policy)?;
    for line in &lines[1..] {
        auditor.line(line.as_bytes())?;
    }
    Ok(auditor.finish())
}

/// Changes one number of an event, so that it stays well formed.
fn alter(event: &mut Event<'static>) {
    match event {
        Event::Arrived { input, .. } => input.0 ^= 1,
        Event::PrefillStarted { cached, .. } => cached.0 += 1,
        Event::Finished { output, .. } => output.0 += 1,
        Event::PrefillFinished { ticket }
        | Event::TransferFinished { ticket }
        | Event::Failed { ticket }
        | Event::Refused { ticket } => ticket.attempt ^= 1,
        Event::Cancelled { request } => request.0 ^= 1 << 40,
        Event::BlocksStored { blocks, .. }
        | Event::BlocksEvicted { blocks, .. }
        | Event::CacheReported { blocks, .. } => {
            blocks.to_mut()[0].0 ^= 1 << 40;
        }
        Event::NodeUp { node } | Event::NodeDown { node } | Event::RoleChanged { node, .. } => {
            node.0 ^= 1;
        }
        Event::Restarted => {
            *event = Event::NodeUp {
                node: NodeId(u16::MAX),
            }
        }
    }
}

/// A node of an order, to be altered.
fn node_of(action: &mut Action) -> Option<&mut NodeId> {
    match action {
        Action::Replicate { from, .. } => Some(from),
        Action::Dispatch { prefill, .. } => Some(prefill),
        Action::SwitchRole { node, .. } => Some(node),
        Action::Reject { .. } | Action::Abort { .. } | Action::Resubmit { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_was_decided_is_accepted_and_what_was_altered_is_found(
        setting in settings(), ops in ops(), which in any::<Index>(),
    ) {
        let mut tape = run(&setting, &ops);
        let lines = tape.lines();
        let report = audit(&lines, None).expect("nothing was altered");
        prop_assert!(report.complete);
        prop_assert_eq!(report.steps, tape.steps.len() as u64);
        prop_assert!(lines.last().expect("an end").contains(&report.digest));
        let cut = audit(&lines[..lines.len() - 1], None).expect("a run that was cut off");
        prop_assert!(!cut.complete);

        // An order is altered: found at its very step.
        let with_nodes: Vec<usize> = (0..tape.steps.len())
            .filter(|&i| tape.steps[i].2.iter_mut().any(|action| node_of(action).is_some()))
            .collect();
        if !with_nodes.is_empty() {
            let step = with_nodes[which.index(with_nodes.len())];
            let original = tape.steps[step].2.clone();
            let node = tape.steps[step].2.iter_mut().find_map(node_of).expect("it has one");
            node.0 ^= 1;
            match audit(&tape.lines(), None) {
                Err(AuditError::Diverged(divergence)) => {
                    prop_assert_eq!(divergence.step, step as u64);
                    prop_assert_eq!(&divergence.recorded, &tape.steps[step].2);
                    prop_assert_eq!(&divergence.replayed, &original);
                }
                other => prop_assert!(false, "expected a divergence, found {:?}", other),
            }
            tape.steps[step].2 = original;
        }

        // An event is altered: a decision or the digest differs. The end is the original's.
        let step = which.index(tape.steps.len());
        alter(&mut tape.steps[step].1);
        let mut altered = tape.lines();
        *altered.last_mut().expect("an end") = lines.last().expect("an end").clone();
        match audit(&altered, None) {
            Err(AuditError::Diverged(divergence)) => prop_assert!(divergence.step >= step as u64),
            Err(AuditError::Digest { .. }) => {}
            other => prop_assert!(false, "expected divergence or digest, found {:?}", other),
        }
    }
}

/// Two requests with one prefix: in turn they go to two nodes, by cache to one.
#[test]
fn another_policy_diverges_where_it_first_decides_otherwise() {
    let cluster = ClusterConfig::built_in("2p1d").expect("built in");
    let policy = PolicyConfig::built_in("round-robin").expect("built in");
    let mut driver = Driver::new(cluster, policy);
    for node in (0..3).map(NodeId) {
        driver.tell(Event::NodeUp { node });
    }
    let blocks: Vec<BlockHash> = (0..8).map(BlockHash).collect();
    let second = 6;
    for request in 0..2 {
        driver.now += Nanos::from_secs(100);
        let ticket = Ticket {
            request: RequestId(request),
            attempt: 0,
        };
        driver.tell(Event::Arrived {
            ticket,
            input: Tokens(8 * 512),
            blocks: blocks.clone().into(),
            answer: None,
            class: ClassId::default(),
            workflow: None,
        });
        driver.tell(Event::BlocksStored {
            node: NodeId(request as u16),
            blocks: blocks.clone().into(),
        });
        driver.tell(Event::Refused { ticket });
    }
    let lines = driver.finish().lines();
    for name in ["local-cache-aware", "kvcache-centric"] {
        let other = PolicyConfig::built_in(name).expect("built in");
        match audit(&lines, Some(other)) {
            Err(AuditError::Diverged(divergence)) => assert_eq!(divergence.step, second, "{name}"),
            other => panic!("{name}: expected a divergence, found {other:?}"),
        }
    }
    let same = PolicyConfig::built_in("least-queued").expect("built in");
    assert!(
        audit(&lines, Some(same)).is_ok(),
        "it decides these two alike"
    );
}
