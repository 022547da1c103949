//! Any bytes as frames and as messages about blocks: an error, or what gives itself again when it is written.
#![no_main]

use conductor_messenger::blocks::{Ask, Tell};
use conductor_messenger::wire::{Frame, HEAD_BYTES, Head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    // A stream: frame behind frame, until one is none.
    while let Some((head, body)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let Ok(head) = Head::parse(*head) else { break };
        let Some((body, behind)) = body.split_at_checked(head.body) else { break };
        let Ok(frame) = Frame::parse(head, body) else { break };
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert!(again == rest[..HEAD_BYTES + head.body]);
        rest = behind;
    }
    if let Some(ask) = Ask::parse(bytes) {
        assert!(ask.to_bytes() == bytes);
    }
    if let Some(tell) = Tell::parse(bytes) {
        assert!(tell.to_bytes() == bytes);
    }
});
