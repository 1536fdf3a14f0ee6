//! What the programs of this package share, and the laboratory that whole-system tests use.
#![cfg(target_os = "linux")]

pub mod clock;
mod kernel;
pub mod lab;
pub mod netns;
pub mod wire;
