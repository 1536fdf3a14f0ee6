//! What the sockets cost over loopback, both ends on this thread: a link's bytes in the clear and
//! under TLS, and datagrams alone, in batches and in segmented runs.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trunkline::net::tcp::dial;
use trunkline::net::{
    Accepted, HandshakeState, LinkListener, LinkTls, ListenOptions, ReadOutcome, RecvBuffers,
    SendBatch, TcpOptions, Transport, UdpOptions, UdpPort,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn sockets() -> (mio::net::TcpStream, mio::net::TcpStream) {
    let options = TcpOptions::default();
    let listener =
        LinkListener::bind(LOOPBACK, options.clone(), ListenOptions::default()).expect("listener");
    let dialled = dial(listener.local_addr(), &options).expect("dial");
    loop {
        if let Accepted::Link(accepted, _) = listener.accept().expect("accept") {
            return (dialled, accepted);
        }
    }
}

fn identity() -> LinkTls {
    let pair = Ed25519KeyPair::generate().expect("key");
    LinkTls::new(pair.to_pkcs8v1().expect("pkcs8").as_ref()).expect("tls")
}

fn shake(a: &mut Transport, b: &mut Transport) {
    let mut done = (false, false);
    while done != (true, true) {
        done.0 |= matches!(a.handshake().expect("handshake"), HandshakeState::Done { .. });
        done.1 |= matches!(b.handshake().expect("handshake"), HandshakeState::Done { .. });
    }
}

fn link(protected: bool) -> (Transport, Transport) {
    let (dialled, accepted) = sockets();
    let (mut a, mut b) = if protected {
        let a = Transport::dialled(dialled, &identity()).expect("tls");
        (a, Transport::accepted(accepted, &identity()).expect("tls"))
    } else {
        (Transport::plain(dialled), Transport::plain(accepted))
    };
    shake(&mut a, &mut b);
    (a, b)
}

/// One gathered write, read to its last byte on the other side.
fn cross(a: &Transport, b: &Transport, slices: &[IoSlice<'_>], total: usize, buf: &mut BytesMut) {
    let mut sent = 0;
    buf.clear();
    while buf.len() < total {
        if sent < total {
            match a.write(slices) {
                Ok(taken) => sent += taken,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        while let ReadOutcome::Bytes(count) | ReadOutcome::Drained(count) =
            b.read(buf).expect("read")
        {
            black_box(count);
            if buf.len() >= total {
                break;
            }
        }
    }
}

fn links(c: &mut Criterion) {
    let mut group = c.benchmark_group("link/write and read");
    for (frame, count) in [(300, 1), (300, 64), (16 << 10, 1), (16 << 10, 3)] {
        let bytes = vec![7_u8; frame];
        let slices: Vec<IoSlice<'_>> = (0..count).map(|_| IoSlice::new(&bytes)).collect();
        group.throughput(Throughput::Bytes((frame * count) as u64));
        for (name, protected) in [("plain", false), ("tls", true)] {
            let (a, b) = link(protected);
            let mut buf = BytesMut::with_capacity(128 << 10);
            group.bench_function(BenchmarkId::new(name, format!("{count}x{frame}")), |bench| {
                bench.iter(|| cross(&a, &b, &slices, frame * count, &mut buf));
            });
        }
    }
    group.finish();
}

fn handshakes(c: &mut Criterion) {
    let (a, b) = (identity(), identity());
    c.bench_function("link/connect and handshake, both ends", |bench| {
        bench.iter(|| {
            let (dialled, accepted) = sockets();
            let mut dialled = Transport::dialled(dialled, &a).expect("tls");
            let mut accepted = Transport::accepted(accepted, &b).expect("tls");
            shake(&mut dialled, &mut accepted);
        });
    });
}

/// Sends 64 datagrams of 300 bytes and receives them.
fn datagrams(c: &mut Criterion) {
    let mut group = c.benchmark_group("udp/send and receive 64 of 300 B");
    group.throughput(Throughput::Elements(64));
    let frame = Bytes::from(vec![7_u8; 300]);
    // Each longer than the one before, which no run can take: plain batches.
    let growing: Vec<Bytes> = (0..64).map(|i| Bytes::from(vec![7_u8; 268 + i])).collect();
    for (name, coalesce, runs) in [
        ("one by one", false, 0),
        ("in a batch", false, 1),
        ("in a segmented run", false, 2),
        ("in a run, received coalesced", true, 2),
    ] {
        let a = UdpPort::bind(LOOPBACK, &UdpOptions::default()).expect("port");
        let options = UdpOptions { coalesce, ..UdpOptions::default() };
        let b = UdpPort::bind(LOOPBACK, &options).expect("port");
        let (mut batch, mut buffers) = (SendBatch::new(64), RecvBuffers::new());
        group.bench_function(name, |bench| {
            bench.iter(|| {
                for longer in &growing {
                    let bytes = if runs == 1 { longer } else { &frame };
                    let _ = batch.push(b.local_addr(), bytes.clone());
                    if runs == 0 {
                        a.send(&mut batch).expect("send");
                    }
                }
                a.send(&mut batch).expect("send");
                let mut got = 0;
                while got < 64 {
                    got +=
                        b.recv(&mut buffers, 64, |_, frame| drop(black_box(frame))).expect("recv");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, links, handshakes, datagrams);
criterion_main!(benches);
