//! What happens to streams goes to the tunnel or the pipe that has them; those that peers open
//! find someone who takes them here.

use mio::Token;
use trunkline_proto::base::{Instant, Priority};
use trunkline_proto::stage::streams::StreamKey;
use trunkline_proto::switch::streams::{Code, Open, StreamEvent};

use super::{Source, Worker};
use crate::runtime::clock::Clock;
use crate::runtime::tunnels::Context;
use crate::stream::Stream;

impl Worker {
    pub(super) fn stream_event(&mut self, now: Instant, key: StreamKey, event: &StreamEvent) {
        let Self { tunnels, pipes, shard, poll, sources, .. } = self;
        let registry = poll.registry();
        let mut ctx = Context { shard, registry, now, wall: Clock::wall() };
        match event {
            _ if pipes.has(key) => pipes.stream_event(key, event),
            StreamEvent::Opened { open: Open::Sock(target), .. } => {
                let token = || Token(sources.insert(Source::Tunnel));
                tunnels.connect(&mut ctx, key, target, token);
            }
            StreamEvent::Opened { open, priority, .. } => {
                let given = self.give_stream(key, open, *priority);
                if let Err((code, why)) = given {
                    self.shard.reset_stream(now, key, code, why);
                }
            }
            _ => {
                if let Some(token) = tunnels.stream_event(&mut ctx, key, event) {
                    sources.try_remove(token.0);
                }
            }
        }
    }

    /// A stream that a peer opened goes to whom the application chose for its kind.
    fn give_stream(
        &mut self,
        key: StreamKey,
        open: &Open,
        priority: Priority,
    ) -> Result<(), (Code, &'static str)> {
        if !self.shared.takes(open) {
            return Err((Code::REFUSED, "nothing here takes such streams"));
        }
        let busy = (Code::TOO_MANY, "this node has as many streams as it may");
        let peer = self.shard.stream_peer(key).ok_or(busy)?;
        let pipe = self.pipes.accept(key, peer, priority).ok_or(busy)?;
        match self.shared.give(open, Stream::new(pipe)) {
            Ok(()) => Ok(()),
            // The pipe passes the reset on.
            Err(stream) => {
                stream.reset(busy.0.0, busy.1);
                Ok(())
            }
        }
    }
}
