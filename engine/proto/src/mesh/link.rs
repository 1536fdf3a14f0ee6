//! One adjacency above an established byte transport (N2, N13, N17; PROTOCOL §6.2).
//!
//! Owns the handshake that proves who is at the other end, the heartbeats that tell whether
//! it still is, and the goodbye. Knows no sockets and no framing: its owner cuts frames off the
//! transport with [`LinkHeader`](crate::wire::link::LinkHeader), hands the bodies of hellos,
//! proofs, heartbeats, echoes and goodbyes in, and writes out what [`LinkSession::poll`] gives.
//! A proved peer must belong to the space, by the rules in [`LinkTerms`]; whether there is room for
//! it is its owner's to say, by [`LinkSession::close`].
//!
//! ```text
//!            theirs checks out       theirs verifies, admitted
//!  Greeting ──────────────────▶ Proving ─────────────▶ Up ◀──┐ heartbeats, echoes
//!  hello sent                   proof sent             │ └───┘
//!     │                            │                   │
//!     └── wrong, late, goodbye ────┴───────────────────┴──▶ Down
//! ```
//!
//! Both sides move through the same states at the same time. A side proves itself only to a
//! peer whose hello checks out, and nothing but these frames is accepted before Up.

mod cause;
mod pulse;
mod terms;

pub use cause::{Cause, LinkDownReason};
pub use terms::{LinkOutput, LinkPeer, LinkTerms, Side, Transport};

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::base::{BootEpoch, Chance, DropReason, Instant, Limits, LinkId, Wall};
use crate::crypto::{Identity, KeyRecord, Purpose, SpaceRules};
use crate::wire::link::{
    Goodbye, HEADER_LEN, Hello, LinkKind, PROOF_LEN, Stamp, Transcript, control_frame,
};
use pulse::Pulse;

/// One adjacency. See the head of the module.
#[derive(Debug)]
pub struct LinkSession {
    id: LinkId,
    side: Side,
    transport: Transport,
    identity: Arc<Identity>,
    space: Arc<SpaceRules>,
    heartbeat: Duration,
    missed: u32,
    state: State,
    outputs: VecDeque<LinkOutput>,
}

#[derive(Debug)]
enum State {
    Greeting {
        our_hello: [u8; 32],
        deadline: Instant,
    },
    Proving {
        peer: Box<LinkPeer>,
        their_pulse: Duration,
        transcript: Transcript,
        deadline: Instant,
    },
    Up {
        peer: Box<LinkPeer>,
        pulse: Pulse,
    },
    Down,
}

/// No peer may ask to be waited for longer than three times this.
const HEARTBEAT_CEILING: Duration = Duration::from_secs(10);

impl LinkSession {
    /// Starts the handshake: the hello is the first output.
    ///
    /// # Errors
    /// `Oversized` if this node's voucher does not fit a hello.
    #[allow(clippy::too_many_arguments)] // each is its own thing, and a struct would only name them twice
    pub fn new(
        now: Instant,
        id: LinkId,
        side: Side,
        transport: Transport,
        identity: Arc<Identity>,
        epoch: BootEpoch,
        terms: &LinkTerms,
        limits: &Limits,
        chance: &mut Chance,
    ) -> Result<Self, DropReason> {
        let heartbeat = terms.heartbeat.clamp(Duration::from_millis(1), HEARTBEAT_CEILING);
        let voucher = terms.space.our_voucher();
        let hello = Hello {
            heartbeat_ms: u16::try_from(heartbeat.as_millis()).unwrap_or(u16::MAX),
            cost: terms.cost,
            capabilities: terms.capabilities,
            epoch,
            nonce: chance.bytes(),
            name: terms.name,
            record: identity.record().encoded(),
            voucher: &voucher,
        };
        let frame = hello.frame()?;
        let our_hello = body_digest(frame.get(HEADER_LEN..).unwrap_or_default());
        let deadline = now + limits.link_handshake;
        Ok(Self {
            id,
            side,
            transport,
            identity,
            space: Arc::clone(&terms.space),
            heartbeat,
            missed: limits.heartbeats_missed.max(1),
            state: State::Greeting { our_hello, deadline },
            outputs: VecDeque::from([LinkOutput::Send(frame)]),
        })
    }

    /// The link's name within this process.
    #[must_use]
    pub const fn id(&self) -> LinkId {
        self.id
    }

    /// Whether the peer is proved and the link stands. Packages, announcements and digests may
    /// be taken from it only then.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// The proved peer, while the link stands.
    #[must_use]
    pub const fn peer(&self) -> Option<&LinkPeer> {
        match &self.state {
            State::Up { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// Round-trip time over this link, smoothed, once an echo has come back.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        match &self.state {
            State::Up { pulse, .. } => pulse.rtt(),
            _ => None,
        }
    }

    /// Bytes came from the peer, of whatever kind.
    pub const fn heard(&mut self, now: Instant) {
        if let State::Up { pulse, .. } = &mut self.state {
            pulse.heard(now);
        }
    }

    /// Bytes went to the peer, of whatever kind.
    pub const fn sent(&mut self, now: Instant) {
        if let State::Up { pulse, .. } = &mut self.state {
            pulse.sent(now);
        }
    }

    /// Takes the body of a hello, proof, heartbeat, echo or goodbye.
    ///
    /// # Errors
    /// What was wrong with it; the link is then down and says so by [`Self::poll`]. After Up,
    /// frames of other kinds are not this session's: they come back `Unhandled` and change
    /// nothing.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        wall: Wall,
        kind: LinkKind,
        body: &[u8],
    ) -> Result<(), DropReason> {
        let foreign = matches!(
            kind,
            LinkKind::Announcement | LinkKind::Digest | LinkKind::Package | LinkKind::Broadcast
        );
        if matches!(self.state, State::Down) {
            return Err(DropReason::LinkDown);
        }
        if foreign && self.is_up() {
            return Err(DropReason::Unhandled);
        }
        let done = match kind {
            LinkKind::Goodbye => self.on_goodbye(body),
            LinkKind::Hello => self.on_hello(wall, body),
            LinkKind::Proof => self.on_proof(now, wall, body),
            LinkKind::Heartbeat | LinkKind::HeartbeatEcho => self.on_pulse(now, kind, body),
            _ => Err((Cause::Violation, DropReason::Unhandled)),
        };
        done.map_err(|(cause, reason)| {
            self.close(cause, reason.label());
            reason
        })
    }

    /// Judges anew whether the peer belongs to the space: vouchers end. If it does not any more,
    /// the link is down and says so by [`Self::poll`].
    pub fn judge(&mut self, wall: Wall) {
        let State::Up { peer, .. } = &self.state else { return };
        if let Err(refusal) = self.space.admits(&peer.record, &peer.voucher, wall) {
            self.end_here(Cause::NotAdmitted, &refusal.to_string());
        }
    }

    /// Ends the link for a reason of the owner's, telling the peer.
    pub fn close(&mut self, cause: Cause, text: &str) {
        if !matches!(self.state, State::Down) {
            self.end_here(cause, text);
        }
    }

    /// When [`Self::handle_timeout`] must be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Greeting { deadline, .. } | State::Proving { deadline, .. } => Some(*deadline),
            State::Up { pulse, .. } => Some(pulse.deadline()),
            State::Down => None,
        }
    }

    /// Lets time pass. Read what the transport holds before this, or a pause of this process
    /// looks like the peer's death.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Greeting { deadline, .. } | State::Proving { deadline, .. } => {
                if now >= *deadline {
                    self.end_here(Cause::Slow, "handshake took too long");
                }
            }
            State::Up { pulse, .. } => {
                if pulse.is_dead(now) {
                    self.end_here(Cause::Silent, "nothing heard");
                } else if let Some(stamp) = pulse.beat(now) {
                    self.outputs.push_back(LinkOutput::Send(stamp.frame(LinkKind::Heartbeat)));
                }
            }
            State::Down => {}
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<LinkOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // One echo is owed at most, however many heartbeats came: they cannot fill a queue.
        let State::Up { pulse, .. } = &mut self.state else { return None };
        Some(LinkOutput::Send(pulse.owed()?.frame(LinkKind::HeartbeatEcho)))
    }

    fn on_hello(&mut self, wall: Wall, body: &[u8]) -> Result<(), (Cause, DropReason)> {
        let State::Greeting { our_hello, deadline } = self.state else {
            return Err((Cause::Violation, DropReason::Unhandled));
        };
        let hello = Hello::parse(body).map_err(|reason| match reason {
            DropReason::UnknownKind => (Cause::Version, reason),
            _ => (Cause::Violation, reason),
        })?;
        let record = self.checked_record(wall, hello.record)?;
        let theirs = body_digest(body);
        let (dialer_hello, acceptor_hello) =
            if self.is_dialer() { (our_hello, theirs) } else { (theirs, our_hello) };
        let binding = match self.transport {
            Transport::Tls { binding, .. } => Some(binding),
            Transport::Plain => None,
        };
        let transcript = Transcript { binding, dialer_hello, acceptor_hello };
        let proof = self.identity.sign(Purpose::Link, &transcript.bytes(self.is_dialer()));
        let frame = control_frame(LinkKind::Proof, &proof).map_err(|r| (Cause::Violation, r))?;
        self.outputs.push_back(LinkOutput::Send(frame));
        let peer = Box::new(LinkPeer {
            record: Arc::new(record),
            epoch: hello.epoch,
            name: hello.name,
            capabilities: hello.capabilities,
            cost: hello.cost,
            voucher: Bytes::copy_from_slice(hello.voucher),
        });
        let their_pulse = Duration::from_millis(hello.heartbeat_ms.into()).min(HEARTBEAT_CEILING);
        self.state = State::Proving { peer, their_pulse, transcript, deadline };
        Ok(())
    }

    /// The peer's record, if it may stand at the other end. The RSA signature comes last: the
    /// rest costs little.
    fn checked_record(&self, wall: Wall, encoded: &[u8]) -> Result<KeyRecord, (Cause, DropReason)> {
        let bad = |e| (Cause::BadRecord, DropReason::from(e));
        let claimed = KeyRecord::parse(encoded).map_err(bad)?;
        let hashname = claimed.hashname();
        if claimed.space() != *self.identity.space() {
            return Err((Cause::WrongSpace, DropReason::WrongSpace));
        }
        if hashname.address() == self.identity.hashname().address() {
            return Err((Cause::Oneself, DropReason::Misaddressed));
        }
        if matches!(self.side, Side::Dialed { expect: Some(expected) } if expected != hashname) {
            return Err((Cause::WrongPeer, DropReason::Misaddressed));
        }
        let record = claimed.verify(wall).map_err(bad)?;
        match self.transport {
            Transport::Tls { peer_key, .. } if peer_key != *record.signing_key() => {
                Err((Cause::WrongKey, DropReason::BadSignature))
            }
            _ => Ok(record),
        }
    }

    /// Who proves itself must also belong here: only now is it known whose voucher it is.
    fn on_proof(
        &mut self,
        now: Instant,
        wall: Wall,
        body: &[u8],
    ) -> Result<(), (Cause, DropReason)> {
        let by_dialer = !self.is_dialer();
        let State::Proving { peer, their_pulse, transcript, .. } = &self.state else {
            return Err((Cause::Violation, DropReason::Unhandled));
        };
        let signature: &[u8; PROOF_LEN] =
            body.try_into().map_err(|_| (Cause::Violation, DropReason::Malformed))?;
        let signed = transcript.bytes(by_dialer);
        if !peer.record.verify_signature(Purpose::Link, &signed, signature) {
            return Err((Cause::BadProof, DropReason::BadSignature));
        }
        self.space.learned(&peer.record);
        if let Err(refusal) = self.space.admits(&peer.record, &peer.voucher, wall) {
            self.end_here(Cause::NotAdmitted, &refusal.to_string());
            return Err((Cause::NotAdmitted, refusal.into()));
        }
        let pulse = Pulse::new(now, self.heartbeat, *their_pulse, self.missed);
        let peer = peer.clone();
        self.outputs.push_back(LinkOutput::Up(peer.clone()));
        self.state = State::Up { peer, pulse };
        Ok(())
    }

    fn on_pulse(
        &mut self,
        now: Instant,
        kind: LinkKind,
        body: &[u8],
    ) -> Result<(), (Cause, DropReason)> {
        let State::Up { pulse, .. } = &mut self.state else {
            return Err((Cause::Violation, DropReason::Unhandled));
        };
        let stamp = Stamp::parse(body).map_err(|reason| (Cause::Violation, reason))?;
        match kind {
            LinkKind::Heartbeat => pulse.owe(stamp),
            _ => pulse.echoed(now, stamp),
        }
        Ok(())
    }

    fn on_goodbye(&mut self, body: &[u8]) -> Result<(), (Cause, DropReason)> {
        let Goodbye { code, text } =
            Goodbye::parse(body).map_err(|reason| (Cause::Violation, reason))?;
        let reason = LinkDownReason::There { code, text: text.to_owned() };
        self.state = State::Down;
        self.outputs.push_back(LinkOutput::Down(reason));
        Ok(())
    }

    fn end_here(&mut self, cause: Cause, text: &str) {
        self.state = State::Down;
        let goodbye = Goodbye { code: cause.code(), text }.frame();
        self.outputs.push_back(LinkOutput::Send(goodbye));
        self.outputs.push_back(LinkOutput::Down(LinkDownReason::Here(cause)));
    }

    const fn is_dialer(&self) -> bool {
        matches!(self.side, Side::Dialed { .. })
    }
}

fn body_digest(body: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, body).as_ref());
    out
}

#[cfg(test)]
mod tests;
