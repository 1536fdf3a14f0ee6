//! Streams that peers opened, waiting for the application to take them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Stream;

/// Streams that wait to be taken. More are refused.
const BACKLOG: usize = 128;

#[derive(Debug, Default)]
struct State {
    streams: VecDeque<Stream>,
    /// How many listeners there are.
    listeners: usize,
    closed: bool,
}

/// The node's end.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Arrivals {
    /// Whether someone listens.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.state.lock().listeners > 0
    }

    /// Gives the stream back if nobody listens or too many wait.
    pub(crate) fn put(&self, stream: Stream) -> Result<(), Stream> {
        let mut state = self.state.lock();
        if state.listeners == 0 || state.streams.len() >= BACKLOG {
            return Err(stream);
        }
        state.streams.push_back(stream);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    pub(crate) fn listen(this: &Arc<Self>) -> StreamListener {
        this.state.lock().listeners += 1;
        StreamListener(this.clone())
    }
}

/// Where streams arrive that peers open; from [`Handle::listener`]. While there is one, streams
/// go here and not to the callback. All listeners share them: each stream is taken once.
///
/// [`Handle::listener`]: crate::Handle::listener
#[derive(Debug)]
pub struct StreamListener(Arc<Arrivals>);

impl StreamListener {
    /// The next stream; `None` when `patience` ends first or the node is gone.
    #[must_use]
    pub fn accept(&self, patience: Duration) -> Option<Stream> {
        let mut state = self.0.state.lock();
        let nothing = |s: &mut State| s.streams.is_empty() && !s.closed;
        self.0.arrived.wait_while_for(&mut state, nothing, patience);
        state.streams.pop_front()
    }

    /// The next stream, if one is there.
    #[must_use]
    pub fn try_accept(&self) -> Option<Stream> {
        self.0.state.lock().streams.pop_front()
    }
}

impl Iterator for &StreamListener {
    type Item = Stream;

    /// The next stream, however long it takes; `None` when the node is gone.
    fn next(&mut self) -> Option<Stream> {
        let mut state = self.0.state.lock();
        self.0.arrived.wait_while(&mut state, |s| s.streams.is_empty() && !s.closed);
        state.streams.pop_front()
    }
}

impl Drop for StreamListener {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.listeners -= 1;
        // Nobody will take them: their openers are not to wait.
        let left =
            if state.listeners == 0 { std::mem::take(&mut state.streams) } else { VecDeque::new() };
        drop(state);
        left.into_iter().for_each(|s| s.reset(0, "nobody takes the stream any more"));
    }
}
