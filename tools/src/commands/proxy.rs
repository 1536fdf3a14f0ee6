//! `trunkline proxy`: a local port that leads to a target behind a hashname.

use std::net::SocketAddr;

use trunkline::config::HostPort;
use trunkline::control::ClientError;
use trunkline::control::protocol::{Act, ProxyAsk, ProxyOpened};
use trunkline_proto::base::Hashname;

use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// Open a local port that leads to a target behind a hashname
///
/// Lasts as long as this command runs. The target must be on the other node's list sock.allow;
/// it is seen from there, so 127.0.0.1 is that machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, the web server of another machine on port 8080 of this one:
  trunkline proxy HASHNAME 127.0.0.1:80 --listen 127.0.0.1:8080")]
pub struct Args {
    /// Who reaches the target, 64 hex digits
    hashname: Hashname,
    /// What is reached from there
    #[arg(value_name = "IP:PORT")]
    target: HostPort,
    /// Where programs on this machine connect; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Print {"listening": "IP:PORT"} once it can be used
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command until it is interrupted or the node ends.
///
/// # Errors
/// If the node cannot be asked or cannot listen, or when it stops.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.node.connect()?;
    let target = args.target.to_string();
    let hashname = args.hashname.to_string();
    let ask = ProxyAsk { hashname, target: target.clone(), listen: args.listen };
    // Nobody reads the output: nobody can know the port, but scripts may have chosen it.
    let mut printed = Ok(());
    let end = client.ask::<ProxyOpened, serde_json::Value>(Act::Proxy(ask), |opened| {
        printed = if args.json {
            print::json(&opened)
        } else {
            let (listening, to) = (opened.listening, args.hashname.short());
            print::line(&format!("{listening} leads to {target} at {to}, until this command ends"))
        };
    });
    match end {
        Ok(_) => printed,
        Err(ClientError::HungUp) if printed.is_ok() => {
            Err(Failure::Other("the proxy has ended: the node stopped".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}
