//! The numbers of bringing hashnames together, in one place. Those of the notes first.

use core::time::Duration;

/// Lines a meshing node aims at. ("mesh level 200+")
pub const LEVEL: usize = 200;
/// Lines are looked after this often, which is often enough for most NATs. ("maintain lines every
/// 25sec (nat)")
pub const TICK: Duration = Duration::from_secs(25);
/// What counts as new, and a line heard within it as active. ("any new in last 30sec", "count
/// active in last 30sec")
pub const RECENT: Duration = Duration::from_secs(30);
/// Of the hashnames seen, so many of the nearest are worth a line. ("in top 100")
pub const NEAREST: usize = 100;

/// Of those nearest to it a node that does not mesh itself keeps so many lines.
pub const NEIGHBOURS: usize = 4;

/// Hashnames seen and remembered. × ~160 bytes = 320 KiB.
pub const SEEN: usize = 2_048;
/// Of these, and of what one answer names, at most so many share a network. Those without an
/// address share the one of whoever named them.
pub const SEEN_FROM_ONE_NETWORK: usize = 32;
/// Lines kept in one bucket to one network (IPv4 /24, IPv6 /48), and all together.
pub const LINES_TO_ONE_NETWORK: (usize, usize) = (2, 16);
/// Of those without an address an answer names at most so many.
pub const NEAR_WITHOUT_ADDRESS: usize = 4;
/// A line kept is worth having for this long after each tick.
pub const KEEP: Duration = Duration::from_secs(60);

/// Searches at once. × ~4 KiB = 1 MiB.
pub const SEARCHES: usize = 256;
/// Ways through the mesh that one search takes, none of which meets another.
pub const DISJOINT: usize = 2;
/// Questions of one such way that wait at the same time.
pub const PARALLEL: usize = 3;
/// Hashnames one way remembers.
pub const FRONTIER: usize = 48;
/// Time for an answer inside a line.
pub const ANSWER: Duration = Duration::from_millis(1_500);
/// Until then it is asked for again, so often,
pub const REPEATS: u32 = 2;
/// each time after this long.
pub const REPEAT: Duration = Duration::from_millis(500);
/// Time to get a line to somebody on the way, and its answer.
pub const STEP: Duration = Duration::from_secs(5);
/// Time for a whole search.
pub const SEARCH: Duration = Duration::from_secs(20);
/// A peer that is let in and still cannot be reached after this is asked for over a bridge.
pub const BRIDGE_AFTER: Duration = Duration::from_millis(500);

/// Questions that wait for an answer. × ~200 bytes.
pub const ASKED: usize = 4_096;
/// Questions a peer may ask a second, and at once.
pub const QUESTIONS: (u32, u32) = (50, 200);
/// Questions from outside any line, of all hosts together: a second, and at once.
pub const OUTSIDE: (u32, u32) = (400, 800);
/// What claims to be an answer from outside any line, of all hosts together: looked at as far as
/// its address, which is one that was asked or not.
pub const ANSWERS_OUTSIDE: (u32, u32) = (4_000, 4_000);
/// Introductions a peer may ask for a second, and at once.
pub const POPS: (u32, u32) = (10, 60);
/// Of these, towards one hashname: for one asker,
pub const POPS_EACH: (u32, u32) = (1, 6);
/// and for all askers of one network, half of what that hashname gets.
pub const POPS_FROM_ONE_NETWORK: (u32, u32) = (5, 30);
/// Introductions that wait for the other end. × ~80 bytes.
pub const POPPING: usize = 1_024;
/// Of these, one asker's.
pub const POPPING_EACH: usize = 64;
/// Time for the other end of an introduction or a bridge to agree.
pub const AGREE: Duration = Duration::from_secs(5);
/// Bridges that one hashname may have here.
pub const BRIDGES_EACH: usize = 64;

/// Peers whose word about this node's own addresses is remembered.
pub const WITNESSES: usize = 16;
