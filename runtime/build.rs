//! Makes the code of the two gRPC services out of their lists of methods: no compiler of `.proto` files is needed.
//!
//! What the messages are is in `src/wire/messages.rs`.

use tonic_build::manual::{Builder, Method, Service};

/// One method; `streams` both ways or not at all.
fn method(name: &str, route: &str, input: &str, output: &str, streams: bool) -> Method {
    let method = Method::builder()
        .name(name)
        .route_name(route)
        .input_type(format!("crate::wire::messages::{input}"))
        .output_type(format!("crate::wire::messages::{output}"))
        .codec_path("tonic_prost::ProstCodec");
    match streams {
        true => method.client_streaming().server_streaming().build(),
        false => method.build(),
    }
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let node = Service::builder()
        .name("Node")
        .package("conductor.v1")
        .comment("Orders from the gateway, facts from a node.")
        .method(method("session", "Session", "Down", "Up", true))
        .method(method("standing", "Standing", "Nothing", "Standing", false))
        .build();
    let peer = Service::builder()
        .name("Peer")
        .package("conductor.v1")
        .comment("What nodes ask of each other.")
        .method(method("reserve", "Reserve", "Reserve", "Landing", false))
        .method(method("pin", "Pin", "Pin", "Pinned", false))
        .method(method("unpin", "Unpin", "Unpin", "Unpinned", false))
        .build();
    Builder::new().compile(&[node, peer]);
}
