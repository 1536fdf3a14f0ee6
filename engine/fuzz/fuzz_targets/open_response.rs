//! Any answer is refused or read, and a refused one leaves the open as it was.
#![no_main]

mod people;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, BOB, OPENER, response};
use trunkline_proto::base::{Chance, Instant};
use trunkline_proto::crypto::{PendingOpen, voucher};

fuzz_target!(|data: &[u8]| {
    let mut chance = Chance::from_number(3);
    let mut pending = PendingOpen::start(&ALICE, BOB.record(), OPENER, &[], &mut chance).unwrap();
    let body = pending.body().clone();
    assert!(pending.finish(data, Instant::ZERO).is_err());
    assert!(pending.take_cookie(data).is_err());
    let addressed = [data.get(..1).unwrap_or(&[2]), &OPENER.line.0, data].concat();
    assert!(pending.finish(&addressed, Instant::ZERO).is_err());
    assert!(pending.take_cookie(&addressed).is_err());
    assert_eq!(pending.body(), &body);
    let mut payload: Vec<u8> = (0..37).map(|i| data.get(i).copied().unwrap_or(0)).collect();
    let voucher = data.get(37..).unwrap_or_default();
    let voucher = &voucher[..voucher.len().min(voucher::LEN)];
    payload[36] = voucher.len() as u8;
    payload.extend_from_slice(voucher);
    let established = pending.finish(&response(&body, &payload), Instant::ZERO).unwrap();
    assert_eq!(established.peer_line.0, payload[..16]);
    assert_eq!(established.voucher, voucher);
});
