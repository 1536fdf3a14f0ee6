//! `baseline`: what forwarding costs at least on a machine, by programs that do nothing else.
//!
//! Each prints the port it listens on and runs until it is killed. They know no keys, priorities,
//! fairness, limits or accounting: what a relay costs more than these is what those cost, and
//! what it could still save.

mod relay;
mod udp;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Forward, and nothing else.
#[derive(Debug, Parser)]
enum Cli {
    /// Frames with an address over many TCP connections
    Relay,
    /// Every datagram to one address
    Udp {
        /// Where
        to: SocketAddr,
        /// How
        #[arg(long, value_enum, default_value_t = Manner::Call)]
        by: Manner,
    },
}

/// How datagrams are received and sent.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Manner {
    /// A call for each: recvfrom, sendto
    Call,
    /// Up to 64 in a call: recvmmsg, sendmmsg
    Batch,
    /// As the kernel has them joined: UDP_GRO in, UDP_SEGMENT out
    Runs,
}

fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Relay => relay::run(),
        Cli::Udp { to, by } => udp::run(to, by),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baseline: {error}");
            ExitCode::FAILURE
        }
    }
}
