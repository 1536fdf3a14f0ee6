//! Bodies: the application's on their way out, others' on their way in, a frame at a time.

use std::future::Future;
use std::io::{self, ErrorKind, Read};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};

use super::patience;
use crate::runtime::pipe::PIECE;

/// Frames between hyper and a thread of the application. × 64 KiB.
const FRAMES: usize = 4;

/// What hyper sends.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// A body to be sent: some bytes, or what a reader gives, which is read as it is sent.
pub struct Body(Kind);

enum Kind {
    Bytes(Bytes),
    Reader(Box<dyn Read + Send>, Option<u64>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Reader(_, length) => write!(f, "Body(reader of {length:?})"),
        }
    }
}

impl Body {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Bytes(Bytes::new()))
    }

    /// What `reader` gives until its end, sent in chunks.
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self(Kind::Reader(Box::new(reader), None))
    }

    /// The next `length` bytes of `reader`; the receiver knows beforehand how many come.
    pub fn sized(length: u64, reader: impl Read + Send + 'static) -> Self {
        Self(Kind::Reader(Box::new(reader.take(length)), Some(length)))
    }

    /// For hyper; on the HTTP thread. A reader is read on a thread of its own.
    pub(super) fn outgoing(self) -> Outgoing {
        match self.0 {
            Kind::Bytes(bytes) => whole(bytes),
            Kind::Reader(reader, left) => {
                let (frames, queue) = mpsc::channel(FRAMES);
                tokio::task::spawn_blocking(move || feed(reader, &frames));
                Pieces { queue, left }.boxed_unsync()
            }
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Kind::Bytes(bytes.into()))
    }
}

pub(super) fn whole(bytes: Bytes) -> Outgoing {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn feed(mut reader: Box<dyn Read + Send>, frames: &mpsc::Sender<io::Result<Bytes>>) {
    let read = crate::callbacks::guarded("a body's reader", || {
        loop {
            let mut buffer = BytesMut::zeroed(PIECE);
            let piece = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    buffer.truncate(n);
                    Ok(buffer.freeze())
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let last = piece.is_err();
            if frames.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    if read.is_none() {
        let _ = frames.blocking_send(Err(io::Error::other("the reader panicked")));
    }
}

/// What a reader's thread feeds.
struct Pieces {
    queue: mpsc::Receiver<io::Result<Bytes>>,
    left: Option<u64>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = std::task::ready!(self.queue.poll_recv(cx));
        Poll::Ready(match piece {
            Some(Ok(bytes)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.left = self.left.map(|left| left.saturating_sub(length));
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => Some(Err(error)),
            // Less than was promised: the receiver must not take it for the whole.
            None if self.left.is_some_and(|left| left > 0) => {
                Some(Err(ErrorKind::UnexpectedEof.into()))
            }
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body from elsewhere. What nobody reads of it is read and forgotten for a while when this is
/// dropped: who still sends when the answer is there would else be cut off before reading it.
pub(super) struct Rest(Option<Incoming>);

impl Rest {
    pub(super) const fn new(inner: Incoming) -> Self {
        Self(Some(inner))
    }

    /// No body.
    pub(super) const fn nothing() -> Self {
        Self(None)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    /// The body itself, for somebody else to read.
    pub(super) const fn take(&mut self) -> Option<Incoming> {
        self.0.take()
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        if let Some(mut body) = unread
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let forget = async move {
                while let Ok(Some(Ok(_))) = timeout(patience::REST_PIECE, body.frame()).await {}
            };
            runtime.spawn(timeout(patience::REST, forget));
        }
    }
}

/// A body from elsewhere on its way through, whose sender must say something now and then.
pub(super) struct Passing {
    inner: Rest,
    silent: Option<Pin<Box<Sleep>>>,
    /// Frames so far, for who waits for the answer.
    passed: Arc<AtomicU64>,
}

impl Passing {
    pub(super) const fn new(inner: Rest, passed: Arc<AtomicU64>) -> Self {
        Self { inner, silent: None, passed }
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.inner.0 else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            if !matches!(frame, Some(Ok(_))) {
                // Over, or broken: there is no rest.
                self.inner.0 = None;
            }
            self.silent = None;
            self.passed.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(frame.map(|f| f.map_err(io::Error::other)));
        }
        let silent = self.silent.get_or_insert_with(|| Box::pin(sleep(patience::BODY)));
        silent.as_mut().poll(cx).map(|()| Some(Err(ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// A frame of a body, or its end: a queue that ends without one was cut off.
type Arrival = io::Result<Option<Frame<Bytes>>>;

/// A body that arrives, for a thread of the application.
#[derive(Debug)]
pub(super) struct Arriving {
    queue: mpsc::Receiver<Arrival>,
    piece: Bytes,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Arriving {
    /// The application's end, and the task that fills it.
    pub(super) fn new(body: Incoming) -> (Self, impl Future<Output = ()> + Send) {
        let (frames, queue) = mpsc::channel(FRAMES);
        let this = Self { queue, piece: Bytes::new(), trailers: None, ended: false };
        (this, fill(body, frames))
    }

    pub(super) const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}

async fn fill(mut body: Incoming, frames: mpsc::Sender<Arrival>) {
    // The application takes its time; the sender may not.
    while let Ok(room) = frames.reserve().await {
        let frame = match timeout(patience::BODY, body.frame()).await {
            Ok(frame) => frame.transpose().map_err(io::Error::other),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        let last = !matches!(frame, Ok(Some(_)));
        room.send(frame);
        if last {
            return;
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended && !into.is_empty() {
            match wait(self.queue.recv()) {
                // The node stopped. It says so each time: nobody is to take this for the end.
                None => return Err(ErrorKind::UnexpectedEof.into()),
                Some(Err(error)) => return Err(error),
                Some(Ok(None)) => self.ended = true,
                Some(Ok(Some(frame))) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        let n = self.piece.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..n), self.piece.get(..n)) {
            to.copy_from_slice(from);
        }
        self.piece.advance(n);
        Ok(n)
    }
}

/// Waits on this thread, whatever runs on it. What is waited for ends by itself.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
