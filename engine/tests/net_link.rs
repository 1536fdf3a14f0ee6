//! Links over real loopback connections, plain and under TLS: what each side proves, that every
//! byte arrives once and in order, and that whoever breaks the rules only ends his own connection.

use std::io::{ErrorKind, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::BytesMut;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use trunkline::net::tcp::{self, dial};
use trunkline::net::{
    Accepted, HandshakeState, LinkListener, LinkTls, ListenOptions, PeerProof, ReadOutcome,
    TcpOptions, Transport,
};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A fresh key: its public half and what a node makes of it.
fn identity() -> ([u8; 32], LinkTls) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (public, LinkTls::new(pair.to_pkcs8v1().unwrap().as_ref()).unwrap())
}

/// Waits until something happens to any of the sockets.
struct Watch {
    poll: Poll,
    events: Events,
}

impl Watch {
    fn new(sources: &mut [&mut dyn mio::event::Source]) -> Watch {
        let poll = Poll::new().unwrap();
        for (index, source) in sources.iter_mut().enumerate() {
            let interests = Interest::READABLE | Interest::WRITABLE;
            source.register(poll.registry(), Token(index), interests).unwrap();
        }
        Watch { poll, events: Events::with_capacity(16) }
    }

    fn wait(&mut self) {
        self.poll.poll(&mut self.events, Some(PATIENCE)).unwrap();
        assert!(!self.events.is_empty(), "nothing happens any more");
    }
}

/// Two ends of a fresh connection.
fn sockets(options: &TcpOptions) -> (TcpStream, TcpStream) {
    let mut listener =
        LinkListener::bind(LOOPBACK, options.clone(), ListenOptions::default()).unwrap();
    let dialled = dial(listener.local_addr(), options).unwrap();
    let addr = dialled.local_addr().unwrap();
    let poll = Poll::new().unwrap();
    mio::event::Source::register(&mut listener, poll.registry(), Token(0), Interest::READABLE)
        .unwrap();
    let mut watch = Watch { poll, events: Events::with_capacity(4) };
    loop {
        match listener.accept().unwrap() {
            Accepted::Link(accepted, from) => {
                assert_eq!(from, addr);
                assert!(matches!(listener.accept().unwrap(), Accepted::Empty));
                return (dialled, accepted);
            }
            Accepted::Empty => watch.wait(),
            Accepted::Exhausted => panic!("out of descriptors"),
        }
    }
}

fn tls_pair(a: &LinkTls, b: &LinkTls, options: &TcpOptions) -> (Transport, Transport) {
    let (dialled, accepted) = sockets(options);
    (Transport::dialled(dialled, a).unwrap(), Transport::accepted(accepted, b).unwrap())
}

/// Drives both handshakes to their ends.
fn shake(
    a: &mut Transport,
    b: &mut Transport,
) -> (std::io::Result<Option<PeerProof>>, std::io::Result<Option<PeerProof>>) {
    let mut watch = Watch::new(&mut [a, b]);
    let (mut left, mut right) = (None, None);
    loop {
        for (end, outcome) in [(&mut *a, &mut left), (&mut *b, &mut right)] {
            if outcome.is_none() {
                *outcome = match end.handshake() {
                    Ok(HandshakeState::Done { peer }) => Some(Ok(peer)),
                    Ok(HandshakeState::Wants { .. }) => None,
                    Err(error) => Some(Err(error)),
                };
            }
        }
        if let (Some(left), Some(right)) = (&left, &right) {
            let copy = |r: &std::io::Result<Option<PeerProof>>| match r {
                Ok(peer) => Ok(*peer),
                Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
            };
            let registry = watch.poll.registry();
            mio::event::Source::deregister(a, registry).unwrap();
            mio::event::Source::deregister(b, registry).unwrap();
            return (copy(left), copy(right));
        }
        watch.wait();
    }
}

/// A standing protected link.
fn link(options: &TcpOptions) -> (Transport, Transport) {
    let ((_, a), (_, b)) = (identity(), identity());
    let (mut dialled, mut accepted) = tls_pair(&a, &b, options);
    let (left, right) = shake(&mut dialled, &mut accepted);
    left.unwrap();
    right.unwrap();
    (dialled, accepted)
}

fn plain_link(options: &TcpOptions) -> (Transport, Transport) {
    let (dialled, accepted) = sockets(options);
    let (mut dialled, mut accepted) = (Transport::plain(dialled), Transport::plain(accepted));
    let (left, right) = shake(&mut dialled, &mut accepted);
    assert_eq!((left.unwrap(), right.unwrap()), (None, None));
    (dialled, accepted)
}

/// The byte at a place of the test stream: no period a buffer size could hide behind.
fn byte_at(place: usize) -> u8 {
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn stretch(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(byte_at).collect()
}

/// Writes the first `total` bytes of the test stream in gathers of odd sizes, then ends the stream.
fn write_stream(mut end: Transport, total: usize) {
    let mut watch = Watch::new(&mut [&mut end]);
    let mut sent = 0;
    while sent < total {
        let bytes = stretch(sent, (total - sent).min(100_000));
        let slices: Vec<IoSlice<'_>> = bytes.chunks(301).map(IoSlice::new).collect();
        match end.write(&slices) {
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => watch.wait(),
            Err(error) => panic!("after {sent}: {error}"),
        }
    }
    while !end.shutdown().unwrap() {
        watch.wait();
    }
}

/// Reads and checks `total` bytes and the end of the stream, with `room` bytes of buffer.
fn read_stream(mut end: Transport, total: usize, room: usize) {
    let mut watch = Watch::new(&mut [&mut end]);
    let mut got = 0;
    loop {
        let mut buf = BytesMut::with_capacity(room);
        let capacity = buf.capacity();
        match end.read(&mut buf).unwrap() {
            ReadOutcome::Bytes(count) | ReadOutcome::Drained(count) => {
                assert!(count == buf.len() && buf.capacity() == capacity, "never more than fits");
                assert_eq!(buf[..], stretch(got, count)[..], "at {got}");
                got += count;
            }
            ReadOutcome::Blocked => {
                assert!(!end.has_buffered());
                watch.wait();
            }
            ReadOutcome::Closed => break,
        }
    }
    assert_eq!(got, total);
    let mut buf = BytesMut::with_capacity(1);
    assert_eq!(end.read(&mut buf).unwrap(), ReadOutcome::Closed, "stays closed");
}

/// Each end reads on one thread and writes on another, all four at once.
fn both_ways((a, b): (Transport, Transport), total: usize, room: usize) {
    let (a_writes, b_writes) = (a.try_clone().unwrap(), b.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| write_stream(a_writes, total));
        scope.spawn(|| write_stream(b_writes, total));
        scope.spawn(|| read_stream(a, total, room));
        scope.spawn(|| read_stream(b, total, room));
    });
}

fn narrow() -> TcpOptions {
    TcpOptions { send_bytes: Some(8 << 10), receive_bytes: Some(8 << 10), ..TcpOptions::default() }
}

/// How many bytes an end takes while nobody reads at the other.
fn fill(end: &Transport) -> usize {
    let bytes = stretch(0, 64 << 10);
    let mut taken = 0;
    loop {
        let rest = stretch(taken, bytes.len());
        match end.write(&[IoSlice::new(&rest)]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 4 << 20, "takes without end");
    }
}

#[test]
fn both_sides_learn_each_others_key_and_share_a_binding() {
    let ((a_key, a), (b_key, b)) = (identity(), identity());
    assert_eq!(a.public_key(), a_key);
    let mut bindings = Vec::new();
    for _ in 0..2 {
        let (mut dialled, mut accepted) = tls_pair(&a, &b, &TcpOptions::default());
        let (left, right) = shake(&mut dialled, &mut accepted);
        let (left, right) = (left.unwrap().unwrap(), right.unwrap().unwrap());
        assert_eq!((left.key, right.key), (b_key, a_key));
        assert_eq!(left.binding, right.binding);
        assert!(!format!("{left:?}").contains(&format!("{:?}", left.binding)));
        bindings.push(left.binding);
    }
    assert_ne!(bindings[0], bindings[1], "each connection has its own");
}

#[test]
fn streams_cross_both_ways_under_tls() {
    both_ways(link(&TcpOptions::default()), 8 << 20, 64 << 10);
}

#[test]
fn streams_cross_both_ways_through_narrow_sockets() {
    both_ways(link(&narrow()), 2 << 20, 64 << 10);
    both_ways(plain_link(&narrow()), 2 << 20, 64 << 10);
}

#[test]
fn streams_cross_both_ways_in_the_clear() {
    both_ways(plain_link(&TcpOptions::default()), 8 << 20, 64 << 10);
}

#[test]
fn a_reader_with_little_room_loses_nothing() {
    both_ways(link(&TcpOptions::default()), 200_000, 33);
    both_ways(plain_link(&TcpOptions::default()), 200_000, 33);
}

#[test]
fn a_reader_without_room_is_told_so() {
    for (a, _b) in [link(&TcpOptions::default()), plain_link(&TcpOptions::default())] {
        let mut buf = BytesMut::new();
        assert_eq!(a.read(&mut buf).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_peer_that_stops_reading_bounds_what_waits() {
    for (a, mut b) in [link(&narrow()), plain_link(&narrow())] {
        let taken = fill(&a);
        // Two sockets' buffers (the kernel doubles what is asked for) and one batch of ours.
        assert!(taken < 160 << 10, "{taken} bytes taken");
        assert_eq!(a.is_protected(), a.wants_write(), "only TLS holds bytes of its own");
        assert_eq!(fill(&a), 0, "and no more");
        // Once it reads again everything comes, in order.
        let mut watch = Watch::new(&mut [&mut b]);
        let mut got = BytesMut::new();
        while got.len() < taken {
            a.flush().unwrap();
            got.reserve(4096);
            if b.read(&mut got).unwrap() == ReadOutcome::Blocked && got.len() < taken {
                a.flush().unwrap();
                watch.wait();
            }
        }
        assert_eq!(got[..], stretch(0, taken)[..]);
    }
}

#[test]
fn the_kernel_holds_little_when_told_so() {
    let (a, _b) = plain_link(&TcpOptions::default());
    tcp::set_unsent_limit(a.socket(), 4096).unwrap();
    assert_eq!(tcp::unsent_bytes(a.socket()).unwrap(), 0);
    fill(&a);
    assert!(tcp::unsent_bytes(a.socket()).unwrap() > 0, "nobody reads");
    assert!(!tcp::congestion(a.socket()).unwrap().is_empty());
}

#[test]
fn b3_the_kernel_keeps_exactly_to_the_unsent_limit_when_asked() {
    let piece = stretch(0, 4096);
    for (mut a, _b) in [plain_link(&TcpOptions::default()), link(&TcpOptions::default())] {
        tcp::set_unsent_limit(a.socket(), 4096).unwrap();
        a.set_exact(true);
        while a.write(&[IoSlice::new(&piece)]).is_ok() {}
        // Less than the limit when the last piece was taken, that piece, and TLS's few bytes.
        let unsent = tcp::unsent_bytes(a.socket()).unwrap();
        assert!((1..=2 * 4096 + 64).contains(&unsent), "{unsent} bytes");
    }
}

#[test]
fn b3_what_the_kernel_holds_can_be_bounded_and_given_back() {
    let held = |bound| {
        let (a, b) = plain_link(&narrow());
        tcp::bound_held(a.socket(), bound).unwrap();
        let taken = fill(&a);
        drop(b);
        taken
    };
    let (some, all) = (held(Some(32 << 10)), held(None));
    assert!(some < all, "{some} bytes of {all}");
}

#[test]
fn b3_the_kernel_tells_how_fast_a_path_takes_bytes() {
    let (mut a, mut b) = plain_link(&TcpOptions::default());
    let before = tcp::pace(a.socket()).unwrap();
    let hear = |end: &mut Transport, count| {
        let mut watch = Watch::new(&mut [end]);
        let mut buf = BytesMut::with_capacity(count);
        while buf.len() < count {
            if end.read(&mut buf).unwrap() == ReadOutcome::Blocked {
                watch.wait();
            }
        }
    };
    assert_eq!(a.write(&[IoSlice::new(&stretch(0, 4096))]).unwrap(), 4096);
    hear(&mut b, 4096);
    // What comes back acknowledges what went.
    assert_eq!(b.write(&[IoSlice::new(b"!")]).unwrap(), 1);
    hear(&mut a, 1);
    let after = tcp::pace(a.socket()).unwrap();
    assert_eq!(after.acknowledged - before.acknowledged, 4096);
    assert!(Duration::ZERO < after.least_round_trip && after.least_round_trip <= PATIENCE);
    assert!(Duration::ZERO < after.round_trip && after.round_trip <= PATIENCE);
    assert!(after.busy <= PATIENCE);
}

#[test]
fn a_cut_stream_is_told_from_an_ended_one() {
    for cut in [false, true] {
        let (a, mut b) = link(&TcpOptions::default());
        assert_eq!(a.write(&[IoSlice::new(b"last words")]).unwrap(), 10);
        if cut {
            a.socket().shutdown(std::net::Shutdown::Write).unwrap();
        } else {
            assert!(a.shutdown().unwrap() && a.shutdown().unwrap());
            let refused = a.write(&[IoSlice::new(b"more")]).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
        }
        let mut watch = Watch::new(&mut [&mut b]);
        let mut buf = BytesMut::with_capacity(100);
        let end = loop {
            match b.read(&mut buf) {
                Ok(ReadOutcome::Bytes(_) | ReadOutcome::Drained(_)) => {}
                Ok(ReadOutcome::Blocked) => watch.wait(),
                end => break end,
            }
        };
        assert_eq!(buf[..], b"last words"[..]);
        match end {
            Ok(outcome) => assert!(!cut && outcome == ReadOutcome::Closed),
            Err(error) => assert!(cut && error.kind() == ErrorKind::UnexpectedEof, "{error}"),
        }
    }
}

#[test]
fn good_bytes_before_a_forgery_are_handed_over() {
    let (a, mut b) = link(&TcpOptions::default());
    a.write(&[IoSlice::new(b"good")]).unwrap();
    // A record of the right shape that nobody sealed.
    let mut forged = vec![0x17, 3, 3, 0, 32];
    forged.extend([0; 32]);
    a.socket().write_all(&forged).unwrap();
    let mut watch = Watch::new(&mut [&mut b]);
    let mut buf = BytesMut::with_capacity(100);
    let error = loop {
        match b.read(&mut buf) {
            Ok(ReadOutcome::Bytes(_) | ReadOutcome::Drained(_)) => {}
            Ok(_) => watch.wait(),
            Err(error) => break error,
        }
    };
    assert_eq!((&buf[..], error.kind()), (&b"good"[..], ErrorKind::InvalidData));
    assert_eq!(b.read(&mut buf).unwrap_err().kind(), ErrorKind::InvalidData, "stays broken");
    assert!(!b.has_buffered());
}

#[test]
fn garbage_instead_of_a_hello_is_refused() {
    let (_, tls) = identity();
    let samples: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 0, 4, 1, 0, 0, 0], &[0xff; 64], &[0; 5]];
    for garbage in samples {
        let (mut dialled, accepted) = sockets(&TcpOptions::default());
        let mut accepted = Transport::accepted(accepted, &tls).unwrap();
        assert_eq!(accepted.write(&[]).unwrap_err().kind(), ErrorKind::NotConnected);
        dialled.write_all(garbage).unwrap();
        let mut watch = Watch::new(&mut [&mut accepted]);
        let error = loop {
            match accepted.handshake() {
                Ok(HandshakeState::Wants { read, .. }) => assert!(read),
                Ok(done) => panic!("{garbage:?}: {done:?}"),
                Err(error) => break error,
            }
            watch.wait();
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{garbage:?}: {error}");
    }
}

#[test]
fn a_peer_that_leaves_during_the_handshake_is_noticed() {
    let (_, tls) = identity();
    let (dialled, accepted) = sockets(&TcpOptions::default());
    let mut accepted = Transport::accepted(accepted, &tls).unwrap();
    drop(dialled);
    let mut watch = Watch::new(&mut [&mut accepted]);
    let error = loop {
        match accepted.handshake() {
            Ok(_) => watch.wait(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_dial_nobody_answers_fails() {
    let (_, tls) = identity();
    let closed = LinkListener::bind(LOOPBACK, TcpOptions::default(), ListenOptions::default())
        .unwrap()
        .local_addr();
    let Ok(socket) = dial(closed, &TcpOptions::default()) else { return };
    let mut end = Transport::dialled(socket, &tls).unwrap();
    let mut watch = Watch::new(&mut [&mut end]);
    let error = loop {
        match end.handshake() {
            Ok(HandshakeState::Wants { .. }) => watch.wait(),
            Ok(done) => panic!("{done:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_key_that_is_not_ed25519_is_no_identity() {
    assert!(LinkTls::new(b"no key").is_err());
    let p256 = aws_lc_rs::signature::EcdsaKeyPair::generate(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
    )
    .unwrap();
    assert!(LinkTls::new(p256.to_pkcs8v1().unwrap().as_ref()).is_err());
    let (_, tls) = identity();
    let shared = Arc::new(tls);
    assert_eq!(format!("{shared:?}"), "LinkTls { .. }", "no key in a log");
}
