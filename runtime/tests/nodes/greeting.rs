//! Who may not take part is told why.

use super::cluster::{Gateway, SECRET, Setup, World};
use conductor_core::config::PolicyConfig;
use conductor_runtime::links::{LinkError, LinkNews};
use conductor_runtime::wire::messages::{Down, Hello, Nothing, Standing, Up, Welcome, down, up};
use conductor_runtime::wire::{Node, NodeClient, NodeServer, VERSION, digest};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// What a gateway of this setup hears of node 0.
async fn hears(world: &World, setup: &Setup, addresses: Vec<String>, secret: &str) -> String {
    let gateway = Gateway::start(setup, addresses, secret);
    let any = |news: &LinkNews| matches!(news, LinkNews::Unreachable(_));
    let news = gateway.hears(0, any).await;
    assert!(!matches!(news, LinkNews::Up { .. }));
    drop(gateway);
    // Nobody else is disturbed by it.
    world.gateway.up(world.nodes.len()).await;
    match news {
        LinkNews::Unreachable(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_cluster_policy_or_node_is_refused_with_the_reason() {
    let world = World::start(Setup::new("1xprefill 1xdecode")).await;
    let good = &world.setup;
    let addresses = world.addresses();
    let why = hears(&world, good, addresses.clone(), "another-secret-for-tests").await;
    assert!(why.contains("the secret is another one"), "{why}");

    let other = Setup::new("1xdecode 1xprefill");
    let why = hears(&world, &other, addresses.clone(), SECRET).await;
    assert!(why.contains("cluster or policy differ"), "{why}");

    let other = Setup {
        policy: PolicyConfig::built_in("round-robin").expect("a policy"),
        ..good.clone()
    };
    let why = hears(&world, &other, addresses.clone(), SECRET).await;
    assert!(why.contains("cluster or policy differ"), "{why}");

    let swapped = addresses.iter().rev().cloned().collect();
    let why = hears(&world, good, swapped, SECRET).await;
    assert!(why.contains("the gateway has 0, the node has 1"), "{why}");

    let nobody = vec!["127.0.0.1:1".to_string(); 2];
    let why = hears(&world, good, nobody, SECRET).await;
    assert!(why.starts_with("127.0.0.1:1: cannot connect: "), "{why}");

    let nonsense = vec!["no address".to_string(); 2];
    let why = hears(&world, good, nonsense, SECRET).await;
    assert_eq!(why, LinkError::Address("no address".into()).to_string());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_another_version_is_refused_with_both() {
    let world = World::start(Setup::new("1xprefill 1xdecode")).await;
    let address = format!("http://{}", world.addresses()[0]);
    let channel = Endpoint::from_shared(address).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    let hello = Hello {
        version: VERSION + 1,
        node: 0,
        digest: digest(&world.setup.cluster, &world.setup.policy),
        nodes: world.addresses(),
        epoch: 0,
    };
    let first = Down {
        kind: Some(down::Kind::Hello(hello)),
    };
    let mut request = Request::new(tokio_stream::once(first));
    let secret = format!("Bearer {SECRET}").parse().expect("printable");
    request.metadata_mut().insert("authorization", secret);
    let refused = NodeClient::new(channel).session(request).await;
    let refused = refused.expect_err("it is refused");
    let other = VERSION + 1;
    assert_eq!(
        refused.message(),
        format!("versions differ: the gateway has {other}, the node has {VERSION}")
    );
    // Nobody else is disturbed by it.
    world.gateway.up(2).await;
    world.end().await;
}

/// A node of another version, which does not mind ours.
struct Stranger;

#[tonic::async_trait]
impl Node for Stranger {
    type SessionStream = tokio_stream::Once<Result<Up, Status>>;

    async fn session(
        &self,
        _: Request<Streaming<Down>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let welcome = Welcome {
            version: VERSION + 1,
            ..Welcome::default()
        };
        let kind = Some(up::Kind::Welcome(welcome));
        Ok(Response::new(tokio_stream::once(Ok(Up { kind }))))
    }

    async fn standing(&self, _: Request<Nothing>) -> Result<Response<Standing>, Status> {
        Err(Status::unimplemented("nothing is asked"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_version_is_not_taken_in() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let serve = Server::builder()
        .add_service(NodeServer::new(Stranger))
        .serve_with_incoming(TcpIncoming::from(listener));
    let serving = tokio::spawn(serve);
    let setup = Setup::new("1xcoupled");
    let gateway = Gateway::start(&setup, vec![address.clone()], SECRET);
    let any = |news: &LinkNews| matches!(news, LinkNews::Unreachable(_));
    let LinkNews::Unreachable(error) = gateway.hears(0, any).await else {
        panic!("it is not taken in");
    };
    let (found, expected) = (VERSION + 1, VERSION);
    assert_eq!(
        error.to_string(),
        format!("{address}: the version is {found}, expected {expected}")
    );
    serving.abort();
}
