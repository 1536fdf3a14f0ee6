//! A whole switch under datagrams from anywhere: nothing it was not asked for is sent, and
//! nothing larger than what came.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use trunkline_proto::base::{BootEpoch, Chance, Instant, Limits, Space, Wall};
use trunkline_proto::crypto::{Identity, LineIds};
use trunkline_proto::switch::{Effect, Setting, Switch};

fn identity() -> Arc<Identity> {
    static ONE: OnceLock<Arc<Identity>> = OnceLock::new();
    let make = || {
        let space = Space::new("fuzz").expect("a name");
        let mut chance = Chance::from_number(1);
        let life = Duration::from_secs(1 << 30);
        let made = Identity::generate(&space, 2_048, &mut chance, Wall::from_secs(0), life);
        Arc::new(made.expect("an identity"))
    };
    ONE.get_or_init(make).clone()
}

fuzz_target!(|data: &[u8]| {
    let setting = Setting {
        partition: 0,
        partitions: 1,
        identity: identity(),
        epoch: BootEpoch(1),
        limits: Arc::new(Limits::default()),
        ids: LineIds::new([1; 16]),
    };
    let mut switch = Switch::new(setting, Chance::from_number(2));
    let now = Instant::from_micros(1);
    let from = ([192, 0, 2, 1], 9).into();
    switch.datagram(now, Wall::from_secs(1), from, data.into());
    let mut sent = 0;
    while let Some(effect) = switch.poll() {
        if let Effect::Datagram { bytes, .. } = effect {
            sent += bytes.len();
        }
    }
    assert!(sent <= data.len(), "{sent} bytes for {}", data.len());
});
