//! How large datagrams may be on a direct path: found by trying, since no answer from the way can
//! be believed (PROTOCOL §4.8; RFC 8899 does the same).
//!
//! A line begins with datagrams that fit every path. When it carries streams, larger tries are sent,
//! padded to the size in question; an answer proves the size. When the line falls silent it goes
//! back to the small ones, since the way may have changed to one that swallows the large.

use core::time::Duration;
use std::net::SocketAddr;

use super::paths::MAX_DATAGRAM;
use crate::base::Instant;

/// Sizes to try, the largest first, as the payload of UDP: what Ethernet takes, and what is left of
/// it behind the usual tunnels.
const SIZES_V4: [usize; 2] = [1_472, 1_400];
/// The same with the header of IPv6.
const SIZES_V6: [usize; 2] = [1_452, 1_380];
/// How often a size is tried.
const TRIES: u32 = 3;
/// From one try to the next.
const SPACING: Duration = Duration::from_millis(400);
/// After a silence, how long only small datagrams are sent.
const REST: Duration = Duration::from_secs(60);

/// The size of datagrams on one direct path.
#[derive(Debug, Default)]
pub(super) struct Width {
    to: Option<SocketAddr>,
    proved: Option<usize>,
    /// Which of the sizes is being tried, how often it was, and by which token.
    size: usize,
    tries: u32,
    token: u64,
    next: Option<Instant>,
}

impl Width {
    /// The most bytes of a datagram to `to`.
    pub(super) fn of(&self, to: SocketAddr) -> usize {
        self.proved.filter(|_| self.to == Some(to)).unwrap_or(MAX_DATAGRAM)
    }

    /// The line carries streams and goes to `to`: its size is worth knowing.
    pub(super) fn widen(&mut self, now: Instant, to: SocketAddr) {
        if self.to != Some(to) {
            *self = Self { to: Some(to), next: Some(now), ..Self::default() };
        }
    }

    /// The line fell silent: small datagrams for a while. True if they were large.
    pub(super) fn narrow(&mut self, now: Instant) -> bool {
        if self.to.is_none() {
            return false;
        }
        (self.size, self.tries, self.next) = (0, 0, Some(now + REST));
        self.proved.take().is_some()
    }

    /// The next try: its bytes and its token. `token` is for a new one.
    pub(super) fn due(&mut self, now: Instant, token: u64) -> Option<(SocketAddr, usize, u64)> {
        let to = self.to?;
        if self.next.is_none_or(|at| at > now) {
            return None;
        }
        if self.tries >= TRIES {
            (self.size, self.tries) = (self.size + 1, 0);
        }
        let sizes = if to.is_ipv4() { SIZES_V4 } else { SIZES_V6 };
        let Some(size) = sizes.get(self.size).copied() else {
            self.next = None;
            return None;
        };
        if self.tries == 0 {
            self.token = token;
        }
        self.tries += 1;
        self.next = Some(now + SPACING);
        Some((to, size, self.token))
    }

    /// A try was answered. True if it was one of these, and larger datagrams may go from now on.
    pub(super) fn answered(&mut self, token: u64) -> bool {
        let sizes = if self.to.is_some_and(|to| to.is_ipv4()) { SIZES_V4 } else { SIZES_V6 };
        let Some(size) = sizes.get(self.size).filter(|_| self.tries > 0 && token == self.token)
        else {
            return false;
        };
        self.proved = Some(*size);
        self.next = None;
        true
    }

    /// When the next size is due to be tried at `to`.
    pub(super) fn deadline(&self, to: SocketAddr) -> Option<Instant> {
        self.next.filter(|_| self.to == Some(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_micros(1);

    /// Tries until nothing is due any more, on a path that takes datagrams up to `fits`.
    fn settle(width: &mut Width, mut now: Instant, fits: usize) -> (usize, Instant) {
        let mut sent = 0;
        while let Some(next) = width.next {
            now = next;
            if let Some((_, size, token)) = width.due(now, 100 + sent as u64) {
                sent += 1;
                if size <= fits {
                    assert!(width.answered(token));
                }
            }
        }
        (sent, now)
    }

    #[test]
    fn s22_the_largest_datagrams_that_pass_are_found_in_a_few_tries() {
        let to: SocketAddr = ([192, 0, 2, 1], 1).into();
        let to6: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        let cases = [
            (to, 1_500, 1_472, 1),
            (to, 1_450, 1_400, 4),
            (to, 1_300, MAX_DATAGRAM, 6),
            (to6, 1_460, 1_452, 1),
        ];
        for (to, fits, expected, tries) in cases {
            let mut width = Width::default();
            assert_eq!(width.of(to), MAX_DATAGRAM);
            width.widen(T0, to);
            let (sent, _) = settle(&mut width, T0, fits);
            assert_eq!((width.of(to), sent), (expected, tries), "{fits}");
        }
    }

    #[test]
    fn s22_a_line_that_falls_silent_goes_back_to_small_datagrams_for_a_minute() {
        let to: SocketAddr = ([192, 0, 2, 1], 1).into();
        let mut width = Width::default();
        width.widen(T0, to);
        let (_, now) = settle(&mut width, T0, 2_000);
        assert!(width.narrow(now));
        assert_eq!(width.of(to), MAX_DATAGRAM);
        assert_eq!(width.deadline(to), Some(now + REST));
        assert_eq!(width.deadline(([192, 0, 2, 9], 1).into()), None, "of this path only");
        settle(&mut width, now, 2_000);
        assert_eq!(width.of(to), 1_472);
        let other: SocketAddr = ([192, 0, 2, 2], 1).into();
        assert_eq!(width.of(other), MAX_DATAGRAM, "another path is another matter");
    }

    #[test]
    fn s22_an_answer_to_nothing_widens_nothing() {
        let to: SocketAddr = ([192, 0, 2, 1], 1).into();
        let mut width = Width::default();
        assert!(!width.answered(0));
        width.widen(T0, to);
        assert!(!width.answered(0));
        let (_, _, token) = width.due(T0, 7).unwrap();
        assert!(!width.answered(token + 1) && width.answered(token));
    }
}
