//! What the benchmarks and the tests beside them share.

pub mod crowd;
pub mod host;
pub mod pair;
pub mod relay;
pub mod rules;
