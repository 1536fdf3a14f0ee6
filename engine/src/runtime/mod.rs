//! Threads and what passes between them.

mod doze;
pub mod mailbox;
