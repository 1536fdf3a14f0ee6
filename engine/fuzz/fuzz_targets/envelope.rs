//! Envelopes: what decodes is written back as it was, and sequences and terms of packing with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_proto::wire::envelope::{ENVELOPE_MAX, Envelope};
use trunkline_proto::wire::sequence::{Builders, PackTerms, Sequence};

fuzz_target!(|data: &[u8]| {
    if let Ok((envelope, head)) = Envelope::parse(data) {
        assert!(head <= ENVELOPE_MAX);
        let mut written = Vec::new();
        envelope.emit(&mut written);
        assert_eq!(Some(&written[..]), data.get(..head));
        let named = envelope.namespace.as_str().parse();
        assert_eq!(named, Ok(envelope.namespace));
        assert_eq!(envelope.record.to_string().parse(), Ok(envelope.record));
    }
    let &[a, b, c, d, e, f, g, h, ref rest @ ..] = data else { return };
    let (preferred, least) = (Sequence([a, b, c, d]), Sequence([e, f, g, h]));
    if let Ok(sequence) = preferred.check() {
        assert_eq!(sequence.to_string().parse(), Ok(sequence));
        assert_eq!(sequence.letters().first(), Some(&b'M'));
        let last = sequence.letters().last();
        assert!(!sequence.is_sealed() || last == Some(&b'A'));
    }
    let builders = Builders(rest.first_chunk().map_or(0, |b| u32::from_be_bytes(*b)));
    if (PackTerms { builders, preferred, least }).is_sound() {
        assert!(builders.covers(preferred.builders()) && builders.covers(least.builders()));
        assert!(preferred.check().is_ok() && least.check().is_ok());
    }
});
