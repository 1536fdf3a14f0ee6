use super::*;
use crate::crypto::tests::{LIFE, NOW};
use crate::crypto::{Flags, voucher};
use crate::mesh::tests::{member, stranger};
use crate::wire::link::{Capabilities, Cost, LinkHeader, NodeName};
use proptest::prelude::*;

fn alice() -> Arc<Identity> {
    member(0)
}

fn bob() -> Arc<Identity> {
    member(1)
}

const MS: Duration = Duration::from_millis(1);

fn terms() -> LinkTerms {
    LinkTerms {
        cost: Cost::new(10).unwrap(),
        name: NodeName::new(b"node").unwrap(),
        capabilities: Capabilities(1),
        heartbeat: 250 * MS,
        space: rules(),
    }
}

/// An open space, in which vouchers are shown and not asked for.
fn rules() -> Arc<SpaceRules> {
    let rules = SpaceRules::open(*alice().space());
    rules.show(Bytes::from_static(b"voucher"));
    Arc::new(rules)
}

fn session(now: Instant, who: &Arc<Identity>, side: Side, transport: Transport) -> LinkSession {
    session_with(now, who, side, transport, &terms())
}

fn session_with(
    now: Instant,
    who: &Arc<Identity>,
    side: Side,
    transport: Transport,
    terms: &LinkTerms,
) -> LinkSession {
    let limits = Limits::default();
    let mut chance = Chance::from_number(u64::from(side == Side::Accepted));
    let (who, epoch) = (Arc::clone(who), BootEpoch(7));
    LinkSession::new(now, LinkId(1), side, transport, who, epoch, terms, &limits, &mut chance)
        .unwrap()
}

/// Two sessions and the wire between them.
struct Pair {
    now: Instant,
    sides: [LinkSession; 2],
    outputs: [Vec<LinkOutput>; 2],
    /// Bytes from one side are lost from now on.
    cut: [bool; 2],
}

impl Pair {
    fn with(sides: [LinkSession; 2]) -> Self {
        Self { now: Instant::ZERO, sides, outputs: [vec![], vec![]], cut: [false; 2] }
    }

    fn plain() -> Self {
        Self::between(Side::Dialed { expect: None }, [Transport::Plain; 2])
    }

    fn between(dialer: Side, transports: [Transport; 2]) -> Self {
        let [a, b] = transports;
        let dialer = session(Instant::ZERO, &alice(), dialer, a);
        Self::with([dialer, session(Instant::ZERO, &bob(), Side::Accepted, b)])
    }

    /// Carries frames to and fro until both are quiet.
    fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 2 {
            quiet = 0;
            for from in 0..2 {
                let Some(output) = self.sides[from].poll() else {
                    quiet += 1;
                    continue;
                };
                if let LinkOutput::Send(frame) = &output {
                    self.sides[from].sent(self.now);
                    if !self.cut[from] {
                        deliver(&mut self.sides[1 - from], self.now, frame);
                    }
                }
                self.outputs[from].push(output);
            }
        }
    }

    /// Lets time pass in the steps the sessions ask for.
    fn run(&mut self, for_how_long: Duration) {
        let end = self.now + for_how_long;
        self.settle();
        while let Some(due) = self.sides.iter().filter_map(LinkSession::deadline).min() {
            if due > end {
                break;
            }
            self.now = due.max(self.now);
            self.sides.iter_mut().for_each(|s| s.handle_timeout(self.now));
            self.settle();
        }
        self.now = end;
    }

    fn down(&self, side: usize) -> Option<&LinkDownReason> {
        self.outputs[side].iter().find_map(|o| match o {
            LinkOutput::Down(reason) => Some(reason),
            _ => None,
        })
    }

    fn came_up(&self) -> bool {
        let up = |o: &Vec<LinkOutput>| o.iter().any(|o| matches!(o, LinkOutput::Up(_)));
        self.outputs.iter().any(up)
    }

    /// Nobody came up; side 0 (dialer) or 1 found the cause.
    fn assert_refused(mut self, by: usize, cause: Cause) {
        self.settle();
        assert_eq!(self.down(by), Some(&LinkDownReason::Here(cause)));
        assert_eq!(self.sides[by].deadline(), None);
        assert!(!self.sides[by].is_up());
        assert_eq!(self.down(1 - by).map(LinkDownReason::code), Some(cause.code()));
    }
}

fn deliver(to: &mut LinkSession, now: Instant, frame: &[u8]) -> Option<DropReason> {
    let header = LinkHeader::peek(frame).unwrap().unwrap();
    to.heard(now);
    to.handle_frame(now, NOW, header.kind, &frame[HEADER_LEN..]).err()
}

fn tls(peer: &Identity) -> Transport {
    Transport::Tls { peer_key: *peer.record().signing_key(), binding: [5; 32] }
}

#[test]
fn n17_both_sides_come_up_and_know_each_other() {
    for transports in [[Transport::Plain; 2], [tls(&bob()), tls(&alice())]] {
        let mut p = Pair::between(Side::Dialed { expect: Some(bob().hashname()) }, transports);
        p.settle();
        assert!(p.sides.iter().all(LinkSession::is_up));
        let peer = p.sides[0].peer().unwrap();
        assert_eq!(peer.record, *bob().record());
        assert_eq!((peer.epoch, peer.cost.get()), (BootEpoch(7), 10));
        assert_eq!(&peer.voucher[..], b"voucher");
        assert_eq!(p.sides[1].peer().unwrap().record.hashname(), alice().hashname());
        assert_eq!(p.outputs[0].iter().filter(|o| matches!(o, LinkOutput::Up(_))).count(), 1);
    }
}

#[test]
fn n17_a_tls_key_that_is_not_the_records_is_refused() {
    let transports = [tls(&alice()), tls(&alice())];
    Pair::between(Side::Dialed { expect: None }, transports).assert_refused(0, Cause::WrongKey);
}

#[test]
fn n17_another_hashname_than_expected_is_refused() {
    let expect = Side::Dialed { expect: Some(alice().record().hashname()) };
    let p = Pair::between(expect, [Transport::Plain; 2]);
    p.assert_refused(0, Cause::WrongPeer);
}

#[test]
fn n17_another_space_is_refused() {
    let other = stranger();
    let dialer = session(Instant::ZERO, &other, Side::Dialed { expect: None }, Transport::Plain);
    let acceptor = session(Instant::ZERO, &bob(), Side::Accepted, Transport::Plain);
    let mut p = Pair::with([dialer, acceptor]);
    p.settle();
    assert!(!p.came_up());
    let both = [p.down(0), p.down(1)].map(|r| r.unwrap().code());
    assert_eq!(both, [Cause::WrongSpace.code(); 2]);
}

/// Alice dials Bob, who is the operator of their closed space; she shows `voucher`.
fn closed(voucher: &[u8]) -> Pair {
    let by = |who: Arc<Identity>, side, voucher: &[u8]| {
        let space = SpaceRules::closed(*who.space(), [bob().hashname()]);
        space.learned(bob().record());
        space.show(Bytes::copy_from_slice(voucher));
        let terms = LinkTerms { space: Arc::new(space), ..terms() };
        session_with(Instant::ZERO, &who, side, Transport::Plain, &terms)
    };
    let dialer = by(alice(), Side::Dialed { expect: None }, voucher);
    Pair::with([dialer, by(bob(), Side::Accepted, &[])])
}

fn vouched(life: Duration) -> [u8; voucher::LEN] {
    voucher::issue(&bob(), &alice().hashname(), Flags::NONE, NOW.after(life))
}

#[test]
fn s5_a_closed_space_takes_links_with_vouchers_only_and_says_why() {
    closed(&[]).assert_refused(1, Cause::NotAdmitted);
    closed(b"nonsense").assert_refused(1, Cause::NotAdmitted);
    let mut p = closed(&[]);
    p.settle();
    let Some(LinkDownReason::There { text, .. }) = p.down(0) else { panic!() };
    assert_eq!(text, "the space is closed and no voucher was shown");
    let mut p = closed(&vouched(LIFE));
    p.settle();
    assert!(p.sides.iter().all(LinkSession::is_up));
}

#[test]
fn s5_a_link_ends_when_the_neighbours_voucher_does() {
    let mut p = closed(&vouched(Duration::from_secs(60)));
    p.settle();
    let end = NOW.after(Duration::from_secs(60)).after(Wall::TOLERANCE);
    p.sides[1].judge(end);
    assert!(p.sides[1].is_up());
    p.sides[0].judge(end.after(Duration::from_secs(1)));
    assert!(p.sides[0].is_up(), "an operator needs no voucher");
    p.sides[1].judge(end.after(Duration::from_secs(1)));
    p.settle();
    assert_eq!(p.down(1), Some(&LinkDownReason::Here(Cause::NotAdmitted)));
    let Some(LinkDownReason::There { text, .. }) = p.down(0) else { panic!() };
    assert_eq!(text, "the voucher has expired");
}

#[test]
fn n2_a_link_to_oneself_is_refused() {
    let [a, b] = [Side::Dialed { expect: None }, Side::Accepted]
        .map(|side| session(Instant::ZERO, &alice(), side, Transport::Plain));
    let mut p = Pair::with([a, b]);
    p.settle();
    assert!(!p.came_up());
    assert_eq!(p.down(0).unwrap().code(), Cause::Oneself.code());
}

#[test]
fn n17_a_record_past_its_life_is_refused() {
    let mut b = session(Instant::ZERO, &bob(), Side::Accepted, Transport::Plain);
    let mut a = session(Instant::ZERO, &alice(), Side::Dialed { expect: None }, Transport::Plain);
    let Some(LinkOutput::Send(hello)) = a.poll() else { panic!() };
    let late = NOW.after(LIFE).after(Wall::TOLERANCE).after(Duration::from_secs(1));
    let refused = b.handle_frame(Instant::ZERO, late, LinkKind::Hello, &hello[4..]);
    assert_eq!(refused, Err(DropReason::Expired));
}

#[test]
fn n17_a_proof_of_the_other_side_or_another_session_is_refused() {
    // A reflected proof: bob is sent his own.
    let mut p = Pair::plain();
    let [Some(LinkOutput::Send(a)), Some(LinkOutput::Send(b))] = [0, 1].map(|i| p.sides[i].poll())
    else {
        panic!()
    };
    assert_eq!(deliver(&mut p.sides[1], p.now, &a), None);
    let Some(LinkOutput::Send(own)) = p.sides[1].poll() else { panic!() };
    assert_eq!(deliver(&mut p.sides[1], p.now, &own), Some(DropReason::BadSignature));
    // A hello that was changed on the way: both proofs cover both hellos.
    assert_eq!(deliver(&mut p.sides[0], p.now, &b), None);
    let mut q = Pair::plain();
    let [Some(LinkOutput::Send(a)), Some(LinkOutput::Send(b))] = [0, 1].map(|i| q.sides[i].poll())
    else {
        panic!()
    };
    let mut cheaper = a.to_vec();
    cheaper[10] = 1;
    deliver(&mut q.sides[1], q.now, &cheaper);
    deliver(&mut q.sides[0], q.now, &b);
    q.settle();
    assert!(!q.came_up());
    assert_eq!(q.down(0).unwrap().code(), Cause::BadProof.code());
    // Two TLS sessions: a man in the middle who relays.
    let other = Transport::Tls { peer_key: *alice().record().signing_key(), binding: [6; 32] };
    let mut r = Pair::between(Side::Dialed { expect: None }, [tls(&bob()), other]);
    r.settle();
    assert!(!r.came_up());
}

#[test]
fn n13_a_silent_peer_is_given_up_at_the_handshake_deadline() {
    for say_hello in [false, true] {
        let mut p = Pair::plain();
        let hello = p.sides[0].poll();
        if let (true, Some(LinkOutput::Send(frame))) = (say_hello, hello) {
            deliver(&mut p.sides[1], p.now, &frame);
        }
        let limit = Instant::ZERO + Limits::default().link_handshake;
        assert_eq!(p.sides[1].deadline(), Some(limit), "hello or not, the deadline is one");
        p.sides[1].handle_timeout(limit - MS);
        p.sides[1].handle_timeout(limit);
        let last = core::iter::from_fn(|| p.sides[1].poll()).last();
        assert_eq!(last, Some(LinkOutput::Down(LinkDownReason::Here(Cause::Slow))));
    }
}

#[test]
fn n13_heartbeats_keep_a_quiet_link_and_measure_it() {
    let mut p = Pair::plain();
    p.run(Duration::from_secs(60));
    assert!(p.sides.iter().all(LinkSession::is_up));
    assert_eq!(p.sides[0].rtt(), Some(Duration::ZERO));
    let beats = p.outputs[0].len();
    assert!((240..500).contains(&beats), "{beats} frames in 60 s at 4 a second");
}

#[test]
fn n13_a_link_is_dead_after_three_silent_intervals() {
    let mut p = Pair::plain();
    p.run(Duration::from_secs(5));
    let cut_at = p.now;
    p.cut[0] = true;
    while p.down(1).is_none() {
        p.run(MS);
    }
    let took = p.now.since(cut_at);
    assert!((500 * MS..=751 * MS).contains(&took), "{took:?}");
    assert_eq!(p.down(1), Some(&LinkDownReason::Here(Cause::Silent)));
}

#[test]
fn n13_any_bytes_count_as_life_and_round_trips_are_measured_under_load() {
    let mut p = Pair::plain();
    p.settle();
    for _ in 0..1_000 {
        p.now += 20 * MS;
        for s in &mut p.sides {
            s.heard(p.now);
            s.sent(p.now);
            s.handle_timeout(p.now);
        }
        p.settle();
    }
    assert!(p.sides.iter().all(LinkSession::is_up));
    let beats = p.outputs[0].len();
    assert!((8..20).contains(&beats), "{beats}: one in 4 s, and its echoes");
    assert!(p.sides[0].rtt().is_some());
}

#[test]
fn n13_a_peer_with_a_longer_interval_is_waited_for() {
    let slow = LinkTerms { heartbeat: Duration::from_secs(2), ..terms() };
    let (side, limits) = (Side::Accepted, Limits::default());
    let b = LinkSession::new(
        Instant::ZERO,
        LinkId(2),
        side,
        Transport::Plain,
        bob(),
        BootEpoch(1),
        &slow,
        &limits,
        &mut Chance::from_number(3),
    );
    let a = session(Instant::ZERO, &alice(), Side::Dialed { expect: None }, Transport::Plain);
    let mut p = Pair::with([a, b.unwrap()]);
    p.run(Duration::from_secs(30));
    assert!(p.sides.iter().all(LinkSession::is_up));
}

#[test]
fn n13_a_round_trip_longer_than_the_interval_is_measured() {
    let mut p = Pair::plain();
    p.settle();
    let a = &mut p.sides[0];
    let mut first = None;
    for n in 1..=4 {
        let now = Instant::ZERO + 250 * MS * n;
        a.heard(now);
        a.handle_timeout(now);
        let Some(LinkOutput::Send(beat)) = a.poll() else { panic!() };
        first.get_or_insert((now, beat));
    }
    let (at, beat) = first.unwrap();
    a.handle_frame(at + 800 * MS, NOW, LinkKind::HeartbeatEcho, &beat[4..]).unwrap();
    assert_eq!(a.rtt(), Some(800 * MS));
    a.handle_frame(at + 900 * MS, NOW, LinkKind::HeartbeatEcho, &beat[4..]).unwrap();
    assert_eq!(a.rtt(), Some(800 * MS), "an echo counts once");
}

#[test]
fn n13_a_flood_of_heartbeats_owes_one_echo() {
    let mut p = Pair::plain();
    p.settle();
    for n in 0..10_000u32 {
        let beat = Stamp(n).frame(LinkKind::Heartbeat);
        assert_eq!(deliver(&mut p.sides[1], p.now, &beat), None);
    }
    let echo = Stamp(9_999).frame(LinkKind::HeartbeatEcho);
    assert_eq!(p.sides[1].poll(), Some(LinkOutput::Send(echo)));
    assert_eq!(p.sides[1].poll(), None);
}

#[test]
fn n2_a_goodbye_is_heard_and_ends_both() {
    let mut p = Pair::plain();
    p.settle();
    p.sides[0].close(Cause::Stopping, "back soon");
    p.sides[0].close(Cause::Unwanted, "only the first counts");
    p.settle();
    assert_eq!(p.down(0), Some(&LinkDownReason::Here(Cause::Stopping)));
    let there = LinkDownReason::There { code: 1, text: "back soon".into() };
    assert_eq!(p.down(1), Some(&there));
    assert_eq!(there.to_string(), "ended by the peer: stopping (1) back soon");
    assert_eq!(deliver(&mut p.sides[1], p.now, &[0, 0, 3, 0]), Some(DropReason::LinkDown));
}

/// What each kind of frame does in each state: the table of legal transitions.
#[test]
fn n2_only_the_legal_transitions_happen() {
    use LinkKind::*;
    let legal = [("greeting", Hello), ("proving", Proof), ("up", Heartbeat), ("up", HeartbeatEcho)];
    let passed_on = [Announcement, Digest, Package, Broadcast];
    for state in ["greeting", "proving", "up"] {
        for kind in LinkKind::ALL {
            let mut p = Pair::plain();
            let (hello, proof) = frames_of_dialer(&mut p);
            if state != "greeting" {
                assert_eq!(deliver(&mut p.sides[1], p.now, &hello), None);
            }
            if state == "up" {
                assert_eq!(deliver(&mut p.sides[1], p.now, &proof), None);
            }
            let body = match kind {
                Hello => &hello[4..],
                Proof => &proof[4..],
                Goodbye => &[0, 1],
                _ => &[0; 4],
            };
            let done = p.sides[1].handle_frame(p.now, NOW, kind, body);
            let down = p.sides[1].deadline().is_none();
            if legal.contains(&(state, kind)) {
                assert!(done.is_ok() && !down, "{state} {kind:?}");
            } else if kind == Goodbye {
                assert!(done.is_ok() && down, "{state} {kind:?}");
            } else {
                assert_eq!(done, Err(DropReason::Unhandled), "{state} {kind:?}");
                assert_eq!(down, !(state == "up" && passed_on.contains(&kind)), "{state} {kind:?}");
            }
        }
    }
}

/// Hello and proof of side 0, with side 1 untouched but for its hello being read.
fn frames_of_dialer(p: &mut Pair) -> (Bytes, Bytes) {
    let [Some(LinkOutput::Send(hello)), Some(LinkOutput::Send(theirs))] =
        [0, 1].map(|i| p.sides[i].poll())
    else {
        panic!()
    };
    deliver(&mut p.sides[0], p.now, &theirs);
    let Some(LinkOutput::Send(proof)) = p.sides[0].poll() else { panic!() };
    (hello, proof)
}

#[test]
fn n2_causes_have_numbers_of_their_own() {
    for cause in Cause::ALL {
        assert_eq!(Cause::from_code(cause.code()), Some(cause));
    }
    assert_eq!(Cause::from_code(999), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn n17_a_bit_flipped_anywhere_in_the_handshake_keeps_the_link_down(
        of_proof: bool, at in 0usize..2_000, bit in 0u8..8,
    ) {
        let mut p = Pair::plain();
        let (hello, proof) = frames_of_dialer(&mut p);
        let (mut hello, mut proof) = (hello.to_vec(), proof.to_vec());
        let flipped = if of_proof { &mut proof } else { &mut hello };
        let at = HEADER_LEN + at % (flipped.len() - HEADER_LEN);
        flipped[at] ^= 1 << bit;
        let first = deliver(&mut p.sides[1], p.now, &hello);
        let second = deliver(&mut p.sides[1], p.now, &proof);
        prop_assert!(first.is_some() || second.is_some());
        prop_assert!(!p.sides[1].is_up());
    }

    #[test]
    fn n2_no_row_of_frames_panics_or_fills_memory(
        frames in prop::collection::vec((0usize..8, prop::collection::vec(any::<u8>(), 0..200)), 0..40),
        up: bool,
    ) {
        let mut p = Pair::plain();
        if up {
            p.settle();
        }
        for (kind, body) in frames {
            let _ = p.sides[1].handle_frame(p.now, NOW, LinkKind::ALL[kind], &body);
        }
        prop_assert!(core::iter::from_fn(|| p.sides[1].poll()).count() <= 5);
    }
}
