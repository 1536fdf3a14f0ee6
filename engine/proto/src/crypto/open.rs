//! Opening a line: the three bodies of `open` packets and both ends of the handshake
//! (PROTOCOL §4.1).
//!
//! ```text
//! initiation: 1 | sender's line id 16 | Noise message 1 | mac1 16 | mac2 16
//!             message 1 seals: boot epoch 8 | open counter 8 | capabilities 4
//!                              | voucher len 1 | voucher | key record
//! response:   2 | receiver's line id 16 | Noise message 2
//!             message 2 seals: sender's line id 16 | boot epoch 8 | capabilities 4 | serial 8
//!                              | voucher len 1 | voucher
//! cookie:     3 | receiver's line id 16 | salt 16 | sealed cookie 32
//! ```
//!
//! The opener holds a [`PendingOpen`]. The answerer goes step by step, each a type that only the
//! step before can make, and may stop after each: [`Knock`](super::Knock) (mac1), [`Initiation`] (decrypted),
//! [`Proven`] (its record is true), [`Answered`]. What a step costs is said there; nothing is
//! kept here between packets.
//!
//! This file judges no epoch, counter, space, voucher or limit: what is known of a peer is the
//! caller's, and so are the repetitions of an open and of its answer. Vouchers are carried as the
//! bytes they are.

mod answering;

pub use answering::{Answered, Initiation, Proven};

use bytes::Bytes;
use snow::HandshakeState;

use super::cookie::{self, COOKIE_LEN, MAC_LEN};
use super::identity::Identity;
use super::noise;
use super::record::KeyRecord;
use super::session::{Session, TAG_LEN};
use super::voucher;
use crate::base::{BootEpoch, Chance, DropReason, Instant, LineId};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
pub(super) const COOKIE: u8 = 3;

/// Type and line id, in the clear.
const HEAD: usize = 1 + LineId::LEN;
/// An ephemeral key, a sealed static key, the tag of the payload.
const NOISE_1: usize = 32 + 32 + TAG_LEN + TAG_LEN;
/// What message 1 seals before the record, without the voucher.
const BEFORE_RECORD: usize = 8 + 8 + 4 + 1;
const MACS: usize = 2 * MAC_LEN;
/// What an initiation has beside voucher and record.
const AROUND_RECORD: usize = HEAD + NOISE_1 + BEFORE_RECORD + MACS;
/// What message 2 seals, without the voucher.
const ANSWER: usize = LineId::LEN + 8 + 4 + 8 + 1;

/// The smallest initiation is larger than anything sent in answer to it.
pub const MIN_INITIATION_LEN: usize = AROUND_RECORD + 597;
/// The largest initiation: a 4,096-bit key in a closed space with a long name.
pub const MAX_INITIATION_LEN: usize = AROUND_RECORD + voucher::LEN + KeyRecord::MAX_LEN;
/// Bytes of a response without a voucher.
pub const MIN_RESPONSE_LEN: usize = HEAD + 32 + ANSWER + TAG_LEN;
/// Bytes of a response with one.
pub const MAX_RESPONSE_LEN: usize = MIN_RESPONSE_LEN + voucher::LEN;

const _: () = assert!(MAX_INITIATION_LEN <= 1_432, "with the JSON fits UDP over IPv6 on Ethernet");
const _: () = assert!(MAX_RESPONSE_LEN < MIN_INITIATION_LEN && COOKIE_LEN < MIN_INITIATION_LEN);

/// What a node says it can do, one bit each (the switch gives them their meaning).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Capabilities(pub u32);

/// The kind of an open's body and the line id it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Someone opens; see [`Knock`](super::Knock).
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
        RESPONSE => (MIN_RESPONSE_LEN, MAX_RESPONSE_LEN),
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
    /// What the peer shows for admittance to a closed space, not looked into; empty for none.
    pub voucher: Bytes,
}

impl PendingOpen {
    /// Makes the initiation towards the owner of `peer`, showing `voucher` (empty for none). Costs
    /// three scalar multiplications.
    ///
    /// # Errors
    /// [`DropReason::BadSignature`] if the peer's line key is no usable point; `Oversized` if
    /// that is no voucher.
    pub fn start(
        identity: &Identity,
        peer: &KeyRecord,
        opener: Opener,
        voucher: &[u8],
        chance: &mut Chance,
    ) -> Result<Self, DropReason> {
        let record = identity.record().encoded();
        let shown = voucher_len(voucher)?;
        let mut body = Vec::with_capacity(AROUND_RECORD + voucher.len() + record.len());
        body.push(INITIATION);
        body.extend_from_slice(&opener.line.0);
        let mut noise = noise::initiator(identity, peer.line_key(), &prologue(&body), chance)?;
        let payload = [
            opener.epoch.0.to_be_bytes().as_slice(),
            &opener.counter.to_be_bytes(),
            &opener.capabilities.0.to_be_bytes(),
            &shown,
            voucher,
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
        let mut payload = [0; ANSWER + voucher::LEN];
        let message = body.get(HEAD..).ok_or(DropReason::Truncated)?;
        let len = noise.read_message(message, &mut payload).map_err(noise::refusal)?;
        let mut rest = payload.get(..len).ok_or(DropReason::Malformed)?;
        let established = Established {
            peer_line: LineId(take(&mut rest)?),
            peer_epoch: BootEpoch(u64::from_be_bytes(take(&mut rest)?)),
            capabilities: Capabilities(u32::from_be_bytes(take(&mut rest)?)),
            peer_serial: u64::from_be_bytes(take(&mut rest)?),
            voucher: {
                let voucher = take_voucher(&mut rest)?;
                if !rest.is_empty() {
                    return Err(DropReason::Malformed);
                }
                Bytes::copy_from_slice(voucher)
            },
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

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DropReason> {
    let (head, tail) = rest.split_first_chunk().ok_or(DropReason::Malformed)?;
    *rest = tail;
    Ok(*head)
}

/// The byte before a voucher.
fn voucher_len(voucher: &[u8]) -> Result<[u8; 1], DropReason> {
    match u8::try_from(voucher.len()) {
        Ok(len) if voucher.len() <= voucher::LEN => Ok([len]),
        _ => Err(DropReason::Oversized),
    }
}

/// A length and that many bytes.
fn take_voucher<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DropReason> {
    let [len] = take(rest)?;
    if usize::from(len) > voucher::LEN {
        return Err(DropReason::Oversized);
    }
    let (voucher, after) = rest.split_at_checked(len.into()).ok_or(DropReason::Malformed)?;
    *rest = after;
    Ok(voucher)
}
