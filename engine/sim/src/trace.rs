//! What happened, as a number and as the last lines of a story.
//!
//! Every event is mixed into one hash: two runs of a seed must end with the same. The newest
//! events are kept as values and put into words only when somebody reads them.

use core::fmt;
use std::collections::VecDeque;

use trunkline_proto::base::{Instant, LinkId};

/// How many lines in words, and how many packets, the tail keeps.
const TAIL: (usize, usize) = (100, 30);

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A datagram reached a node; from nobody if it was forged.
    Datagram { from: Option<usize>, to: usize, bytes: usize, digest: u64 },
    /// Bytes of a link reached a node.
    Segment { to: usize, link: LinkId, bytes: usize, digest: u64 },
    /// A fault, an application's act, an answer: in words, because these are few.
    Said { node: Option<usize>, text: String },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagram { from: Some(from), to, bytes, .. } => {
                write!(f, "n{from} > n{to}  datagram, {bytes} bytes")
            }
            Self::Datagram { from: None, to, bytes, .. } => {
                write!(f, "?? > n{to}  forged datagram, {bytes} bytes")
            }
            Self::Segment { to, link, bytes, .. } => {
                write!(f, "     n{to}  link {} brings {bytes} bytes", link.0)
            }
            Self::Said { node: Some(node), text } => write!(f, "n{node}  {text}"),
            Self::Said { node: None, text } => write!(f, "--  {text}"),
        }
    }
}

/// The story of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    datagrams: u64,
    segments: u64,
    said: VecDeque<(Instant, Note)>,
    packets: VecDeque<(Instant, Note)>,
    /// Everything said is kept, for whoever wants to read along.
    verbose: bool,
    story: Vec<(Instant, Note)>,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    /// Notes an event.
    pub(crate) fn note(&mut self, now: Instant, note: Note) {
        self.events += 1;
        let words = match &note {
            Note::Datagram { from, to, bytes, digest } => {
                self.datagrams += 1;
                [from.map_or(99, |n| n as u64), *to as u64, *bytes as u64, *digest]
            }
            Note::Segment { to, link, bytes, digest } => {
                self.segments += 1;
                [*to as u64, u64::from(link.0), *bytes as u64, *digest]
            }
            Note::Said { node, text } => {
                [node.map_or(99, |n| n as u64), text.len() as u64, digest(text.as_bytes()), 7]
            }
        };
        self.hash = mix(self.hash, now.as_micros());
        self.hash = words.into_iter().fold(self.hash, mix);
        if self.verbose && matches!(note, Note::Said { .. }) {
            self.story.push((now, note.clone()));
        }
        let (tail, most) = match note {
            Note::Said { .. } => (&mut self.said, TAIL.0),
            _ => (&mut self.packets, TAIL.1),
        };
        if tail.len() >= most {
            tail.pop_front();
        }
        tail.push_back((now, note));
    }

    /// Notes something in words.
    pub(crate) fn say(&mut self, now: Instant, node: impl Into<Option<usize>>, text: String) {
        self.note(now, Note::Said { node: node.into(), text });
    }

    /// The number that two runs of one seed have in common.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Events noted, datagrams and segments delivered.
    pub(crate) const fn counts(&self) -> (u64, u64, u64) {
        (self.events, self.datagrams, self.segments)
    }

    /// The last lines: what was said, and the newest packets.
    pub(crate) fn tail(&self) -> Vec<String> {
        let mut both: Vec<_> = self.said.iter().chain(&self.packets).collect();
        both.sort_by_key(|(at, _)| *at);
        both.into_iter().map(line).collect()
    }

    /// All that was said, if it was kept.
    pub(crate) fn story(&self) -> Vec<String> {
        self.story.iter().map(line).collect()
    }
}

fn line((at, note): &(Instant, Note)) -> String {
    format!("{at:?}  {note}")
}

/// A number for some bytes: different bytes, different number, with all but certainty.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.first_chunk().map_or(0, |c| u64::from_le_bytes(*c));
        hash = mix(hash, word);
    }
    chunks.remainder().iter().fold(hash, |h, b| mix(h, u64::from(*b)))
}

/// One step of the hash: multiply, rotate, add.
const fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_add(word)
}
