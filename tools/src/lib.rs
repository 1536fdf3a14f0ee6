//! What the programs of this package are made of; `src/bin` only starts them.
//!
//! [`cli`] is the command line of `trunkline`, [`commands`] has one file for each of its commands,
//! [`mod@print`] is the only door to the terminal.

pub mod cli;
pub mod commands;
pub mod failure;
pub mod node;
pub mod print;
