//! Messages sent many at a time arrive in order, once, and the application takes them together.

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, linked, listening, meet, plans};
use trunkline::config::Transport;
use trunkline::proto::base::{Hashname, Priority};
use trunkline::proto::wire::package::Code;
use trunkline::{Engine, SendOptions};

/// More than crosses to a worker in one letter.
const MANY: u32 = 700;

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
        let inbox = b.handle().inbox();
        for sealed in [false, true] {
            // One in a hundred is larger than a frame.
            let size = |n: u32| if n % 100 == 99 { 40_000 } else { 300 };
            let mut payloads: VecDeque<_> = (0..MANY).map(|n| numbered(n, size(n))).collect();
            let options = SendOptions { sealed, ..SendOptions::default() };
            let taken = a.handle().send_many(to, &mut payloads, options);
            assert!(taken == MANY as usize && payloads.is_empty(), "{name}: {taken}");
            let mut got = Vec::new();
            while got.len() < MANY as usize {
                assert!(inbox.take(&mut got, PATIENCE) > 0, "{name}: {} of {MANY}", got.len());
            }
            for (n, message) in (0..).zip(&got) {
                assert_eq!(message.payload, numbered(n, size(n)), "{name}, sealed {sealed}");
                assert_eq!(message.sealed, sealed);
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
    let options = SendOptions { sealed: false, ..SendOptions::default() };
    assert_eq!(a.handle().send_many(nobody, &mut payloads, options), 10);
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
