//! What a link has mapped: the regions of its peer, and the words that guard its windows.

use crate::error::Error;
use crate::guard::{self, Inside};
use crate::op::{Access, Key, Rights};
use crate::region::SIZE_IS_FIXED;
use crate::region::raw::Mapping;
use crate::wire::Attached;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::SealFlags;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// A window of the peer's.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) access: Access,
    page: Arc<Mapping>,
    slot: usize,
    generation: u32,
}

impl Attachment {
    /// Enters for one piece; `None` if the peer has taken the key back.
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        guard::enter(self.page.word(self.slot), self.generation)
    }

    fn is_open(&self) -> bool {
        guard::is_open(self.page.word(self.slot), self.generation)
    }
}

/// By key; the mappings behind them are shared, since page tables of many gigabytes are not made for every key.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    by_key: BTreeMap<Key, Arc<Attachment>>,
    /// By region and whether it can be written.
    regions: BTreeMap<(u64, bool), Weak<Mapping>>,
    page: Option<Arc<Mapping>>,
}

impl Attachments {
    /// What a key opens, if that is known and still open.
    pub(crate) fn get(&mut self, key: Key) -> Option<Arc<Attachment>> {
        let attachment = self.by_key.get(&key)?.clone();
        attachment.is_open().then_some(attachment)
    }

    /// Maps what the peer has sent, and forgets what it has taken back.
    pub(crate) fn enter(
        &mut self,
        key: Key,
        attached: Attached,
        region: OwnedFd,
        page: OwnedFd,
    ) -> Result<Arc<Attachment>, Error> {
        self.by_key.retain(|_, attachment| attachment.is_open());
        self.regions.retain(|_, mapping| mapping.strong_count() > 0);
        let rights = Rights::of_bits(attached.rights);
        let name = (attached.region, rights.write);
        let known = self.regions.get(&name).and_then(Weak::upgrade);
        let mapping = match known {
            Some(mapping) => mapping,
            None => {
                let mapping = Arc::new(map(&region, attached.region_bytes, rights.write)?);
                self.regions.insert(name, Arc::downgrade(&mapping));
                mapping
            }
        };
        if mapping.bytes() != attached.region_bytes {
            return Err(Error::system("mapping", "a region of two sizes"));
        }
        let page = match &self.page {
            Some(page) => page.clone(),
            None => {
                let bytes = size(&page)?;
                let page = Arc::new(map(&page, bytes, true)?);
                self.page.insert(page).clone()
            }
        };
        if u64::from(attached.slot) >= page.bytes() / 8 {
            return Err(Error::system("mapping", "a word outside of its page"));
        }
        let attachment = Arc::new(Attachment {
            mapping,
            access: Access {
                window: attached.window,
                rights,
                node: None,
            },
            page,
            slot: attached.slot as usize,
            generation: attached.generation,
        });
        self.by_key.insert(key, attachment.clone());
        Ok(attachment)
    }
}

fn size(file: &OwnedFd) -> Result<u64, Error> {
    let stat = rustix::fs::fstat(file).map_err(|error| Error::system("mapping", error))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Maps a peer's file, if it is as large as it says and will stay so: else its peer could kill us by shrinking it.
fn map(file: &OwnedFd, bytes: u64, writable: bool) -> Result<Mapping, Error> {
    let failed = |why: String| Error::system("mapping a peer's memory", why);
    let seals = rustix::fs::fcntl_get_seals(file).map_err(|error| failed(error.to_string()))?;
    if !seals.contains(SealFlags::SHRINK.intersection(SIZE_IS_FIXED)) {
        return Err(failed("it could shrink".into()));
    }
    if size(file)? < bytes || bytes == 0 {
        return Err(failed("it is smaller than it says".into()));
    }
    let length = usize::try_from(bytes).map_err(|_| failed("it is too large".into()))?;
    Mapping::new(file.as_fd(), length, writable, false).map_err(|error| failed(error.to_string()))
}
