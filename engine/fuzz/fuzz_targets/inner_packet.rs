//! Packets inside a line, of every kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::inner::Inner;

fuzz_target!(|data: &[u8]| {
    let _ = Inner::parse(data);
});
