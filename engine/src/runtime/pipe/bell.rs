//! How applications reach a worker about their pipes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::switch::streams::Open;

use super::{MOST, Pipe, StreamError};
use crate::runtime::letters::Letter;
use crate::runtime::mailbox::{Lane, Sender};

/// How applications reach one worker: a list of the pipes it should look at, and one letter.
///
/// A full mailbox loses the letter, never the wake-up: its worker has a round to go, and each
/// round looks at the list after the mail.
pub(crate) struct Bell {
    worker: Sender<Letter>,
    /// Each pipe at most once; none once the worker is gone.
    list: Mutex<Option<Vec<Arc<Pipe>>>>,
    rung: AtomicBool,
    /// Pipes that were opened and are not gone.
    pipes: AtomicUsize,
}

impl Bell {
    pub(crate) fn new(worker: Sender<Letter>) -> Arc<Self> {
        let (list, rung) = (Mutex::new(Some(Vec::new())), AtomicBool::new(false));
        Arc::new(Self { worker, list, rung, pipes: AtomicUsize::new(0) })
    }

    /// A place for one more pipe, if there is one.
    pub(in crate::runtime) fn admit(&self) -> bool {
        let more = |n: usize| (n < MOST).then_some(n + 1);
        self.pipes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(in crate::runtime) fn release(&self) {
        self.pipes.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many pipes there are.
    pub(in crate::runtime) fn pipes(&self) -> usize {
        self.pipes.load(Ordering::Relaxed)
    }

    /// A stream to be opened by the worker.
    pub(crate) fn open(
        self: &Arc<Self>,
        peer: Hashname,
        open: Open,
        priority: Priority,
    ) -> Result<Arc<Pipe>, StreamError> {
        if self.list.lock().is_none() {
            return Err(StreamError::NodeGone);
        }
        if !self.admit() {
            return Err(StreamError::TooMany);
        }
        let pipe = Pipe::new(peer, priority, Some(open), self.clone());
        pipe.ring();
        Ok(pipe)
    }

    pub(super) fn ring(&self, pipe: &Arc<Pipe>) {
        if pipe.marked.swap(true, Ordering::AcqRel) {
            return;
        }
        match &mut *self.list.lock() {
            Some(list) => list.push(pipe.clone()),
            None => return pipe.fail(StreamError::NodeGone),
        }
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = self.worker.push(Lane::Urgent, Letter::Pipes);
        }
    }

    /// The pipes to look at, now unmarked.
    pub(in crate::runtime) fn answer(&self, taken: &mut Vec<Arc<Pipe>>) {
        // Looked at in every round: only a bell that rang is worth a write.
        if !self.rung.load(Ordering::Acquire) || !self.rung.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Some(list) = &mut *self.list.lock() {
            taken.append(list);
        }
        taken.iter().for_each(|pipe| pipe.marked.store(false, Ordering::Release));
    }

    /// Nobody answers any more.
    pub(in crate::runtime) fn close(&self) {
        let left = self.list.lock().take();
        left.into_iter().flatten().for_each(|pipe| pipe.fail(StreamError::NodeGone));
    }
}
