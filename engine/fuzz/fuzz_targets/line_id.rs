//! A line id resolves to the place it was minted for, or to none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::base::LineId;
use trunkline_proto::crypto::LineIds;

fuzz_target!(|data: ([u8; 16], [u8; 16], (u16, u32, u32))| {
    let (secret, guess, (shard, slot, generation)) = data;
    let ids = LineIds::new(secret);
    assert_eq!(ids.resolve(ids.mint(shard, slot, generation)), Some((shard, slot, generation)));
    if let Some((shard, slot, generation)) = ids.resolve(LineId(guess)) {
        assert_eq!(ids.mint(shard, slot, generation), LineId(guess));
    }
});
