//! Messages sent many at a time arrive in order, once, and the application takes them together.

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, linked, listening, meet, plans};
use trunkline::config::Transport;
use trunkline::proto::base::{Hashname, Priority};
use trunkline::{Code, Engine, Failure, Namespace, Outbound, Sequence};

/// More than crosses to a worker in one letter.
const MANY: u32 = 700;

fn ns(name: &str) -> Namespace {
    Namespace::new(name).expect("a name")
}

/// A message to the namespace of these tests, in the line or not.
fn packed(sealed: bool) -> Outbound {
    let mut what = Outbound::to(ns("test"), 7.into());
    what.sequence = Some(if sealed { Sequence::MA } else { Sequence::M });
    what
}

fn numbered(n: u32, size: usize) -> Bytes {
    let mut payload = vec![0; size];
    payload[..4].copy_from_slice(&n.to_be_bytes());
    payload.into()
}

#[test]
fn n4_many_messages_at_once_arrive_in_order() {
    for (name, plan) in plans() {
        let relay = Engine::start(listening(0, plan, Transport::Plain)).expect("a relay");
        let a = Engine::start(linked(1, plan, Transport::Plain, &[&relay])).expect("a");
        let b = Engine::start(linked(2, plan, Transport::Plain, &[&relay])).expect("b");
        meet(&a, &b);
        let to = b.handle().hashname();
        // What is sent before the line is up waits in a queue that is shorter than this.
        a.handle().ping(to, Priority::DEFAULT, 9, PATIENCE).expect("a line");
        let inbox = b.handle().subscribe(ns("test"), None).expect("a subscription");
        for sealed in [false, true] {
            // One in a hundred is larger than a frame.
            let size = |n: u32| if n % 100 == 99 { 40_000 } else { 300 };
            let mut payloads: VecDeque<_> = (0..MANY).map(|n| numbered(n, size(n))).collect();
            let taken = a.handle().send_many(to, &packed(sealed), &mut payloads);
            assert!(taken == MANY as usize && payloads.is_empty(), "{name}: {taken}");
            let mut got = Vec::new();
            while got.len() < MANY as usize {
                assert!(inbox.take(&mut got, PATIENCE) > 0, "{name}: {} of {MANY}", got.len());
            }
            for (n, message) in (0..).zip(&got) {
                assert_eq!(message.record(), numbered(n, size(n)), "{name}, sealed {sealed}");
                assert_eq!(message.proved, sealed);
            }
            assert_eq!(inbox.take(&mut got, Duration::ZERO), 0, "{name}: more than was sent");
        }
    }
}

#[test]
fn n12_what_has_no_way_comes_back_with_its_code() {
    let (_, plan) = plans()[0];
    let a = Engine::start(listening(1, plan, Transport::Plain)).expect("a");
    let nobody = Hashname::new([9; 32]);
    let mut payloads: VecDeque<_> = (0..10).map(|n| numbered(n, 300)).collect();
    assert_eq!(a.handle().send_many(nobody, &packed(false), &mut payloads), 10);
    // A report is answered after what was asked before it; the answers go the same way.
    for _ in 0..1_000 {
        a.handle().report().expect("a report");
        if a.handle().came_back() == 10 {
            break;
        }
    }
    let back: Vec<_> = a.handle().came_back_by_code().filter(|(_, n)| *n > 0).collect();
    assert_eq!(back, [(Code::NoRoute, 10)]);
}

/// Two nodes that reach each other through a relay.
fn trio(plan: trunkline::proto::stage::plan::Plan) -> (Engine, Engine, Engine) {
    let relay = Engine::start(listening(0, plan, Transport::Plain)).expect("a relay");
    let a = Engine::start(linked(1, plan, Transport::Plain, &[&relay])).expect("a");
    let b = Engine::start(linked(2, plan, Transport::Plain, &[&relay])).expect("b");
    meet(&a, &b);
    (a, relay, b)
}

#[test]
fn n21_a_request_is_answered_and_its_reply_is_as_sealed_as_it_was() {
    for (name, plan) in plans() {
        let (a, _relay, b) = trio(plan);
        let orders = b.handle().subscribe(ns("test"), None).expect("a subscription");
        let to = b.handle().hashname();
        for letters in ["M", "MZ", "MA", "MZA", "MZPA"] {
            let mut what = packed(true);
            what.sequence = Some(letters.parse().expect("letters"));
            what.envelope.target = Some(ns("till"));
            let asker = a.handle().clone();
            #[allow(clippy::disallowed_methods, reason = "asking while answering")]
            let asking = std::thread::spawn(move || {
                asker.request(to, &what, vec![7; 2_000], PATIENCE).expect("a reply")
            });
            let order = orders.next(PATIENCE).expect("an order");
            assert_eq!(order.record(), vec![7; 2_000], "{name}");
            assert_eq!(order.envelope().target, Some(ns("till")));
            assert_eq!(order.sequence.to_string(), letters, "{name}");
            assert_eq!(order.from, a.handle().hashname().address());
            assert_eq!(order.hashname, order.proved.then(|| a.handle().hashname()));
            order.reply("here you are").expect("sent");
            let reply = asking.join().expect("asked");
            assert_eq!(reply.record(), "here you are");
            assert_eq!(reply.priority, Priority::HIGHEST, "{name}");
            assert!(reply.sequence.is_sealed(), "{name}: this node's own is sealed");
            assert_eq!(reply.sequence.has(b'P'), letters.contains('P'), "{name}");
        }
    }
}

#[test]
fn n21_every_error_has_its_code_and_the_node_that_raised_it() {
    let (name, plan) = plans()[0];
    let (a, _relay, b) = trio(plan);
    let (to, by) = (b.handle().hashname(), Some(b.handle().hashname().address()));
    let deliver = |what: &Outbound, record: Vec<u8>| {
        a.handle().deliver(to, what, record, PATIENCE).map(|back| back.by)
    };
    let failed = |code, by| Err(Failure::Code { code, by, rule: 0 });
    for sealed in [true, false] {
        let unknown = deliver(&packed(sealed), vec![1]);
        assert_eq!(unknown, failed(Code::UnknownTarget, by), "{name} {sealed}");
    }
    let inbox = b.handle().subscribe(ns("test"), Some(ns("till"))).expect("a subscription");
    assert_eq!(deliver(&packed(true), vec![1]), failed(Code::UnknownTarget, by), "no target");
    let mut what = packed(true);
    what.envelope.target = Some(ns("till"));
    assert_eq!(deliver(&what, vec![1]), Ok(by));
    assert!(inbox.try_next().is_some());
    // Nobody answers.
    let patience = Duration::from_millis(50);
    let late = a.handle().request(to, &what, "well?", patience).map(|_| None);
    assert_eq!(late, failed(Code::TimedOut, None));
    assert!(inbox.next(PATIENCE).is_some());
    // Too many links, one of which is to the relay.
    let relay = _relay.handle().hashname().address();
    for sealed in [true, false] {
        let mut short = packed(sealed);
        (short.envelope.target, short.ttl) = (what.envelope.target, Some(1));
        assert_eq!(deliver(&short, vec![1]), failed(Code::TtlExpired, Some(relay)), "{sealed}");
    }
    // What the node itself refuses.
    let mut local = what;
    local.envelope.local = true;
    assert_eq!(deliver(&local, vec![1]), failed(Code::Refused, None));
    assert_eq!(deliver(&what, vec![1; 1 << 20]), failed(Code::TooLarge, None));
    let nobody = Hashname::new([9; 32]);
    let back = a.handle().deliver(nobody, &packed(false), "x", PATIENCE).map(|b| b.by);
    assert_eq!(back, failed(Code::NoRoute, Some(a.handle().hashname().address())));
    // A request to a node that stops ends with the reason, and whose it is.
    let asker = a.handle().clone();
    #[allow(clippy::disallowed_methods, reason = "asking while the other stops")]
    let asking = std::thread::spawn(move || asker.request(to, &what, "well?", PATIENCE));
    assert!(inbox.next(PATIENCE).is_some());
    b.stop();
    let stopped = asking.join().expect("asked").map(|_| None);
    assert_eq!(stopped, failed(Code::ShuttingDown, by));
}

#[test]
fn n15_what_a_node_insists_on_is_known_before_a_message_is_sent_and_enforced_if_not() {
    let (_, plan) = plans()[0];
    let relay = Engine::start(listening(0, plan, Transport::Plain)).expect("a relay");
    let a = Engine::start(linked(1, plan, Transport::Plain, &[&relay])).expect("a");
    let mut strict = linked(2, plan, Transport::Plain, &[&relay]);
    strict.messages.terms.least = "MPA".parse().expect("letters");
    let b = Engine::start(strict).expect("b");
    meet(&a, &b);
    let inbox = b.handle().subscribe(ns("test"), None).expect("a subscription");
    let to = b.handle().hashname();
    a.handle().deliver(to, &packed(false), "hello", PATIENCE).expect("delivered");
    let got = inbox.next(PATIENCE).expect("a message");
    assert_eq!((got.sequence.to_string().as_str(), got.proved), ("MPA", true));
    let exactly = Outbound { exactly: true, ..packed(true) };
    let weak = a.handle().deliver(to, &exactly, "hello", PATIENCE).map(|b| b.by);
    let (code, by) = (Code::SequenceTooWeak, Some(to.address()));
    assert_eq!(weak, Err(Failure::Code { code, by, rule: 0 }));
}

#[test]
fn n21_callbacks_take_messages_from_the_start_answer_them_and_hear_of_returns() {
    let (_, plan) = plans()[0];
    let relay = Engine::start(listening(0, plan, Transport::Plain)).expect("a relay");
    let at = relay.link_addresses()[0].to_string();
    let whose = relay.handle().hashname();
    let (tell, told) = std::sync::mpsc::channel();
    let builder = |n| {
        let setup = linked(n, plan, Transport::Plain, &[&relay]);
        let identity = std::sync::Arc::into_inner(setup.identity);
        Engine::builder().identity(identity.expect("the only one")).plan(plan)
    };
    let shout = |order: trunkline::Incoming| {
        let text = String::from_utf8_lossy(&order.record()).to_uppercase();
        order.reply(text).expect("sent");
    };
    let link = |b: trunkline::Builder| b.link_over(at.clone(), whose, Transport::Plain).start();
    let b = link(builder(2).on_message(ns("shout"), shout)).expect("b");
    let a = link(builder(1).on_return(move |back| tell.send(back).expect("told"))).expect("a");
    meet(&a, &b);
    let to = b.handle().hashname();
    let what = Outbound::to(ns("shout"), 1.into());
    let reply = a.handle().request(to, &what, "quiet", PATIENCE).expect("a reply");
    assert_eq!(reply.record(), "QUIET");
    let nobody = Outbound::to(ns("nobody"), 1.into());
    let id = a.handle().notify(to, &nobody, "x").expect("sent");
    let back = told.recv_timeout(PATIENCE).expect("a return");
    assert_eq!((back.id, back.code, back.by), (id, Code::UnknownTarget, Some(to.address())));
    assert_eq!(a.handle().came_back(), 1);
}

#[test]
fn n21_messages_of_a_node_to_itself_are_messages_too() {
    let (_, plan) = plans()[0];
    let a = Engine::start(listening(1, plan, Transport::Plain)).expect("a");
    let (us, h) = (a.handle().hashname(), a.handle().clone());
    let mut local = packed(true);
    local.envelope.local = true;
    let back = h.deliver(us, &local, "x", PATIENCE).map(|b| b.by);
    let by = Some(us.address());
    assert_eq!(back, Err(Failure::Code { code: Code::UnknownTarget, by, rule: 0 }));
    let inbox = h.subscribe(ns("test"), None).expect("a subscription");
    h.deliver(us, &local, "x", PATIENCE).expect("delivered");
    assert_eq!(inbox.next(PATIENCE).expect("a message").record(), "x");
    drop(inbox);
    let gone = h.deliver(us, &local, "x", PATIENCE).map(|b| b.by);
    assert_eq!(gone, Err(Failure::Code { code: Code::UnknownTarget, by, rule: 0 }));
}

#[test]
fn n21_a_full_inbox_gives_back_what_it_has_no_room_for() {
    let (_, plan) = plans()[0];
    let (a, _relay, b) = trio(plan);
    let to = b.handle().hashname();
    a.handle().ping(to, Priority::DEFAULT, 9, PATIENCE).expect("a line");
    let _full = b.handle().subscribe(ns("test"), None).expect("a subscription");
    // 64 MiB and one message, of 900 kB each, wait; the next one does not.
    let mut delivered = 0;
    let failed = loop {
        match a.handle().deliver(to, &packed(true), vec![0; 900_000], PATIENCE) {
            Ok(_) if delivered < 100 => delivered += 1,
            other => break other.map(|b| b.by),
        }
    };
    let (code, by) = (Code::QueueFull, Some(to.address()));
    assert_eq!((failed, delivered), (Err(Failure::Code { code, by, rule: 0 }), 75));
}

#[test]
fn n21_a_callback_that_was_too_slow_gets_messages_again_once_there_is_room() {
    let (_, plan) = plans()[0];
    let relay = Engine::start(listening(0, plan, Transport::Plain)).expect("a relay");
    let a = Engine::start(linked(1, plan, Transport::Plain, &[&relay])).expect("a");
    let (tell, told) = std::sync::mpsc::channel();
    // A place in this channel is what the callback waits for, before it says what it got.
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let slow = move |m: trunkline::Incoming| {
        let _ = gate.lock().expect("one callback at a time").recv();
        tell.send(m.record()).expect("told");
    };
    let mut setup = linked(2, plan, Transport::Plain, &[&relay]);
    let builder = Engine::builder().on_message(ns("test"), slow);
    setup.callbacks = builder.into_setup().expect("a set-up").callbacks;
    let b = Engine::start(setup).expect("b");
    meet(&a, &b);
    let to = b.handle().hashname();
    a.handle().ping(to, Priority::DEFAULT, 9, PATIENCE).expect("a line");

    // What was delivered waits for the callback, until no more may.
    let deliver = |n: u32| {
        let sent = a.handle().deliver(to, &packed(true), numbered(n, 8), PATIENCE);
        sent.map(|_| ()).map_err(|failure| match failure {
            Failure::Code { code, by, .. } => (code, by),
            Failure::Busy => panic!("the sender has room"),
        })
    };
    let full = Err((Code::QueueFull, Some(to.address())));
    let waiting = (0..10_000).find(|n| deliver(*n) == full).expect("a bound");
    assert!(waiting > 1_000, "{waiting} waited");
    assert_eq!(deliver(waiting), full);

    // One at a time makes room for one at a time, and refused ones never turn up.
    let mut expected: VecDeque<u32> = (0..waiting).collect();
    for next in waiting + 1..waiting + 20 {
        go.send(()).expect("it waits");
        let heard = told.recv_timeout(PATIENCE).expect("a message");
        assert_eq!(heard, numbered(expected.pop_front().expect("one waits"), 8));
        // The callback's thread takes the next one in a moment, and only then is there room.
        while deliver(next) == full {}
        expected.push_back(next);
    }
    drop(go);
    for n in expected {
        assert_eq!(told.recv_timeout(PATIENCE).expect("a message"), numbered(n, 8));
    }
    assert_eq!(deliver(0), Ok(()), "there is room again");
    assert_eq!(told.recv_timeout(PATIENCE).expect("a message"), numbered(0, 8));
    assert!(told.try_recv().is_err(), "more than was sent");
}
