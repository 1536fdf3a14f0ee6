//! Closed spaces between two switches: who opens must be vouched for, who answers too, and whom
//! nobody vouches for any more is gone by the next keys. Virtual time, no sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail loudly"
)]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use trunkline_proto::base::{
    BootEpoch, Chance, DropReason, Frame, Instant, Limits, Priority, Space, Wall,
};
use trunkline_proto::crypto::open::Capabilities;
use trunkline_proto::crypto::{Flags, Identity, LineIds, Refusal, SpaceRules, voucher};
use trunkline_proto::switch::{Effect, LineRef, Note, SPACER, Setting, State, Switch};
use trunkline_proto::wire::package::Code;

const WALL: Wall = Wall::from_secs(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

const A: usize = 0;
const B: usize = 1;
const OPERATOR: usize = 2;

/// Two members and an operator; slow to make, so once.
fn identity(index: usize) -> Arc<Identity> {
    static ALL: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();
    let make = |seed| {
        let (space, life) = (Space::new("here").unwrap(), Duration::from_secs(86_400));
        let mut chance = Chance::from_number(seed);
        Arc::new(Identity::generate(&space, 2_048, &mut chance, WALL, life).unwrap())
    };
    ALL.get_or_init(|| [1, 2, 3].map(make).into())[index].clone()
}

/// A voucher for one of them that ends after `life`.
fn vouched(index: usize, life: Duration) -> Bytes {
    let subject = identity(index).hashname();
    let flags = Flags::SPACER;
    voucher::issue(&identity(OPERATOR), &subject, flags, WALL.after(life)).to_vec().into()
}

struct End {
    switch: Switch,
    rules: Arc<SpaceRules>,
    address: SocketAddr,
    line: Option<LineRef>,
    down: Vec<Code>,
    /// Whether it takes the other for one that meshes.
    meshes: Option<bool>,
}

/// An end in the closed space, which shows `voucher`.
fn end(index: usize, voucher: Bytes) -> End {
    let operator = identity(OPERATOR);
    let rules = SpaceRules::closed(*operator.space(), [operator.hashname()]);
    rules.learned(operator.record());
    rules.show(voucher);
    end_with(index, rules)
}

fn end_with(index: usize, rules: SpaceRules) -> End {
    let (identity, rules) = (identity(index), Arc::new(rules));
    let setting = Setting {
        partition: 0,
        partitions: 1,
        space: rules.clone(),
        identity,
        epoch: BootEpoch(1),
        limits: Arc::new(Limits::default()),
        capabilities: Capabilities(SPACER),
        anonymous: false,
        ids: LineIds::new([index as u8; 16]),
    };
    let switch = Switch::new(setting, Chance::from_number(index as u64));
    let address = ([192, 0, 2, index as u8 + 1], 42_424).into();
    End { switch, rules, address, line: None, down: Vec::new(), meshes: None }
}

/// Time that passes for both, and a wire that loses nothing.
struct World {
    now: Instant,
    wall: Wall,
    ends: [End; 2],
}

impl World {
    /// `a` and `b` know each other's records and addresses, and `a` wants a line.
    fn new(a: End, b: End) -> Self {
        let mut world = Self { now: Instant::from_micros(1), wall: WALL, ends: [a, b] };
        for (i, other) in [(A, B), (B, A)] {
            let (hashname, at) = (identity(other).hashname(), world.ends[other].address);
            world.ends[i].switch.found(world.now, hashname, &[at], true);
            world.ends[i].switch.learned(world.now, identity(other).record().clone());
        }
        world.ends[A].switch.want(world.now, identity(B).hashname());
        world.carry();
        world
    }

    fn carry(&mut self) {
        loop {
            let mut flying = Vec::new();
            for end in &mut self.ends {
                while let Some(effect) = end.switch.poll() {
                    match effect {
                        Effect::Datagram { to, bytes, .. } => flying.push((end.address, to, bytes)),
                        Effect::LineUp { line, .. } => end.line = Some(line),
                        Effect::LineDown { code, .. } => end.down.push(code),
                        Effect::Note(Note::Line { spacer, path: Some(_), .. }) => {
                            end.meshes = Some(spacer);
                        }
                        _ => {}
                    }
                }
            }
            if flying.is_empty() {
                return;
            }
            for (from, to, bytes) in flying {
                for end in self.ends.iter_mut().filter(|e| e.address == to) {
                    end.switch.datagram(self.now, self.wall, from, BytesMut::from(&bytes[..]));
                }
            }
        }
    }

    /// Seconds pass; while there is a line, both ends use it.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.wall = self.wall.after(Duration::from_secs(1));
            for end in &mut self.ends {
                if let Some(line) = end.line.filter(|_| end.down.is_empty()) {
                    end.switch.seal(self.now, line, Priority::DEFAULT, Frame::copied(b"\x10hello"));
                }
                end.switch.handle_timeout(self.now, self.wall);
            }
            self.carry();
        }
    }

    fn states(&self) -> [State; 2] {
        [(A, B), (B, A)].map(|(i, other)| self.ends[i].switch.state(&identity(other).hashname()))
    }

    fn refused(&self, index: usize) -> u64 {
        self.ends[index].switch.counters().drops.of(DropReason::NotAdmitted)
    }
}

#[test]
fn s5_members_of_a_closed_space_open_lines_without_asking_anyone() {
    let world = World::new(end(A, vouched(A, HOUR)), end(B, vouched(B, HOUR)));
    assert_eq!(world.states(), [State::Connected; 2]);
    assert!(world.ends.iter().all(|e| e.line.is_some()));
    for end in &world.ends {
        let contact = end.switch.report(world.now).next().unwrap();
        let admission = contact.admission.unwrap();
        assert_eq!((admission.flags, admission.until), (Flags::SPACER, Some(WALL.after(HOUR))));
    }
    assert_eq!(world.refused(A) + world.refused(B), 0);
}

#[test]
fn s5_who_says_that_it_meshes_is_believed_if_its_voucher_lets_it() {
    let ends = WALL.after(HOUR);
    let plain = voucher::issue(&identity(OPERATOR), &identity(B).hashname(), Flags::HTTP, ends);
    let world = World::new(end(A, vouched(A, HOUR)), end(B, plain.to_vec().into()));
    assert_eq!(world.states(), [State::Connected; 2]);
    assert_eq!([A, B].map(|i| world.ends[i].meshes), [Some(false), Some(true)]);
}

#[test]
fn s5_who_shows_no_voucher_gets_no_answer() {
    for shown in [Bytes::new(), vouched(B, HOUR), Bytes::from_static(b"nonsense")] {
        let mut world = World::new(end(A, shown), end(B, vouched(B, HOUR)));
        assert_eq!(world.refused(B), 1);
        assert_eq!(world.ends[B].switch.counters().opens_answered, 0);
        assert_eq!(world.states(), [State::Connecting, State::Resolved]);
        world.pass(30);
        assert_eq!(world.ends[A].down, [Code::TimedOut]);
    }
}

#[test]
fn s5_who_answers_must_be_vouched_for_too() {
    let mut world = World::new(end(A, vouched(A, HOUR)), end(B, Bytes::new()));
    assert_eq!(world.refused(A), 1);
    assert_eq!(world.ends[A].down, [Code::Refused], "told at once, and why");
    assert!(world.ends[A].line.is_none());
    world.pass(60);
    assert_eq!(world.ends[A].switch.counters().opens_sent, 1, "asking again would not help");
    assert!(world.ends[B].line.is_none(), "no packet ever came under the answer");
}

#[test]
fn s5_whose_voucher_ends_is_gone_by_the_next_keys() {
    // B's voucher ends in a minute, as far as calendars can be believed; A's goes on.
    let tolerated = Wall::TOLERANCE.as_secs();
    for (who, ended) in [(A, "answerer"), (B, "opener")] {
        let minute = WALL.after(Duration::from_secs(60)).as_secs() - tolerated;
        let subject = identity(who).hashname();
        let short =
            voucher::issue(&identity(OPERATOR), &subject, Flags::NONE, Wall::from_secs(minute));
        let shown = |i| if i == who { short.to_vec().into() } else { vouched(i, HOUR) };
        let mut world = World::new(end(A, shown(A)), end(B, shown(B)));
        assert_eq!(world.states(), [State::Connected; 2]);
        world.pass(100);
        assert_eq!(world.states(), [State::Connected; 2], "keys last as long as they do");
        world.pass(120);
        assert!(world.refused(1 - who) > 0, "by the {ended}");
        assert_ne!(world.states()[1 - who], State::Connected);
    }
}

#[test]
fn s5_a_voucher_renewed_in_time_keeps_the_line() {
    let soon = Wall::from_secs(WALL.as_secs() + 60 - Wall::TOLERANCE.as_secs());
    let short =
        voucher::issue(&identity(OPERATOR), &identity(A).hashname(), Flags::NONE, soon).to_vec();
    let mut world = World::new(end(A, short.into()), end(B, vouched(B, HOUR)));
    world.pass(30);
    world.ends[A].rules.show(vouched(A, HOUR));
    world.pass(400);
    assert_eq!(world.states(), [State::Connected; 2]);
    assert!(world.ends[A].down.is_empty());
    assert!(world.ends[A].switch.counters().renewals > 1);
}

#[test]
fn s7_an_operators_record_is_learned_from_its_own_open() {
    let (operator, voucher) = (identity(OPERATOR), vouched(A, HOUR));
    let b = end_with(B, SpaceRules::closed(*operator.space(), [operator.hashname()]));
    let unknown = b.rules.admits(identity(A).record(), &voucher, WALL);
    assert_eq!(unknown, Err(Refusal::OperatorUnresolved));
    let mut operators = end(OPERATOR, Bytes::new());
    let now = Instant::from_micros(1);
    operators.switch.found(now, identity(B).hashname(), &[b.address], true);
    operators.switch.learned(now, identity(B).record().clone());
    operators.switch.want(now, identity(B).hashname());
    let mut world = World { now, wall: WALL, ends: [operators, b] };
    world.carry();
    assert_eq!(world.ends[1].switch.counters().opens_answered, 1);
    assert!(world.ends[1].rules.admits(identity(A).record(), &voucher, WALL).is_ok());
    // B shows nothing itself, so the operator does not take its answer.
    assert_eq!(world.refused(0), 1);
}
