//! Opens that cross, repeat, are lost, replayed and forged.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use trunkline_proto::base::{Chance, DropReason, Instant, Limits, Priority};
use trunkline_proto::switch::{Answer, Ask, Question, State, Token};
use trunkline_proto::wire::package::{Code, Content, Header, Return, Sequence};

use super::ends::{End, Flying, MS, WALL, carry, end, identity, pair, pass};

#[test]
fn s18_an_open_is_answered_by_a_line_and_packets_flow_both_ways() {
    let (mut a, mut b, now) = pair();
    a.switch.want(now, b.hashname);
    assert_eq!(a.switch.state(&b.hashname), State::Connecting);
    carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!((a.up.len(), b.up.len()), (1, 1));
    a.say(now, b"from a");
    b.say(now, b"from b");
    carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!((&b.inside[0][1..], &a.inside[0][1..]), (&b"from a"[..], &b"from b"[..]));
    assert_eq!(a.switch.state(&b.hashname), State::Connected);
}

#[test]
fn s18_opens_that_cross_settle_on_one_line_whatever_is_lost() {
    // Each of the first eight datagrams may be lost: every pattern of losses.
    for lost in 0..256u32 {
        let (mut a, mut b, now) = pair();
        a.switch.want(now, b.hashname);
        b.switch.want(now, a.hashname);
        let mut n = 0;
        let mut keep = |_: &Flying| {
            n += 1;
            n > 8 || lost & (1 << (n - 1)) == 0
        };
        carry(now, &mut [&mut a, &mut b], &mut keep);
        let now = pass(now, 60, &mut [&mut a, &mut b], &mut keep);
        a.say(now, b"ping");
        b.say(now, b"pong");
        let flying = carry(now, &mut [&mut a, &mut b], |_| true);
        assert_eq!((a.inside.len(), b.inside.len()), (1, 1), "losses {lost:08b}");
        assert!(a.down.is_empty() && b.down.is_empty(), "losses {lost:08b}");
        assert!(!flying.is_empty());
    }
}

#[test]
fn s18_a_repeated_open_gets_the_same_answer_and_no_second_line() {
    let (mut a, mut b, now) = pair();
    a.switch.want(now, b.hashname);
    let open = a.drain().remove(0);
    b.hear(now, &open);
    let first = b.drain();
    b.hear(now, &open);
    let second = b.drain();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].bytes, second[0].bytes);
    assert_eq!(b.switch.counters().opens_answered, 1);
}

#[test]
fn s18_an_old_open_replayed_changes_nothing() {
    let (mut a, mut b, now) = pair();
    a.switch.want(now, b.hashname);
    let opens = carry(now, &mut [&mut a, &mut b], |_| true);
    a.say(now, b"x");
    carry(now, &mut [&mut a, &mut b], |_| true);
    for replayed in &opens {
        b.hear(now, replayed);
        a.hear(now, replayed);
    }
    assert!(b.drain().is_empty() && a.drain().is_empty(), "a replay was answered");
    assert!(b.drops(DropReason::Replayed) > 0);
    a.say(now, b"y");
    carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!(b.inside.len(), 2);
}

#[test]
fn s20_a_sealed_packet_is_accepted_once_and_never_when_altered() {
    let (mut a, mut b, now) = pair();
    a.switch.want(now, b.hashname);
    carry(now, &mut [&mut a, &mut b], |_| true);
    a.say(now, b"once");
    let packet = a.drain().remove(0);
    for i in 0..packet.bytes.len() {
        for bit in [1u8, 128] {
            let mut altered = packet.clone();
            altered.bytes[i] ^= bit;
            b.hear(now, &altered);
        }
        let mut short = packet.clone();
        short.bytes.truncate(i);
        b.hear(now, &short);
    }
    assert!(b.inside.is_empty());
    b.hear(now, &packet);
    b.hear(now, &packet);
    b.drain();
    assert_eq!(b.inside.len(), 1);
    // Some alterations of the counter hit ones already seen; none was accepted.
    assert!(b.drops(DropReason::Replayed) >= 1);
}

#[test]
fn s18_a_restarted_peer_gets_a_new_line_and_the_old_one_is_reported_gone() {
    let (mut a, mut b, now) = pair();
    a.switch.want(now, b.hashname);
    carry(now, &mut [&mut a, &mut b], |_| true);
    let mut again = end(1, 2, Limits::default());
    again.knows(now, &a, 0);
    again.switch.want(now, a.hashname);
    carry(now, &mut [&mut a, &mut again], |_| true);
    assert_eq!((a.down.as_slice(), a.up.len()), ([Code::NodeDown].as_slice(), 2));
    again.say(now, b"new");
    a.say(now, b"new");
    carry(now, &mut [&mut a, &mut again], |_| true);
    assert_eq!((a.inside.len(), again.inside.len()), (1, 1));
}

#[test]
fn s20_keys_are_renewed_under_way_without_losing_a_packet() {
    let (mut a, mut b, mut now) = pair();
    a.switch.want(now, b.hashname);
    carry(now, &mut [&mut a, &mut b], |_| true);
    // 400 s: renewed three times, and the first keys are long dead.
    for second in 0..400u32 {
        now = pass(now, 10, &mut [&mut a, &mut b], |_| true);
        a.say(now, &second.to_be_bytes());
        b.say(now, &second.to_be_bytes());
        carry(now, &mut [&mut a, &mut b], |_| true);
    }
    assert_eq!((a.inside.len(), b.inside.len()), (400, 400));
    assert!(a.switch.counters().renewals + b.switch.counters().renewals >= 3);
    assert!(a.down.is_empty() && b.down.is_empty());
}

#[test]
fn s3_strangers_of_another_space_get_no_answer() {
    let now = Instant::from_micros(1);
    let (mut a, mut stranger) = (end(0, 1, Limits::default()), end(3, 1, Limits::default()));
    stranger.knows(now, &a, 0);
    stranger.switch.want(now, a.hashname);
    carry(now, &mut [&mut a, &mut stranger], |_| true);
    assert!(a.up.is_empty() && stranger.up.is_empty());
    assert_eq!(a.drops(DropReason::WrongSpace), 1);
}

#[test]
fn s18_a_busy_node_asks_for_a_cookie_and_answers_who_returns_it() {
    let now = Instant::from_micros(1);
    let limits = Limits { opens_before_cookie: 0, ..Limits::default() };
    let (mut a, mut b) = (end(0, 1, Limits::default()), end(1, 1, limits));
    a.knows(now, &b, 1);
    a.switch.want(now, b.hashname);
    let seen = carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!(a.up.len(), 1, "the cookie was not enough");
    assert_eq!(b.switch.counters().cookies, 1);
    // Nothing that b sent was larger than what brought it.
    let largest = |from| seen.iter().filter(|d| d.from == from).map(|d| d.bytes.len()).max();
    assert!(largest(b.address) < largest(a.address));
    // Another path cannot use the cookie.
    let with_cookie = seen.iter().filter(|d| d.from == a.address).nth(1).expect("a second open");
    let mut stolen = with_cookie.clone();
    stolen.from = ([198, 51, 100, 7], 1).into();
    b.hear(now, &stolen);
    assert_eq!(b.switch.counters().cookies, 2);
}

#[test]
fn s28_what_waits_for_a_line_is_sent_when_it_opens_and_given_back_when_it_does_not() {
    let (mut a, mut b, now) = pair();
    let ping = |token| {
        let (priority, patience) = (Priority::HIGHEST, Duration::from_secs(60));
        let question = Question::Ping { priority, length: 64, patience };
        Ask { token: Token(token), peer: identity(1).hashname(), question }
    };
    a.switch.ask(now, ping(1));
    carry(now, &mut [&mut a, &mut b], |_| true);
    assert!(matches!(a.answers.as_slice(), [(Token(1), Answer::Pong(_))]), "{:?}", a.answers);
    let mut alone = end(2, 1, Limits::default());
    alone.knows(now, &b, 1);
    alone.switch.ask(now, ping(2));
    pass(now, 250, &mut [&mut alone], |_| false);
    let failed = Answer::Failed { code: Code::TimedOut, by: None };
    assert_eq!(alone.answers, [(Token(2), failed)]);
    assert_eq!(alone.switch.state(&b.hashname), State::Resolved);
}

#[test]
fn s27_without_a_key_the_wait_ends_with_a_code() {
    let now = Instant::from_micros(1);
    let mut a = end(0, 1, Limits::default());
    a.switch.want(now, identity(1).hashname());
    assert_eq!(a.switch.state(&identity(1).hashname()), State::Resolving);
    pass(now, 60, &mut [&mut a], |_| true);
    assert_eq!(a.down, [Code::NoRoute]);
}

#[test]
fn s27_a_ping_of_nobody_known_says_that_there_is_no_way_not_that_time_is_up() {
    let now = Instant::from_micros(1);
    let mut a = end(0, 1, Limits::default());
    let question = Question::Ping { priority: Priority::DEFAULT, length: 9, patience: 1_000 * MS };
    a.switch.ask(now, Ask { token: Token(1), peer: identity(1).hashname(), question });
    pass(now, 11, &mut [&mut a], |_| true);
    assert!(matches!(a.answers[..], [(_, Answer::Failed { code: Code::NoRoute, by: None })]));
}

#[test]
fn a_forged_return_cannot_hold_the_timers() {
    let (mut a, mut b, now) = pair();
    a.switch.want(now, b.hashname);
    let open = a.drain().remove(0);
    // B answered and waits for the first packet; somebody says that the answer came back.
    b.hear(now, &open);
    b.drain();
    let back = Return {
        code: Code::NoRoute,
        content: Content::Switch,
        destination: a.hashname.address(),
        offset: 0,
        rule: 0,
        echo: Default::default(),
    };
    let head = Header {
        priority: Priority::HIGHEST,
        reply: true,
        ttl: 9,
        content: Content::Return,
        sequence: Sequence::M,
        destination: b.hashname.address(),
        source: a.hashname.address(),
        message: 0,
        total: 32,
        offset: 0,
    };
    let mut frame = BytesMut::from(head.emit(Return::LEN).unwrap().as_slice());
    frame.extend_from_slice(&back.emit());
    b.switch.package(now, WALL, Default::default(), frame);
    // Half a minute: the test hangs here if a deadline stays in the past.
    pass(now, 300, &mut [&mut b], |_| false);
    assert_eq!(b.switch.state(&a.hashname), State::Resolved);
}

#[test]
fn s19_unknown_lines_and_garbage_are_counted_and_not_answered() {
    let (mut a, mut b, now) = pair();
    let mut chance = Chance::from_number(7);
    for length in 0..2_000usize {
        let mut bytes: Vec<u8> = (0..length).map(|_| chance.u64() as u8).collect();
        if length % 3 == 0 && length > 2 {
            bytes[..2].fill(0);
        }
        let from = ([203, 0, 113, 1], 9).into();
        b.hear(now, &Flying { from, to: b.address, bytes });
    }
    assert_eq!(b.switch.counters().drops.total(), 2_000);
    assert!(b.drain().is_empty());
    a.switch.want(now, b.hashname);
    carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!(a.up.len(), 1);
}

/// The renewals of both, and how many opens both have sent.
fn upkeep(a: &End, b: &End) -> (u64, u64) {
    let (a, b) = (a.switch.counters(), b.switch.counters());
    (a.renewals + b.renewals, a.opens_sent + b.opens_sent)
}

#[test]
fn s15_a_line_nobody_uses_ends_with_its_keys_and_one_in_use_does_not() {
    for wanted in [false, true] {
        let (mut a, mut b, now) = pair();
        a.switch.want(now, b.hashname);
        carry(now, &mut [&mut a, &mut b], |_| true);
        a.say(now, b"a packet");
        carry(now, &mut [&mut a, &mut b], |_| true);
        if !wanted {
            a.switch.unwant(&b.hashname);
        }
        // 500 s: past the first renewal, which the packet has earned, and the death of the second
        // keys.
        pass(now, 5_000, &mut [&mut a, &mut b], |_| true);
        let state = if wanted { State::Connected } else { State::Resolved };
        assert_eq!(a.switch.state(&b.hashname), state);
        assert_eq!(b.switch.state(&a.hashname), state);
        let told = if wanted { vec![] } else { vec![b.hashname] };
        assert_eq!(a.rests, told, "streams are told, once");
        assert_eq!(b.rests.is_empty(), wanted);
        assert!(a.down.is_empty() && b.down.is_empty(), "nothing was on the line");
        assert!(wanted || upkeep(&a, &b).0 <= 2);
    }
}

#[test]
fn s19_one_way_messages_do_not_make_the_line_suspicious() {
    let (mut a, mut b, mut now) = pair();
    for n in 0..30 {
        a.tell(now, &b, n, b"nobody answers this");
        now = pass(now, 20, &mut [&mut a, &mut b], |_| true);
    }
    let arrived = b.switch.counters().unsealed;
    assert!(arrived >= 30, "{arrived}");
    assert_eq!(upkeep(&a, &b), (0, 1), "one open, and nothing but messages from then on");
    // A peer that really is gone is noticed still.
    a.say(now, b"are you there?");
    pass(now, 40, &mut [&mut a], |_| false);
    assert!(upkeep(&a, &b).1 > 1);
}

#[test]
fn s19_a_ping_answered_leaves_the_line_at_rest() {
    let (mut a, mut b, now) = pair();
    let question = Question::Ping { priority: Priority::DEFAULT, length: 9, patience: 1_000 * MS };
    a.switch.ask(now, Ask { token: Token(7), peer: b.hashname, question });
    let now = pass(now, 1, &mut [&mut a, &mut b], |_| true);
    assert!(matches!(a.answers[..], [(Token(7), Answer::Pong(_))]));
    let mut flown = 0;
    pass(now, 300, &mut [&mut a, &mut b], |_| {
        flown += 1;
        true
    });
    assert_eq!(flown, 0, "half a minute of silence");
}

#[test]
fn s22_an_open_replayed_from_elsewhere_does_not_draw_the_answers_there() {
    let (mut a, mut b, now) = pair();
    b.switch.found(now, a.hashname, &[], true);
    a.switch.want(now, b.hashname);
    let open = a.drain().into_iter().find(|d| d.to == b.address).unwrap();
    // Somebody on the way is quicker than the open itself.
    let elsewhere: SocketAddr = ([203, 0, 113, 9], 666).into();
    b.hear(now, &Flying { from: elsewhere, ..open.clone() });
    b.hear(now, &open);
    let strayed = |seen: &[Flying]| seen.iter().filter(|d| d.to == elsewhere).count();
    let seen = carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!(strayed(&seen), 1, "the answer to whoever sent it, and nothing else");
    b.say(now, b"for a alone");
    let seen = carry(now, &mut [&mut a, &mut b], |_| true);
    assert_eq!((strayed(&seen), a.inside.len()), (0, 1));
}
