//! How two nodes get to know each other: hello, challenge, proof, welcome. See `secret.rs` for what is proven.

use super::inbox::{Broken, Inbox};
use super::socket::Socket;
use crate::error::Error;
use crate::secret::{Secret, Side, random};
use crate::wire::{Challenge, Frame, GREETING_MAX, Hello, Refusal, VERSION};
use conductor_core::ids::NodeId;

async fn say(socket: &Socket, frame: &Frame) -> Result<(), Broken> {
    let mut bytes = Vec::with_capacity(GREETING_MAX);
    frame.encode(&mut bytes);
    Ok(socket.send(&bytes).await?)
}

async fn hear(socket: &Socket, inbox: &mut Inbox) -> Result<Frame, Broken> {
    let frame = inbox.frame(socket, GREETING_MAX).await?;
    frame.ok_or(Broken::Ended)
}

/// Says hello as `node`, for lane `lane` of a link; gives the node that listens.
pub(crate) async fn call(
    socket: &Socket,
    inbox: &mut Inbox,
    (node, session, lane): (NodeId, u64, u16),
    secret: &Secret,
    address: &str,
) -> Result<NodeId, Error> {
    let connect = |broken: Broken| Error::Connect {
        address: address.into(),
        why: broken.to_string().into(),
    };
    let refused = |why: &'static str| Error::Refused {
        address: address.into(),
        why,
    };
    let hello = Hello {
        version: VERSION,
        lane,
        node: node.0,
        session,
        nonce: random(),
    };
    let greet = async {
        say(socket, &Frame::Hello(hello)).await?;
        let challenge = match hear(socket, inbox).await? {
            Frame::Challenge(challenge) => challenge,
            other => return Ok((None, other)),
        };
        let proof = secret.prove(Side::Caller, &hello, &challenge);
        say(socket, &Frame::Proof(proof)).await?;
        Ok((Some(challenge), hear(socket, inbox).await?))
    };
    match greet.await.map_err(connect)? {
        (Some(challenge), Frame::Welcome(proof)) => {
            let proven = secret.is_proven(Side::Listener, &hello, &challenge, &proof);
            match proven {
                true => Ok(NodeId(challenge.node)),
                false => Err(refused("it does not know the secret")),
            }
        }
        (_, Frame::Refused(refusal)) => Err(refused(match refusal {
            Refusal::Secret => "another secret",
            Refusal::Version => "another version of the protocol",
            Refusal::Full => "it has as many connections as it takes",
            Refusal::Leaving => "it is shutting down",
        })),
        _ => Err(connect(Broken::Unexpected)),
    }
}

/// A caller who has proven itself and waits for a welcome.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) hello: Hello,
    challenge: Challenge,
}

/// Hears a caller out; `None` if it may not come in, which it has been told.
pub(crate) async fn listen(
    socket: &Socket,
    inbox: &mut Inbox,
    node: NodeId,
    secret: &Secret,
) -> Result<Option<Caller>, Broken> {
    let Frame::Hello(hello) = hear(socket, inbox).await? else {
        return Err(Broken::Unexpected);
    };
    if hello.version != VERSION {
        refuse(socket, Refusal::Version).await?;
        return Ok(None);
    }
    let challenge = Challenge {
        version: VERSION,
        node: node.0,
        nonce: random(),
    };
    say(socket, &Frame::Challenge(challenge)).await?;
    let Frame::Proof(proof) = hear(socket, inbox).await? else {
        return Err(Broken::Unexpected);
    };
    if !secret.is_proven(Side::Caller, &hello, &challenge, &proof) {
        refuse(socket, Refusal::Secret).await?;
        return Ok(None);
    }
    Ok(Some(Caller { hello, challenge }))
}

pub(crate) async fn refuse(socket: &Socket, refusal: Refusal) -> Result<(), Broken> {
    say(socket, &Frame::Refused(refusal)).await
}

/// Lets a caller in.
pub(crate) async fn welcome(
    socket: &Socket,
    caller: &Caller,
    secret: &Secret,
) -> Result<(), Broken> {
    let proof = secret.prove(Side::Listener, &caller.hello, &caller.challenge);
    say(socket, &Frame::Welcome(proof)).await
}
