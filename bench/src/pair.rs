//! Two switches with a line between them, in this thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    BootEpoch, Chance, Hashname, Instant, Limits, Namespace, Priority, Wall,
};
use trunkline_proto::crypto::packing::head;
use trunkline_proto::crypto::{Identity, LineIds, SpaceRules};
use trunkline_proto::switch::{Effect, Outgoing, Setting, State, Switch, Token};
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::sequence::Sequence;

const WALL: Wall = Wall::from_secs(1_800_000_000);
const NOW: Instant = Instant::from_micros(1_000);

fn switch(number: u64) -> (Arc<Identity>, Switch) {
    let mut chance = Chance::from_number(number);
    let space = "bench".parse().expect("a space");
    let life = Duration::from_secs(86_400);
    let identity = Identity::generate(&space, 2_048, &mut chance, WALL, life).expect("keys");
    let identity = Arc::new(identity);
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: Arc::new(SpaceRules::open(*identity.space())),
        identity: identity.clone(),
        epoch: BootEpoch(number),
        limits: Arc::new(Limits::default()),
        capabilities: Default::default(),
        anonymous: false,
        ids: LineIds::new([7; 16]),
    };
    (identity, Switch::new(setting, chance))
}

/// The packages a switch wants sent.
fn packages(switch: &mut Switch) -> Vec<BytesMut> {
    std::iter::from_fn(|| switch.poll())
        .filter_map(|effect| match effect {
            Effect::Package(bytes) => Some(bytes),
            _ => None,
        })
        .collect()
}

/// One that sends and one that receives.
#[derive(Debug)]
pub struct Pair {
    sender: Switch,
    receiver: Switch,
    peer: Hashname,
    token: u64,
}

impl Pair {
    /// Two switches whose line is up.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn new() -> Self {
        let ((ours, mut a), (theirs, mut b)) = (switch(1), switch(2));
        let (us, peer) = (ours.hashname(), theirs.hashname());
        a.learned(NOW, theirs.record().clone());
        a.reachable(NOW, peer, true);
        b.reachable(NOW, us, true);
        a.want(NOW, peer);
        loop {
            let (from_a, from_b) = (packages(&mut a), packages(&mut b));
            if from_a.is_empty() && from_b.is_empty() {
                break;
            }
            from_a.into_iter().for_each(|frame| b.package(NOW, WALL, Default::default(), frame));
            from_b.into_iter().for_each(|frame| a.package(NOW, WALL, Default::default(), frame));
        }
        assert_eq!((a.state(&peer), b.state(&us)), (State::Connected, State::Connected));
        Self { sender: a, receiver: b, peer, token: 0 }
    }

    /// Sends a batch of messages, with what a batch has in common written once.
    pub fn send(&mut self, bodies: &[Bytes]) {
        self.token += bodies.len() as u64;
        let (token, priority, sequence) = (Token(self.token), Priority::DEFAULT, Sequence::MA);
        let how = Outgoing { token, priority, reply: false, ttl: None, sequence };
        let envelope = Envelope::new(Namespace::new("load").expect("a name"), 1.into());
        self.sender.send_sealed(NOW, self.peer, how, &head(sequence, &envelope), bodies);
    }

    /// The next thing the sender wants done.
    pub fn poll(&mut self) -> Option<Effect> {
        self.sender.poll()
    }

    /// The packages the sender wants sent.
    pub fn packages(&mut self) -> Vec<BytesMut> {
        packages(&mut self.sender)
    }

    /// The receiver takes them; `each` gets what it wants done. The line's counters must come in
    /// order enough for its window.
    pub fn take(&mut self, frames: Vec<BytesMut>, mut each: impl FnMut(Effect)) {
        for frame in frames {
            self.receiver.package(NOW, WALL, Default::default(), frame);
        }
        while let Some(effect) = self.receiver.poll() {
            each(effect);
        }
    }

    /// Messages the receiver has unsealed.
    #[must_use]
    pub fn unsealed(&self) -> u64 {
        self.receiver.counters().unsealed
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}
