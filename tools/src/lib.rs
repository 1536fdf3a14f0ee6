//! What the programs of this package are made of; `src/bin` only starts them.
//!
//! [`cli`] is the command line of `trunkline`, [`commands`] has one file for each of its commands,
//! [`mod@print`] is the only door to the terminal. [`load`] is `trunkline-load`, [`wire`] is
//! `trunkline-wire`, and [`lab`] the laboratory of namespaces that whole-system tests use.
#![cfg(target_os = "linux")]

pub mod cli;
pub mod clock;
pub mod commands;
mod demo;
pub mod failure;
mod kernel;
pub mod lab;
pub mod load;
pub mod netns;
pub mod node;
pub mod print;
pub mod wire;
