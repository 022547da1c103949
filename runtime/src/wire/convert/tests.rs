//! What is said arrives as it was said; what is not said is refused, whatever it is.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

fn tickets() -> impl Strategy<Value = Ticket> {
    (any::<u64>(), any::<u32>()).prop_map(|(request, attempt)| Ticket {
        request: RequestId(request),
        attempt,
    })
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Prefill), Just(Role::Decode), Just(Role::Coupled)]
}

fn blocks() -> impl Strategy<Value = Vec<BlockHash>> {
    vec(any::<u64>().prop_map(BlockHash), 0..9)
}

fn prompts() -> impl Strategy<Value = Arc<Prompt>> {
    let sampling = (0.0_f32..2.0, any::<u64>(), any::<bool>());
    let parts = (vec(any::<u32>(), 0..40), 9_u64..99, blocks(), sampling);
    (parts, 1_u64..=u64::from(u32::MAX)).prop_map(|((tokens, input, blocks, sampling), output)| {
        let (temperature, seed, ignore_end) = sampling;
        let input = match tokens.len() as u64 {
            0..9 => input,
            length => length,
        };
        let tokens = if tokens.len() < 9 { Vec::new() } else { tokens };
        Arc::new(Prompt {
            input: Tokens(input),
            tokens: tokens.into(),
            blocks: blocks.into(),
            space: Space::default(),
            output_max: Tokens(output),
            sampling: Sampling {
                temperature,
                seed,
                ignore_end,
            },
        })
    })
}

fn orders() -> impl Strategy<Value = ToNode> {
    let node = || any::<u16>().prop_map(NodeId);
    let with_prompt = (tickets(), prompts(), node(), any::<bool>(), 0_u8..3);
    prop_oneof![
        with_prompt.prop_map(|(ticket, prompt, other, flag, kind)| match kind {
            0 => {
                let count = prompt.blocks.len() as u32;
                let first = count / 2;
                let fetch = Fetch {
                    from: other,
                    first,
                    count: count - first,
                };
                ToNode::Fetch {
                    ticket,
                    prompt,
                    fetch,
                }
            }
            1 => ToNode::Prefill {
                ticket,
                prompt,
                decode: other,
                awaits_copy: flag,
            },
            _ => ToNode::Decode {
                ticket,
                prompt,
                prefill: other,
            },
        }),
        tickets().prop_map(|ticket| ToNode::Abort { ticket }),
        tickets().prop_map(|ticket| ToNode::Stop { ticket }),
        roles().prop_map(ToNode::SwitchRole),
        Just(ToNode::ReportCache),
    ]
}

fn facts() -> impl Strategy<Value = FromNode> {
    let token = (tickets(), any::<u64>(), any::<u32>());
    let reports = (any::<u64>(), blocks(), blocks());
    prop_oneof![
        (token, 0_u8..7, ".{0,20}").prop_map(|((ticket, number, token), kind, why)| match kind {
            0 => FromNode::Started {
                ticket,
                cached: Tokens(number),
            },
            1 => FromNode::FirstToken { ticket, token },
            2 => FromNode::Received { ticket },
            3 => FromNode::Token {
                ticket,
                position: number,
                token,
            },
            4 => FromNode::Ended {
                ticket,
                output: Tokens(number),
                reason: match token % 2 {
                    0 => EndReason::Stop,
                    _ => EndReason::Length,
                },
            },
            5 => FromNode::Refused { ticket },
            _ => FromNode::Failed { ticket, why },
        }),
        (reports, any::<bool>()).prop_map(|((report, evicted, stored), whole)| match whole {
            true => FromNode::WholeCache {
                report,
                blocks: stored,
            },
            false => FromNode::Cache {
                report,
                evicted,
                stored,
            },
        }),
        roles().prop_map(FromNode::RoleChanged),
    ]
}

proptest! {
    #[test]
    fn an_order_arrives_as_it_was_given(message in orders()) {
        let bytes = order(&message).encode_to_vec();
        let arrived = wire::Order::decode(&bytes[..]).expect("our own bytes");
        prop_assert_eq!(order_of(arrived), Ok(message));
    }

    #[test]
    fn a_fact_arrives_as_it_was_said(message in facts()) {
        let bytes = fact(message.clone()).encode_to_vec();
        let arrived = wire::Fact::decode(&bytes[..]).expect("our own bytes");
        prop_assert_eq!(fact_of(arrived), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(order) = wire::Order::decode(&bytes[..]) {
            let _ = order_of(order);
        }
        if let Ok(fact) = wire::Fact::decode(&bytes[..]) {
            let _ = fact_of(fact);
        }
    }
}

#[test]
fn what_no_version_sends_is_refused_by_name() {
    let ticket = Ticket {
        request: RequestId(1),
        attempt: 0,
    };
    let good = Prompt {
        input: Tokens(3),
        tokens: Arc::new([1, 2, 3]),
        blocks: Arc::new([BlockHash(1)]),
        space: Space::default(),
        output_max: Tokens(1),
        sampling: Sampling::GREEDY,
    };
    let of = |change: &dyn Fn(&mut wire::Order)| {
        let mut order = order(&ToNode::Fetch {
            ticket,
            prompt: Arc::new(good.clone()),
            fetch: Fetch {
                from: NodeId(1),
                first: 0,
                count: 1,
            },
        });
        change(&mut order);
        order_of(order).map_err(|Malformed(why)| why)
    };
    assert!(of(&|_| {}).is_ok());
    type Change = fn(&mut wire::Order);
    let changes: [(&str, Change); 6] = [
        ("an order of no kind", |order| order.kind = 99),
        ("no attempt is named", |order| order.attempt = None),
        ("no prompt is given", |order| order.prompt = None),
        ("no such node", |order| order.other = 70_000),
        (
            "blocks are to be fetched that the prompt does not have",
            |order| order.count = 2,
        ),
        ("a prompt has another length than its tokens", |order| {
            if let Some(prompt) = &mut order.prompt {
                prompt.tokens.pop();
            }
        }),
    ];
    for (why, change) in changes {
        assert_eq!(of(&change).err(), Some(why));
    }
}
