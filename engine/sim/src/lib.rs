//! Simulated surroundings for Trunkline nodes, from a seed and without a clock.
#![forbid(unsafe_code)]

pub mod emulator;
