//! One bare link: its handshake, its heartbeats, and frames in and out.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use mio::event::Source;
use mio::{Interest, Registry, Token};
use trunkline::net::{HandshakeState, LinkTls, ReadOutcome, TcpOptions, Transport, tcp};
use trunkline_proto::base::{
    Address, BootEpoch, Chance, DropReason, Instant, Limits, LinkId, Priority, RecordId,
};
use trunkline_proto::crypto::{Identity, Purpose, SpaceRules};
use trunkline_proto::mesh::link::{self as session, LinkOutput, LinkSession, LinkTerms, Side};
use trunkline_proto::wire::announce::{
    AnnouncementHead, Draft, Neighbour as Adjacent, Order, announcement_frame,
};
use trunkline_proto::wire::envelope::Envelope;
use trunkline_proto::wire::link::{
    Capabilities, Cost, FRAME_MAX, HEADER_LEN, LinkHeader, LinkKind, NodeName,
};
use trunkline_proto::wire::package::{self, Content, HEADER, Header};
use trunkline_proto::wire::sequence::{PackTerms, Sequence};

use super::super::arguments::Neighbour;
use super::super::payload::{self, Stamp};
use super::super::sender;
use crate::print;

/// Room for what is read at once.
const READ: usize = 256 << 10;
/// What may wait for a socket before nothing more is made for it.
const FULL: usize = 256 << 10;
/// Seconds the announcement holds.
const LIFE: u16 = 1_800;

/// A group of messages of one pair, made once; each time only numbers and times are set.
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Bytes of one message, headers included,
    message: usize,
    /// where in it its parts begin, each a frame,
    parts: Vec<usize>,
    /// and where its record begins.
    record: usize,
    flow: u32,
}

impl Batch {
    pub(super) fn new(
        source: Address,
        destination: Address,
        flow: u32,
        size: usize,
        priority: Priority,
        count: u32,
    ) -> Result<Self, DropReason> {
        let mut body = Vec::new();
        Envelope::new(sender::namespace(), RecordId::Integer(1)).emit(&mut body);
        let record = HEADER + body.len();
        body.resize(body.len() + size.max(payload::HEADER), 0x5a);
        let mut header = Header {
            priority,
            reply: false,
            ttl: 16,
            content: Content::Message,
            sequence: Sequence::M,
            destination,
            source,
            message: 0,
            total: u32::try_from(body.len()).unwrap_or(u32::MAX),
            offset: 0,
        };
        let (mut message, mut parts) = (Vec::new(), Vec::new());
        for part in body.chunks(FRAME_MAX - HEADER) {
            parts.push(message.len());
            message.extend_from_slice(&header.emit(part.len())?);
            message.extend_from_slice(part);
            header.offset += u32::try_from(part.len()).unwrap_or(u32::MAX);
        }
        let bytes = message.repeat(usize::try_from(count).unwrap_or(1));
        Ok(Self { bytes, message: message.len(), parts, record, flow })
    }

    /// The first `count` of the group, numbered from `first` on, due at `due`.
    pub(super) fn stamped(&mut self, count: u64, first: u64, due: u64) -> &[u8] {
        let length = self.message * usize::try_from(count).unwrap_or(0);
        let length = length.min(self.bytes.len());
        let Some(some) = self.bytes.get_mut(..length) else { return &[] };
        for (sequence, message) in (first..).zip(some.chunks_exact_mut(self.message)) {
            for part in &self.parts {
                if let Some(frame) = message.get_mut(*part..) {
                    package::set_message(frame, sequence);
                }
            }
            if let Some(record) = message.get_mut(self.record..) {
                Stamp { flow: self.flow, sequence, due }.write(record);
            }
        }
        some
    }
}

/// One end of one link.
pub(super) struct Link {
    token: usize,
    identity: Arc<Identity>,
    epoch: BootEpoch,
    to: Neighbour,
    transport: Transport,
    /// Until the bytes flow.
    limits: Limits,
    chance: Chance,
    session: Option<LinkSession>,
    said: bool,
    input: BytesMut,
    output: BytesMut,
    /// Where in the first frame of a message its record begins.
    record: usize,
    /// What the first part of a message said, until the last has come.
    begun: Option<Stamp>,
}

impl Link {
    pub(super) fn dial(
        token: usize,
        identity: Arc<Identity>,
        epoch: BootEpoch,
        to: &Neighbour,
        tls: Option<LinkTls>,
        limits: &Limits,
        chance: &mut Chance,
    ) -> io::Result<Self> {
        let socket = tcp::dial(to.address, &TcpOptions::default())?;
        let transport = match &tls {
            Some(tls) => Transport::dialled(socket, tls)?,
            None => Transport::plain(socket),
        };
        let mut envelope = Vec::new();
        Envelope::new(sender::namespace(), RecordId::Integer(1)).emit(&mut envelope);
        Ok(Self {
            token,
            identity,
            epoch,
            to: to.clone(),
            transport,
            limits: limits.clone(),
            chance: chance.fork(),
            session: None,
            said: false,
            input: BytesMut::new(),
            output: BytesMut::new(),
            record: HEADER + envelope.len(),
            begun: None,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.transport.register(registry, Token(self.token), both)
    }

    /// Whether the relay knows this end.
    pub(super) const fn is_up(&self) -> bool {
        self.said
    }

    pub(super) fn is_full(&self) -> bool {
        self.output.len() > FULL
    }

    /// Writes it, as far as the socket takes it; the rest waits here.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.output.is_empty() { self.write(bytes)? } else { 0 };
        self.output.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        Ok(())
    }

    fn write(&self, mut bytes: &[u8]) -> io::Result<usize> {
        let whole = bytes.len();
        while !bytes.is_empty() {
            match self.transport.write(&[IoSlice::new(bytes)]) {
                Ok(count) => bytes.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(whole - bytes.len())
    }

    /// The socket takes more.
    pub(super) fn writable(&mut self, now: Instant) -> io::Result<()> {
        if self.session.is_none() {
            return self.shake(now);
        }
        self.transport.flush()?;
        let waiting = self.output.split();
        let taken = self.write(&waiting)?;
        self.output.extend_from_slice(waiting.get(taken..).unwrap_or_default());
        Ok(())
    }

    fn shake(&mut self, now: Instant) -> io::Result<()> {
        let HandshakeState::Done { peer } = self.transport.handshake()? else { return Ok(()) };
        let over = peer.map_or(session::Transport::Plain, |proof| session::Transport::Tls {
            peer_key: proof.key,
            binding: proof.binding,
        });
        let terms = LinkTerms {
            cost: Cost::ONE,
            name: NodeName::default(),
            capabilities: Capabilities(0),
            heartbeat: self.limits.heartbeat,
            space: Arc::new(SpaceRules::open(*self.identity.space())),
        };
        let made = LinkSession::new(
            now,
            LinkId(u32::try_from(self.token).unwrap_or(0)),
            Side::Dialed { expect: Some(self.to.hashname) },
            over,
            Arc::clone(&self.identity),
            self.epoch,
            &terms,
            &self.limits,
            &mut self.chance,
        );
        self.session = Some(made.map_err(|e| io::Error::other(e.label()))?);
        self.settle()
    }

    /// Does what the session wants.
    fn settle(&mut self) -> io::Result<()> {
        while let Some(output) = self.session.as_mut().and_then(LinkSession::poll) {
            match output {
                LinkOutput::Send(frame) => self.send(&frame)?,
                LinkOutput::Up(_) => self.announce()?,
                LinkOutput::Down(reason) => {
                    return Err(io::Error::other(format!("the relay ended a link: {reason:?}")));
                }
            }
        }
        Ok(())
    }

    /// Tells the mesh of this end: relays beyond the first believe a link when both ends name it.
    fn announce(&mut self) -> io::Result<()> {
        let neighbours = [Adjacent { address: self.to.hashname.address(), cost: Cost::ONE }];
        let record = self.identity.record();
        let order = Order { serial: record.serial(), epoch: self.epoch, sequence: 1 };
        let draft = Draft {
            life_secs: LIFE,
            head: AnnouncementHead { origin: self.identity.hashname().address(), order },
            capabilities: Capabilities(0),
            packing: PackTerms::BASIC,
            name: NodeName::default(),
            record: record.encoded(),
            neighbours: &neighbours,
        };
        let body = draft.sign(|bytes| self.identity.sign(Purpose::Announcement, bytes));
        let frame = body.and_then(|body| announcement_frame(&body, 0));
        self.send(&frame.map_err(|e| io::Error::other(e.label()))?)?;
        self.said = true;
        Ok(())
    }

    /// A heartbeat, if one is due.
    pub(super) fn beat(&mut self, now: Instant) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
        self.settle()
    }

    /// Takes what has come; `took` is told of each message.
    pub(super) fn readable(&mut self, now: Instant, mut took: impl FnMut(Stamp)) -> io::Result<()> {
        if self.session.is_none() {
            self.shake(now)?;
            if self.session.is_none() {
                return Ok(());
            }
        }
        loop {
            self.input.reserve(READ);
            let outcome = self.transport.read(&mut self.input)?;
            self.frames(now, &mut took)?;
            match outcome {
                ReadOutcome::Bytes(_) => {}
                ReadOutcome::Drained(_) | ReadOutcome::Blocked => return Ok(()),
                ReadOutcome::Closed => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, "the relay went away"));
                }
            }
        }
    }

    fn frames(&mut self, now: Instant, took: &mut impl FnMut(Stamp)) -> io::Result<()> {
        let mut at = 0;
        if let Some(session) = &mut self.session {
            session.heard(now);
        }
        loop {
            let rest = self.input.get(at..).unwrap_or_default();
            let header = LinkHeader::peek(rest).map_err(|e| io::Error::other(e.label()))?;
            let Some(header) = header.filter(|h| h.frame_len() <= rest.len()) else { break };
            let frame = rest.get(..header.frame_len()).unwrap_or_default();
            at += frame.len();
            match header.kind {
                LinkKind::Package => {
                    let header = Header::parse(frame).map_err(|e| io::Error::other(e.label()))?;
                    // What comes back is none of ours.
                    if header.content != Content::Message {
                        continue;
                    }
                    if header.offset == 0 {
                        self.begun = frame.get(self.record..).and_then(Stamp::read);
                    }
                    let end = header.offset as usize + frame.len() - HEADER;
                    if end == header.total as usize {
                        self.begun.take().into_iter().for_each(&mut *took);
                    }
                }
                LinkKind::Announcement | LinkKind::Digest | LinkKind::Broadcast => {}
                kind => {
                    let body = frame.get(HEADER_LEN..).unwrap_or_default();
                    if let Some(session) = &mut self.session {
                        let done = session.handle_frame(now, print::now(), kind, body);
                        done.map_err(|e| io::Error::other(e.label()))?;
                    }
                }
            }
        }
        self.input.advance(at);
        self.settle()
    }
}
