//! `hops`, `no-way-back` and `no-loop`: packages as they go from link to link.
//!
//! A package is known by its bytes without the time to live. What a forger put on a link is
//! known too, so that nobody is blamed for passing it on.

use bytes::Bytes;
use trunkline_proto::base::{Address, Chance, Instant, Keyed, LinkId, Map};
use trunkline_proto::wire::package::{Content, Header};

use crate::trace::digest;

/// How a package came to a node.
#[derive(Clone, Copy)]
struct Came {
    /// The most hops it had left.
    ttl: u8,
    /// The link it came by.
    by: LinkId,
    /// A forger brought it too, so that it may come by any link.
    forged: bool,
}

/// All packages seen on links.
pub(crate) struct Packages {
    addresses: Vec<Address>,
    ttl: u8,
    came: Map<(usize, u64), Came>,
    /// What nodes sent on since routes have settled.
    passed: Map<(usize, u64), ()>,
    settled: Instant,
    /// The world's time, kept here because those who write frames do not know it.
    pub(crate) now: Instant,
    /// Frames written that were packages.
    pub(crate) count: u64,
    /// What is wrong, and by which check.
    pub(crate) found: Option<(&'static str, String)>,
}

impl Packages {
    pub(crate) fn new(
        addresses: &[Address],
        ttl: u8,
        settled: Instant,
        chance: &mut Chance,
    ) -> Self {
        Self {
            addresses: addresses.to_vec(),
            ttl,
            came: Keyed::map(chance),
            passed: Keyed::map(chance),
            settled,
            now: Instant::ZERO,
            count: 0,
            found: None,
        }
    }

    /// A node writes a package.
    pub(crate) fn sent(
        &mut self,
        (node, link): (usize, LinkId),
        far: Option<(usize, LinkId)>,
        frame: &Bytes,
    ) {
        self.count += 1;
        let Ok(header) = Header::parse(frame) else {
            return self.find("hops", format!("wrote {} bytes that are no package", frame.len()));
        };
        let name = name(frame);
        if self.addresses.get(node) == Some(&header.source) {
            if header.ttl > self.ttl {
                self.find("hops", format!("its own package starts with {} hops", header.ttl));
            }
        } else {
            self.passed_on((node, link), &header, name);
        }
        if let Some((node, by)) = far {
            let came = self.came.entry((node, name)).or_insert(Came { ttl: 0, by, forged: false });
            came.ttl = came.ttl.max(header.ttl);
            came.by = by;
        }
    }

    /// A forger puts a package on a link that `node` reads.
    pub(crate) fn forged(&mut self, node: usize, by: LinkId, frame: &Bytes) {
        let ttl = Header::parse(frame).map_or(0, |h| h.ttl);
        let name = name(frame);
        // Wherever it is led from here, it is not the way of the true one.
        for n in 0..self.addresses.len() {
            let fresh = Came { ttl: 0, by, forged: true };
            let came = self.came.entry((n, name)).or_insert(fresh);
            came.forged = true;
            if n == node {
                came.ttl = came.ttl.max(ttl);
            }
        }
    }

    fn passed_on(&mut self, (node, link): (usize, LinkId), header: &Header, name: u64) {
        // Openings and returns are sent again with the same bytes; the others are unique.
        let unique = matches!(header.content, Content::Sealed | Content::Message | Content::Probe);
        let Some(came) = self.came.get(&(node, name)).copied() else {
            return self.find("hops", format!("sent on what it was not given: {header:?}"));
        };
        if header.ttl >= came.ttl {
            let text = format!("came with {} hops and left with {}", came.ttl, header.ttl);
            return self.find("hops", text);
        }
        if !unique || came.forged {
            return;
        }
        if came.by == link {
            let text = format!("left over link {} that it came by: {header:?}", link.0);
            return self.find("no-way-back", text);
        }
        let again = self.now >= self.settled && self.passed.insert((node, name), ()).is_some();
        if again {
            self.find("no-loop", format!("passed a second time: {header:?}"));
        }
    }

    fn find(&mut self, check: &'static str, text: String) {
        self.found.get_or_insert((check, text));
    }
}

/// A number for a package, whatever its time to live is.
fn name(frame: &Bytes) -> u64 {
    let (front, back) = frame.split_at(frame.len().min(6));
    digest(back) ^ digest(front.get(..5).unwrap_or_default())
}
