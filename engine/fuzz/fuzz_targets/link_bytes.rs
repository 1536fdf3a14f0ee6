//! Bytes of a neighbour, handed to a node as its reader does: with a hello and a proof if the
//! input wants them, then frames of every kind, or what only looks like frames.
//!
//! Two nodes get the same, one in few pieces and one in many: they must do the same. What goes on
//! to another neighbour is what came for it, in order, a hop older and not otherwise changed.
#![no_main]

mod people;

use std::io::IoSlice;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, CAROL, NOW};
use trunkline_proto::base::{Address, BootEpoch, Chance, Instant, Limits, LinkId, Priority};
use trunkline_proto::crypto::{Identity, SpaceRules};
use trunkline_proto::mesh::{LinkOutput, LinkSession, LinkTerms, Side, Transport};
use trunkline_proto::shard::{Input, Node, Output, Shard};
use trunkline_proto::stage::lines::LineEvent;
use trunkline_proto::stage::links::LinkEvent;
use trunkline_proto::stage::plan::Plan;
use trunkline_proto::switch::streams::StreamLimits;
use trunkline_proto::wire::link::{
    Capabilities, Cost, FRAME_MAX, HEADER_LEN, LinkHeader, LinkKind, NodeName,
};
use trunkline_proto::wire::package::{Content, HEADER, Header, Sequence, Transit, spend_hop};

const BOBS: LinkId = LinkId(1);
const CAROLS: LinkId = LinkId(2);
/// Of one input at most: what it brings must fit the queues, and stay below the heartbeats that
/// a link may miss.
const STEPS: usize = 60;
const TICKS: usize = 20;
const TICK: Duration = Duration::from_millis(20);

/// What Bob and Carol say to be believed. A node draws the same nonces in every input, so they
/// need to sign once.
static GREETINGS: LazyLock<[Vec<Bytes>; 2]> = LazyLock::new(|| {
    let mut alice = Alice::alone();
    let carol = greet(&mut alice, CAROLS, &CAROL);
    alice.tick();
    [greet(&mut alice, BOBS, &BOB), carol]
});

/// A neighbour's half of a handshake.
fn greet(alice: &mut Alice, link: LinkId, who: &Arc<Identity>) -> Vec<Bytes> {
    let terms = LinkTerms {
        cost: Cost::ONE,
        name: NodeName::default(),
        capabilities: Capabilities(0),
        heartbeat: Duration::from_millis(250),
        space: Arc::new(SpaceRules::open(*ALICE.space())),
    };
    let mut theirs = LinkSession::new(
        alice.now,
        link,
        Side::Dialed { expect: Some(ALICE.hashname()) },
        Transport::Plain,
        Arc::clone(who),
        BootEpoch(9),
        &terms,
        &Limits::default(),
        &mut Chance::from_number(link.0.into()),
    )
    .unwrap();
    let mut said = Vec::new();
    alice.open(link);
    for _ in 0..2 {
        while let Some(output) = theirs.poll() {
            let LinkOutput::Send(frame) = output else { continue };
            alice.take(link, &frame, usize::MAX);
            said.push(frame);
        }
        let heard = alice.written(link);
        for (kind, body) in frames(&heard).map(|f| (f[2], &f[HEADER_LEN..])) {
            let kind = LinkKind::from_number(kind).unwrap();
            // What is not the session's is routing's.
            let _ = theirs.handle_frame(alice.now, NOW, kind, body);
        }
    }
    assert!(theirs.is_up() && said.len() == 2);
    said
}

/// Whole frames of our own making, one by one.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = LinkHeader::peek(bytes).expect("we break no framing")?;
        let (frame, rest) = bytes.split_at(header.frame_len());
        bytes = rest;
        Some(frame)
    })
}

struct Alice {
    shard: Shard,
    now: Instant,
    /// The beginnings of frames, by link.
    partial: [BytesMut; 2],
    packages: u32,
    /// What the links did, what became of the mesh, and what all else happened. The end of a link
    /// is told at once, while what came over it before is still on its way through the node.
    events: [Vec<String>; 3],
    bob_is_up: bool,
    bob_is_gone: bool,
}

impl Alice {
    fn alone() -> Self {
        let node = Node {
            plan: Plan::collapsed(1),
            space: Arc::new(SpaceRules::open(*ALICE.space())),
            identity: Arc::clone(&ALICE),
            epoch: BootEpoch(1),
            name: NodeName::default(),
            limits: Arc::new(Limits::default()),
            stream_limits: StreamLimits::default(),
            terms: Default::default(),
            messages: Default::default(),
            anonymous: false,
            gate: Arc::default(),
            line_secret: [7; 16],
        };
        Self {
            shard: Shard::new(&node, 0, Chance::from_number(1)),
            now: Instant::from_micros(1_000_000),
            partial: Default::default(),
            packages: 0,
            events: Default::default(),
            bob_is_up: false,
            bob_is_gone: false,
        }
    }

    /// With Carol for a neighbour, and with Bob on the line who has said nothing yet.
    fn new() -> Self {
        let mut alice = Self::alone();
        alice.open(CAROLS);
        GREETINGS[1].iter().for_each(|frame| alice.take(CAROLS, frame, usize::MAX));
        alice.tick();
        alice.open(BOBS);
        alice.written(BOBS);
        alice.written(CAROLS);
        alice
    }

    fn open(&mut self, link: LinkId) {
        let (side, transport, cost) = (Side::Accepted, Transport::Plain, Cost::ONE);
        let opened = Input::LinkOpened { link, side, transport, cost, port: None };
        self.shard.handle(self.now, NOW, opened);
        self.settle();
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.shard.handle_timeout(self.now, NOW);
        self.settle();
    }

    /// Reads `bytes` off a link, at most so many at a time, and keeps what is no whole frame yet.
    fn take(&mut self, link: LinkId, bytes: &[u8], piece: usize) {
        let index = usize::from(link == CAROLS);
        for piece in bytes.chunks(piece) {
            let mut buffer = std::mem::take(&mut self.partial[index]);
            buffer.extend_from_slice(piece);
            self.packages += self.shard.received(self.now, NOW, link, &mut buffer);
            assert!(buffer.len() < FRAME_MAX, "a whole frame is not kept");
            self.partial[index] = buffer;
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.shard.poll() {
            let [links, mesh, others] = &mut self.events;
            match output {
                Output::Link(LinkEvent::Up(link, who)) => {
                    links.push(format!("up {link:?}"));
                    let expected = if link == BOBS { &BOB } else { &CAROL };
                    assert_eq!(who.hashname(), expected.hashname(), "nobody guesses a proof");
                    self.bob_is_up |= link == BOBS;
                }
                Output::Link(LinkEvent::Close(link, why)) => {
                    links.push(format!("close {link:?}: {why}"));
                    assert_eq!(link, BOBS, "Carol did nothing");
                    self.bob_is_gone = true;
                }
                Output::Post { .. } => panic!("all seats are one"),
                Output::Mesh(_) | Output::Line(LineEvent::Reachable(..)) => {
                    mesh.push(format!("{output:?}"));
                }
                other => others.push(format!("{other:?}")),
            }
        }
    }

    /// What a link's socket would get now.
    fn written(&mut self, link: LinkId) -> Vec<u8> {
        let mut out = Vec::new();
        let outgoing = self.shard.writer().and_then(|w| w.outgoing(link));
        let Some(outgoing) = outgoing else { return out };
        while !outgoing.is_empty() {
            let mut pieces = [IoSlice::new(&[]); 8];
            let used = outgoing.gather(usize::MAX, &mut pieces);
            let before = out.len();
            pieces[..used].iter().for_each(|piece| out.extend_from_slice(piece));
            outgoing.consume(self.now, out.len() - before);
        }
        out
    }
}

/// What an input is made of.
enum Step {
    Bytes(Vec<u8>),
    Tick,
}

/// Reads the next step: raw bytes, frames with the fuzzer's body, or one of Bob's own.
fn step(data: &mut &[u8]) -> Option<Step> {
    let mut next = || {
        let (first, rest) = data.split_first()?;
        *data = rest;
        Some(*first)
    };
    let op = next()?;
    if op == 0 {
        return Some(Step::Tick);
    }
    if let Some(frame) = GREETINGS[0].get(usize::from(op) - 1) {
        return Some(Step::Bytes(frame.to_vec()));
    }
    let (what, who, ttl, len) = (next()?, next()?, next()?, next()?);
    let (body, rest) = data.split_at((*data).len().min(len.into()));
    *data = rest;
    let frame = match op {
        3 => body.to_vec(),
        4 => {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            [&length, &[what, 0], body].concat()
        }
        // A whole frame's worth, mostly of zeros.
        5 => package(what, who, ttl, &[body, &vec![0; FRAME_MAX - HEADER - body.len()]].concat()),
        _ => package(what, who, ttl, body),
    };
    Some(Step::Bytes(frame))
}

fn package(what: u8, who: u8, ttl: u8, body: &[u8]) -> Vec<u8> {
    let address = |n: u8| match n & 3 {
        0 => CAROL.hashname().address(),
        1 => ALICE.hashname().address(),
        2 => BOB.hashname().address(),
        _ => Address::new([n; 16]),
    };
    let head = Header {
        priority: Priority::from_low_bits(who >> 4),
        reply: who & 0x80 != 0,
        ttl,
        content: Content::Message,
        sequence: Sequence::M,
        destination: address(who),
        source: address(who >> 2),
        message: 1,
        total: u32::try_from(body.len()).unwrap() + u32::from(what >> 4),
        offset: u32::from(what >> 6),
    };
    let mut frame = [head.emit(body.len()).unwrap().as_slice(), body].concat();
    // Any content, also such as there is none of yet.
    frame[6] = what & 7;
    frame
}

/// The packages in these bytes, up to where they are no frames any more.
fn packages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Ok(Some(header)) = LinkHeader::peek(bytes) {
        let Some((frame, rest)) = bytes.split_at_checked(header.frame_len()) else { break };
        if header.kind == LinkKind::Package {
            out.push(frame.to_vec());
        }
        bytes = rest;
    }
    out
}

/// Those of one priority that are not our own answers.
fn foreign(packages: &[Vec<u8>], level: u8) -> impl Iterator<Item = &Vec<u8>> {
    let ours = |p: &&Vec<u8>| {
        Header::parse(p).is_ok_and(|head| {
            head.content == Content::Return && head.source == ALICE.hashname().address()
        })
    };
    packages.iter().filter(move |p| p[3] & 7 == level).filter(move |p| !ours(p))
}

/// What of `came` was for Carol, as she is to get it.
fn onward(came: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let carol = CAROL.hashname().address();
    let for_carol = |p: &&Vec<u8>| {
        Transit::peek(p).is_ok_and(|t| t.destination == carol.as_bytes() && t.ttl > 1)
    };
    let mut out: Vec<Vec<u8>> = came.iter().filter(for_carol).cloned().collect();
    out.iter_mut().for_each(|p| spend_hop(p));
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((&[greeted, piece], mut rest)) = data.split_first_chunk() else { return };
    let (mut whole, mut cut) = (Alice::new(), Alice::new());
    let mut steps = Vec::new();
    if greeted & 1 == 1 {
        steps.extend(GREETINGS[0].iter().map(|frame| Step::Bytes(frame.to_vec())));
        steps.push(Step::Tick);
    }
    steps.extend(std::iter::from_fn(|| step(&mut rest)).take(STEPS));
    let (mut ticks, mut stream) = (0, Vec::new());
    for step in steps.into_iter().map(Some).chain([None]) {
        // Bytes with no time between them are one piece, or as many as the input says.
        match step {
            Some(Step::Bytes(more)) => stream.extend(more),
            tick => {
                run(&mut whole, &mut cut, &std::mem::take(&mut stream), 1 + usize::from(piece));
                if tick.is_some() && ticks < TICKS {
                    ticks += 1;
                    whole.tick();
                    cut.tick();
                }
            }
        }
    }
    assert_eq!(whole.events, cut.events);
    assert_eq!((whole.packages, &whole.partial), (cut.packages, &cut.partial));
    // Answers to what a link brought last may find it gone, or just not yet.
    assert!(whole.bob_is_gone || whole.shard.drops() == cut.shard.drops());
});

/// Gives both the same bytes, and looks at what they write.
fn run(whole: &mut Alice, cut: &mut Alice, bytes: &[u8], piece: usize) {
    // What a piece before left over belongs to the first frame.
    let came = packages(&[&whole.partial[0], bytes].concat());
    let stood = whole.bob_is_up && !whole.bob_is_gone;
    whole.take(BOBS, bytes, usize::MAX);
    cut.take(BOBS, bytes, piece);
    let (to_bob, to_carol) = (whole.written(BOBS), whole.written(CAROLS));
    let cut_to_bob = cut.written(BOBS);
    assert!(whole.bob_is_gone || to_bob == cut_to_bob);
    assert_eq!(to_carol, cut.written(CAROLS));
    let (back, on, expected) = (packages(&to_bob), packages(&to_carol), onward(&came));
    assert_eq!(frames(&to_bob).map(<[u8]>::len).sum::<usize>(), to_bob.len());
    assert_eq!(frames(&to_carol).map(<[u8]>::len).sum::<usize>(), to_carol.len());
    assert!(back.len() + on.len() <= came.len(), "nothing is answered twice");
    for level in 0..8 {
        let mut left = foreign(&expected, level);
        for got in foreign(&on, level) {
            assert!(left.any(|e| e == got), "it did not come like this, or not in this order");
        }
        if stood && !whole.bob_is_gone {
            let all = foreign(&expected, level).count();
            assert_eq!(foreign(&on, level).count(), all, "what came for her she gets");
        }
    }
}
