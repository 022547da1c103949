//! Anything may come to a listener: it closes the connection, and nothing else happens.

use crate::common::{KINDS, Kind, node, node_with, options, pattern, run};
use conductor_messenger::{Address, NoCalls, Op, Span};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(address: &Address) -> Box<dyn Stream> {
    match address {
        Address::Tcp(to) | Address::Verbs(to) => {
            Box::new(tokio::net::TcpStream::connect(to).await.expect("there"))
        }
        Address::Shm(to) => Box::new(tokio::net::UnixStream::connect(to).await.expect("there")),
        other => panic!("{other}"),
    }
}

/// A hello as it should be.
fn hello() -> Vec<u8> {
    use conductor_messenger::wire::{Frame, Hello, VERSION};
    let mut bytes = Vec::new();
    Frame::Hello(Hello {
        version: VERSION,
        lane: 0,
        node: 0,
        session: 1,
        nonce: [2; 16],
    })
    .encode(&mut bytes);
    bytes
}

#[test]
fn strangers_with_garbage_are_put_out() {
    for kind in KINDS {
        run(async {
            let (ours, theirs) = (node(kind, 0).await, node(kind, 1).await);
            let address = theirs.transport.address();
            for i in 0..200u64 {
                let mut bytes = pattern(i, (i * i % 3000) as usize);
                match i % 4 {
                    // Nonsense from the beginning; behind a hello; a hello with a wrong field; lengths that lie.
                    0 => {}
                    1 => bytes.splice(0..0, hello()).for_each(drop),
                    2 => {
                        let mut wrong = hello();
                        let at = i as usize % wrong.len();
                        wrong[at] ^= 1 << (i % 8);
                        bytes.splice(0..0, wrong).for_each(drop);
                    }
                    _ => {
                        let kind = 1 + (i / 4 % 15) as u8;
                        let head = [kind, 0, 0, 0, 0xff, 0xff, 0xff, (i % 2) as u8];
                        bytes.splice(0..0, head).for_each(drop);
                    }
                }
                let mut stream = connect(address).await;
                // It may close before all is written.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let closed = stream.read_to_end(&mut answer);
                let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
                assert!(closed.is_ok(), "{kind:?} {i}: still open");
                assert!(answer.len() <= 50, "no more than a challenge and a refusal");
            }
            let link = ours.link(address).await;
            let (span, grant) = (Span::new(0, 100), theirs.grant_all());
            let op = Op::write(&ours.region, [span], grant, [span]).expect("valid");
            assert_eq!(link.submit(op).await.expect("room").await, Ok(()));
        });
    }
}

#[test]
fn strangers_who_say_nothing_are_put_out_and_do_not_keep_others_out() {
    run(async {
        let mut with = options(1);
        with.connect = Duration::from_millis(500);
        let theirs = node_with(Kind::Tcp, with, Arc::new(NoCalls)).await;
        let address = theirs.transport.address();
        // More than are heard at a time.
        let mut silent = Vec::new();
        for _ in 0..80 {
            silent.push(connect(address).await);
        }
        let ours = node(Kind::Tcp, 0).await;
        ours.link(address).await.close().await;
        let mut nothing = Vec::new();
        for mut stream in silent {
            let _ = stream.read_to_end(&mut nothing).await;
        }
        assert!(nothing.is_empty(), "nothing is told to who says nothing");
    });
}

#[test]
fn no_more_connections_than_are_taken() {
    for kind in KINDS {
        run(async {
            let mut with = options(1);
            with.connections_max = 2;
            let theirs = node_with(kind, with, Arc::new(NoCalls)).await;
            let ours = node(kind, 0).await;
            let address = theirs.transport.address();
            let (first, _second) = (ours.link(address).await, ours.link(address).await);
            let third = ours.transport.connect(address).await.err();
            let told = third.expect("refused").to_string();
            assert!(told.contains("as many connections"), "{told}");
            first.close().await;
            ours.link(address).await;
        });
    }
}
