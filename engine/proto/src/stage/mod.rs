//! The stages a packet passes, batch in and batch out, each usable on any thread.
//!
//! A stage owns its state and talks to others only by [`post`]s to their [`plan::Role`]. Whether
//! a post is a call on the same thread or crosses a mailbox is the plan's business; no stage can
//! tell.
//!
//! ```text
//!  datagrams ─► partition ─► streams ─► application
//!                 ▲  │ seal     │
//!   links ─► forward ◄──────────┘          routing ─► route table ─► forward
//!                 └────────► writer ─► sockets
//! ```

pub mod forward;
pub mod levels;
pub mod lines;
pub mod links;
pub mod meeting;
pub mod messages;
pub mod outgoing;
pub mod plan;
pub mod post;
pub mod renewal;
pub mod routing;
pub mod streams;
pub mod writer;
