//! Requests about messages. Listening lasts as long as its client does: one thread writes what
//! comes, another reads until the client hangs up.

use std::io;
use std::net::Shutdown;

use super::super::messages::{Heard, ListenAsk, Listened, MessageAsk, ReplyAsk};
use super::super::protocol::{Fault, What, codes};
use super::{ClientThread, ControlTarget, ok, send, tell};

/// Messages that are taken until this is dropped.
pub trait Listening: Send + Sync {
    /// Waits for the next message; none when there will be no more.
    fn next(&self) -> Option<Heard>;

    /// Lets everyone who waits go.
    fn close(&self);
}

pub(super) fn sending(
    target: &dyn ControlTarget,
    ask: &MessageAsk,
) -> Result<serde_json::Value, Fault> {
    let judged = ask.judge()?;
    ok(&target.send(&judged, !ask.no_wait)?)
}

pub(super) fn asking(
    target: &dyn ControlTarget,
    ask: &MessageAsk,
) -> Result<serde_json::Value, Fault> {
    ok(&target.request(&ask.judge()?)?)
}

pub(super) fn replying(
    target: &dyn ControlTarget,
    ask: &ReplyAsk,
) -> Result<serde_json::Value, Fault> {
    let record = super::super::messages::decode(&ask.payload)?;
    target.reply(ask.number, record)?;
    Ok(serde_json::json!({}))
}

impl ClientThread {
    /// Tells of messages until the client hangs up, or there will be no more.
    pub(super) fn listen(&mut self, id: u64, ask: &ListenAsk) -> io::Result<()> {
        let listening = ask.judge().and_then(|(namespace, to)| self.target.listen(namespace, to));
        let listening = match listening {
            Ok(listening) => listening,
            Err(fault) => return send(&self.stream, id, What::Error(fault)),
        };
        let ready = Listened { ready: true, message: None };
        if tell(&self.stream, id, &ready).is_break() {
            return Ok(());
        }
        let gone = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::Relaxed;
        let stream = self.stream.try_clone()?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Ok(Some(_)) = self.read_line() {}
                gone.store(true, order);
                listening.close();
            });
            while let Some(message) = listening.next() {
                let event = Listened { ready: false, message: Some(message) };
                if tell(&stream, id, &event).is_break() {
                    break;
                }
            }
            if !gone.load(order) {
                let fault = Fault::new(codes::STOPPING, "the node has stopped");
                let _ = send(&stream, id, What::Error(fault));
            }
            // The reader ends with the connection.
            let _ = stream.shutdown(Shutdown::Both);
        });
        Ok(())
    }
}
