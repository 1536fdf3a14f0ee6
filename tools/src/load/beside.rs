//! One pair beside those that are counted, whose receiver may stop reading: what do others lose?
//!
//! Its receiver is a process of its own, since what is stopped is a process: it reads no socket,
//! acknowledges nothing and gives no sign of life, as a machine does that hangs.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use trunkline::{Engine, Outbound, Sequence};

use super::relays::Relay;
use super::sender;
use super::span::Span;
use crate::failure::Failure;
use crate::kernel;

/// How often it sends.
const TICK: Duration = Duration::from_millis(1);
/// How long the two may take to reach each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pair.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) sender: Engine,
    pub(super) receiver: Relay,
}

impl Beside {
    /// Waits until the one reaches the other.
    pub(super) fn meet(&self) -> Result<(), Failure> {
        if self.sender.handle().wait_reachable(&self.receiver.at.hashname, PATIENCE) {
            return Ok(());
        }
        Err(Failure::Other("no route to the receiver beside the others".into()))
    }

    /// Sends so many messages a second until the run is over. Stops the receiver when measuring
    /// begins, if it is to be.
    pub(super) fn run(&self, span: &Span, rate: u32, size: usize, stalled: bool) {
        let mut what = Outbound::to(sender::namespace(), sender::RECORD.into());
        what.sequence = Some(Sequence::M);
        let message = Bytes::from(vec![0; size]);
        let tick = u64::try_from(TICK.as_nanos()).unwrap_or(u64::MAX);
        let start = span.now();
        let (mut sent, mut stopped) = (0, false);
        for k in 1u64.. {
            if !span.wait_until(start + k * tick) {
                return;
            }
            if stalled && !stopped && span.now() >= span.begins() {
                // A process of ours that is there: this does not fail.
                stopped = kernel::stop(self.receiver.pid()).is_ok();
            }
            let due = k * u64::from(rate) / 1_000;
            let mut group: VecDeque<Bytes> = (sent..due).map(|_| message.clone()).collect();
            sent = due;
            // What is not taken is dropped: so it is for anybody whose node is full.
            self.sender.handle().send_many(self.receiver.at.hashname, &what, &mut group);
        }
    }
}
