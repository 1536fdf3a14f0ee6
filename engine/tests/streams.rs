//! Streams in applications' hands, between two nodes over real sockets.

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, linked, listening, meet, plans};
use trunkline::config::Transport;
use trunkline::proto::stage::plan::Plan;
use trunkline::{Engine, Setup, Stream, StreamError, StreamOptions};

/// A and B, linked; `change` says what B is to do.
fn pair(plan: Plan, change: impl FnOnce(&mut Setup)) -> (Engine, Engine) {
    let mut setup = listening(0, plan, Transport::Plain);
    change(&mut setup);
    let b = Engine::start(setup).expect("b");
    let a = Engine::start(linked(1, plan, Transport::Plain, &[&b])).expect("a");
    meet(&a, &b);
    (a, b)
}

#[allow(clippy::disallowed_methods, reason = "the test's own threads")]
fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn(f)
}

/// B takes streams and sends everything back, each on a thread of its own.
fn echoing(b: &Engine) -> thread::JoinHandle<()> {
    let listener = b.handle().listener();
    spawn(move || {
        for stream in &listener {
            spawn(move || {
                let (mut reader, mut writer) = stream.split();
                let _ = io::copy(&mut reader, &mut writer);
            });
        }
    })
}

fn open(a: &Engine, b: &Engine) -> Stream {
    let mut stream = a.handle().stream(b.handle().hashname()).expect("a stream");
    stream.set_read_timeout(Some(PATIENCE));
    stream.set_write_timeout(Some(PATIENCE));
    stream
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| ((i.wrapping_mul(2_654_435_761)) >> 13) as u8).collect()
}

fn kind_of(result: io::Result<usize>) -> ErrorKind {
    result.expect_err("an error").kind()
}

#[test]
fn s13_s24_bulk_comes_back_whole_through_both_halves() {
    for (name, plan) in plans() {
        let (a, b) = pair(plan, |_| {});
        let echo = echoing(&b);
        let stream = open(&a, &b);
        assert_eq!(stream.peer(), b.handle().hashname());
        let (mut reader, mut writer) = stream.split();
        let sent = pattern(5_000_000);
        let copy = sent.clone();
        let writing = spawn(move || {
            // Small and large pieces, as programs write them.
            for (i, chunk) in copy.chunks(100_000).enumerate() {
                let step = if i % 3 == 0 { 777 } else { chunk.len() };
                chunk.chunks(step).for_each(|c| writer.write_all(c).expect("written"));
            }
            assert!(writer.deliver(PATIENCE), "acknowledged");
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(got == sent, "{name}: {} of {}", got.len(), sent.len());
        writing.join().expect("written");
        // Nothing is left of a stream that ended in order.
        let left = || a.handle().report().expect("a report").iter().map(|r| r.pipes).sum::<usize>();
        let mut left_now = left();
        for _ in 0..200 {
            if left_now == 0 {
                break;
            }
            thread::park_timeout(Duration::from_millis(10));
            left_now = left();
        }
        assert_eq!(left_now, 0, "{name}");
        drop((a, b));
        echo.join().expect("the listener ends with the node");
    }
}

#[cfg(feature = "tokio")]
#[test]
fn s13_tasks_read_and_write_streams_as_threads_do() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (a, b) = pair(plans()[0].1, |_| {});
    let _echo = echoing(&b);
    // No driver of tokio's is needed: who wakes the task is the worker.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let sent = pattern(3_000_000);
    let got = runtime.block_on(async {
        let (mut reader, mut writer) = open(&a, &b).split();
        let writing = async {
            AsyncWriteExt::write_all(&mut writer, &sent).await.expect("written");
            writer.shutdown().await.expect("ended");
        };
        let mut got = Vec::new();
        let reading = AsyncReadExt::read_to_end(&mut reader, &mut got);
        let (read, ()) = both(reading, writing).await;
        assert_eq!(read.expect("read"), sent.len());
        got
    });
    assert!(got == sent);
}

/// Both at once, in one task.
#[cfg(feature = "tokio")]
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    use std::task::Poll;
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut of_a, mut of_b) = (None, None);
    std::future::poll_fn(move |cx| {
        if of_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            of_a = Some(output);
        }
        if of_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            of_b = Some(output);
        }
        match (of_a.take(), of_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (of_a, of_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn s13_one_half_ends_and_the_other_goes_on() {
    let (a, b) = pair(plans()[0].1, |_| {});
    let listener = b.handle().listener();
    let mut stream = open(&a, &b);
    stream.write_all(b"question").expect("written");
    stream.finish();
    assert_eq!(kind_of(stream.write(b"more")), ErrorKind::BrokenPipe);
    let mut taken = listener.accept(PATIENCE).expect("a stream");
    assert_eq!(taken.peer(), a.handle().hashname());
    let mut got = String::new();
    taken.read_to_string(&mut got).expect("the end");
    assert_eq!(got, "question");
    assert_eq!(
        stream.try_read(&mut [0; 9]).expect_err("nothing yet").kind(),
        ErrorKind::WouldBlock
    );
    taken.write_all(&pattern(1_000_000)).expect("written");
    drop(taken);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the end");
    assert!(answer == pattern(1_000_000));
}

#[test]
fn s13_a_reset_is_heard_with_its_code_and_reason() {
    let (a, b) = pair(plans()[1].1, |_| {});
    let listener = b.handle().listener();
    let mut stream = open(&a, &b);
    stream.write_all(b"x").expect("written");
    let taken = listener.accept(PATIENCE).expect("a stream");
    taken.reset(777, "enough");
    let error = stream.read(&mut [0; 9]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<StreamError>());
    assert!(
        matches!(inner, Some(StreamError::Reset { code, reason })
            if code.0 == 777 && **reason == *"enough"),
        "{error:?}"
    );
    assert_eq!(kind_of(stream.write(b"y")), ErrorKind::ConnectionReset);
}

#[test]
fn s13_who_reads_no_more_stops_the_writer() {
    let (a, b) = pair(plans()[0].1, |_| {});
    let listener = b.handle().listener();
    let mut stream = open(&a, &b);
    stream.write_all(b"x").expect("written");
    let (reader, mut writer) = listener.accept(PATIENCE).expect("a stream").split();
    drop(reader);
    let error = loop {
        if let Err(error) = stream.write(&[7; 50_000]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    writer.write_all(b"still here").expect("the other half goes on");
    drop(writer);
    let mut got = String::new();
    stream.read_to_string(&mut got).expect("the end");
    assert_eq!(got, "still here");
}

#[test]
fn s6_s13_streams_that_nobody_takes_are_refused_and_told_once() {
    let (a, b) = pair(plans()[0].1, |_| {});
    let mut stream = open(&a, &b);
    assert_eq!(kind_of(stream.read(&mut [0; 9])), ErrorKind::ConnectionRefused);
    drop(b.handle().listener());
    assert_eq!(kind_of(open(&a, &b).read(&mut [0; 9])), ErrorKind::ConnectionRefused);
    let listener = b.handle().listener();
    let mut stream = open(&a, &b);
    stream.write_all(b"x").expect("written");
    // A listener that goes takes with it what waits for it.
    drop(listener);
    assert!(stream.read(&mut [0; 9]).is_err());
}

#[test]
fn s6_s13_each_stream_reaches_the_callback_once() {
    let (tell, told) = std::sync::mpsc::channel();
    let (a, b) = pair(plans()[0].1, |setup| {
        let builder = Engine::builder().identity(common::identity(5));
        let builder = builder.on_stream(move |mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("read");
            writeln!(stream, "{text} yourself").expect("written");
            tell.send(text).expect("told");
        });
        setup.callbacks = builder.into_setup().expect("a set-up").callbacks;
    });
    for i in 0..50 {
        let mut stream = open(&a, &b);
        write!(stream, "hello {i}").expect("written");
        stream.finish();
        let mut got = String::new();
        stream.read_to_string(&mut got).expect("the end");
        assert_eq!(got, format!("hello {i} yourself\n"));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(format!("hello {i}")));
    }
    assert_eq!(b.handle().callback_counters().called, 50);
    // While somebody listens, the callback hears nothing.
    let listener = b.handle().listener();
    open(&a, &b).write_all(b"x").expect("written");
    assert!(listener.accept(PATIENCE).is_some());
    assert_eq!(b.handle().callback_counters().called, 50);
}

#[test]
fn s6_s16_s29_packets_that_nothing_handles_and_changes_of_state_reach_their_callbacks() {
    let (tell, told) = std::sync::mpsc::channel();
    let (state, states) = std::sync::mpsc::channel();
    let (a, b) = pair(plans()[0].1, |setup| {
        setup.udp.push("127.0.0.1:0".parse().expect("an address"));
        let (tell, state) = (std::sync::Mutex::new(tell), std::sync::Mutex::new(state));
        let builder = Engine::builder()
            .identity(common::identity(5))
            .on_anon_packet(move |p| drop(tell.lock().expect("a lock").send((p.json, p.body))))
            .on_state(move |s| {
                let _ = state.lock().expect("a lock").send((s.peer, s.state));
            });
        setup.callbacks = builder.into_setup().expect("a set-up").callbacks;
    });
    a.handle().line(b.handle().hashname(), PATIENCE).expect("a line");
    let connected = (a.handle().hashname(), trunkline::proto::switch::State::Connected);
    while states.recv_timeout(PATIENCE).expect("a change") != connected {}
    let contact = b.handle().contact(connected.0).expect("a report").expect("a contact");
    assert_eq!(contact.state, connected.1);

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let packet = [b"\0\x0a{\"_app\":1}".as_slice(), b"body"].concat();
    socket.send_to(&packet, b.udp_addresses()[0]).expect("sent");
    let (json, body) = told.recv_timeout(PATIENCE).expect("a packet");
    assert_eq!((&*json, &*body), (&b"{\"_app\":1}"[..], &b"body"[..]));
    assert!(told.try_recv().is_err(), "once");
}

#[test]
fn s13_one_peer_opens_so_many_and_leaves_room_for_others() {
    let (a, b) = pair(plans()[0].1, |setup| {
        let held = std::sync::Mutex::new(Vec::new());
        let builder = Engine::builder().identity(common::identity(5));
        let hold = move |stream| held.lock().expect("a lock").push(stream);
        setup.callbacks = builder.on_stream(hold).into_setup().expect("a set-up").callbacks;
    });
    let mut streams: Vec<_> = (0..300).map(|_| open(&a, &b)).collect();
    for stream in &mut streams {
        stream.write_all(b"x").expect("written");
    }
    let mut last = streams.pop().expect("one");
    assert_eq!(kind_of(last.read(&mut [0; 9])), ErrorKind::ConnectionReset);
    let counted = |_| {
        let reports = b.handle().report().expect("a report");
        reports.iter().map(|r| r.pipes).sum::<usize>() == 256 || {
            thread::park_timeout(Duration::from_millis(20));
            false
        }
    };
    assert!((0..500).any(counted));
}

#[test]
fn s6_a_program_that_panics_resets_its_stream_and_the_node_goes_on() {
    let (a, b) = pair(plans()[0].1, |setup| {
        let builder = Engine::builder().identity(common::identity(5));
        let builder = builder.serve_streams(|mut stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("read");
            stream.write_all(b"half of an answer").expect("written");
            assert!(text.is_empty(), "the application's own fault");
        });
        setup.callbacks = builder.into_setup().expect("a set-up").callbacks;
    });
    for text in ["x", ""] {
        let mut stream = open(&a, &b);
        stream.write_all(text.as_bytes()).expect("written");
        stream.finish();
        let mut got = String::new();
        let end = stream.read_to_string(&mut got);
        assert_eq!(end.map_err(|e| e.kind()).is_ok(), text.is_empty());
    }
}

#[test]
fn s24_a_slow_reader_fills_nothing_and_holds_nobody_up() {
    for (name, plan) in plans() {
        let (a, b) = pair(plan, |_| {});
        let listener = b.handle().listener();
        // Nobody reads this one.
        let mut slow = open(&a, &b);
        slow.set_write_timeout(Some(Duration::from_millis(300)));
        slow.write_all(b"x").expect("written");
        let mut held = listener.accept(PATIENCE).expect("a stream");
        let mut written = 0u64;
        let error = loop {
            match slow.write(&[7; 60_000]) {
                Ok(n) => written += n as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{name}");
        // Both pipes, the windows, the send buffer: megabytes, whatever is offered.
        assert!(written < 20 << 20, "{name}: {written}");
        // Another stream on the same line goes its way.
        let mut quick = open(&a, &b);
        let taker = spawn(move || {
            let mut taken = listener.accept(PATIENCE).expect("a stream");
            let mut got = Vec::new();
            taken.read_to_end(&mut got).expect("the end");
            got.len()
        });
        quick.write_all(&pattern(20_000_000)).expect("written");
        quick.finish();
        assert_eq!(taker.join().expect("taken"), 20_000_000, "{name}");
        // What waited is still there.
        slow.finish();
        let mut got = Vec::new();
        held.read_to_end(&mut got).expect("the end");
        assert_eq!(got.len() as u64, written + 1, "{name}");
    }
}

#[test]
fn s24_a_peer_that_vanishes_ends_its_streams_and_a_node_its_own() {
    let (a, b) = pair(plans()[0].1, |_| {});
    let listener = b.handle().listener();
    let mut stream = open(&a, &b);
    stream.write_all(b"x").expect("written");
    let mut taken = listener.accept(PATIENCE).expect("a stream");
    b.stop();
    let error = stream.read(&mut [0; 9]).expect_err("the line is gone");
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe),
        "{error:?}"
    );
    let mut byte = [0; 9];
    assert_eq!(taken.read(&mut byte).expect("what had arrived"), 1);
    assert!(taken.read(&mut byte).is_err());
    assert!(listener.accept(PATIENCE).is_none(), "the node is gone");
    let handle = a.handle().clone();
    let mut waiting = open(&a, &a);
    a.stop();
    assert!(waiting.write(b"x").is_err() || waiting.read(&mut byte).is_err());
    assert_eq!(handle.stream(handle.hashname()).err(), Some(StreamError::NodeGone));
}

#[test]
fn s24_a_full_mailbox_loses_no_wake_up() {
    let (a, b) = pair(plans()[0].1, |_| {});
    let _echo = echoing(&b);
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Letters faster than the worker takes them: reports cost it more than a push costs us.
    let flood = {
        let (handle, done) = (a.handle().clone(), done.clone());
        spawn(move || {
            let mut full = 0u64;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let nobody = trunkline::Namespace::new("nobody").expect("a name");
                let mut what = trunkline::Outbound::to(nobody, 0.into());
                what.priority = trunkline::Priority::HIGHEST;
                what.sequence = Some(trunkline::Sequence::M);
                let to = trunkline::Hashname::new([9; 32]);
                full += u64::from(handle.notify(to, &what, bytes::Bytes::new()).is_err());
            }
            full
        })
    };
    for _ in 0..300 {
        let mut stream = open(&a, &b);
        stream.write_all(b"are you there?").expect("written");
        stream.finish();
        let mut got = String::new();
        stream.read_to_string(&mut got).expect("an answer");
        assert_eq!(got, "are you there?");
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(flood.join().expect("flooded") > 0, "the mailbox was never full");
}

#[test]
fn s13_as_many_streams_as_may_be_and_no_more() {
    let (a, b) = pair(plans()[0].1, |_| {});
    let to = b.handle().hashname();
    let mut streams = Vec::new();
    let error = loop {
        match a.handle().stream_with(to, StreamOptions::default()) {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!((error, streams.len()), (StreamError::TooMany, 1_024));
    drop(streams);
    // B refuses them all, and places are free again.
    let free = |_| {
        a.handle().stream(to).is_ok() || {
            thread::park_timeout(Duration::from_millis(20));
            false
        }
    };
    assert!((0..500).any(free));
}
