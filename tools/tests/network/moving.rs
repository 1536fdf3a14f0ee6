//! A line that carries a load while its direct path goes away and comes back: every byte arrives
//! once and in order, in both directions. Needs root; says so otherwise.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use trunkline_tools::clock::Clock;
use trunkline_tools::lab::nodes::wait_for;
use trunkline_tools::lab::strangers::{Options, Place, Strangers};
use trunkline_tools::lab::{Lab, LabError, Nat};

type Outcome = Result<(), LabError>;

const SERVER: u16 = 8_080;
const PROXY: u16 = 9_090;
/// Bytes sent at once, and how long after each: 6 MB/s, which a bridge carries by default.
const PIECE: usize = 64 << 10;
const PACE: Duration = Duration::from_millis(10);
/// What is not sent in any case.
const MOST: usize = 512 << 20;

/// The byte at a place of everything that is sent here: no piece looks like another.
fn pattern(at: usize) -> u8 {
    let n = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n >> 56) as u8
}

/// Reads until the end, holds every byte against the pattern, and passes on what it read. Gives
/// back how many there were and the longest time without any.
fn check(mut from: TcpStream, mut onward: impl FnMut(&[u8])) -> (usize, Duration) {
    from.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let clock = Clock::start();
    let (mut at, mut last, mut longest) = (0, clock.now(), Duration::ZERO);
    let mut buffer = vec![0; PIECE];
    loop {
        let n = from.read(&mut buffer).expect("bytes in time");
        if n == 0 {
            return (at, longest);
        }
        let now = clock.now();
        longest = longest.max(now.since(last));
        last = now;
        for byte in &buffer[..n] {
            assert_eq!(*byte, pattern(at), "a wrong byte at {at}");
            at += 1;
        }
        onward(&buffer[..n]);
    }
}

/// What a flow there and back went through.
struct Flow {
    sent: usize,
    there: (usize, Duration),
    back: (usize, Duration),
}

/// Sends from the first guest to the second, which sends everything back, until `meanwhile` is over.
fn flow(strangers: &Strangers, meanwhile: impl FnOnce(&AtomicUsize)) -> Result<Flow, LabError> {
    let [a, b] = &strangers.guests;
    let listener = b.host.inside(|| TcpListener::bind(("127.0.0.1", SERVER)))?.expect("a port");
    let _proxy = a.node.proxy(&a.host, &b.node, ([127, 0, 0, 1], SERVER).into(), PROXY)?;
    let client = a.host.inside(|| TcpStream::connect(("127.0.0.1", PROXY)))?.expect("connected");
    let (over, arrived) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (socket, _) = listener.accept().expect("a connection");
            let mut back = socket.try_clone().expect("a second handle");
            let counts = check(socket, |piece| {
                back.write_all(piece).expect("sent back");
                arrived.fetch_add(piece.len(), Ordering::Relaxed);
            });
            back.shutdown(Shutdown::Write).expect("ended");
            counts
        });
        let reader = client.try_clone().expect("a second handle");
        let reading = scope.spawn(|| check(reader, |_| {}));
        let (mut writer, over) = (client, &over);
        let writing = scope.spawn(move || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) && sent < MOST {
                let piece: Vec<u8> = (sent..sent + PIECE).map(pattern).collect();
                writer.write_all(&piece).expect("written");
                sent += PIECE;
                // The flow is to last while paths change, not to be as fast as it can.
                std::thread::park_timeout(PACE);
            }
            writer.shutdown(Shutdown::Write).expect("ended");
            sent
        });
        // Also when `meanwhile` fails: the threads end, and the failure is seen.
        let watched =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| meanwhile(&arrived)));
        over.store(true, Ordering::Relaxed);
        let flow = Flow {
            sent: writing.join().expect("written"),
            there: server.join().expect("all came"),
            back: reading.join().expect("all came back"),
        };
        watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(flow)
    })
}

fn wait_for_more(arrived: &AtomicUsize, bytes: usize) {
    let aim = arrived.load(Ordering::Relaxed) + bytes;
    wait_for("more bytes", || arrived.load(Ordering::Relaxed) >= aim);
}

#[test]
fn b1_a_line_moves_to_the_relay_and_back_under_load_without_a_lost_or_doubled_byte() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let options = Options { allow: vec![format!("127.0.0.1:{SERVER}")], ..Options::default() };
    let strangers = lab.strangers(Place::Apart(Nat::Port, Nat::Port), &options)?;
    assert!(strangers.meet(Duration::from_secs(20)).is_direct(), "{}", strangers.account());
    let all = |way: &str| strangers.ways().iter().all(|w| w.starts_with(way));
    let [a, b] = [strangers.guests[0].outside, strangers.guests[1].outside];
    let flow = flow(&strangers, |arrived| {
        let clock = Clock::start();
        wait_for_more(arrived, 8 << 20);
        assert!(all("direct"), "{}", strangers.account());
        strangers.net.part(a, b).expect("parted");
        let cut = clock.now();
        wait_for("both to send over the relay", || all("bridge"));
        eprintln!("over the relay {:?} after the cut", clock.now().since(cut));
        wait_for_more(arrived, 8 << 20);
        strangers.net.rejoin().expect("rejoined");
        let healed = clock.now();
        wait_for("both to send directly again", || all("direct"));
        eprintln!("direct again {:?} after it was healed", clock.now().since(healed));
        wait_for_more(arrived, 8 << 20);
    })?;
    let Flow { sent, there, back } = flow;
    assert_eq!((there.0, back.0), (sent, sent), "bytes lost or doubled");
    eprintln!("{sent} bytes there and back; longest pauses {:?} and {:?}", there.1, back.1);
    assert!(there.1 < Duration::from_secs(10), "{:?} without progress", there.1);
    Ok(())
}
