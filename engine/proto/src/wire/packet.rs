//! Packets with JSON: `[LENGTH u16][JSON object][BODY]`, decoded and understood (PROTOCOL §3.1, §3.2).
//!
//! Decoding borrows: keys and texts point into the datagram, and JSON escapes are undone where
//! they lie. What an attacker may send is bounded before the parser runs: at most [`MAX_JSON`]
//! bytes, [`MAX_DEPTH`] levels, [`MAX_KEYS`] keys, no key twice.
//!
//! Understanding is a look at which keys are present, in the order of the switch's notes;
//! unknown keys are ignored and keys that begin with `_` are the application's. It says what is
//! to be done and does none of it.

use simd_json::{Node, StaticNode};

use crate::base::DropReason;

/// Most bytes of JSON in a packet. Below 4,096, so that the first byte of a packet inside a line
/// tells JSON (0x00 to 0x0f) from the compact kinds (0x10 and up).
pub const MAX_JSON: usize = 1_400;
/// Most levels of objects and arrays.
pub const MAX_DEPTH: usize = 8;
/// Most keys at the top.
pub const MAX_KEYS: usize = 64;

/// A value, as far as the switch looks into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A number without sign or fraction.
    Number(u64),
    /// A text.
    Text(&'a str),
    /// True or false.
    Flag(bool),
    /// An array, to be read by [`Packet::pairs`].
    List(List),
    /// Anything else: a fraction, a negative number, null, an object.
    Other,
}

/// Where an array lies in a decoded packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List {
    at: usize,
    nodes: usize,
}

/// A decoded packet.
#[derive(Clone, PartialEq, Debug)]
pub struct Packet<'a> {
    keys: Vec<(&'a str, Value<'a>)>,
    nodes: Vec<Node<'a>>,
    /// What follows the JSON.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Decodes `[LENGTH][JSON][BODY]`. The JSON is changed in place where it has escapes.
    ///
    /// # Errors
    /// [`DropReason::Truncated`], [`DropReason::Oversized`], [`DropReason::BadJson`].
    pub fn decode(datagram: &'a mut [u8]) -> Result<Self, DropReason> {
        let (length, rest) = datagram.split_first_chunk_mut::<2>().ok_or(DropReason::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_JSON {
            return Err(DropReason::Oversized);
        }
        let (json, body) = rest.split_at_mut_checked(length).ok_or(DropReason::Truncated)?;
        check_shape(json)?;
        let tape = simd_json::to_tape(json).map_err(|_| DropReason::BadJson)?;
        Ok(Self { keys: top_level(&tape.0)?, nodes: tape.0, body })
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.keys.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    /// The number at a key.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    /// The text at a key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(t) => Some(t),
            _ => None,
        }
    }

    /// The number at a key of a packet whose form demands one of this size.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if it is missing, something else, or too large.
    pub fn need<N: TryFrom<u64>>(&self, key: &str) -> Result<N, DropReason> {
        let number = self.number(key).and_then(|n| N::try_from(n).ok());
        number.ok_or(DropReason::Malformed)
    }

    /// The flag at a key; false where it is missing.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] if it is something else.
    pub fn flag(&self, key: &str) -> Result<bool, DropReason> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Flag(flag)) => Ok(flag),
            Some(_) => Err(DropReason::Malformed),
        }
    }

    /// The array at a key, if it holds nothing but texts.
    pub fn texts(&self, key: &str) -> Option<impl Iterator<Item = &'a str> + '_> {
        let Value::List(List { at, nodes }) = self.get(key)? else { return None };
        let nodes = self.nodes.get(at..at.checked_add(nodes)?)?;
        let text = |node: &Node<'a>| match *node {
            Node::String(text) => Some(text),
            _ => None,
        };
        nodes.iter().all(|n| text(n).is_some()).then(|| nodes.iter().filter_map(text))
    }

    /// The array at a key, if it holds nothing but pairs of numbers.
    #[must_use]
    pub fn pairs(&self, key: &str) -> Option<Pairs<'_>> {
        let Value::List(List { at, nodes }) = self.get(key)? else { return None };
        let pairs = Pairs(self.nodes.get(at..at.checked_add(nodes)?)?);
        let mut rest = pairs;
        while let Some((_, behind)) = rest.split_first() {
            rest = behind;
        }
        rest.0.is_empty().then_some(pairs)
    }

    /// The application's own keys, those that begin with `_`.
    pub fn app_keys(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + '_ {
        self.keys.iter().copied().filter(|(k, _)| k.starts_with('_'))
    }

    /// What the keys ask for.
    #[must_use]
    pub fn action(&self, place: Place) -> Action {
        understand(|key| self.get(key).is_some(), place)
    }
}

/// An array of pairs of numbers, where it was decoded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pairs<'p>(&'p [Node<'p>]);

impl Pairs<'_> {
    /// The first pair and what follows it.
    #[must_use]
    pub fn split_first(self) -> Option<((u64, u64), Self)> {
        let [Node::Array { len: 2, .. }, a, b, rest @ ..] = self.0 else { return None };
        Some(((number(a)?, number(b)?), Self(rest)))
    }
}

const fn number(node: &Node<'_>) -> Option<u64> {
    match *node {
        Node::Static(StaticNode::U64(n)) => Some(n),
        Node::Static(StaticNode::I64(n)) if n >= 0 => Some(n.unsigned_abs()),
        _ => None,
    }
}

/// Refuses what no honest packet needs, without recursion and before the parser allocates.
fn check_shape(json: &[u8]) -> Result<(), DropReason> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for &c in json {
        match (in_text, c) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.checked_sub(1).ok_or(DropReason::BadJson)?,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(DropReason::BadJson);
        }
    }
    Ok(())
}

fn top_level<'a>(tape: &[Node<'a>]) -> Result<Vec<(&'a str, Value<'a>)>, DropReason> {
    let (first, mut rest) = tape.split_first().ok_or(DropReason::BadJson)?;
    let &Node::Object { len, .. } = first else { return Err(DropReason::BadJson) };
    if len > MAX_KEYS {
        return Err(DropReason::BadJson);
    }
    let mut keys = Vec::with_capacity(len);
    while let [Node::String(key), value, ..] = rest {
        let at = tape.len() - rest.len() + 2;
        let (value, used) = match *value {
            Node::String(text) => (Value::Text(text), 0),
            Node::Static(StaticNode::Bool(flag)) => (Value::Flag(flag), 0),
            Node::Static(_) => (number(value).map_or(Value::Other, Value::Number), 0),
            Node::Array { count, .. } => (Value::List(List { at, nodes: count }), count),
            Node::Object { count, .. } => (Value::Other, count),
        };
        if keys.iter().any(|(k, _)| k == key) {
            return Err(DropReason::BadJson);
        }
        keys.push((*key, value));
        rest = rest.get(2 + used..).ok_or(DropReason::BadJson)?;
    }
    Ok(keys)
}

/// Where a packet arrived.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// Outside any line.
    Outside,
    /// Inside a line.
    Line,
    /// Inside a stream of a line.
    Stream,
}

/// What a packet asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// An answer to a key look-up.
    Key,
    /// Somebody opens a line.
    Open,
    /// A packet of a line, to be looked up.
    Line,
    /// The same, sealed: what the BODY opens to replaces the packet.
    Sline,
    /// A question for the key of a hashname.
    Op,
    /// Somebody looks for hashnames near a hash.
    Seek,
    /// The answer to a seek.
    See,
    /// A request to let somebody in through a NAT.
    Pop,
    /// Somebody wants to be let in.
    Popping,
    /// Somebody has been let in.
    Popped,
    /// A request to carry a line's packets to somebody.
    Bridge,
    /// Somebody asks to have a line's packets carried.
    Bridging,
    /// They are carried from now on, or are not.
    Bridged,
    /// Part of a stream.
    Stream,
    /// A stream that asks for a socket.
    Sock,
    /// A stream that is an HTTP request.
    Req,
    /// A request to answer with the same token.
    Ping,
    /// The answer to one.
    Pong,
    /// Part of a message.
    Message,
    /// The peer ends the line.
    Close,
    /// A request to answer the way it came.
    Try,
    /// The answer to one.
    Tried,
    /// A message came back.
    Returned,
    /// Nothing the switch knows: the callback of the place, or dropped.
    Unhandled,
}

/// The order of the notes, and behind it what they do not know: the first key present decides,
/// among those that mean something in this place. `sock` and `req` refine a stream and mean
/// nothing without one.
#[must_use]
pub fn understand(has: impl Fn(&str) -> bool, place: Place) -> Action {
    const OUTSIDE: &[(&str, Action)] = &[
        ("key", Action::Key),
        ("op", Action::Op),
        ("open", Action::Open),
        ("line", Action::Line),
        ("sline", Action::Sline),
        ("seek", Action::Seek),
    ];
    const IN_LINE: &[(&str, Action)] = &[
        ("key", Action::Key),
        ("op", Action::Op),
        ("seek", Action::Seek),
        ("see", Action::See),
        ("pop", Action::Pop),
        ("popping", Action::Popping),
        ("popped", Action::Popped),
        ("bridge", Action::Bridge),
        ("bridging", Action::Bridging),
        ("bridged", Action::Bridged),
        ("stream", Action::Stream),
        ("ping", Action::Ping),
        ("pong", Action::Pong),
        ("message", Action::Message),
        ("close", Action::Close),
        ("try", Action::Try),
        ("tried", Action::Tried),
        ("returned", Action::Returned),
    ];
    const IN_STREAM: &[(&str, Action)] = &[("sock", Action::Sock), ("req", Action::Req)];
    let order = match place {
        Place::Outside => OUTSIDE,
        Place::Line => IN_LINE,
        Place::Stream => IN_STREAM,
    };
    order.iter().find(|(key, _)| has(key)).map_or(Action::Unhandled, |(_, a)| *a)
}

/// Writes a packet: LENGTH, the JSON text, and leaves the BODY to the caller. The caller's text
/// must be an object; it is not checked.
///
/// # Errors
/// [`DropReason::Oversized`] if the text is longer than [`MAX_JSON`].
pub fn emit(json: &str, out: &mut impl bytes::BufMut) -> Result<(), DropReason> {
    let length = u16::try_from(json.len()).map_err(|_| DropReason::Oversized)?;
    if json.len() > MAX_JSON {
        return Err(DropReason::Oversized);
    }
    out.put_u16(length);
    out.put_slice(json.as_bytes());
    Ok(())
}

/// A text as JSON: in quotes, and what may not stand between them escaped.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Bytes in hex, as ids stand in JSON.
#[must_use]
pub fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

/// An id from its 32 hex digits.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; 16]> {
    // The number parser would take a sign for a digit.
    let plain = text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| plain).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(json: &str, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&u16::try_from(json.len()).unwrap().to_be_bytes());
        out.extend_from_slice(json.as_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn s1_json_and_body_come_apart_without_a_copy() {
        let mut raw = packet(r#"{"open":1,"_app":"é\n","x":[1,{"y":2}],"z":-1}"#, b"BODY");
        let range = raw.as_ptr_range();
        let p = Packet::decode(&mut raw).unwrap();
        assert_eq!((p.number("open"), p.body), (Some(1), b"BODY".as_slice()));
        assert_eq!(p.app_keys().collect::<Vec<_>>(), [("_app", Value::Text("é\n"))]);
        assert!(matches!(p.get("x"), Some(Value::List(_))));
        assert_eq!((p.get("z"), p.pairs("x")), (Some(Value::Other), None));
        assert!(range.contains(&p.body.as_ptr()));
        assert!(range.contains(&p.text("_app").unwrap().as_ptr()));
    }

    #[test]
    fn s1_malformed_packets_are_refused_with_their_reason() {
        let cases: [(Vec<u8>, DropReason); 10] = [
            (vec![], DropReason::Truncated),
            (vec![0], DropReason::Truncated),
            (vec![0, 5, b'{'], DropReason::Truncated),
            (packet(&"x".repeat(1_401), b""), DropReason::Oversized),
            (packet("", b""), DropReason::BadJson),
            (packet("[1]", b""), DropReason::BadJson),
            (packet(r#"{"a":1"#, b""), DropReason::BadJson),
            (packet(r#"{"a":1,"a":2}"#, b""), DropReason::BadJson),
            (
                packet(&format!("{}{}", "{\"a\":".repeat(9), "}".repeat(9)), b""),
                DropReason::BadJson,
            ),
            (packet("{\"a\":\"\\ud800\"}x", b""), DropReason::BadJson),
        ];
        for (mut raw, reason) in cases {
            assert_eq!(Packet::decode(&mut raw.clone()).err(), Some(reason), "{raw:?}");
            raw.truncate(raw.len().saturating_sub(1));
            assert!(Packet::decode(&mut raw).is_err());
        }
        let keys: Vec<String> = (0..65).map(|i| format!("\"k{i}\":1")).collect();
        let mut many = packet(&format!("{{{}}}", keys.join(",")), b"");
        assert_eq!(Packet::decode(&mut many).err(), Some(DropReason::BadJson));
    }

    #[test]
    fn s2_each_key_alone_triggers_its_action_in_its_place() {
        use Action as A;
        let table = [
            ("key", [A::Key, A::Key, A::Unhandled]),
            ("open", [A::Open, A::Unhandled, A::Unhandled]),
            ("line", [A::Line, A::Unhandled, A::Unhandled]),
            ("sline", [A::Sline, A::Unhandled, A::Unhandled]),
            ("seek", [A::Seek, A::Seek, A::Unhandled]),
            ("op", [A::Op, A::Op, A::Unhandled]),
            ("see", [A::Unhandled, A::See, A::Unhandled]),
            ("pop", [A::Unhandled, A::Pop, A::Unhandled]),
            ("popping", [A::Unhandled, A::Popping, A::Unhandled]),
            ("popped", [A::Unhandled, A::Popped, A::Unhandled]),
            ("bridge", [A::Unhandled, A::Bridge, A::Unhandled]),
            ("bridging", [A::Unhandled, A::Bridging, A::Unhandled]),
            ("bridged", [A::Unhandled, A::Bridged, A::Unhandled]),
            ("try", [A::Unhandled, A::Try, A::Unhandled]),
            ("tried", [A::Unhandled, A::Tried, A::Unhandled]),
            ("stream", [A::Unhandled, A::Stream, A::Unhandled]),
            ("sock", [A::Unhandled, A::Unhandled, A::Sock]),
            ("req", [A::Unhandled, A::Unhandled, A::Req]),
            ("ping", [A::Unhandled, A::Ping, A::Unhandled]),
            ("pong", [A::Unhandled, A::Pong, A::Unhandled]),
            ("message", [A::Unhandled, A::Message, A::Unhandled]),
            ("close", [A::Unhandled, A::Close, A::Unhandled]),
            ("_app", [A::Unhandled, A::Unhandled, A::Unhandled]),
            ("whatever", [A::Unhandled, A::Unhandled, A::Unhandled]),
        ];
        for (key, expected) in table {
            for (place, action) in
                [Place::Outside, Place::Line, Place::Stream].into_iter().zip(expected)
            {
                assert_eq!(understand(|k| k == key, place), action, "{key} {place:?}");
            }
        }
    }

    #[test]
    fn s2_of_several_keys_the_first_of_the_notes_decides() {
        let order = ["key", "open", "line", "sline", "seek"];
        for (i, first) in order.iter().enumerate() {
            for mask in 0..1u32 << (order.len() - i - 1) {
                let has = |k: &str| {
                    k == *first
                        || order
                            .iter()
                            .skip(i + 1)
                            .enumerate()
                            .any(|(n, o)| mask & (1 << n) != 0 && *o == k)
                };
                assert_eq!(
                    understand(has, Place::Outside),
                    understand(|k| k == *first, Place::Outside)
                );
            }
        }
        let both = |k: &str| k == "stream" || k == "pop";
        assert_eq!(understand(both, Place::Line), Action::Pop);
    }

    #[test]
    fn s1_arrays_of_pairs_are_read_and_others_are_not() {
        type Read = Option<&'static [(u64, u64)]>;
        let cases: [(&str, Read); 12] = [
            ("[]", Some(&[])),
            ("[[1,2]]", Some(&[(1, 2)])),
            ("[[1,2],[3,18446744073709551615]]", Some(&[(1, 2), (3, u64::MAX)])),
            ("[1,2]", None),
            ("[[1,2],3]", None),
            ("[[1,2,3]]", None),
            ("[[1]]", None),
            ("[[1,[2]]]", None),
            ("[[1,-2]]", None),
            ("[[1,2.0]]", None),
            ("[{\"a\":1}]", None),
            ("7", None),
        ];
        for (list, expected) in cases {
            let mut raw = packet(&format!(r#"{{"a":[[9]],"l":{list},"z":[[8,8]],"t":true}}"#), b"");
            let p = Packet::decode(&mut raw).unwrap();
            let read = p.pairs("l").map(|mut rest| {
                let mut pairs = Vec::new();
                while let Some((pair, behind)) = rest.split_first() {
                    pairs.push(pair);
                    rest = behind;
                }
                pairs
            });
            assert_eq!(read.as_deref(), expected, "{list}");
            assert_eq!((p.pairs("nothing"), p.get("t")), (None, Some(Value::Flag(true))));
            assert_eq!(p.pairs("z").and_then(Pairs::split_first).map(|(z, _)| z), Some((8, 8)));
        }
    }

    #[test]
    fn s1_ids_are_32_digits_and_nothing_else() {
        assert_eq!(from_hex(&hex(&[0xa; 16])), Some([0xa; 16]));
        assert_eq!(from_hex(&"AB".repeat(16)), Some([0xab; 16]));
        for text in [String::new(), "a".repeat(31), "a".repeat(33), format!("+{}", "a".repeat(31))]
        {
            assert_eq!(from_hex(&text), None, "{text}");
        }
    }

    #[test]
    fn s1_golden_open() {
        let mut out = Vec::new();
        emit(r#"{"open":1}"#, &mut out).unwrap();
        assert_eq!(out, b"\x00\x0a{\"open\":1}");
        assert_eq!(emit(&"x".repeat(1_401), &mut out), Err(DropReason::Oversized));
    }

    proptest! {
        #[test]
        fn s1_any_bytes_decode_or_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..1_600)) {
            let _ = Packet::decode(&mut bytes);
        }

        #[test]
        fn s1_anything_json_like_decodes_or_is_refused(json in r#"[\[\]{}",:0-9a-z\\\.\-_ ]{0,200}"#) {
            let _ = Packet::decode(&mut packet(&json, b"b"));
        }

        #[test]
        fn s1_quoted_texts_read_back(text in any::<String>()) {
            let json = format!("{{\"t\":{}}}", quoted(&text));
            prop_assume!(json.len() <= MAX_JSON);
            let mut raw = packet(&json, b"");
            let p = Packet::decode(&mut raw).unwrap();
            prop_assert_eq!(p.text("t"), Some(text.as_str()));
        }

        #[test]
        fn s1_written_packets_read_back(n in any::<u64>(), text in "[a-z0-9 ]{0,40}", body in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut raw = packet(&format!("{{\"n\":{n},\"t\":\"{text}\"}}"), &body);
            let p = Packet::decode(&mut raw).unwrap();
            prop_assert_eq!(p.number("n"), Some(n));
            prop_assert_eq!(p.text("t"), Some(text.as_str()));
            prop_assert_eq!(p.body, body.as_slice());
        }
    }
}
