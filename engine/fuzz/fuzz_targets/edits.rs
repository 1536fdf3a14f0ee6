//! Honest texts with the fuzzer's damage, for readers that no random bytes get far into.
#![allow(dead_code)] // each target uses its part

/// What the languages of our files are made of; letter by letter the fuzzer takes long to
/// find it.
#[rustfmt::skip]
const PIECES: [&str; 32] = [
    "\"", "\"\"\"", "'''", "\\", "[", "]", "[[", "]]", "{", "}", "=", "\r\n", "\n", "\t", "#",
    ".", ",", " ", "0", "-1", "0x", "1e9", "nan", "1979-05-27", "true", "é", "\u{feff}",
    "::ffff:", "/", "-----BEGIN ", "9999999", "99999999999999999999",
];

/// `text` after `edits`, three bytes each: where, and what to do there. A byte that can be read is
/// put over the one that is there, others stand for a piece to insert or a stretch to take out.
pub fn edited(text: &str, edits: &[u8]) -> String {
    let mut text = text.to_owned();
    for edit in edits.chunks_exact(3) {
        let mut at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % (text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        match edit[2] {
            piece @ 0..32 => text.insert_str(at, PIECES[usize::from(piece)]),
            letter @ 32..128 => {
                if text[at..].chars().next().is_some() {
                    text.remove(at);
                }
                text.insert(at, char::from(letter));
            }
            gone => {
                let mut end = (at + usize::from(gone - 127)).min(text.len());
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.drain(at..end.max(at));
            }
        }
    }
    text
}

/// The first byte of `data` decides between the rest as a text of its own and as edits of `honest`.
pub fn text_of(honest: &str, data: &[u8]) -> Option<String> {
    match data.split_first()? {
        (0, own) => Some(core::str::from_utf8(own).ok()?.to_owned()),
        (_, edits) => Some(edited(honest, edits)),
    }
}
