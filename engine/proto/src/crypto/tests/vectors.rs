//! The values printed in docs/PROTOCOL.md and docs/vectors/open.txt are what this code does.

use core::fmt::Write;

use aws_lc_rs::agreement::{PrivateKey, X25519};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::{LIFE, NOW, alice, bob};
use crate::base::{BootEpoch, Chance, Hashname, Instant, LineId, Space};
use crate::crypto::{
    Capabilities, Cookies, Flags, Initiation, KeyRecord, Knock, LineIds, Opener, PendingOpen,
    Purpose, Session, SessionKeys, cookie, record, voucher,
};

const PROTOCOL: &str = include_str!("../../../../../docs/PROTOCOL.md");
const OPEN: &str = include_str!("../../../../../docs/vectors/open.txt");

/// What a document should say, compared at the end so that a failure shows all of it.
struct Sheet {
    text: &'static str,
    lines: String,
}

impl Sheet {
    const fn of(text: &'static str) -> Self {
        Self { text, lines: String::new() }
    }

    fn says(&mut self, name: &str, value: &[u8]) {
        write!(self.lines, "{name} =").unwrap();
        for (i, byte) in value.iter().enumerate() {
            let gap = if i % 48 == 0 { if value.len() > 48 { "\n    " } else { " " } } else { "" };
            write!(self.lines, "{gap}{byte:02x}").unwrap();
        }
        self.lines.push('\n');
    }

    /// Every line, or block of lines, stands in the document.
    fn check(self) {
        let mut vectors = Vec::<String>::new();
        for line in self.lines.lines() {
            match line.strip_prefix("    ") {
                Some(_) => write!(vectors.last_mut().unwrap(), "\n{line}").unwrap(),
                None => vectors.push(String::from(line)),
            }
        }
        let stands = |v: &String| self.text.contains(&format!("\n{v}\n"));
        assert!(!vectors.is_empty() && vectors.iter().all(stands), "\n{}", self.lines);
    }
}

#[test]
fn b8_the_printed_values_are_what_this_code_does() {
    let mut sheet = Sheet::of(PROTOCOL);
    let spki = record::spki(&[0xff; 256]);
    sheet.says("spki head", &spki[..spki.len() - 256 - 5]);
    let hashname = record::hashname_of(&[0xff; 256], &Space::new("home").unwrap());
    sheet.says("hashname", hashname.as_bytes());

    let secret: [u8; 32] = core::array::from_fn(|i| i as u8);
    let seed: [u8; 32] = core::array::from_fn(|i| i as u8 + 32);
    let line = PrivateKey::from_private_key(&X25519, &secret).unwrap();
    sheet.says("line key", line.compute_public_key().unwrap().as_ref());
    let signing = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    sheet.says("signing key", signing.public_key().as_ref());
    sheet.says("signature", signing.sign(&Purpose::Voucher.bind(b"hello")).as_ref());

    // The operator is the hashname above with that signing key.
    let keys = (&[0; 32], signing.public_key().as_ref().try_into().unwrap());
    let mut operator = record::unsigned(&Space::new("home").unwrap(), &[0xff; 256], keys, 1, NOW);
    operator.extend_from_slice(&[0; 256]);
    let operator = KeyRecord::parse(&operator).unwrap().trusted();
    let subject = Hashname::new([0x5a; 32]);
    let said = [&[1, 5], &NOW.as_secs().to_be_bytes()[..], &hashname.as_bytes()[..16]].concat();
    let message = [said.as_slice(), subject.as_bytes()].concat();
    let signature = signing.sign(&Purpose::Voucher.bind(&message));
    let shown = [said.as_slice(), signature.as_ref()].concat();
    assert_eq!(voucher::parse(&shown).unwrap().verify(&subject, &operator, NOW), Ok(()));
    sheet.says("voucher", &shown);

    let line_key = [0x11; 32];
    let mut body = b"initiation".to_vec();
    cookie::close(&line_key, &mut body);
    let mac1: [u8; 16] = body[10..26].try_into().unwrap();
    sheet.says("mac1", &mac1);
    let secret_of_cookies = hmac::Key::new(hmac::HMAC_SHA256, &[0x22; 32]);
    let mut value = cookie::mac(&secret_of_cookies, &[b"192.0.2.7"]);
    sheet.says("cookie", &value);
    let tag = cookie::seal(&line_key, &[0x33; 16], &mac1, &mut value).unwrap();
    let sealed = [value.as_slice(), &tag].concat();
    sheet.says("sealed cookie", &sealed);
    let packet = [[3; 17].as_slice(), &[0x33; 16], &sealed].concat();
    cookie::put_in(&line_key, &packet, &mut body).unwrap();
    sheet.says("mac2", &body[26..]);

    let mut session =
        Session::new(&SessionKeys::new([secret, [0; 32]]), true, Instant::ZERO).unwrap();
    session.seal_in_place(b"", &mut []).unwrap();
    let mut text = *b"something to say";
    let (counter, tag) = session.seal_in_place(b"head", &mut text).unwrap();
    assert_eq!(counter, 1);
    sheet.says("sealed", &[text, tag].concat());
    sheet.says("line id", &LineIds::new([7; 16]).mint(1, 2, 3).0);
    sheet.check();
}

#[test]
fn b8_the_printed_handshake_is_what_this_code_does() {
    let mut sheet = Sheet::of(OPEN);
    let mut draw = Chance::from_number(1);
    let mut answer = Chance::from_number(2);
    sheet.says("opener's line secret", alice().line_secret());
    sheet.says("opener's ephemeral secret", &draw.clone().bytes::<32>());
    sheet.says("opener's record", alice().record().encoded());
    sheet.says("answerer's line secret", bob().line_secret());
    sheet.says("answerer's ephemeral secret", &answer.clone().bytes::<32>());
    sheet.says("answerer's record", bob().record().encoded());
    let opener = Opener {
        line: LineId([0xa1; 16]),
        epoch: BootEpoch(0x0102_0304_0506_0708),
        counter: 5,
        capabilities: Capabilities(3),
    };
    let flags = Flags::SPACER.with(Flags::PROXY);
    let shown = voucher::issue(bob(), &alice().hashname(), flags, NOW.after(LIFE));
    sheet.says("opener's voucher", &shown);
    let mut pending =
        PendingOpen::start(alice(), bob().record(), opener, &shown, &mut draw).unwrap();
    let body = pending.body().clone();
    sheet.says("initiation", &body);
    let knock = Knock::new(bob(), &body).unwrap();
    let initiation = Initiation::read(&knock, &mut answer).unwrap();
    let epoch = BootEpoch(0x1112_1314_1516_1718);
    let mut answered = initiation
        .prove(NOW, None)
        .and_then(|p| p.answer(LineId([0xb0; 16]), epoch, Capabilities(1), &[], Instant::ZERO))
        .unwrap();
    sheet.says("response", &answered.body);
    let mut cookies = Cookies::new(&mut Chance::from_number(3), Instant::ZERO);
    let packet = cookies.make(Instant::ZERO, &mut Chance::from_number(4), &knock, b"path").unwrap();
    sheet.says("cookie packet", &packet);
    pending.take_cookie(&packet).unwrap();
    sheet.says("mac2 of the repetition", pending.body().last_chunk::<16>().unwrap());
    let mut established = pending.finish(&answered.body, Instant::ZERO).unwrap();
    for (name, session) in [
        ("opener's first packet", &mut established.session),
        ("answerer's first packet", &mut answered.session),
    ] {
        let mut text = *b"hello";
        let (_, tag) = session.seal_in_place(b"", &mut text).unwrap();
        sheet.says(name, &[text.as_slice(), &tag].concat());
    }
    sheet.check();
}
