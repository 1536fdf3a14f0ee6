//! A key record as people hand it on, whole or damaged: it is the record that was written, or
//! none.
#![no_main]

mod edits;
mod people;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use people::{ALICE, ALICE_TEXT, NOW};
use trunkline::config::record;

static HONEST: LazyLock<String> = LazyLock::new(|| record::to_text(ALICE.record()));

fuzz_target!(|data: &[u8]| {
    let Some(text) = edits::text_of(&HONEST, data) else { return };
    if let Ok(read) = record::from_text(&text, NOW) {
        assert_eq!(&read, &**ALICE.record());
        assert_eq!(record::to_text(&read), *HONEST);
    }
    // A key file says whose secrets it holds, wherever it was cut.
    let cut = ALICE_TEXT.get(data.len() % ALICE_TEXT.len()..).unwrap_or_default();
    if cut.contains("PRIVATE KEY") {
        assert!(record::from_text(&format!("{text}{cut}"), NOW).is_err());
    }
});
