//! The switch: hashnames, and the lines to them.
//!
//! [`Switch`] owns one partition of all hashnames: who they are ([`contact`]), how a line to them
//! is opened ([`opening`]), the line's sessions ([`mod@line`]) and paths ([`paths`]), and what is asked
//! and answered over it ([`ask`], [`messages`]). It is moved by what the node wants (`partition`), by
//! what others send ([`arrivals`], and `opens` for open packets), and by time (`upkeep`). What flows
//! inside a line in order is `streams`, which knows nothing of the rest.
//!
//! The switch reads no socket and routes no package: it is handed datagrams and packages and
//! hands out [`Effect`]s. PROTOCOL §4 and §5.

pub mod arrivals;
pub mod ask;
pub mod contact;
pub mod contacts;
mod half_opens;
mod introductions;
pub mod line;
pub mod meet;
pub mod messages;
mod moving;
pub mod opening;
mod opens;
mod partition;
pub mod paths;
mod questions;
mod sending;
pub mod streams;
mod upkeep;
mod ways;
mod width;

pub use ask::{
    Answer, Ask, CameBack, CarriedEnd, Effect, Introduction, LineRef, Message, Note, Question,
    Token, Toll,
};
pub use contact::State;
pub use moving::SPACER;
pub use partition::{ContactReport, Counters, Setting, Switch};
pub use paths::{Bridge, MAX_DATAGRAM, Path, PathReport, Tried, may_be_cut};
pub use sending::Outgoing;
