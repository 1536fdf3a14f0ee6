//! Every bound of the protocols, in one place, each finite and on by default.
//!
//! What a bound can pin in memory stands beside it. `K` marks one per line or link, so that
//! sums can be read off.

use core::time::Duration;

/// The bounds a node runs under. [`Limits::default`] is what ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Half-open handshakes from one address. 32 × ~2 KiB.
    pub half_open_per_address: usize,
    /// Half-open handshakes in all. 4,096 × ~2 KiB = 8 MiB.
    pub half_open: usize,
    /// Opens a second above which a stateless cookie is asked for before any public-key work.
    pub opens_before_cookie: u32,
    /// Public-key operations a second for one address while busy.
    pub opens_per_address: u32,
    /// How long an open is repeated before its packets are given back.
    pub open_timeout: Duration,
    /// Packets kept for a line that is being opened. 64 × 16 KiB = 1 MiB K.
    pub queued_for_open: usize,
    /// Bytes of messages that wait for a line to one hashname. 4 MiB K.
    pub waiting_bytes_each: usize,
    /// The same for all hashnames of a shard. 32 MiB.
    pub waiting_bytes: usize,
    /// Requests of a shard that wait for their replies. 65,536 × ~100 bytes = 6 MiB.
    pub requests: usize,
    /// Subscriptions of a node. 1,024 × ~150 bytes in each shard, and what waits for whoever
    /// subscribed.
    pub subscriptions: usize,
    /// Hashnames a shard has lines to. 100,000 × 4 KiB = 400 MiB at the very most.
    pub lines_per_shard: usize,
    /// Hashnames known to a shard without a line. × ~1.5 KiB (the key record) = 24 MiB.
    pub contacts_per_shard: usize,
    /// Sessions are renewed at this age,
    pub rekey_after: Duration,
    /// or this many packets,
    pub rekey_after_packets: u64,
    /// and dead at this age.
    pub keys_dead_after: Duration,
    /// A line without any packet from its peer for this long is closed. Not shorter than
    /// `keys_dead_after`, or it is forgotten while the peer may still send under its keys.
    pub line_idle: Duration,
    /// TLS handshake of a link, whole.
    pub tls_handshake: Duration,
    /// From the transport being up to an accepted hello and proof, whole.
    pub link_handshake: Duration,
    /// A heartbeat is sent after this long without sending.
    pub heartbeat: Duration,
    /// A link is dead after this many heartbeat intervals without a byte.
    pub heartbeats_missed: u32,
    /// Links in all.
    pub links: usize,
    /// Largest frame on a link, all headers included; also sets the largest packet of a line on
    /// a mesh route.
    pub frame: usize,
    /// Largest message.
    pub message: usize,
    /// Bytes of half-assembled messages. 8 MiB.
    pub assembling: usize,
    /// Hops a package may take.
    pub ttl: u8,
    /// Bytes in one priority level of one link. 8 levels × 2 MiB = 16 MiB K.
    pub lane_bytes: usize,
    /// Entries in one priority level of one link. 4,096 × 64 bytes = 256 KiB K.
    pub lane_items: usize,
    /// Of a hundred bytes that leave a link, what each lower priority that waits gets while higher
    /// ones have something to send. None: order is strict, and four full levels are the most of a
    /// link; else all nine.
    pub lower_share: u8,
    /// Origins in the link-state database. 10,000 × ~4 KiB = 40 MiB.
    pub origins: usize,
    /// Neighbours one announcement may list; those beyond 64 have room for 65,536 of all origins,
    /// 3 MiB.
    pub neighbours: usize,
    /// Least time between two announcements of one origin.
    pub announcement_interval: Duration,
    /// An origin repeats its announcement after this long,
    pub announcement_refresh: Duration,
    /// and is forgotten after this long.
    pub announcement_expiry: Duration,
    /// Changes of link state within this time share one route computation.
    pub route_debounce: Duration,
    /// Broadcasts a second of one origin, its own included. × 16 KiB = 800 KiB/s.
    pub broadcasts_per_origin: u32,
    /// Error returns a second to one source.
    pub returns_per_source: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open_per_address: 32,
            half_open: 4_096,
            opens_before_cookie: 200,
            opens_per_address: 20,
            open_timeout: Duration::from_secs(20),
            queued_for_open: 64,
            waiting_bytes_each: 4 << 20,
            waiting_bytes: 32 << 20,
            requests: 65_536,
            subscriptions: 1_024,
            lines_per_shard: 100_000,
            contacts_per_shard: 16_384,
            rekey_after: Duration::from_secs(120),
            rekey_after_packets: 1 << 48,
            keys_dead_after: Duration::from_secs(180),
            line_idle: Duration::from_secs(300),
            tls_handshake: Duration::from_secs(5),
            link_handshake: Duration::from_secs(2),
            heartbeat: Duration::from_millis(250),
            heartbeats_missed: 3,
            links: 1_024,
            frame: 16_384,
            message: 1 << 20,
            assembling: 8 << 20,
            ttl: 16,
            lane_bytes: 2 << 20,
            lane_items: 4_096,
            lower_share: 0,
            origins: 10_000,
            neighbours: 1_024,
            announcement_interval: Duration::from_secs(1),
            announcement_refresh: Duration::from_secs(600),
            announcement_expiry: Duration::from_secs(1_800),
            route_debounce: Duration::from_millis(10),
            broadcasts_per_origin: 50,
            returns_per_source: 50,
        }
    }
}
