//! Mailboxes under threads: nothing is lost, nothing is doubled, nobody sleeps through a push.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use trunkline::runtime::mailbox::{Lane, Mailbox, Wake};

/// A bell that stays rung until somebody has heard it, as a poller's waker does.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    rings: AtomicUsize,
}

impl Wake for Bell {
    fn wake(&self) {
        self.rings.fetch_add(1, Ordering::Relaxed);
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

impl Bell {
    fn hear(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, timeout) =
            self.changed.wait_timeout_while(rung, Duration::from_secs(20), |rung| !*rung).unwrap();
        assert!(!timeout.timed_out(), "slept through a push");
        *rung = false;
    }
}

#[test]
fn no_push_is_slept_through() {
    const SENDERS: usize = 4;
    const ITEMS: usize = 50_000;
    let bell = Arc::new(Bell::default());
    // Small lanes, so that full ones are met as well.
    let (sender, mut receiver) = Mailbox::new::<(usize, usize)>(16, 64, Arc::clone(&bell));
    std::thread::scope(|scope| {
        for who in 0..SENDERS {
            let sender = sender.clone();
            scope.spawn(move || {
                let lane = if who % 2 == 0 { Lane::Urgent } else { Lane::Ordinary };
                for i in 0..ITEMS {
                    let mut item = (who, i);
                    while let Err(back) = sender.push(lane, item) {
                        item = back;
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut next = [0; SENDERS];
        let mut got = 0;
        while got < SENDERS * ITEMS {
            while let Some((who, i)) = receiver.pop() {
                assert_eq!(i, next[who], "in the order of its sender");
                next[who] += 1;
                got += 1;
            }
            if got < SENDERS * ITEMS && receiver.prepare_sleep() {
                bell.hear();
                receiver.woke();
            }
        }
        assert_eq!(next, [ITEMS; SENDERS]);
    });
    assert!(receiver.pop().is_none());
}

#[test]
fn a_lone_push_wakes_every_time() {
    // The tightest race: one item at a time, the receiver always about to sleep.
    let bell = Arc::new(Bell::default());
    let (sender, mut receiver) = Mailbox::new::<usize>(1, 1, Arc::clone(&bell));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..20_000 {
                while sender.push(Lane::Ordinary, i).is_err() {
                    std::hint::spin_loop();
                }
            }
        });
        for i in 0..20_000 {
            let got = loop {
                if let Some(got) = receiver.pop() {
                    break got;
                }
                if receiver.prepare_sleep() {
                    bell.hear();
                }
            };
            assert_eq!(got, i);
        }
    });
}

#[test]
fn only_a_sleeper_is_woken_and_only_once() {
    let bell = Arc::new(Bell::default());
    let rings = || bell.rings.load(Ordering::Relaxed);
    let (sender, mut receiver) = Mailbox::new(8, 8, Arc::clone(&bell));
    sender.push(Lane::Ordinary, 1).unwrap();
    assert_eq!(rings(), 0, "awake");
    assert!(!receiver.prepare_sleep(), "not empty");
    sender.push(Lane::Ordinary, 2).unwrap();
    assert_eq!(rings(), 0, "sleep was not announced");
    assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
    assert!(receiver.prepare_sleep());
    for i in 3..6 {
        sender.push(Lane::Ordinary, i).unwrap();
    }
    assert_eq!(rings(), 1, "one wake-up for all");
    receiver.woke();
    while receiver.pop().is_some() {}
    assert!(receiver.prepare_sleep());
    receiver.woke();
    sender.push(Lane::Urgent, 6).unwrap();
    assert_eq!(rings(), 1, "woken by something else");
}

#[test]
fn urgent_items_overtake() {
    let (sender, mut receiver) = Mailbox::new(2, 2, Arc::new(Bell::default()));
    sender.push(Lane::Ordinary, "a").unwrap();
    sender.push(Lane::Urgent, "b").unwrap();
    sender.push(Lane::Ordinary, "c").unwrap();
    assert_eq!(sender.push(Lane::Ordinary, "d"), Err("d"), "full");
    assert_eq!((sender.len(Lane::Urgent), sender.is_empty(Lane::Ordinary)), (1, false));
    assert_eq!(receiver.pop_urgent(), Some("b"));
    assert_eq!(receiver.pop_urgent(), None);
    assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some("a"), Some("c"), None));
}

#[test]
fn many_items_go_with_one_look_at_the_sleeper() {
    let bell = Arc::new(Bell::default());
    let (sender, mut receiver) = Mailbox::new(1, 4, Arc::clone(&bell));
    assert!(receiver.prepare_sleep());
    let mut items: VecDeque<_> = (0..6).collect();
    assert_eq!(sender.push_all(Lane::Ordinary, &mut items), 4);
    assert_eq!(items, [4, 5], "what found no room stays, in order");
    assert_eq!(bell.rings.load(Ordering::Relaxed), 1);
    assert_eq!(sender.push_all(Lane::Ordinary, &mut items), 0);
    for i in 0..4 {
        assert_eq!(receiver.pop(), Some(i));
    }
}

#[test]
fn a_receiver_that_is_gone_gives_everything_back() {
    let counted = Arc::new(());
    let (sender, receiver) = Mailbox::new(1, 4, Arc::new(Bell::default()));
    sender.push(Lane::Ordinary, Arc::clone(&counted)).unwrap();
    assert!(!sender.is_closed());
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(Arc::strong_count(&counted), 1, "waiting items are dropped with the receiver");
    assert!(sender.push(Lane::Ordinary, counted).is_err());
}

#[test]
fn a_poller_is_woken_by_its_waker() {
    let mut poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(7)).unwrap();
    let (sender, mut receiver) = Mailbox::new(1, 1, waker);
    assert!(receiver.prepare_sleep());
    std::thread::scope(|scope| {
        scope.spawn(|| sender.push(Lane::Urgent, 5).unwrap());
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
        assert!(events.iter().any(|event| event.token() == mio::Token(7)));
    });
    assert_eq!(receiver.pop(), Some(5));
}
