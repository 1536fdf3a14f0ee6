//! What nothing else handles, told to the application.
//!
//! Workers hand [`Event`]s to [`Dispatch`]; a thread of its own calls the application's functions
//! one after the other, so that a slow one holds up the next callback and never a worker. The
//! queue is bounded: what finds it full is refused, if it can be, and counted. There is a thread
//! only if there is a callback.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, bounded};
use trunkline_proto::base::{Hashname, Namespace};
use trunkline_proto::message::{Incoming as Message, Returned};
use trunkline_proto::switch::State;

use crate::handle::Handle;
use crate::messages::Incoming;
use crate::stream::Stream;

/// Events that wait for the callbacks. × ~100 bytes = 100 KiB, and what they hold: a packet each,
/// 1.5 MiB, or a stream.
const QUEUE: usize = 1_024;
/// Most streams served at a time by [`Builder::serve_streams`], each by a thread.
///
/// [`Builder::serve_streams`]: crate::Builder::serve_streams
pub const MOST_SERVED: usize = 256;

/// A packet from inside a line whose keys nothing else handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinePacket {
    /// Whose line: proved.
    pub from: Hashname,
    /// Its JSON.
    pub json: Bytes,
    /// What follows the JSON.
    pub body: Bytes,
}

/// A packet outside of any line that nothing else handled. Anyone may have sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnonPacket {
    /// Where it says to come from.
    pub from: SocketAddr,
    /// Its JSON.
    pub json: Bytes,
    /// What follows the JSON.
    pub body: Bytes,
}

/// JSON and body of a whole packet: a length of two bytes, that much JSON, the body.
fn parts(mut packet: Bytes) -> Option<(Bytes, Bytes)> {
    let length = usize::from(u16::from_be_bytes(*packet.first_chunk()?));
    let mut rest = packet.split_off(2);
    let body = (length <= rest.len()).then(|| rest.split_off(length))?;
    Some((rest, body))
}

impl LinePacket {
    /// None if it is no packet with JSON.
    pub(crate) fn new(from: Hashname, packet: Bytes) -> Option<Self> {
        parts(packet).map(|(json, body)| Self { from, json, body })
    }
}

impl AnonPacket {
    /// None if it is no packet with JSON.
    pub(crate) fn new(from: SocketAddr, packet: Bytes) -> Option<Self> {
        parts(packet).map(|(json, body)| Self { from, json, body })
    }
}

/// The relationship to another hashname went to another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Whose.
    pub peer: Hashname,
    /// Which it is now.
    pub state: State,
}

/// What happened and nothing in the node handles.
pub(crate) enum Event {
    /// A peer opened a generic stream.
    Stream(Stream),
    /// See [`LinePacket`].
    LinePacket(LinePacket),
    /// See [`AnonPacket`].
    AnonPacket(AnonPacket),
    /// See [`StateChange`].
    State(StateChange),
    /// A message arrived for the callback of this place.
    Message(usize, Box<Message>),
    /// A message that nobody waits for came back.
    Returned(Returned),
    /// The node runs: what callbacks answer with.
    Begin(Box<Handle>),
    /// The node stops.
    End,
}

type Call<T> = Option<Arc<dyn Fn(T) + Send + Sync>>;

/// The application's functions.
#[derive(Clone, Default)]
pub struct Callbacks {
    pub(crate) stream: Call<Stream>,
    pub(crate) serve: Call<Stream>,
    pub(crate) line: Call<LinePacket>,
    pub(crate) anon: Call<AnonPacket>,
    pub(crate) state: Call<StateChange>,
    pub(crate) returned: Call<Returned>,
    pub(crate) messages: Vec<OnMessage>,
}

/// A callback for messages, and to which namespace and target.
type OnMessage = (Namespace, Option<Namespace>, Arc<dyn Fn(Incoming) + Send + Sync>);

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").field("any", &self.any()).finish_non_exhaustive()
    }
}

impl Callbacks {
    const fn any(&self) -> bool {
        !self.messages.is_empty()
            || self.returned.is_some()
            || self.stream.is_some()
            || self.serve.is_some()
            || self.line.is_some()
            || self.anon.is_some()
            || self.state.is_some()
    }

    const fn take(&self, event: &Event) -> bool {
        match event {
            Event::Stream(_) => self.stream.is_some() || self.serve.is_some(),
            Event::LinePacket(_) => self.line.is_some(),
            Event::AnonPacket(_) => self.anon.is_some(),
            Event::State(_) => self.state.is_some(),
            Event::Returned(_) => self.returned.is_some(),
            Event::Message(..) => true,
            Event::Begin(_) | Event::End => true,
        }
    }

    fn call(&self, event: Event, served: &Arc<AtomicUsize>, handle: Option<&Handle>) {
        match event {
            Event::Stream(stream) => match (&self.serve, &self.stream) {
                (Some(serve), _) => serve_stream(serve, stream, served),
                (None, Some(call)) => call(stream),
                (None, None) => {}
            },
            Event::LinePacket(packet) => self.line.iter().for_each(|f| f(packet.clone())),
            Event::AnonPacket(packet) => self.anon.iter().for_each(|f| f(packet.clone())),
            Event::State(change) => self.state.iter().for_each(|f| f(change)),
            Event::Returned(back) => self.returned.iter().for_each(|f| f(back)),
            Event::Message(place, message) => {
                if let (Some((_, _, call)), Some(handle)) = (self.messages.get(place), handle) {
                    call(handle.incoming(*message));
                }
            }
            Event::Begin(_) | Event::End => {}
        }
    }
}

/// A thread for the stream, as long as there are not too many.
fn serve_stream(
    serve: &Arc<dyn Fn(Stream) + Send + Sync>,
    stream: Stream,
    served: &Arc<AtomicUsize>,
) {
    let busy = "as many streams are served here as may be";
    if served.fetch_add(1, Ordering::Relaxed) >= MOST_SERVED {
        served.fetch_sub(1, Ordering::Relaxed);
        return stream.reset(trunkline_proto::switch::streams::Code::TOO_MANY.0, busy);
    }
    let (serve, place) = (serve.clone(), Place(served.clone()));
    let run = move || {
        guarded("a stream's function", || serve(stream));
        drop(place);
    };
    // Without a thread the stream is dropped, and with it its place.
    if let Err(error) = std::thread::Builder::new().name("stream".to_owned()).spawn(run) {
        tracing::warn!(%error, "no thread for a stream");
    }
}

/// One of [`MOST_SERVED`].
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs an application's function; that it panics is told and ends nothing else.
pub(crate) fn guarded<T>(what: &str, f: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(f));
    if result.is_err() {
        tracing::error!(what, "a function of the application panicked");
    }
    result.ok()
}

/// What callbacks did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackCounters {
    /// Events handed to a callback.
    pub called: u64,
    /// Events nobody takes.
    pub unhandled: u64,
    /// Events that found the queue full.
    pub overflowed: u64,
}

/// The way to the callbacks.
pub(crate) struct Dispatch {
    callbacks: Callbacks,
    queue: Sender<Event>,
    stopping: Arc<AtomicBool>,
    called: AtomicU64,
    unhandled: AtomicU64,
    overflowed: AtomicU64,
}

impl Dispatch {
    /// Starts the thread, if there is anything for it to call.
    pub(crate) fn start(callbacks: Callbacks) -> std::io::Result<Self> {
        let (queue, events) = bounded(QUEUE);
        let stopping = Arc::new(AtomicBool::new(false));
        if callbacks.any() {
            let (callbacks, stopping) = (callbacks.clone(), stopping.clone());
            let run = move || run(&callbacks, &events, &stopping);
            std::thread::Builder::new().name("callbacks".to_owned()).spawn(run)?;
        }
        let zero = || AtomicU64::new(0);
        let (called, unhandled, overflowed) = (zero(), zero(), zero());
        Ok(Self { callbacks, queue, stopping, called, unhandled, overflowed })
    }

    /// Hands over an event; gives it back if nobody takes it or the queue is full.
    #[allow(clippy::result_large_err, reason = "what nobody takes is handed back whole")]
    pub(crate) fn dispatch(&self, event: Event) -> Result<(), Event> {
        if !self.callbacks.take(&event) {
            // Changes of state are news, nothing that would be lost.
            let news = matches!(event, Event::State(_) | Event::Returned(_));
            let lost = u64::from(!news);
            self.unhandled.fetch_add(lost, Ordering::Relaxed);
            return Err(event);
        }
        match self.queue.try_send(event) {
            Ok(()) => {
                self.called.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(full) => {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                Err(full.into_inner())
            }
        }
    }

    /// What callbacks answer messages with, before the first one can come.
    pub(crate) fn begin(&self, handle: &Handle) {
        if !self.callbacks.messages.is_empty() {
            // The queue is empty now.
            let _ = self.queue.try_send(Event::Begin(Box::new(handle.clone())));
        }
    }

    /// Hands over a message, or gives it back.
    pub(crate) fn message(&self, place: usize, message: Box<Message>) -> Result<(), Box<Message>> {
        match self.dispatch(Event::Message(place, message)) {
            Err(Event::Message(_, message)) => Err(message),
            _ => Ok(()),
        }
    }

    /// Whether there is a callback for streams.
    pub(crate) const fn takes_streams(&self) -> bool {
        self.callbacks.stream.is_some() || self.callbacks.serve.is_some()
    }

    /// Hands over a stream, or gives it back.
    pub(crate) fn stream(&self, stream: Stream) -> Result<(), Stream> {
        match self.dispatch(Event::Stream(stream)) {
            Err(Event::Stream(stream)) => Err(stream),
            _ => Ok(()),
        }
    }

    pub(crate) fn counters(&self) -> CallbackCounters {
        let count = |c: &AtomicU64| c.load(Ordering::Relaxed);
        CallbackCounters {
            called: count(&self.called),
            unhandled: count(&self.unhandled),
            overflowed: count(&self.overflowed),
        }
    }

    /// Lets the thread end after the callback it is in. It is not waited for: the callback may
    /// be what stops the node.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.queue.try_send(Event::End);
    }
}

fn run(callbacks: &Callbacks, events: &Receiver<Event>, stopping: &AtomicBool) {
    let served = Arc::default();
    let mut handle = None;
    while let Ok(event) = events.recv() {
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        if let Event::Begin(begun) = event {
            handle = Some(begun);
            continue;
        }
        guarded("a callback", || callbacks.call(event, &served, handle.as_deref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    fn anon(byte: u8) -> Event {
        let (json, body) = (Bytes::from_static(b"{}"), Bytes::copy_from_slice(&[byte]));
        Event::AnonPacket(AnonPacket { from: ([192, 0, 2, 1], 9).into(), json, body })
    }

    #[test]
    fn s6_s29_each_event_reaches_its_callback_once_and_others_are_counted() {
        let (tell, told) = mpsc::channel();
        let callbacks = Callbacks {
            anon: Some(Arc::new(move |p: AnonPacket| tell.send(p.body[0]).unwrap())),
            ..Callbacks::default()
        };
        let dispatch = Dispatch::start(callbacks).unwrap();
        for byte in 0..10 {
            assert!(dispatch.dispatch(anon(byte)).is_ok());
        }
        let change = StateChange { peer: Hashname::new([1; 32]), state: State::Connected };
        assert!(dispatch.dispatch(Event::State(change)).is_err());
        let packet = LinePacket::new(Hashname::new([1; 32]), Bytes::from_static(b"\0\x02{}body"));
        let packet = packet.unwrap();
        assert_eq!((&*packet.json, &*packet.body), (&b"{}"[..], &b"body"[..]));
        assert!(dispatch.dispatch(Event::LinePacket(packet)).is_err());
        let wait = Duration::from_secs(20);
        let got: Vec<_> = (0..10).map(|_| told.recv_timeout(wait).unwrap()).collect();
        assert_eq!(got, (0..10).collect::<Vec<_>>());
        let expected = CallbackCounters { called: 10, unhandled: 1, overflowed: 0 };
        assert_eq!(dispatch.counters(), expected);
        dispatch.stop();
        // The thread lets go of the callback, and with it of the channel.
        drop(dispatch);
        assert!(told.recv_timeout(wait).is_err());
    }

    #[test]
    fn s6_a_callback_that_is_slow_or_panics_costs_events_and_nothing_else() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = parking_lot::Mutex::new(gate);
        let callbacks = Callbacks {
            anon: Some(Arc::new(move |p: AnonPacket| {
                gate.lock().recv().unwrap();
                assert!(p.body[0] != 0, "the application's own fault");
            })),
            ..Callbacks::default()
        };
        let dispatch = Dispatch::start(callbacks).unwrap();
        let mut refused = 0;
        for _ in 0..2_000 {
            refused += u64::from(dispatch.dispatch(anon(0)).is_err());
        }
        assert!((970..=976).contains(&refused), "{refused}");
        assert_eq!(dispatch.counters().overflowed, refused);
        (0..2_000 - refused).for_each(|_| go.send(()).unwrap());
    }
}
