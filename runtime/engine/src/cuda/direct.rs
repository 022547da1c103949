//! By which way KV goes from the device's memory to a network card, decided from what was found.
//!
//! Best is a dma-buf: the card's driver maps the device's memory through the kernel. Next is `nvidia_peermem`, a module
//! that lets the card register the device's addresses. Else KV is copied to pinned memory first, which always works.
//! What can only be known by trying (does the card's driver take the registration?) is a fact here like the others:
//! whoever tried and failed asks again with what is left ([`Facts::without`]).
//!
//! Not here: registration itself, which is the messenger's.

use std::fmt;

/// A way of KV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The pool is exported as a dma-buf and registered.
    DmaBuf,
    /// The pool's addresses are registered, by `nvidia_peermem`.
    PeerMemory,
    /// Through pinned memory of the host.
    Staged,
}

impl Way {
    /// As it is logged.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DmaBuf => "dma-buf",
            Self::PeerMemory => "nvidia_peermem",
            Self::Staged => "pinned staging",
        }
    }
}

/// What is known when the way is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// There is a network card that can write to memory by itself.
    pub card: bool,
    /// `CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED`.
    pub gpu_direct: bool,
    /// `CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED`, and exporting the pool was not refused.
    pub dma_buf: bool,
    /// The card's driver takes dma-bufs, as far as is known.
    pub card_dma_buf: bool,
    /// The module `nvidia_peermem` is loaded, and registering was not refused.
    pub peer_memory: bool,
}

impl Facts {
    /// What is left when this way was tried and refused.
    #[must_use]
    pub const fn without(mut self, way: Way) -> Self {
        match way {
            Way::DmaBuf => self.dma_buf = false,
            Way::PeerMemory => self.peer_memory = false,
            Way::Staged => {}
        }
        self
    }
}

/// A choice and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The way.
    pub way: Way,
    /// Why not a better one.
    pub reason: &'static str,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way.name(), self.reason)
    }
}

/// Chooses.
#[must_use]
pub const fn choose(facts: Facts) -> Choice {
    let Facts {
        card,
        gpu_direct,
        dma_buf,
        card_dma_buf,
        peer_memory,
    } = facts;
    let (way, reason) = match (card, gpu_direct) {
        (false, _) => (Way::Staged, "no RDMA device"),
        (true, false) => (Way::Staged, "the device does not support GPUDirect RDMA"),
        (true, true) if dma_buf && card_dma_buf => (Way::DmaBuf, "device and card support it"),
        (true, true) if peer_memory && dma_buf => (Way::PeerMemory, "the card takes no dma-buf"),
        (true, true) if peer_memory => (
            Way::PeerMemory,
            "the device's memory is not exported as dma-buf",
        ),
        (true, true) if dma_buf => (
            Way::Staged,
            "the card takes no dma-buf, and nvidia_peermem is not loaded",
        ),
        (true, true) => (
            Way::Staged,
            "no dma-buf of the device's memory, and nvidia_peermem is not loaded",
        ),
    };
    Choice { way, reason }
}

/// True if the module `nvidia_peermem` is loaded.
#[must_use]
pub fn peer_memory_loaded() -> bool {
    std::path::Path::new("/sys/module/nvidia_peermem").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Facts = Facts {
        card: true,
        gpu_direct: true,
        dma_buf: true,
        card_dma_buf: true,
        peer_memory: true,
    };

    #[test]
    fn the_best_way_that_is_there_is_taken_and_refusals_lead_down() {
        assert_eq!(choose(ALL).way, Way::DmaBuf);
        let refused = ALL.without(Way::DmaBuf);
        assert_eq!(choose(refused).way, Way::PeerMemory);
        let refused = refused.without(Way::PeerMemory);
        assert_eq!(choose(refused).way, Way::Staged);
        assert_eq!(choose(refused.without(Way::Staged)).way, Way::Staged);
    }

    #[test]
    fn every_way_needs_all_that_it_stands_on() {
        for bits in 0_u32..32 {
            let [card, gpu_direct, dma_buf, card_dma_buf, peer_memory] =
                [0, 1, 2, 3, 4].map(|bit| bits >> bit & 1 == 1);
            let facts = Facts {
                card,
                gpu_direct,
                dma_buf,
                card_dma_buf,
                peer_memory,
            };
            let direct = card && gpu_direct;
            let expected = match (direct && dma_buf && card_dma_buf, direct && peer_memory) {
                (true, _) => Way::DmaBuf,
                (false, true) => Way::PeerMemory,
                (false, false) => Way::Staged,
            };
            assert_eq!(choose(facts).way, expected, "{facts:?}");
        }
    }

    #[test]
    fn a_choice_says_why() {
        let staged = choose(Facts {
            card: true,
            gpu_direct: true,
            ..Facts::default()
        });
        let expected =
            "pinned staging: no dma-buf of the device's memory, and nvidia_peermem is not loaded";
        assert_eq!(staged.to_string(), expected);
        assert_eq!(
            choose(Facts::default()).to_string(),
            "pinned staging: no RDMA device"
        );
    }
}
