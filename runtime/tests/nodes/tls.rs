//! Certificates: who shows one of the authority takes part, others do not.

use super::cluster::{Gateway, SECRET, Setup, World, answer, prompt};
use conductor_runtime::links::LinkNews;
use conductor_runtime::wire::{Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// Files of a party whose certificate is good for the loopback.
    fn files(&self, folder: &Path, name: &str) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_string()];
        let params = CertificateParams::new(names).expect("parameters");
        let signed = params.signed_by(&key, &self.issuer).expect("signed");
        let write = |what: &str, text: &str| {
            let path = folder.join(format!("{name}-{what}.pem"));
            std::fs::write(&path, text).expect("writes");
            path
        };
        TlsFiles {
            ca: write("ca", &self.certificate),
            certificate: write("certificate", &signed.pem()),
            key: write("key", &key.serialize_pem()),
            name: None,
        }
    }
}

/// What a gateway hears of node 0.
async fn refused(setup: &Setup, addresses: Vec<String>) -> String {
    let gateway = Gateway::start(setup, addresses, SECRET);
    let any = |news: &LinkNews| !matches!(news, LinkNews::Down(_));
    match gateway.hears(0, any).await {
        LinkNews::Unreachable(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_a_cluster_serves_and_others_stay_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = |authority: &Authority, name: &str| {
        let files = authority.files(folder.path(), name);
        Some(Tls::read(&files).expect("good files"))
    };
    let setup = Setup {
        tls: tls(&ours, "ours"),
        ..Setup::new("1xprefill 1xdecode")
    };
    let world = World::start(setup.clone()).await;
    // Gateway to nodes, and the prefill node to the decode node.
    let (tokens, _) = answer(world.gateway.submit(&prompt(vec![97; 100], 20)).await).await;
    assert_eq!(tokens.len(), 20);

    let plain = Setup {
        tls: None,
        ..setup.clone()
    };
    refused(&plain, world.addresses()).await;
    let strangers = Setup {
        tls: tls(&theirs, "theirs"),
        ..setup
    };
    let why = refused(&strangers, world.addresses()).await;
    assert!(why.contains("certificate"), "{why}");
    world.end().await;
}

#[test]
fn files_that_cannot_be_used_are_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = Authority::new().files(folder.path(), "good");
    let none = TlsFiles {
        key: folder.path().join("none"),
        ..good.clone()
    };
    let error = Tls::read(&none).expect_err("no such file").to_string();
    assert!(error.starts_with("tls.key: "), "{error}");
    let mixed = TlsFiles {
        key: good.ca.clone(),
        ..good
    };
    let error = Tls::read(&mixed).expect_err("no key").to_string();
    assert!(error.contains("expected PEM"), "{error}");
}
