//! Somebody hostile, who sees what passes and repeats, changes and invents.
//!
//! Keeps a sample of everything seen; draws from it when the scenario says so. What the forger
//! has no way to make is left out: plain messages repeated by a neighbour are delivered again,
//! because nothing protects them, so those are not repeated here.

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{Chance, LinkId};
use trunkline_proto::wire::link::{LinkHeader, LinkKind};
use trunkline_proto::wire::package::{Content, Header};

use crate::draw::Draw;
use crate::emulator::Item;

/// Items kept of each kind.
const SAMPLE: usize = 48;

/// A datagram that passed.
#[derive(Clone, Debug)]
pub(crate) struct SeenDatagram {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) bytes: Bytes,
}

/// An even sample of a stream of items.
struct Sample<T> {
    items: Vec<T>,
    passed: u64,
}

impl<T: Clone> Sample<T> {
    const fn new() -> Self {
        Self { items: Vec::new(), passed: 0 }
    }

    fn see(&mut self, chance: &mut Chance, item: impl FnOnce() -> T) {
        self.passed += 1;
        if self.items.len() < SAMPLE {
            return self.items.push(item());
        }
        // Newer items count more than an even sample would have it: old ones are dead lines.
        if chance.below(8) == 0 {
            let at = chance.index(SAMPLE);
            self.items[at] = item();
        }
    }

    fn draw(&self, chance: &mut Chance) -> Option<T> {
        (!self.items.is_empty()).then(|| self.items[chance.index(self.items.len())].clone())
    }
}

/// What the forger has seen.
pub(crate) struct Seen {
    chance: Chance,
    datagrams: Sample<SeenDatagram>,
    packages: Sample<Bytes>,
    announcements: Sample<Bytes>,
    broadcasts: Sample<Bytes>,
    hellos: Sample<Bytes>,
}

impl Seen {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        Self {
            chance: chance.fork(),
            datagrams: Sample::new(),
            packages: Sample::new(),
            announcements: Sample::new(),
            broadcasts: Sample::new(),
            hellos: Sample::new(),
        }
    }

    /// A datagram passes.
    pub(crate) fn datagram(&mut self, from: usize, to: usize, bytes: &Bytes) {
        let seen = || SeenDatagram { from, to, bytes: bytes.clone() };
        self.datagrams.see(&mut self.chance, seen);
    }

    /// A frame passes on a link.
    pub(crate) fn frame(
        &mut self,
        _near: (usize, LinkId),
        _far: Option<(usize, LinkId)>,
        header: LinkHeader,
        frame: &Bytes,
    ) {
        let copy = || Bytes::copy_from_slice(frame);
        match header.kind {
            LinkKind::Package => {
                let protected = |h: Header| matches!(h.content, Content::Sealed | Content::Switch);
                if Header::parse(frame).is_ok_and(protected) {
                    self.packages.see(&mut self.chance, copy);
                }
            }
            LinkKind::Announcement => self.announcements.see(&mut self.chance, copy),
            LinkKind::Broadcast => self.broadcasts.see(&mut self.chance, copy),
            LinkKind::Hello | LinkKind::Proof => self.hellos.see(&mut self.chance, copy),
            _ => {}
        }
    }

    pub(crate) fn a_datagram(&mut self) -> Option<SeenDatagram> {
        self.datagrams.draw(&mut self.chance)
    }

    pub(crate) fn a_package(&mut self) -> Option<Bytes> {
        self.packages.draw(&mut self.chance)
    }

    pub(crate) fn an_announcement(&mut self) -> Option<Bytes> {
        self.announcements.draw(&mut self.chance)
    }

    pub(crate) fn a_broadcast(&mut self) -> Option<Bytes> {
        self.broadcasts.draw(&mut self.chance)
    }

    pub(crate) fn a_hello(&mut self) -> Option<Bytes> {
        self.hellos.draw(&mut self.chance)
    }

    /// Bytes that mean nothing.
    pub(crate) fn noise(&mut self, most: usize) -> Bytes {
        let mut noise = BytesMut::zeroed(self.chance.index(most));
        noise.iter_mut().for_each(|b| *b = u8::try_from(self.chance.below(256)).unwrap_or(0));
        // Some of it looks like the beginning of something.
        let likely = self.chance.pick(&[&[][..], &[0, 0, 1, 3], &[0, 10], &[0, 60, 6, 3, 0x10, 9]]);
        noise.iter_mut().zip(likely).for_each(|(n, l)| *n = *l);
        noise.freeze()
    }

    /// The same with one to eight bits flipped, from byte `first` on.
    pub(crate) fn flipped(&mut self, bytes: &Bytes, first: usize) -> Bytes {
        let (front, mut rest) =
            (bytes.slice(..first.min(bytes.len())), bytes.slice(first.min(bytes.len())..));
        for _ in 0..self.chance.span(1, 8) {
            rest.flip_bit(self.chance.u64());
        }
        Bytes::from([front, rest].concat())
    }
}
