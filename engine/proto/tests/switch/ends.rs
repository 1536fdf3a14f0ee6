//! Both ends, and what carries between them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    BootEpoch, Chance, DropReason, Frame, Hashname, Instant, Limits, Priority, Space, Wall,
};
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::switch::{Answer, Effect, LineRef, Outgoing, Setting, Switch, Token, Toll};
use trunkline_proto::wire::package::{Code, Sequence};

pub(crate) const WALL: Wall = Wall::from_secs(1_800_000_000);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// All of one space but the fourth; slow to make, so once each.
pub(crate) fn identity(index: usize) -> Arc<Identity> {
    static ALL: [OnceLock<Arc<Identity>>; 8] = [const { OnceLock::new() }; 8];
    let make = || {
        let space = Space::new(if index == 3 { "elsewhere" } else { "here" }).unwrap();
        let mut chance = Chance::from_number(index as u64 + 1);
        let life = Duration::from_secs(86_400);
        Arc::new(Identity::generate(&space, 2_048, &mut chance, WALL, life).unwrap())
    };
    ALL[index].get_or_init(make).clone()
}

/// One end.
pub(crate) struct End {
    pub(crate) switch: Switch,
    pub(crate) address: SocketAddr,
    pub(crate) hashname: Hashname,
    pub(crate) up: Vec<(LineRef, Hashname)>,
    pub(crate) down: Vec<Code>,
    pub(crate) rests: Vec<Hashname>,
    pub(crate) inside: Vec<Vec<u8>>,
    pub(crate) answers: Vec<(Token, Answer)>,
    /// What another partition is to have.
    pub(crate) elsewhere: Vec<(Flying, Toll)>,
}

pub(crate) fn end(index: usize, epoch: u64, limits: Limits) -> End {
    end_of(index, epoch, limits, (0, 1))
}

/// One partition of an end that has several.
pub(crate) fn end_of(
    index: usize,
    epoch: u64,
    limits: Limits,
    (partition, partitions): (u16, u16),
) -> End {
    let identity = identity(index);
    let hashname = identity.hashname();
    let setting = Setting {
        partition,
        partitions,
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity,
        epoch: BootEpoch(epoch),
        limits: Arc::new(limits),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([index as u8 + epoch as u8; 16]),
    };
    End {
        switch: Switch::new(
            setting,
            Chance::from_number(u64::from(partition) * 100 + epoch * 10 + index as u64),
        ),
        address: ([192, 0, 2, index as u8 + 1], 42_424).into(),
        hashname,
        up: Vec::new(),
        down: Vec::new(),
        rests: Vec::new(),
        inside: Vec::new(),
        answers: Vec::new(),
        elsewhere: Vec::new(),
    }
}

/// A datagram on the wire.
#[derive(Clone)]
pub(crate) struct Flying {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl End {
    pub(crate) fn knows(&mut self, now: Instant, other: &Self, index: usize) {
        self.switch.found(now, other.hashname, &[other.address], true);
        self.switch.learned(now, identity(index).record().clone());
    }

    pub(crate) fn drain(&mut self) -> Vec<Flying> {
        let mut out = Vec::new();
        while let Some(effect) = self.switch.poll() {
            match effect {
                Effect::Datagram { to, bytes, .. } => {
                    out.push(Flying { from: self.address, to, bytes: bytes.to_vec() });
                }
                Effect::LineUp { line, peer, .. } => self.up.push((line, peer)),
                Effect::LineDown { code, .. } => self.down.push(code),
                Effect::LineRests { peer } => self.rests.push(peer),
                Effect::Stream { packet, .. } => self.inside.push(packet.to_vec()),
                Effect::Elsewhere { from, bytes, toll, .. } => {
                    let (to, bytes) = (self.address, bytes.to_vec());
                    self.elsewhere.push((Flying { from, to, bytes }, toll));
                }
                Effect::Answered(token, answer) => self.answers.push((token, answer)),
                _ => {}
            }
        }
        out
    }

    pub(crate) fn hear(&mut self, now: Instant, d: &Flying) {
        self.switch.datagram(now, WALL, d.from, BytesMut::from(d.bytes.as_slice()));
    }

    /// Sends a message inside the line.
    pub(crate) fn tell(&mut self, now: Instant, to: &Self, id: u64, text: &[u8]) {
        let (token, priority, sequence) = (Token(id), Priority::DEFAULT, Sequence::MA);
        let how = Outgoing { token, priority, reply: false, ttl: None, sequence };
        let (head, body) = (Bytes::from_static(b"head "), Bytes::copy_from_slice(text));
        self.switch.send_sealed(now, to.hashname, how, &head, &[body]);
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.switch.counters().drops.of(reason)
    }

    /// Sends one stream packet on the newest line.
    pub(crate) fn say(&mut self, now: Instant, text: &[u8]) {
        let (line, _) = *self.up.last().expect("a line");
        let packet = [&[0x10], text].concat();
        self.switch.seal(now, line, Priority::DEFAULT, Frame::copied(&packet));
    }
}

/// Carries everything both ways until nothing is left; `keep` decides what gets through.
pub(crate) fn carry(
    now: Instant,
    ends: &mut [&mut End],
    mut keep: impl FnMut(&Flying) -> bool,
) -> Vec<Flying> {
    let mut seen = Vec::new();
    loop {
        let flying: Vec<Flying> = ends.iter_mut().flat_map(|e| e.drain()).collect();
        if flying.is_empty() {
            return seen;
        }
        for d in flying {
            let to = ends.iter_mut().find(|e| e.address == d.to);
            if let Some(to) = to.filter(|_| keep(&d)) {
                to.hear(now, &d);
            }
            seen.push(d);
        }
    }
}

/// Lets time pass for both, carrying what it brings, a hundred milliseconds a step.
pub(crate) fn pass(
    from: Instant,
    steps: u32,
    ends: &mut [&mut End],
    mut keep: impl FnMut(&Flying) -> bool,
) -> Instant {
    let mut now = from;
    for _ in 0..steps {
        now += 100 * MS;
        ends.iter_mut().for_each(|e| e.switch.handle_timeout(now, WALL));
        carry(now, ends, &mut keep);
    }
    now
}

pub(crate) fn pair() -> (End, End, Instant) {
    let now = Instant::from_micros(1);
    let (mut a, mut b) = (end(0, 1, Limits::default()), end(1, 1, Limits::default()));
    a.knows(now, &b, 1);
    b.knows(now, &a, 0);
    (a, b, now)
}
