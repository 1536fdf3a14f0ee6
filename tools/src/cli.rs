//! The command line of `trunkline`: which commands there are and how the process ends.
//!
//! Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong usage (clap's).

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    broadcast, check, config, demo, gate, http, keys, links, listen, nodes, operator, ping, proxy,
    request, routes, run, seek, send, sim, status, trace, why,
};
use crate::failure::Failure;

/// A relay and forwarding node for private encrypted meshes.
///
/// Every participant is a hashname, the fingerprint of its public key. Nodes keep links to their
/// neighbours and forward for each other, without being able to read what they carry.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Example, a first node:
  trunkline keys new --space home --out relay.keys
  trunkline config example > relay.toml     (then set keys = \"relay.keys\")
  trunkline check --config relay.toml

Exit codes: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Keys(keys::Args),
    Run(run::Args),
    Check(check::Args),
    Config(config::Args),
    Gate(gate::Args),
    Operator(operator::Args),
    Proxy(proxy::Args),
    Http(http::Args),
    Send(send::Args),
    Request(request::Args),
    Listen(listen::Args),
    Broadcast(broadcast::Args),
    Ping(ping::Args),
    Trace(trace::Args),
    Why(why::Args),
    Seek(seek::Args),
    Links(links::Args),
    Nodes(nodes::Args),
    Routes(routes::Args),
    Status(status::Args),
    Sim(sim::Args),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Demo(args) => demo::run(args),
            Self::Run(args) => run::run(args),
            Self::Keys(args) => keys::run(args),
            Self::Check(args) => check::run(args),
            Self::Config(args) => config::run(args),
            Self::Gate(args) => gate::run(args),
            Self::Operator(args) => operator::run(args),
            Self::Proxy(args) => proxy::run(args),
            Self::Http(args) => http::run(args),
            Self::Send(args) => send::run(args),
            Self::Request(args) => request::run(args),
            Self::Listen(args) => listen::run(args),
            Self::Broadcast(args) => broadcast::run(args),
            Self::Ping(args) => ping::run(args),
            Self::Trace(args) => trace::run(args),
            Self::Why(args) => why::run(args),
            Self::Seek(args) => seek::run(args),
            Self::Links(args) => links::run(args),
            Self::Nodes(args) => nodes::run(args),
            Self::Routes(args) => routes::run(args),
            Self::Status(args) => status::run(args),
            Self::Sim(args) => sim::run(args),
        }
    }
}

/// Runs what the process's arguments say.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("trunkline: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains("trunkline "), "{path}: {help}");
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {}", argument.get_id());
            }
            command.get_subcommands().for_each(|sub| walk(sub, &path));
        }
        walk(&Cli::command(), "");
    }
}
