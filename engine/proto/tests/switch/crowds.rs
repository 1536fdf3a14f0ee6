//! Floods of opens that nobody finishes, and who gets in meanwhile.

use std::net::SocketAddr;

use bytes::BytesMut;
use trunkline_proto::base::{DropReason, Instant, Limits};

use super::ends::{End, Flying, MS, WALL, carry, end, end_of, pass};

const T0: Instant = Instant::from_micros(1);

/// The open with which `index` knocks at `node`, as it left.
fn open_of(index: usize, node: &End, node_index: usize) -> (End, Flying) {
    let mut stranger = end(index, 1, Limits::default());
    stranger.knows(T0, node, node_index);
    stranger.switch.want(T0, node.hashname);
    let open = stranger.drain().remove(0);
    (stranger, open)
}

/// The same from an address that is not the sender's.
fn made_up(open: Flying, n: u8) -> Flying {
    Flying { from: ([198, 51, 100, n], 9).into(), ..open }
}

fn limits(half_open: usize, half_open_per_address: usize) -> Limits {
    Limits { half_open, half_open_per_address, ..Limits::default() }
}

#[test]
fn s18_opens_that_nobody_finishes_keep_no_stranger_out_however_slowly_they_come() {
    let mut node = end(0, 1, limits(2, 2));
    for n in [1, 2] {
        let (_, open) = open_of(n, &node, 0);
        node.hear(T0, &made_up(open, n as u8));
    }
    // The first has half of the places there are: the second was asked for a cookie.
    assert_eq!((node.switch.counters().opens_answered, node.switch.counters().cookies), (1, 1));
    let lost = node.drain();
    assert!(lost.iter().all(|d| d.to.ip() != node.address.ip()));
    for n in [4, 5, 6] {
        let mut stranger = open_of(n, &node, 0).0;
        stranger.switch.handle_timeout(T0 + 500 * MS, WALL);
        carry(T0 + 500 * MS, &mut [&mut stranger, &mut node], |_| true);
        assert_eq!(stranger.up.len(), 1, "stranger {n} was kept out");
        stranger.say(T0 + 500 * MS, b"here");
        carry(T0 + 500 * MS, &mut [&mut stranger, &mut node], |_| true);
    }
    assert_eq!(node.inside.len(), 3);
}

#[test]
fn s18_who_brings_a_cookie_goes_before_those_who_brought_none() {
    let mut node = end(0, 1, limits(2, 2));
    let (_, open) = open_of(1, &node, 0);
    node.hear(T0, &made_up(open, 1));
    node.drain();
    // Two who bring cookies and take their time: the first packet of each is lost once.
    let mut both: Vec<End> = [4, 5].map(|n| open_of(n, &node, 0).0).into();
    let now = T0 + 500 * MS;
    for stranger in &mut both {
        stranger.switch.handle_timeout(now, WALL);
        let mut cookie = 0;
        carry(now, &mut [stranger, &mut node], |d| {
            cookie += usize::from(d.bytes.len() < 100);
            // Sealed packets begin with two zeros.
            d.bytes[..2] != [0, 0]
        });
        assert!(cookie > 0);
    }
    assert_eq!(node.drops(DropReason::CrowdedOut), 1, "the one without a cookie");
    assert_eq!(node.drops(DropReason::TableFull), 0);
    let [a, b] = &mut both[..] else { panic!() };
    for (n, stranger) in [a, b].into_iter().enumerate() {
        stranger.say(now, b"here");
        carry(now, &mut [stranger, &mut node], |_| true);
        assert_eq!(node.inside.len(), n + 1);
    }
    // Nothing is left of any of them when their time is up.
    pass(now, 300, &mut [&mut node], |_| false);
    let mut late = open_of(6, &node, 0).0;
    let now = now + 30_000 * MS;
    late.switch.handle_timeout(now, WALL);
    let cookies = node.switch.counters().cookies;
    late.switch.unwant(&node.hashname);
    late.switch.want(now, node.hashname);
    carry(now, &mut [&mut late, &mut node], |_| true);
    assert_eq!((late.up.len(), node.switch.counters().cookies), (1, cookies), "not asked");
}

#[test]
fn s18_opens_in_the_name_of_an_address_do_not_keep_out_who_is_there() {
    let mut node = end(0, 1, limits(4_096, 2));
    let mut stranger = end(4, 1, Limits::default());
    for n in [1, 2, 5] {
        let (_, open) = open_of(n, &node, 0);
        let from = SocketAddr::new(stranger.address.ip(), n as u16);
        node.hear(T0, &Flying { from, ..open });
    }
    assert_eq!(node.switch.counters().opens_answered, 1, "one, and no more without a cookie");
    node.drain();
    stranger.knows(T0, &node, 0);
    stranger.switch.want(T0, node.hashname);
    carry(T0, &mut [&mut stranger, &mut node], |_| true);
    assert_eq!(stranger.up.len(), 1);
    // Others are not asked for what comes in the name of that one.
    let cookies = node.switch.counters().cookies;
    let mut other = open_of(6, &node, 0).0;
    other.switch.handle_timeout(T0 + 500 * MS, WALL);
    carry(T0 + 500 * MS, &mut [&mut other, &mut node], |_| true);
    assert_eq!((other.up.len(), node.switch.counters().cookies), (1, cookies));
}

#[test]
fn s18_a_partition_that_fills_asks_for_cookies_whichever_partition_opens_come_by() {
    let mut gate = end_of(0, 1, limits(2, 2), (0, 2));
    let mut owner = end_of(0, 1, limits(2, 2), (1, 2));
    let theirs =
        |n: &usize| end(*n, 1, Limits::default()).hashname.address().as_bytes()[15] % 2 == 1;
    let names: Vec<usize> = [1, 2, 4, 5, 6, 7].into_iter().filter(theirs).collect();
    assert!(names.len() >= 3, "{names:?}");
    let mut relay = |now: Instant, gate: &mut End, d: &Flying| {
        gate.hear(now, d);
        let mut out = gate.drain();
        for (d, toll) in core::mem::take(&mut gate.elsewhere) {
            let bytes = BytesMut::from(d.bytes.as_slice());
            owner.switch.relayed(now, WALL, (d.from, 42_424), bytes, toll);
        }
        out.extend(owner.drain());
        out
    };
    for n in &names[..2] {
        let open = open_of(*n, &gate, 0).1;
        relay(T0, &mut gate, &made_up(open, *n as u8));
    }
    let (mut stranger, open) = open_of(names[2], &gate, 0);
    let cookie = relay(T0, &mut gate, &open);
    assert_eq!(cookie.len(), 1);
    stranger.hear(T0, &cookie[0]);
    let again = stranger.drain();
    let answer = relay(T0, &mut gate, &again[0]);
    stranger.hear(T0, &answer[0]);
    stranger.drain();
    assert_eq!(stranger.up.len(), 1);
    assert_eq!(gate.switch.counters().cookies, 0, "the other one asked");
    assert_eq!(owner.switch.counters().cookies, 2);
}
