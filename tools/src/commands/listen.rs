//! `trunkline listen`: messages to this node, and answers to them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};

use trunkline::control::messages::{Heard, ListenAsk, Listened, ReplyAsk, decode, encode};
use trunkline::control::protocol::Act;
use trunkline::control::{Client, ClientError};
use trunkline_proto::base::Namespace;

use crate::failure::Failure;
use crate::node::WhichNode;
use crate::print;

/// The longest answer a program may give.
const LONGEST: u64 = 1 << 20;

/// Take messages to a namespace of the node, and answer them if they ask for that
///
/// Lasts as long as this command runs. Messages come to every listener of their namespace; to
/// which nobody listens, they go back to their sender.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, a clock for all who may ask it:
  trunkline listen clock --exec date

A program given with --exec runs by `sh -c`, once for each message and one after the other. It reads
the message on standard input; TRUNKLINE_FROM, TRUNKLINE_NAMESPACE, TRUNKLINE_TARGET,
TRUNKLINE_RECORD and TRUNKLINE_PROVED say the rest. What it prints is the answer; if it fails, there
is none.")]
pub struct Args {
    /// Which namespace: 1 to 64 letters, digits and . _ -
    namespace: Namespace,
    /// Only messages to this target in it
    #[arg(long, value_name = "NAME")]
    target: Option<Namespace>,
    /// Answer every request with this text
    #[arg(long, value_name = "TEXT", conflicts_with = "exec")]
    reply: Option<String>,
    /// Answer with what a program prints
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print {"ready":true}, then one JSON object for each message, its payload in Base64
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command until it is interrupted, has had enough, or the node ends.
///
/// # Errors
/// If the node cannot be asked, or when it stops.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.node.connect()?;
    let connection = client.handle().map_err(ClientError::Connection)?;
    let ask = ListenAsk {
        namespace: args.namespace.to_string(),
        target: args.target.map(|t| t.to_string()),
    };
    let mut listener = Listener { args: &args, left: args.count, failed: Ok(()), answers: None };
    let end = client.ask::<Listened, serde_json::Value>(Act::Listen(ask), |event| {
        if !listener.take(event) {
            // Hanging up ends it.
            let _ = connection.shutdown(Shutdown::Both);
        }
    });
    listener.failed?;
    match end {
        Err(_) if listener.left == Some(0) => Ok(()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

struct Listener<'a> {
    args: &'a Args,
    left: Option<u64>,
    failed: Result<(), Failure>,
    /// For answers, from the first one on.
    answers: Option<Client>,
}

impl Listener<'_> {
    /// False if there is to be no more.
    fn take(&mut self, event: Listened) -> bool {
        if self.failed.is_err() || self.left == Some(0) {
            return false;
        }
        self.failed = match event.message {
            Some(message) => {
                self.left = self.left.map(|left| left - 1);
                self.show(&message).and_then(|()| self.answer(&message))
            }
            None if self.args.json => print::json(&event),
            None => {
                eprintln!("listening; messages follow, until this command ends");
                Ok(())
            }
        };
        self.failed.is_ok() && self.left != Some(0)
    }

    fn show(&self, message: &Heard) -> Result<(), Failure> {
        if self.args.json {
            return print::json(message);
        }
        let who = if message.proved { "" } else { " (not proved)" };
        let target = message.target.as_ref().map(|t| format!(" to {t}")).unwrap_or_default();
        let payload = payload(message)?;
        let text = match std::str::from_utf8(&payload) {
            Ok(text) => text.escape_debug().to_string(),
            Err(_) => format!("{} bytes", payload.len()),
        };
        let from = super::short(&message.from);
        print::line(&format!("{from}{who} [{}]{target}: {text}", message.record))
    }

    fn answer(&mut self, message: &Heard) -> Result<(), Failure> {
        let answer = match (&self.args.reply, &self.args.exec) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(command)) => run_program(command, message)?,
            (None, None) => None,
        };
        let Some(answer) = answer.filter(|_| message.number != 0) else { return Ok(()) };
        let ask = ReplyAsk { number: message.number, payload: encode(&answer) };
        // The connection that listens only listens; all answers share another one.
        let mut client = match self.answers.take() {
            Some(client) => client,
            None => self.args.node.connect()?,
        };
        let _: serde_json::Value = client.ask(Act::Reply(ask), |_: serde_json::Value| {})?;
        self.answers = Some(client);
        Ok(())
    }
}

fn payload(message: &Heard) -> Result<bytes::Bytes, Failure> {
    decode(&message.payload).map_err(|fault| Failure::Node(fault.into()))
}

/// What the program prints; nothing if it fails, which it says itself.
fn run_program(command: &str, message: &Heard) -> Result<Option<Vec<u8>>, Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::Other(format!("{command}: {what}: {e}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("TRUNKLINE_FROM", &message.from)
        .env("TRUNKLINE_NAMESPACE", &message.namespace)
        .env("TRUNKLINE_TARGET", message.target.as_deref().unwrap_or_default())
        .env("TRUNKLINE_RECORD", &message.record)
        .env("TRUNKLINE_PROVED", if message.proved { "yes" } else { "no" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed("cannot be run", e))?;
    let input = payload(message)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut output = Vec::new();
    let read = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read to the end has its reasons.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(&input);
            }
        });
        stdout.map_or(Ok(0), |out| out.take(LONGEST).read_to_end(&mut output))
    });
    read.map_err(|e| failed("cannot be read", e))?;
    let status = child.wait().map_err(|e| failed("cannot be waited for", e))?;
    if !status.success() {
        eprintln!("trunkline: {command}: {status}; no answer");
        return Ok(None);
    }
    Ok(Some(output))
}
