//! How a node ends: goodbyes to peers, then to neighbours, then its threads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::bounded;

use super::Engine;
use crate::handle::Handle;
use crate::runtime::clock::Clock;
use crate::runtime::letters::Command;

/// How long goodbyes to peers may take,
const PEERS: Duration = Duration::from_millis(200);
/// and those to neighbours.
const NEIGHBOURS: Duration = Duration::from_millis(100);
/// So many times in a row all workers must have nothing left to send: what one has for another when
/// it is asked, and that one for a third, has been seen by then.
const QUIET: u32 = 3;
/// From one question to the next while some have.
const LOOK: Duration = Duration::from_millis(2);

impl Engine {
    /// Says goodbye to peers and neighbours and ends all threads, once.
    pub(super) fn end(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        // A link's goodbye overtakes what waits for the link, and ends it: those of lines go before.
        self.handle.command_all(|| Command::CloseLines);
        self.handle.shared().dispatch.stop();
        #[cfg(feature = "http")]
        self.handle.shared().http.stop();
        self.handle.wait_quiet(PEERS);
        self.handle.command_all(|| Command::CloseLinks);
        self.handle.wait_quiet(NEIGHBOURS);
        self.handle.shared().stopping.store(true, Ordering::Relaxed);
        self.handle.command_all(|| Command::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// Waits until all workers have sent what they had to, but no longer than this: links that others
    /// keep full are never quiet, and nobody answers a goodbye.
    #[allow(
        clippy::disallowed_methods,
        reason = "sockets do not tell when they have sent everything"
    )]
    fn wait_quiet(&self, patience: Duration) {
        let clock = Clock::start();
        let end = clock.now() + patience;
        let mut quiet = 0;
        while quiet < QUIET && clock.now() < end {
            let (reply, answers) = bounded(self.workers().len());
            self.command_all(|| Command::Quiet(reply.clone()));
            drop(reply);
            let left = || end.since(clock.now());
            if self.workers().iter().all(|_| answers.recv_timeout(left()) == Ok(true)) {
                quiet += 1;
            } else {
                quiet = 0;
                std::thread::sleep(LOOK.min(left()));
            }
        }
    }
}
