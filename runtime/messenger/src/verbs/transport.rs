//! A node's transport over RDMA.

use super::guests::{Guests, Reception};
use super::link::VerbsLink;
use super::nics::Nics;
use super::settings::Settings;
use crate::error::Error;
use crate::net::endpoint::Endpoint;
use crate::op::{Access, Grant, Key};
use crate::region::Region;
use crate::tcp::accept;
use crate::transport::{Address, Handler, Later, Link, Notices, Options, Transport};
use conductor_core::ids::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A node's transport over RDMA. Dropped, it ends all connections that it serves, and all queue pairs with them.
pub struct Verbs {
    endpoint: Arc<Endpoint>,
    guests: Arc<Guests>,
    nics: Arc<Nics>,
    address: Address,
}

impl Verbs {
    /// Opens the devices that `settings` name, and listens for those who want queue pairs. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the library or a device cannot be had, a setting is wrong, or the address is taken: one line that says so.
    pub async fn bind(
        address: SocketAddr,
        options: Options,
        settings: &Settings,
        handler: Arc<dyn Handler>,
    ) -> Result<(Self, Notices), Error> {
        let nics = Arc::new(Nics::open(settings)?);
        let guests = Arc::new(Guests::new(nics.clone()));
        let failed = |error| Error::system("listening", error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = Address::Verbs(listener.local_addr().map_err(failed)?);
        let reception = Arc::new(Reception(guests.clone()));
        let (endpoint, notices) = Endpoint::new(options, handler, Some(reception));
        tokio::spawn(accept(listener, endpoint.clone()));
        let verbs = Self {
            endpoint,
            guests,
            nics,
            address,
        };
        Ok((verbs, notices))
    }

    /// The devices that are used, the preferred ones first.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        let names = self.nics.devices.iter().map(|device| device.name.clone());
        names.collect()
    }
}

impl Drop for Verbs {
    fn drop(&mut self) {
        self.endpoint.stop();
    }
}

impl Transport for Verbs {
    fn address(&self) -> &Address {
        &self.address
    }

    fn register(&self, region: &Region, access: Access) -> Result<Grant, Error> {
        self.endpoint.keys.register(region, access)
    }

    fn revoke(&self, key: Key) -> Later<'_, Result<(), Error>> {
        Box::pin(async move {
            let keys = &self.endpoint.keys;
            keys.revoke(key, self.endpoint.options.deadline).await?;
            self.guests.forget(keys).await;
            Ok(())
        })
    }

    fn leave(&self, node: NodeId) -> Later<'_, Result<(), Error>> {
        Box::pin(async move {
            self.endpoint.disconnect(node).await;
            let keys = &self.endpoint.keys;
            let left = keys.leave(node, self.endpoint.options.deadline).await;
            self.guests.forget(keys).await;
            left
        })
    }

    fn connect<'a>(&'a self, to: &'a Address) -> Later<'a, Result<Arc<dyn Link>, Error>> {
        Box::pin(async move {
            let Address::Verbs(address) = to else {
                return Err(Error::Address(to.to_string().into()));
            };
            let options = &self.endpoint.options;
            let link = VerbsLink::connect(*address, options, self.nics.clone()).await?;
            Ok(Arc::new(link) as Arc<dyn Link>)
        })
    }

    fn shutdown(&self, within: Duration) -> Later<'_, ()> {
        Box::pin(self.endpoint.shutdown(within))
    }
}
