//! Messages in an application's hands: what arrived, what came back, and who takes what.
//!
//! [`Post`] is what handles and workers share: the subscribers' inboxes, who waits for a reply or
//! to hear that a message was handed over, and what came back of messages nobody waits for. The
//! protocol's side is `trunkline_proto::message`; the calls are [`crate::Handle`]'s.

mod post;
mod subscription;

pub use subscription::{Incoming, Subscription};
pub use trunkline_proto::message::{Incoming as Message, Outbound, Returned};

pub(crate) use post::{Outcome, Post, Sink};
