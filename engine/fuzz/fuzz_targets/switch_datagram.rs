//! A whole switch under datagrams from anywhere: nothing it was not asked for is sent, and
//! nothing larger than what came.
#![no_main]

mod people;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, NOW};
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits};
use trunkline_proto::crypto::LineIds;
use trunkline_proto::switch::{Effect, Setting, Switch};

fuzz_target!(|data: &[u8]| {
    let setting = Setting {
        partition: 0,
        partitions: 1,
        identity: Arc::clone(&ALICE),
        epoch: BootEpoch(1),
        limits: Arc::new(Limits::default()),
        ids: LineIds::new([1; 16]),
    };
    let mut switch = Switch::new(setting, Chance::from_number(2));
    let now = Instant::from_micros(1);
    let from = ([192, 0, 2, 1], 9).into();
    switch.datagram(now, NOW, from, data.into());
    let mut sent = 0;
    while let Some(effect) = switch.poll() {
        if let Effect::Datagram { bytes, .. } = effect {
            sent += bytes.len();
        }
    }
    assert!(sent <= data.len(), "{sent} bytes for {}", data.len());
});
