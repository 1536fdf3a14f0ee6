//! Opening a line: the three bodies of `open` packets and both ends of the handshake
//! (PROTOCOL §4.1).
//!
//! ```text
//! initiation: 1 | sender's line id 16 | Noise message 1 | mac1 16 | mac2 16
//!             message 1 seals: boot epoch 8 | open counter 8 | capabilities 4 | key record
//! response:   2 | receiver's line id 16 | Noise message 2
//!             message 2 seals: sender's line id 16 | boot epoch 8 | capabilities 4 | serial 8
//! cookie:     3 | receiver's line id 16 | salt 16 | sealed cookie 32
//! ```
//!
//! The opener holds a [`PendingOpen`]. The answerer goes step by step, each a type that only the
//! step before can make, and may stop after each: [`Knock`] (mac1), [`Initiation`] (decrypted),
//! [`Proven`] (its record is true), [`Answered`]. What a step costs is said there; nothing is
//! kept here between packets.
//!
//! This file judges no epoch, counter, space or limit: what is known of a peer is the
//! caller's, and so are the repetitions of an open and of its answer.

use std::sync::Arc;

use bytes::Bytes;
use snow::HandshakeState;

use super::cookie::{self, COOKIE_LEN, Knock, MAC_LEN};
use super::identity::Identity;
use super::noise;
use super::record::{KeyRecord, Unverified};
use super::session::{Session, TAG_LEN};
use crate::base::{BootEpoch, Chance, DropReason, Hashname, Instant, LineId, Wall};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
pub(super) const COOKIE: u8 = 3;

/// Type and line id, in the clear.
const HEAD: usize = 1 + LineId::LEN;
/// An ephemeral key, a sealed static key, the tag of the payload.
const NOISE_1: usize = 32 + 32 + TAG_LEN + TAG_LEN;
/// What message 1 seals before the record.
const BEFORE_RECORD: usize = 8 + 8 + 4;
const MACS: usize = 2 * MAC_LEN;
/// What an initiation has beside the record.
const AROUND_RECORD: usize = HEAD + NOISE_1 + BEFORE_RECORD + MACS;
const ANSWER: usize = LineId::LEN + 8 + 4 + 8;

/// The smallest initiation is larger than anything sent in answer to it.
pub const MIN_INITIATION_LEN: usize = AROUND_RECORD + 597;
/// The largest initiation: a 4,096-bit key in a space with a long name.
pub const MAX_INITIATION_LEN: usize = AROUND_RECORD + KeyRecord::MAX_LEN;
/// Bytes of a response.
pub const RESPONSE_LEN: usize = HEAD + 32 + ANSWER + TAG_LEN;

const _: () = assert!(MAX_INITIATION_LEN <= 1_380, "fits a datagram with its headers");
const _: () = assert!(RESPONSE_LEN < MIN_INITIATION_LEN && COOKIE_LEN < MIN_INITIATION_LEN);

/// What a node says it can do, one bit each (the switch gives them their meaning).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Capabilities(pub u32);

/// The kind of an open's body and the line id it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Someone opens; see [`Knock`].
    Initiation {
        /// The sender's line, for the answer or the cookie.
        from: LineId,
    },
    /// For [`PendingOpen::finish`] of the open with that line.
    Response {
        /// Our line.
        to: LineId,
    },
    /// For [`PendingOpen::take_cookie`] of the open with that line.
    Cookie {
        /// Our line.
        to: LineId,
    },
}

/// Tells the kinds apart by type and size; nothing more is checked.
///
/// # Errors
/// `Truncated`, `Oversized` or `UnknownKind`.
pub fn heard(body: &[u8]) -> Result<Heard, DropReason> {
    let (&kind, rest) = body.split_first().ok_or(DropReason::Truncated)?;
    let (least, most) = match kind {
        INITIATION => (MIN_INITIATION_LEN, MAX_INITIATION_LEN),
        RESPONSE => (RESPONSE_LEN, RESPONSE_LEN),
        COOKIE => (COOKIE_LEN, COOKIE_LEN),
        _ => return Err(DropReason::UnknownKind),
    };
    if body.len() < least {
        return Err(DropReason::Truncated);
    }
    if body.len() > most {
        return Err(DropReason::Oversized);
    }
    let line = LineId(*rest.first_chunk().ok_or(DropReason::Truncated)?);
    Ok(match kind {
        INITIATION => Heard::Initiation { from: line },
        RESPONSE => Heard::Response { to: line },
        _ => Heard::Cookie { to: line },
    })
}

/// Binds the handshake to this protocol, its version and the clear head of the initiation.
fn prologue(head: &[u8]) -> Vec<u8> {
    [b"trunkline open 1".as_slice(), head].concat()
}

/// What the opener says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opener {
    /// The line id the answer shall name.
    pub line: LineId,
    /// Drawn at this node's start.
    pub epoch: BootEpoch,
    /// Counts this node's opens since its start.
    pub counter: u64,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// An open of ours that waits for its answer. 3.7 KiB measured, with a 3,072-bit record inside.
pub struct PendingOpen {
    /// Gone once the answer came.
    noise: Option<Box<HandshakeState>>,
    line: LineId,
    peer_line_key: [u8; 32],
    body: Bytes,
}

/// What a finished open of ours gave.
#[derive(Debug)]
pub struct Established {
    /// Ready in both directions.
    pub session: Session,
    /// The peer's name of the line: what our sealed packets carry.
    pub peer_line: LineId,
    /// The peer's start.
    pub peer_epoch: BootEpoch,
    /// What the peer can do.
    pub capabilities: Capabilities,
    /// The serial of the peer's record; higher than the known one means: fetch the new one.
    pub peer_serial: u64,
}

impl PendingOpen {
    /// Makes the initiation towards the owner of `peer`. Costs three scalar multiplications.
    ///
    /// # Errors
    /// [`DropReason::BadSignature`] if the peer's line key is no usable point.
    pub fn start(
        identity: &Identity,
        peer: &KeyRecord,
        opener: Opener,
        chance: &mut Chance,
    ) -> Result<Self, DropReason> {
        let record = identity.record().encoded();
        let mut body = Vec::with_capacity(AROUND_RECORD + record.len());
        body.push(INITIATION);
        body.extend_from_slice(&opener.line.0);
        let mut noise = noise::initiator(identity, peer.line_key(), &prologue(&body), chance)?;
        let payload = [
            opener.epoch.0.to_be_bytes().as_slice(),
            &opener.counter.to_be_bytes(),
            &opener.capabilities.0.to_be_bytes(),
            record,
        ]
        .concat();
        body.resize(HEAD + NOISE_1 + payload.len(), 0);
        let room = body.get_mut(HEAD..).unwrap_or_default();
        noise.write_message(&payload, room).map_err(noise::refusal)?;
        cookie::close(peer.line_key(), &mut body);
        Ok(Self {
            noise: Some(Box::new(noise)),
            line: opener.line,
            peer_line_key: *peer.line_key(),
            body: body.into(),
        })
    }

    /// The initiation, to be sent and repeated as it is.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The line id the answer will name.
    #[must_use]
    pub const fn line(&self) -> LineId {
        self.line
    }

    /// Takes a cookie packet: [`Self::body`] carries the cookie from now on.
    ///
    /// # Errors
    /// As [`heard`]; `Misaddressed` for another line; `BadMac` if it does not answer this open.
    pub fn take_cookie(&mut self, body: &[u8]) -> Result<(), DropReason> {
        match heard(body)? {
            Heard::Cookie { to } if to == self.line => {}
            Heard::Cookie { .. } => return Err(DropReason::Misaddressed),
            _ => return Err(DropReason::UnknownKind),
        }
        let mut with_cookie = self.body.to_vec();
        cookie::put_in(&self.peer_line_key, body, &mut with_cookie)?;
        self.body = with_cookie.into();
        Ok(())
    }

    /// Takes the response. A wrong one changes nothing: the right one may still come. Costs two
    /// scalar multiplications.
    ///
    /// # Errors
    /// As [`heard`]; `Misaddressed` for another line; `BadSignature` if it does not answer this
    /// open; `Replayed` if the answer came before.
    pub fn finish(&mut self, body: &[u8], now: Instant) -> Result<Established, DropReason> {
        match heard(body)? {
            Heard::Response { to } if to == self.line => {}
            Heard::Response { .. } => return Err(DropReason::Misaddressed),
            _ => return Err(DropReason::UnknownKind),
        }
        let noise = self.noise.as_mut().ok_or(DropReason::Replayed)?;
        let mut payload = [0; ANSWER];
        let message = body.get(HEAD..).ok_or(DropReason::Truncated)?;
        let len = noise.read_message(message, &mut payload).map_err(noise::refusal)?;
        let mut rest = payload.get(..len).ok_or(DropReason::Malformed)?;
        let established = Established {
            peer_line: LineId(take(&mut rest)?),
            peer_epoch: BootEpoch(u64::from_be_bytes(take(&mut rest)?)),
            capabilities: Capabilities(u32::from_be_bytes(take(&mut rest)?)),
            peer_serial: u64::from_be_bytes(take(&mut rest)?),
            session: {
                let noise = self.noise.take().ok_or(DropReason::Replayed)?;
                Session::new(&noise::split(*noise), true, now)?
            },
        };
        Ok(established)
    }
}

impl core::fmt::Debug for PendingOpen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PendingOpen").field("line", &self.line).finish_non_exhaustive()
    }
}

/// A decrypted initiation: its sender holds the line key of the record inside. Whether that
/// record is true is not yet known.
pub struct Initiation {
    noise: Box<HandshakeState>,
    serial: u64,
    hashname: Hashname,
    payload: Vec<u8>,
    opener: Opener,
}

impl Initiation {
    /// Decrypts what `knock` brought. Costs two scalar multiplications; `chance` gives the
    /// ephemeral key of the answer.
    ///
    /// # Errors
    /// `BadSignature` if it does not decrypt, or the record inside is of another line key; any
    /// parse error of the record.
    pub fn read(knock: &Knock<'_>, chance: &mut Chance) -> Result<Self, DropReason> {
        let (identity, body) = (knock.identity, knock.body);
        let head = body.get(..HEAD).ok_or(DropReason::Truncated)?;
        let message = body.get(HEAD..body.len() - MACS).ok_or(DropReason::Truncated)?;
        let mut noise = noise::responder(identity, &prologue(head), chance)?;
        let mut payload = vec![0; message.len()];
        let len = noise.read_message(message, &mut payload).map_err(noise::refusal)?;
        payload.truncate(len);
        let mut rest = payload.as_slice();
        let opener = Opener {
            line: knock.from(),
            epoch: BootEpoch(u64::from_be_bytes(take(&mut rest)?)),
            counter: u64::from_be_bytes(take(&mut rest)?),
            capabilities: Capabilities(u32::from_be_bytes(take(&mut rest)?)),
        };
        let record = KeyRecord::parse(rest)?;
        if noise.get_remote_static() != Some(record.line_key().as_slice()) {
            return Err(DropReason::BadSignature);
        }
        let hashname = record.hashname();
        let serial = identity.record().serial();
        Ok(Self { noise: Box::new(noise), serial, hashname, payload, opener })
    }

    /// Who the sender says it is. It may only serve to look something up.
    #[must_use]
    pub const fn hashname(&self) -> Hashname {
        self.hashname
    }

    /// What the sender says of itself, `line` and all.
    #[must_use]
    pub const fn opener(&self) -> Opener {
        self.opener
    }

    /// The record as sent.
    ///
    /// # Errors
    /// None: it was parsed before.
    pub fn record(&self) -> Result<Unverified<'_>, DropReason> {
        Ok(KeyRecord::parse(self.payload.get(BEFORE_RECORD..).unwrap_or_default())?)
    }

    /// Verifies the record, unless `known`, a record verified before, is the same bytes. Costs
    /// one RSA verification, or one comparison.
    ///
    /// A record of lower serial than the known one is valid until it expires: whether its
    /// owner is still welcome with it is for the caller to say.
    ///
    /// # Errors
    /// `Expired` or `BadSignature`.
    pub fn prove(self, now: Wall, known: Option<&Arc<KeyRecord>>) -> Result<Proven, DropReason> {
        let sent = self.record()?;
        let record = match known {
            Some(known) if known.encoded() == sent.encoded() => {
                if now.is_past(known.expiry()) {
                    return Err(DropReason::Expired);
                }
                Arc::clone(known)
            }
            _ => Arc::new(sent.verify(now)?),
        };
        Ok(Proven { noise: self.noise, serial: self.serial, record, opener: self.opener })
    }
}

impl core::fmt::Debug for Initiation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Initiation").field("hashname", &self.hashname).finish_non_exhaustive()
    }
}

/// An initiation whose sender is who it says: it holds the line key of a true record. It may
/// still be a repetition of one that was sent before.
pub struct Proven {
    noise: Box<HandshakeState>,
    serial: u64,
    record: Arc<KeyRecord>,
    opener: Opener,
}

/// What answering an open gave.
#[derive(Debug)]
pub struct Answered {
    /// Ready to open; to be sealed with once a packet came under it ([`Session::confirmed`]),
    /// for until then the initiation may have been a repetition by someone else.
    pub session: Session,
    /// The response to send, and to repeat when the same initiation comes again.
    pub body: Bytes,
    /// The peer.
    pub record: Arc<KeyRecord>,
    /// What the peer said of itself; its `line` is what our sealed packets carry.
    pub opener: Opener,
}

impl Proven {
    /// Who opens.
    #[must_use]
    pub const fn record(&self) -> &Arc<KeyRecord> {
        &self.record
    }

    /// What it says of itself.
    #[must_use]
    pub const fn opener(&self) -> Opener {
        self.opener
    }

    /// Accepts: makes the response and the session. Costs three scalar multiplications.
    ///
    /// # Errors
    /// `BadSignature` if the peer's keys are no usable points.
    pub fn answer(
        mut self,
        our_line: LineId,
        epoch: BootEpoch,
        capabilities: Capabilities,
        now: Instant,
    ) -> Result<Answered, DropReason> {
        let payload = [
            our_line.0.as_slice(),
            &epoch.0.to_be_bytes(),
            &capabilities.0.to_be_bytes(),
            &self.serial.to_be_bytes(),
        ]
        .concat();
        let mut body = Vec::with_capacity(RESPONSE_LEN);
        body.push(RESPONSE);
        body.extend_from_slice(&self.opener.line.0);
        body.resize(RESPONSE_LEN, 0);
        let room = body.get_mut(HEAD..).unwrap_or_default();
        self.noise.write_message(&payload, room).map_err(noise::refusal)?;
        Ok(Answered {
            session: Session::new(&noise::split(*self.noise), false, now)?,
            body: body.into(),
            record: self.record,
            opener: self.opener,
        })
    }
}

impl core::fmt::Debug for Proven {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Proven").field("record", &self.record.hashname()).finish_non_exhaustive()
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DropReason> {
    let (head, tail) = rest.split_first_chunk().ok_or(DropReason::Malformed)?;
    *rest = tail;
    Ok(*head)
}
