//! Every byte format (PROTOCOL §3 to §7): checked views for reading, emitters into given room
//! for writing. Knows no keys, no states and no time.

pub mod announce;
pub mod bridged;
pub mod broadcast;
pub mod envelope;
pub mod inner;
pub mod link;
pub mod meet;
pub mod package;
pub mod packet;
pub mod sealed;
pub mod sequence;
pub mod stream;

#[cfg(test)]
mod vectors;
