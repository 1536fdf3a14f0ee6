//! The answering half of an open: decrypted, proved, answered, each a type that only the step
//! before can make. See the head of [`super`].

use std::sync::Arc;

use bytes::Bytes;
use snow::HandshakeState;

use super::super::cookie::Knock;
use super::super::noise;
use super::super::record::{KeyRecord, Unverified};
use super::super::session::Session;
use super::{
    BEFORE_RECORD, Capabilities, HEAD, MACS, MIN_RESPONSE_LEN, Opener, RESPONSE, prologue, take,
    take_voucher, voucher_len,
};
use crate::base::{BootEpoch, Chance, DropReason, Hashname, Instant, LineId, Wall};

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
        take_voucher(&mut rest)?;
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
        Ok(KeyRecord::parse(self.voucher_and_record().1)?)
    }

    /// What the sender shows for admittance to a closed space, not looked into; empty for none.
    #[must_use]
    pub fn voucher(&self) -> &[u8] {
        self.voucher_and_record().0
    }

    fn voucher_and_record(&self) -> (&[u8], &[u8]) {
        let mut rest = self.payload.get(BEFORE_RECORD - 1..).unwrap_or_default();
        let voucher = take_voucher(&mut rest).unwrap_or_default();
        (voucher, rest)
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
        let voucher = Bytes::copy_from_slice(self.voucher());
        let (noise, serial, opener) = (self.noise, self.serial, self.opener);
        Ok(Proven { noise, serial, record, voucher, opener })
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
    voucher: Bytes,
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

    /// What it shows for admittance to a closed space, not looked into; empty for none.
    #[must_use]
    pub const fn voucher(&self) -> &Bytes {
        &self.voucher
    }

    /// Accepts: makes the response, which shows `voucher` (empty for none), and the session. Costs
    /// three scalar multiplications.
    ///
    /// # Errors
    /// `BadSignature` if the peer's keys are no usable points; `Oversized` if that is no voucher.
    pub fn answer(
        mut self,
        our_line: LineId,
        epoch: BootEpoch,
        capabilities: Capabilities,
        voucher: &[u8],
        now: Instant,
    ) -> Result<Answered, DropReason> {
        let payload = [
            our_line.0.as_slice(),
            &epoch.0.to_be_bytes(),
            &capabilities.0.to_be_bytes(),
            &self.serial.to_be_bytes(),
            &voucher_len(voucher)?,
            voucher,
        ]
        .concat();
        let len = MIN_RESPONSE_LEN + voucher.len();
        let mut body = Vec::with_capacity(len);
        body.push(RESPONSE);
        body.extend_from_slice(&self.opener.line.0);
        body.resize(len, 0);
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
