//! TLS of the control plane: gateway and nodes show each other certificates that one authority has signed.
//!
//! Certificates say who may take part and keep orders, prompts and the secret from others' eyes; the secret is asked
//! for all the same. Not here: KV's bytes, which the messenger sends as they are (its links are authenticated by the
//! secret), and the clients' side of the gateway, which is a proxy's.

use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

/// Section `[tls]` of a gateway's or node's file; all of them PEM files.
///
/// ```toml
/// [tls]
/// ca = "/etc/conductor/ca.pem"
/// certificate = "/etc/conductor/node-0.pem"
/// key = "/etc/conductor/node-0.key"
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// Our certificate, good for servers and for clients.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The name that every node's certificate has; without it each has the host of its address.
    pub name: Option<String>,
}

/// See the module.
#[derive(Clone)]
pub struct Tls {
    client: ClientTlsConfig,
    server: ServerTlsConfig,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// TLS that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("tls.{key}: {}: {why}", .path.display())]
    File {
        /// Which setting.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What was seen.
        why: std::io::Error,
    },
    /// What the files say together.
    #[error(
        "tls: {}: {why}, expected PEM: an authority, a certificate and its key", .path.display()
    )]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
}

impl Tls {
    /// Reads the files and makes sure that they can be used.
    ///
    /// # Errors
    /// If one is not there, or they are not what is expected.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |key, path: &Path| {
            std::fs::read(path).map_err(|why| TlsError::File {
                key,
                path: path.into(),
                why,
            })
        };
        let ca = Certificate::from_pem(read("ca", &files.ca)?);
        let certificate = read("certificate", &files.certificate)?;
        let identity = Identity::from_pem(certificate, read("key", &files.key)?);
        let client = ClientTlsConfig::new()
            .ca_certificate(ca.clone())
            .identity(identity.clone());
        let tls = Self {
            client: match &files.name {
                Some(name) => client.domain_name(name),
                None => client,
            },
            server: ServerTlsConfig::new().identity(identity).client_ca_root(ca),
        };
        let unusable = |why: &dyn std::error::Error| TlsError::Unusable {
            path: files.certificate.clone(),
            why: innermost(why),
        };
        endpoint("localhost:1", Some(&tls)).map_err(|error| unusable(&error))?;
        tls.serve(Server::builder())
            .map_err(|error| unusable(&error))?;
        Ok(tls)
    }

    /// A server that lets in who shows a certificate of the authority.
    pub(crate) fn serve(&self, server: Server) -> Result<Server, tonic::transport::Error> {
        server.tls_config(self.server.clone())
    }
}

/// How a node at `HOST:PORT` is reached.
pub(crate) fn endpoint(
    address: &str,
    tls: Option<&Tls>,
) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = match tls {
        None => Endpoint::from_shared(format!("http://{address}"))?,
        Some(tls) => {
            Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls.client.clone())?
        }
    };
    Ok(endpoint.tcp_nodelay(true))
}

/// What lies at the bottom of an error: the outermost often says only that there is one.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
