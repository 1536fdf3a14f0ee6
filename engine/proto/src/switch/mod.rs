//! Hashnames, spaces, lines and streams: who talks to whom, and what travels between them.

pub mod streams;
