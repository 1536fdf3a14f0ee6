//! One direction of a link, with the faults of real ones: pure code, driven by its caller.
//!
//! ```text
//!  push ─▶ loss, duplication, ─▶ waiting ─▶ sending ─▶ in flight ─▶ pop
//!          corruption (drawn)    (bytes,    (rate)     (delay, jitter,
//!                                drop-tail)             reordering)
//! ```
//!
//! It owns the items between `push` and `pop` and counts every one. It never reads a clock,
//! never touches a socket and draws chance only from the seed it was given, so the same pushes
//! at the same times fare the same. The simulated world and the program `trunkline-wire` run
//! this same code.
//!
//! Choices, so that nobody has to guess them from results:
//!
//! * **Jitter never reorders.** It is drawn evenly from zero to [`Conditions::jitter`] and comes
//!   on top of the delay; an item that would overtake the one before it arrives together with it.
//!   Reordering happens only where `reorder_ppm` asks: such an item is held back by
//!   `reorder_by`, and those behind it do not wait.
//! * **A lost item was sent.** It takes its room in the queue and its time on the wire, as on a
//!   radio link, and vanishes after that.
//! * **A duplicate is sent too**, right behind the first, so that the rate holds.
//! * **An idle link always takes one item**, however small the queue. An item that does not fit
//!   behind those that wait is dropped; the others stay.
//! * **Without a rate nothing waits**: everything is in flight at once, and only the caller bounds
//!   how much that is.
//! * **Fates are drawn at every push in the same number**, whatever the conditions are: adding
//!   jitter does not change which items are lost.

mod conditions;

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};

use trunkline_proto::base::{Chance, Instant};

pub use conditions::{Conditions, Item, Reason, Statistics, Verdict};

/// What chance decided for one item.
#[derive(Clone, Copy)]
struct Fate {
    /// The share of the jitter it gets, in 2^-32.
    jitter: u32,
    held_back: bool,
    flip: Option<u64>,
}

impl Fate {
    fn draw(chance: &mut Chance, conditions: &Conditions) -> Self {
        let jitter = u32::try_from(chance.u64() >> 32).unwrap_or(0);
        let held_back = chance.per_million(conditions.reorder_ppm);
        let corrupt = chance.per_million(conditions.corrupt_ppm);
        let bit = chance.u64();
        Self { jitter, held_back, flip: corrupt.then_some(bit) }
    }
}

/// An item that waits or is being sent; `item` is `None` once chance has lost it.
struct Outgoing<T> {
    number: u64,
    bytes: usize,
    fate: Fate,
    item: Option<T>,
}

/// An item in flight, the earliest first in a heap.
struct Flight<T> {
    arrival: Instant,
    number: u64,
    item: T,
}

impl<T> Ord for Flight<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.arrival, other.number).cmp(&(self.arrival, self.number))
    }
}

impl<T> PartialOrd for Flight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Flight<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Flight<T> {}

/// One direction of a link.
///
/// The caller pushes what enters, pops what has arrived, and comes back at
/// [`deadline`](Self::deadline). Times must not run backwards; if they do, the earlier ones count
/// as the latest.
pub struct Emulator<T> {
    conditions: Conditions,
    chance: Chance,
    /// Duplicates draw apart, so that they do not shift the fates of what follows.
    copies: Chance,
    is_cut: bool,
    waiting: VecDeque<Outgoing<T>>,
    waiting_bytes: usize,
    /// What is on its way onto the wire, and when its last byte will be.
    sending: Option<(Instant, Outgoing<T>)>,
    /// What the wire could have carried more since it was last idle, because times are rounded
    /// up to whole microseconds; in millionths of a byte. The next item gets it, so that the
    /// rate is met exactly.
    rounding: u64,
    flight: BinaryHeap<Flight<T>>,
    /// When the last item in order arrives; none in order may arrive before it.
    last_arrival: Instant,
    next_number: u64,
    /// One past the highest number that has come out.
    next_expected: u64,
    statistics: Statistics,
}

impl<T: Item> Emulator<T> {
    /// A healthy link under `conditions`, with chance of its own.
    #[must_use]
    pub fn new(conditions: Conditions, mut chance: Chance) -> Self {
        let copies = chance.fork();
        Self {
            conditions,
            chance,
            copies,
            is_cut: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sending: None,
            rounding: 0,
            flight: BinaryHeap::new(),
            last_arrival: Instant::ZERO,
            next_number: 0,
            next_expected: 0,
            statistics: Statistics::default(),
        }
    }

    /// `item` enters the link at `now`.
    pub fn push(&mut self, now: Instant, item: T) -> Verdict {
        self.advance(now);
        self.statistics.entered += 1;
        self.statistics.entered_bytes += item.size() as u64;
        let lost = self.chance.per_million(self.conditions.loss_ppm);
        let doubled = self.chance.per_million(self.conditions.duplicate_ppm);
        let fate = Fate::draw(&mut self.chance, &self.conditions);
        if self.is_cut {
            self.statistics.lost += 1;
            return Verdict::Dropped(Reason::Cut);
        }
        let copy = (doubled && !lost).then(|| item.clone());
        if !self.send(now, item, fate, lost) {
            return Verdict::Dropped(Reason::QueueFull);
        }
        if lost {
            return Verdict::Dropped(Reason::Lost);
        }
        if let Some(copy) = copy {
            let fate = Fate::draw(&mut self.copies, &self.conditions);
            self.statistics.duplicated += 1;
            self.send(now, copy, fate, false);
        }
        Verdict::Queued
    }

    /// The next item that has arrived by `now`, if there is one.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.pop_with_arrival(now).map(|(_, item)| item)
    }

    /// As [`pop`](Self::pop), with the time the item arrived: a caller that runs on a real clock
    /// learns how late it came.
    pub fn pop_with_arrival(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.advance(now);
        if self.flight.peek()?.arrival > now {
            return None;
        }
        let Flight { arrival, number, item } = self.flight.pop()?;
        self.statistics.delivered += 1;
        self.statistics.delivered_bytes += item.size() as u64;
        self.statistics.reordered += u64::from(number < self.next_expected);
        self.next_expected = self.next_expected.max(number + 1);
        Some((arrival, item))
    }

    /// When to call [`pop`](Self::pop) next; `None` while nothing is held. Nothing comes out
    /// before it; with jitter or loss the call may find nothing yet, and the deadline has moved.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let arrival = self.flight.peek().map(|f| f.arrival);
        let sent = self.sending.as_ref().map(|(finish, _)| *finish + self.conditions.delay);
        arrival.into_iter().chain(sent).min()
    }

    /// Puts the link under other conditions. What is in flight keeps its arrival; what is being
    /// sent goes on at the new rate, and what waits follows under the new delay and rate. The
    /// order is kept even if the delay has become shorter.
    pub fn set_conditions(&mut self, now: Instant, conditions: Conditions) {
        self.advance(now);
        let old_rate = self.conditions.rate_bytes_per_s;
        self.conditions = conditions;
        self.rounding = 0;
        let Some((finish, _)) = &mut self.sending else { return };
        *finish = match (old_rate, conditions.rate_bytes_per_s) {
            (Some(old), Some(new)) => {
                let left = finish.since(now).as_micros() * u128::from(old.get());
                let scaled = left.div_ceil(u128::from(new.get()));
                now + Duration::from_micros(u64::try_from(scaled).unwrap_or(u64::MAX))
            }
            _ => now,
        };
        self.advance(now);
    }

    /// Cuts the link without a word: what it holds is lost, and so is all that is pushed until
    /// [`heal`](Self::heal).
    pub fn cut(&mut self) {
        self.statistics.lost += self.held();
        self.is_cut = true;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.sending = None;
        self.rounding = 0;
        self.flight.clear();
    }

    /// Ends a cut.
    pub const fn heal(&mut self) {
        self.is_cut = false;
    }

    /// Whether the link is cut.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The conditions in force.
    #[must_use]
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The counts since the start.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Items that are inside and will come out. Counts them, so not for every packet.
    #[must_use]
    pub fn held(&self) -> u64 {
        let sending = self.sending.iter().map(|(_, o)| o);
        let waiting = sending.chain(&self.waiting).filter(|o| o.item.is_some()).count();
        (waiting + self.flight.len()) as u64
    }

    /// Bytes that wait behind the item being sent.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Puts an item behind those that wait, or counts it as dropped and answers false.
    fn send(&mut self, now: Instant, mut item: T, fate: Fate, lost: bool) -> bool {
        let bytes = item.size();
        let room = self.conditions.queue_bytes.saturating_sub(self.waiting_bytes);
        if self.sending.is_some() && bytes > room {
            self.statistics.dropped += 1;
            return false;
        }
        if lost {
            self.statistics.lost += 1;
        } else if let Some(draw) = fate.flip {
            self.statistics.corrupted += 1;
            item.flip_bit(draw);
        }
        let number = self.next_number;
        self.next_number += 1;
        let outgoing = Outgoing { number, bytes, fate, item: (!lost).then_some(item) };
        if self.sending.is_some() {
            self.waiting_bytes += bytes;
            self.waiting.push_back(outgoing);
        } else {
            self.rounding = 0;
            self.start(now, outgoing);
        }
        true
    }

    /// Begins to send at `at`; without a rate, it has been sent.
    fn start(&mut self, at: Instant, outgoing: Outgoing<T>) {
        let Some(rate) = self.conditions.rate_bytes_per_s else {
            return self.depart(at, outgoing);
        };
        let cost = (outgoing.bytes as u64).saturating_mul(1_000_000);
        let owed = cost.saturating_sub(self.rounding);
        let micros = owed.div_ceil(rate.get());
        self.rounding =
            self.rounding.saturating_sub(cost) + (micros.saturating_mul(rate.get()) - owed);
        self.sending = Some((at + Duration::from_micros(micros), outgoing));
    }

    /// Moves what has been sent by `now` into flight, each at the time it was.
    fn advance(&mut self, now: Instant) {
        while let Some((finish, outgoing)) = self.sending.take_if(|(finish, _)| *finish <= now) {
            self.depart(finish, outgoing);
            while self.sending.is_none() {
                let Some(next) = self.waiting.pop_front() else { break };
                self.waiting_bytes -= next.bytes;
                self.start(finish, next);
            }
        }
    }

    fn depart(&mut self, at: Instant, outgoing: Outgoing<T>) {
        let Outgoing { number, fate, item: Some(item), .. } = outgoing else { return };
        let Conditions { delay, jitter, reorder_by, .. } = self.conditions;
        let jitter = (jitter.as_micros() * u128::from(fate.jitter)) >> 32;
        let due = at + delay + Duration::from_micros(u64::try_from(jitter).unwrap_or(u64::MAX));
        let arrival = if fate.held_back {
            due + reorder_by
        } else {
            self.last_arrival = self.last_arrival.max(due);
            self.last_arrival
        };
        self.flight.push(Flight { arrival, number, item });
    }
}
