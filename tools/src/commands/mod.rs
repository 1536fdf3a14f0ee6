//! One file for each command: its arguments, which are its documentation, and its `run`.
//!
//! `keys`, `check` and `config` work on files, `operator` and `gate` on a file or the node that has
//! it; `proxy`, `http`, `send`, `request`, `broadcast`, `listen`, `ping`, `trace`, `why`, `seek`, `links`,
//! `nodes`, `routes` and `status` ask a running node over its control socket, which does the work. `run` is a node, `demo` three, `sim` a world of them.

pub mod broadcast;
pub mod check;
pub mod config;
pub mod demo;
pub mod gate;
pub mod http;
pub mod keys;
pub mod links;
pub mod listen;
pub mod message;
pub mod nodes;
pub mod operator;
pub mod ping;
pub mod proxy;
pub mod request;
pub mod routes;
pub mod run;
pub mod seek;
pub mod send;
pub mod sim;
pub mod status;
pub mod trace;
pub mod why;

/// The first digits of a hashname in hex, enough to tell a few nodes apart; `-` if there is none.
pub(crate) fn short(hashname: &str) -> String {
    match hashname {
        "" => "-".to_owned(),
        text => text.chars().take(8).collect(),
    }
}
