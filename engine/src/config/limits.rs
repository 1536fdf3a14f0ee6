//! `[limits]`: every field of [`Limits`] by its name, each within bounds that keep the node
//! working and its memory finite.
//!
//! The table below destructures [`Limits`], so a limit without bounds here does not compile.

use std::time::Duration;

use trunkline_proto::base::Limits;
use trunkline_proto::wire::link::FRAME_MAX;

use super::read::{Raw, Section, within};
use super::units;

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
/// What every neighbour takes; it closes a link that carries more.
const FRAME: u64 = FRAME_MAX as u64;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A plain number.
fn count<T: TryFrom<u64>>(raw: &Raw<'_>, low: u64, high: u64) -> Result<T, String> {
    let n = raw.number(low..=high)?;
    T::try_from(n).map_err(|_| format!("{n} is too large for this machine"))
}

/// A size: `64KiB`.
pub(super) fn bytes<T: TryFrom<u64>>(raw: &Raw<'_>, low: u64, high: u64) -> Result<T, String> {
    let n = units::bytes(&raw.quantity()?).map_err(|e| e.to_string())?;
    let n = within(n, low..=high, units::show_bytes)?;
    T::try_from(n).map_err(|_| format!("{n} is too large for this machine"))
}

/// A duration: `250ms`.
pub(super) fn time(raw: &Raw<'_>, low: Duration, high: Duration) -> Result<Duration, String> {
    let d = units::duration(&raw.quantity()?).map_err(|e| e.to_string())?;
    within(d, low..=high, units::show_duration)
}

macro_rules! limits {
    ($($field:ident: $kind:ident $low:expr, $high:expr;)*) => {
        /// Reads the section over the defaults.
        pub(super) fn read(section: &mut Section<'_, '_>) -> Limits {
            let Limits { $(mut $field),* } = Limits::default();
            $(
                if let Some(value) = section.take(stringify!($field), |r| $kind(r, $low, $high)) {
                    $field = value;
                }
            )*
            let limits = Limits { $($field),* };
            for what in contradictions(&limits) {
                section.report(what);
            }
            limits
        }

        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$(stringify!($field)),*];
    };
}

limits! {
    half_open_per_address: count 1, 65_536;
    half_open: count 16, 1_048_576;
    opens_before_cookie: count 0, 1_000_000;
    opens_per_address: count 1, 1_000_000;
    open_timeout: time secs(1), secs(300);
    queued_for_open: count 1, 4_096;
    waiting_bytes_each: bytes KIB, GIB;
    waiting_bytes: bytes KIB, 64 * GIB;
    requests: count 1, 10_000_000;
    subscriptions: count 1, 65_536;
    lines_per_shard: count 1, 10_000_000;
    contacts_per_shard: count 16, 10_000_000;
    rekey_after: time secs(1), secs(3_600);
    // The upper bound is what one AES-GCM key may seal.
    rekey_after_packets: count 1_024, 1 << 48;
    keys_dead_after: time secs(2), secs(7_200);
    line_idle: time secs(1), secs(86_400);
    tls_handshake: time ms(100), secs(60);
    link_handshake: time ms(100), secs(60);
    heartbeat: time ms(10), secs(60);
    heartbeats_missed: count 1, 100;
    links: count 1, 65_536;
    frame: bytes 2 * KIB, FRAME;
    message: bytes KIB, GIB;
    assembling: bytes KIB, 64 * GIB;
    ttl: count 1, 255;
    lane_bytes: bytes 64 * KIB, GIB;
    lane_items: count 16, 1_048_576;
    // Seven of them leave the highest something.
    lower_share: count 0, 12;
    origins: count 2, 1_000_000;
    neighbours: count 1, 1_500;
    announcement_interval: time ms(10), secs(60);
    announcement_refresh: time secs(1), secs(86_400);
    announcement_expiry: time secs(2), secs(604_800);
    route_debounce: time ms(0), secs(10);
    broadcasts_per_origin: count 0, 1_000_000;
    returns_per_source: count 0, 1_000_000;
}

/// Limits that are each in bounds and cannot hold together.
fn contradictions(l: &Limits) -> Vec<String> {
    let mut out = Vec::new();
    let mut need = |holds: bool, what: &str| {
        if !holds {
            out.push(what.to_owned());
        }
    };
    need(l.half_open_per_address <= l.half_open, "half_open_per_address exceeds half_open");
    need(
        l.rekey_after < l.keys_dead_after,
        "keys_dead_after must be longer than rekey_after, or lines die before they are renewed",
    );
    need(
        l.line_idle >= l.keys_dead_after,
        "line_idle must not be shorter than keys_dead_after, or a line is forgotten while its \
         peer may still send under its keys",
    );
    need(l.frame <= l.lane_bytes, "lane_bytes holds not even one frame");
    need(l.message <= l.assembling, "assembling holds not even one message");
    need(
        l.message <= l.waiting_bytes_each && l.waiting_bytes_each <= l.waiting_bytes,
        "waiting_bytes must hold waiting_bytes_each, and that one message",
    );
    need(
        l.announcement_interval <= l.announcement_refresh
            && l.announcement_refresh.saturating_mul(2) <= l.announcement_expiry,
        "announcement_expiry must be at least twice announcement_refresh, and the refresh not \
         shorter than announcement_interval, or nodes are forgotten while they live",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(contradictions(&Limits::default()), Vec::<String>::new());
    }
}
