//! What two ends say to each other over a connection to set up queue pairs and to learn rkeys: bytes and back. Pure.
//!
//! Lists and lengths are bounded before anything is allocated; what is not understood is `None`.

use crate::op::Rights;
use crate::region::Span;
use std::net::Ipv6Addr;

/// NICs that a node says it has, at most.
pub(crate) const NICS_MAX: usize = 16;

/// A port as its peers have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) gid: Ipv6Addr,
    /// Only InfiniBand has it.
    pub(crate) lid: u16,
    /// Bytes of its largest packet.
    pub(crate) mtu: u16,
    pub(crate) ethernet: bool,
}

/// One end of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) port: Port,
    pub(crate) number: u32,
    /// The number of the first packet that it sends.
    pub(crate) sequence: u32,
    /// Reads that it can answer, or has under way, at a time.
    pub(crate) reads: u8,
}

/// A question of the side that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Which ports are there?
    Ports,
    /// A queue pair, please, at this port, for this end of mine.
    Pair { port: u8, end: End },
    /// This queue pair, by its port and its number there, is not to receive any further byte. (Ports number by
    /// themselves.)
    Close { port: u8, number: u32 },
    /// What does this key open?
    Attach { key: u64 },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    Ports(Vec<Port>),
    Pair(End),
    Closed,
    Window(Opened),
}

/// What a key opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The address of the region's first byte, which spans count from.
    pub(crate) base: u64,
    pub(crate) window: Span,
    pub(crate) rights: Rights,
    /// The window's rkey at each port, in the order of [`Tell::Ports`].
    pub(crate) rkeys: Vec<u32>,
}

impl Ask {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        match self {
            Self::Ports => bytes.push(1),
            Self::Pair { port, end } => {
                bytes.extend([2, port]);
                end.encode(&mut bytes);
            }
            Self::Close { port, number } => {
                bytes.extend([3, port]);
                bytes.extend(number.to_le_bytes());
            }
            Self::Attach { key } => {
                bytes.push(4);
                bytes.extend(key.to_le_bytes());
            }
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let ask = match reader.u8()? {
            1 => Self::Ports,
            2 => Self::Pair {
                port: reader.u8()?,
                end: reader.end()?,
            },
            3 => Self::Close {
                port: reader.u8()?,
                number: reader.u32()?,
            },
            4 => Self::Attach { key: reader.u64()? },
            _ => return None,
        };
        reader.is_empty().then_some(ask)
    }
}

impl Tell {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        match self {
            Self::Ports(ports) => {
                bytes.extend([1, ports.len() as u8]);
                ports.iter().for_each(|port| port.encode(&mut bytes));
            }
            Self::Pair(end) => {
                bytes.push(2);
                end.encode(&mut bytes);
            }
            Self::Closed => bytes.push(3),
            Self::Window(opened) => {
                bytes.extend([4, opened.rights.bits(), opened.rkeys.len() as u8]);
                for word in [opened.base, opened.window.offset, opened.window.bytes] {
                    bytes.extend(word.to_le_bytes());
                }
                let rkeys = opened.rkeys.iter();
                rkeys.for_each(|rkey| bytes.extend(rkey.to_le_bytes()));
            }
        }
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let tell = match reader.u8()? {
            1 => {
                let count = reader.count()?;
                let ports = (0..count).map(|_| reader.port());
                Self::Ports(ports.collect::<Option<_>>()?)
            }
            2 => Self::Pair(reader.end()?),
            3 => Self::Closed,
            4 => {
                let rights = reader.u8().filter(|&bits| bits < 4)?;
                let count = reader.count()?;
                let base = reader.u64()?;
                let window = Span::new(reader.u64()?, reader.u64()?);
                // An address behind the last one would be a small one.
                base.checked_add(window.end()?)?;
                let rkeys = (0..count).map(|_| reader.u32());
                Self::Window(Opened {
                    base,
                    window,
                    rights: Rights::of_bits(rights),
                    rkeys: rkeys.collect::<Option<_>>()?,
                })
            }
            _ => return None,
        };
        reader.is_empty().then_some(tell)
    }
}

impl Port {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.gid.octets());
        bytes.extend(self.lid.to_le_bytes());
        bytes.extend(self.mtu.to_le_bytes());
        bytes.push(self.ethernet.into());
    }
}

impl End {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.port.encode(bytes);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.push(self.reads);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// Entries of a list, at least one.
    fn count(&mut self) -> Option<usize> {
        let count = usize::from(self.u8()?);
        (1..=NICS_MAX).contains(&count).then_some(count)
    }

    fn port(&mut self) -> Option<Port> {
        Some(Port {
            gid: Ipv6Addr::from(self.take::<16>()?),
            lid: self.u16()?,
            mtu: self.u16()?,
            ethernet: match self.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        })
    }

    fn end(&mut self) -> Option<End> {
        Some(End {
            port: self.port()?,
            number: self.u32()?,
            sequence: self.u32().filter(|&sequence| sequence >> 24 == 0)?,
            reads: self.u8()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PORT: Port = Port {
        gid: Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a4d, 1),
        lid: 3,
        mtu: 4096,
        ethernet: true,
    };
    const END: End = End {
        port: PORT,
        number: 17,
        sequence: 0x00ab_cdef,
        reads: 16,
    };

    #[test]
    fn what_is_said_is_understood_and_every_shorter_or_longer_one_is_not() {
        let opened = Opened {
            base: 0x7f00_0000_0000,
            window: Span::new(4096, 1 << 30),
            rights: Rights::WRITE,
            rkeys: vec![7, 8],
        };
        for ask in [
            Ask::Ports,
            Ask::Pair { port: 1, end: END },
            Ask::Close {
                port: 1,
                number: 17,
            },
            Ask::Attach { key: 9 },
        ] {
            let mut bytes = ask.to_bytes();
            assert_eq!(Ask::parse(&bytes), Some(ask));
            assert_eq!(Ask::parse(&bytes[..bytes.len() - 1]), None);
            bytes.push(0);
            assert_eq!(Ask::parse(&bytes), None);
        }
        for tell in [
            Tell::Ports(vec![PORT, PORT]),
            Tell::Pair(END),
            Tell::Closed,
            Tell::Window(opened.clone()),
        ] {
            let mut bytes = tell.to_bytes();
            assert_eq!(Tell::parse(&bytes).as_ref(), Some(&tell));
            assert_eq!(Tell::parse(&bytes[..bytes.len() - 1]), None);
            bytes.push(0);
            assert_eq!(Tell::parse(&bytes), None);
        }
        let beyond = Opened {
            base: u64::MAX - 5,
            ..opened
        };
        assert_eq!(Tell::parse(&Tell::Window(beyond).to_bytes()), None);
        assert_eq!(Tell::parse(&Tell::Ports(Vec::new()).to_bytes()), None);
    }

    proptest! {
        #[test]
        fn anything_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(ask) = Ask::parse(&bytes) {
                prop_assert_eq!(ask.to_bytes(), bytes.clone());
            }
            if let Some(tell) = Tell::parse(&bytes) {
                prop_assert_eq!(tell.to_bytes(), bytes);
            }
        }
    }
}
