//! The flag between a receiver about to sleep and those who might have to wake it.
//!
//! Owns one flag and the order in which it is looked at; see [`super::mailbox`] for why that order
//! loses no wake-up. It is a file of its own so that loom can try every interleaving:
//! `RUSTFLAGS="--cfg loom" cargo test -p trunkline --lib doze`.

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether a receiver sleeps or is about to.
#[derive(Debug)]
pub(crate) struct Doze {
    armed: AtomicBool,
}

impl Doze {
    /// An awake receiver.
    pub(crate) fn new() -> Self {
        Doze { armed: AtomicBool::new(false) }
    }

    /// Receiver: announces sleep, then looks for the last time. False, and not announced, unless
    /// `is_empty`.
    pub(crate) fn prepare(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.armed.store(true, Ordering::Relaxed);
        // Orders the announcement before the look; pairs with the fence in `must_wake`.
        fence(Ordering::SeqCst);
        let empty = is_empty();
        if !empty {
            self.end();
        }
        empty
    }

    /// Receiver: is up again.
    pub(crate) fn end(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Sender: after its item is in place, whether it falls to this sender to wake the receiver.
    pub(crate) fn must_wake(&self) -> bool {
        // Orders the item before the look at the flag; pairs with the fence in `prepare`.
        fence(Ordering::SeqCst);
        // The plain load first: usually the receiver is up, and the line stays shared between the
        // senders.
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::AcqRel)
    }
}

#[cfg(all(loom, test))]
mod tests {
    use super::Doze;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    /// Senders put one item each, by the weakest ordering a queue could have; the receiver sleeps
    /// at most once. Whatever the interleaving, a receiver that went to sleep over an item is
    /// woken, and by one sender only.
    fn every_interleaving(senders: usize, preemptions: Option<usize>) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = preemptions;
        model.check(move || {
            let doze = Arc::new(Doze::new());
            let items = Arc::new(AtomicUsize::new(0));
            let wakes = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..senders)
                .map(|_| {
                    let (doze, items, wakes) = (doze.clone(), items.clone(), wakes.clone());
                    thread::spawn(move || {
                        items.fetch_add(1, Ordering::Relaxed);
                        if doze.must_wake() {
                            wakes.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let sleeps = doze.prepare(|| items.load(Ordering::Relaxed) == 0);
            for thread in threads {
                thread.join().unwrap();
            }
            let wakes = wakes.load(Ordering::Relaxed);
            assert!(wakes <= 1, "{wakes} senders woke one sleeper");
            assert!(!sleeps || wakes == 1, "asleep over an item");
        });
    }

    #[test]
    fn one_sender_never_leaves_the_receiver_asleep() {
        every_interleaving(1, None);
    }

    #[test]
    fn of_two_senders_exactly_one_wakes() {
        // Without a bound this takes minutes; it was run so once.
        every_interleaving(2, Some(3));
    }
}
