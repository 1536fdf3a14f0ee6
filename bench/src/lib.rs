//! What the benchmarks and the tests beside them share.

pub mod relay;
