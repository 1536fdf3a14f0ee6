//! The hello of a link and the transcript its proof signs (PROTOCOL §6.2).

use bytes::{BufMut, Bytes};

use super::{Capabilities, Cost, Fields, LinkKind, NodeName, control_frame};
use crate::base::{BootEpoch, DropReason};

/// Who speaks on a link and on which terms. First frame of each side; proved by what follows.
///
/// ```text
/// 0         version, 1
/// 1  .. 3   heartbeat interval of the sender, milliseconds, at least 1
/// 3  .. 7   cost the sender puts on sending over this link, at least 1
/// 7  .. 11  capabilities
/// 11 .. 19  boot epoch
/// 19 .. 51  nonce
/// 51        length of the name, at most 32, then the name
///           length of the key record (2 bytes), then the record
///           length of the voucher (2 bytes, 0 for none), then the voucher
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// How often the sender is heard at least, so that the receiver knows when it is dead.
    pub heartbeat_ms: u16,
    /// What the sender will announce as the cost of this link.
    pub cost: Cost,
    /// What the sender can do.
    pub capabilities: Capabilities,
    /// Of the sender's run.
    pub epoch: BootEpoch,
    /// Fresh for this link, so that no proof fits twice.
    pub nonce: [u8; 32],
    /// The sender's name.
    pub name: NodeName,
    /// The sender's key record, encoded.
    pub record: &'a [u8],
    /// What admits the sender to a closed space, encoded; empty for none. Judged by the owner of
    /// the link before it takes the link into the mesh.
    pub voucher: &'a [u8],
}

impl<'a> Hello<'a> {
    /// The version this node speaks.
    pub const VERSION: u8 = 1;

    /// Reads a hello's body.
    ///
    /// # Errors
    /// `UnknownKind` for another version, else `Truncated` or `Malformed`.
    pub fn parse(body: &'a [u8]) -> Result<Self, DropReason> {
        let mut fields = Fields::new(body);
        if fields.u8()? != Self::VERSION {
            return Err(DropReason::UnknownKind);
        }
        let heartbeat_ms = fields.u16()?;
        let cost = Cost::new(fields.u32()?);
        let capabilities = Capabilities(fields.u32()?);
        let epoch = BootEpoch(fields.u64()?);
        let nonce = fields.array()?;
        let name_len = usize::from(fields.u8()?);
        let name = NodeName::new(fields.take(name_len)?);
        let record_len = usize::from(fields.u16()?);
        let record = fields.take(record_len)?;
        let voucher_len = usize::from(fields.u16()?);
        let voucher = fields.take(voucher_len)?;
        fields.end()?;
        let (Some(cost), Some(name), 1..) = (cost, name, heartbeat_ms) else {
            return Err(DropReason::Malformed);
        };
        Ok(Self { heartbeat_ms, cost, capabilities, epoch, nonce, name, record, voucher })
    }

    /// The whole frame.
    ///
    /// # Errors
    /// `Oversized` if record and voucher do not fit a control frame.
    pub fn frame(&self) -> Result<Bytes, DropReason> {
        let mut body = Vec::with_capacity(128 + self.record.len() + self.voucher.len());
        body.put_u8(Self::VERSION);
        body.put_u16(self.heartbeat_ms);
        body.put_u32(self.cost.get());
        body.put_u32(self.capabilities.0);
        body.put_u64(self.epoch.0);
        body.put_slice(&self.nonce);
        let name = self.name.as_bytes();
        body.put_u8(u8::try_from(name.len()).map_err(|_| DropReason::Oversized)?);
        body.put_slice(name);
        for part in [self.record, self.voucher] {
            body.put_u16(u16::try_from(part.len()).map_err(|_| DropReason::Oversized)?);
            body.put_slice(part);
        }
        control_frame(LinkKind::Hello, &body)
    }
}

/// The first bytes of every transcript.
pub const TRANSCRIPT_LABEL: &[u8; 22] = b"trunkline link proof 1";

/// What a proof signs: both hellos whole, which of the two sides signs, and the TLS session
/// underneath, so that a proof is worth nothing on another link, from the other side, or after
/// anybody touched a hello.
///
/// ```text
/// 0  .. 22   "trunkline link proof 1"
/// 22         side that signs: 0 dialed, 1 accepted
/// 23         transport: 0 plain, 1 TLS
/// 24 .. 56   TLS exporter binding, zeros on plain
/// 56 .. 88   SHA-256 of the dialer's hello body
/// 88 .. 120  SHA-256 of the acceptor's hello body
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transcript {
    /// The TLS binding, if TLS is underneath.
    pub binding: Option<[u8; 32]>,
    /// SHA-256 of the body of the dialing side's hello.
    pub dialer_hello: [u8; 32],
    /// SHA-256 of the body of the accepting side's hello.
    pub acceptor_hello: [u8; 32],
}

impl Transcript {
    /// Bytes of a transcript.
    pub const LEN: usize = 120;

    /// The bytes that one side signs.
    #[must_use]
    pub fn bytes(&self, by_dialer: bool) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let mut rest = &mut out[..];
        rest.put_slice(TRANSCRIPT_LABEL);
        rest.put_u8(u8::from(!by_dialer));
        rest.put_u8(u8::from(self.binding.is_some()));
        rest.put_slice(&self.binding.unwrap_or_default());
        rest.put_slice(&self.dialer_hello);
        rest.put_slice(&self.acceptor_hello);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello<'a>(record: &'a [u8], voucher: &'a [u8]) -> Hello<'a> {
        Hello {
            heartbeat_ms: 250,
            cost: Cost::new(10).unwrap(),
            capabilities: Capabilities(3),
            epoch: BootEpoch(7),
            nonce: [9; 32],
            name: NodeName::new(b"core").unwrap(),
            record,
            voucher,
        }
    }

    #[test]
    fn n17_a_hello_reads_back() {
        for (record, voucher) in [(&[1; 1_200][..], &[2; 300][..]), (&[], &[])] {
            let h = hello(record, voucher);
            assert_eq!(Hello::parse(&h.frame().unwrap()[4..]), Ok(h));
        }
        assert_eq!(hello(&[0; 4_050], &[]).frame(), Err(DropReason::Oversized));
    }

    #[test]
    fn n17_a_hello_cut_anywhere_or_continued_is_refused() {
        let frame = hello(&[1; 40], &[2; 9]).frame().unwrap();
        let body = &frame[4..];
        for cut in 0..body.len() {
            assert!(Hello::parse(&body[..cut]).is_err(), "{cut}");
        }
        let longer = [body, &[0]].concat();
        assert_eq!(Hello::parse(&longer), Err(DropReason::Malformed));
    }

    #[test]
    fn n17_values_out_of_range_are_refused() {
        let body = hello(&[1; 4], &[]).frame().unwrap()[4..].to_vec();
        let with = |at: usize, bytes: &[u8]| {
            let mut b = body.clone();
            b[at..at + bytes.len()].copy_from_slice(bytes);
            Hello::parse(&b).map(|_| ())
        };
        assert_eq!(with(0, &[2]), Err(DropReason::UnknownKind));
        assert_eq!(with(1, &[0, 0]), Err(DropReason::Malformed), "no heartbeat");
        assert_eq!(with(3, &[0; 4]), Err(DropReason::Malformed), "no cost");
        assert_eq!(with(52, b"\x1b"), Err(DropReason::Malformed), "a name with an escape");
    }

    #[test]
    fn n17_no_two_sides_or_transports_sign_the_same() {
        let t = Transcript { binding: None, dialer_hello: [1; 32], acceptor_hello: [2; 32] };
        let tls = Transcript { binding: Some([0; 32]), ..t };
        let all = [t.bytes(true), t.bytes(false), tls.bytes(true), tls.bytes(false)];
        for (i, a) in all.iter().enumerate() {
            assert!(a.starts_with(TRANSCRIPT_LABEL));
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
