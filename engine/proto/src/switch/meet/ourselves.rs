//! Where this node is, as others see it, and what that says of what stands in front of it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::constants::WITNESSES;
use crate::base::Hashname;
use crate::wire::meet::ADDRESSES;

/// What stands between this node and others, as far as can be told from what they see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nat {
    /// Too few have said where they see this node.
    Unknown,
    /// Nothing: it is seen where it is.
    None,
    /// An address and port for all whom it sends to: others can be let in.
    Cone,
    /// Another port for each whom it sends to: only who is not behind such a one can be reached.
    Symmetric,
}

impl Nat {
    /// The word users see.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Cone => "cone",
            Self::Symmetric => "symmetric",
        }
    }
}

/// Our own addresses.
#[derive(Debug)]
pub(super) struct Ourselves {
    local: Vec<SocketAddr>,
    /// Who sees us where, newest last.
    witnesses: VecDeque<(Hashname, SocketAddr)>,
}

impl Ourselves {
    pub(super) fn new(local: &[SocketAddr]) -> Self {
        Self { local: local.to_vec(), witnesses: VecDeque::new() }
    }

    /// A peer sees us there.
    pub(super) fn seen_as(&mut self, by: Hashname, us: SocketAddr) {
        self.witnesses.retain(|(who, _)| *who != by);
        self.witnesses.push_back((by, us));
        if self.witnesses.len() > WITNESSES {
            self.witnesses.pop_front();
        }
    }

    /// Where others see us, the newest and most agreed upon first.
    pub(super) fn outside(&self) -> Vec<SocketAddr> {
        let mut out: Vec<(usize, SocketAddr)> = Vec::new();
        for (_, at) in self.witnesses.iter().rev() {
            match out.iter_mut().find(|(_, a)| a == at) {
                Some((count, _)) => *count += 1,
                None => out.push((1, *at)),
            }
        }
        out.sort_by_key(|(count, _)| core::cmp::Reverse(*count));
        out.into_iter().map(|(_, at)| at).collect()
    }

    /// What to tell others: where we are seen, and where we see ourselves, half of each.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let outside = self.outside();
        let mut out: Vec<SocketAddr> = outside.iter().copied().take(ADDRESSES / 2).collect();
        for at in self.local.iter().chain(&outside) {
            if !out.contains(at) && out.len() < ADDRESSES {
                out.push(*at);
            }
        }
        out
    }

    pub(super) fn nat(&self) -> Nat {
        let seen = self.witnesses.iter().map(|(_, at)| *at);
        let v4: Vec<SocketAddr> = seen.filter(SocketAddr::is_ipv4).collect();
        let outside = if v4.is_empty() { self.outside() } else { v4 };
        let Some(first) = outside.first() else { return Nat::Unknown };
        if outside.iter().all(|at| self.local.contains(at)) {
            return Nat::None;
        }
        match outside.len() {
            0 | 1 => Nat::Unknown,
            _ if outside.iter().all(|at| at == first) => Nat::Cone,
            _ => Nat::Symmetric,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn seen(local: &str, by: &[&str]) -> Ourselves {
        let mut us = Ourselves::new(&[at(local)]);
        for (n, text) in by.iter().enumerate() {
            us.seen_as(Hashname::new([n as u8; 32]), at(text));
        }
        us
    }

    #[test]
    fn s22_the_kind_of_nat_is_told_from_what_two_peers_see() {
        let local = "10.0.0.2:42424";
        let cases: [(&[&str], Nat); 5] = [
            (&[], Nat::Unknown),
            (&["203.0.113.1:5"], Nat::Unknown),
            (&["203.0.113.1:5", "203.0.113.1:5"], Nat::Cone),
            (&["203.0.113.1:5", "203.0.113.1:6"], Nat::Symmetric),
            (&[local, local], Nat::None),
        ];
        for (by, nat) in cases {
            assert_eq!(seen(local, by).nat(), nat, "{by:?}");
        }
    }

    #[test]
    fn s22_liars_cannot_crowd_out_what_most_see_nor_our_own_addresses() {
        let mut by = vec!["203.0.113.1:5"; 3];
        by.extend(["198.51.100.1:1", "198.51.100.2:2", "198.51.100.3:3"]);
        let us = seen("10.0.0.2:42424", &by);
        let told = us.addresses();
        assert_eq!(told[0], at("203.0.113.1:5"));
        assert!(told.contains(&at("10.0.0.2:42424")) && told.len() == ADDRESSES);
        let many: Vec<String> = (0..100).map(|n| format!("198.51.100.1:{}", n + 1)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(seen("10.0.0.2:42424", &many).witnesses.len(), WITNESSES);
    }
}
