//! What `send`, `request` and `broadcast` have in common: to whom, as what, how, and what.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trunkline::control::messages::{MessageAsk, encode};
use trunkline::control::protocol::LONGEST_REQUEST;
use trunkline_proto::base::{Hashname, Namespace, RecordId};
use trunkline_proto::wire::sequence::Sequence;

use super::ping::time;
use crate::failure::Failure;

/// Where a message goes at a node, and as what.
#[derive(Debug, clap::Args)]
pub struct Label {
    /// Where it goes there: 1 to 64 letters, digits and . _ -
    pub(super) namespace: Namespace,
    /// To whom in the namespace; to whoever takes all of it if none
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<Namespace>,
    /// Which kind of record it is: a number, a UUID or a text
    #[arg(long, value_name = "ID", default_value = "0")]
    pub(super) record: RecordId,
    /// How urgent, 0 to 7
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=7))]
    pub(super) priority: Option<u8>,
}

/// To whom and how.
#[derive(Debug, clap::Args)]
pub struct How {
    /// To whom, 64 hex digits
    hashname: Hashname,
    #[command(flatten)]
    label: Label,
    /// How to pack it: M, then Z to compress, P to pad, A to seal; as the node does if none
    #[arg(long, value_name = "LETTERS")]
    sequence: Option<Sequence>,
    /// Pack it by --sequence and no stronger, to see what the receiver says
    #[arg(long, requires = "sequence")]
    exactly: bool,
    /// How many links it may cross
    #[arg(long, value_name = "LINKS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// It must not leave the node: for messages of a node to itself
    #[arg(long)]
    local: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,
}

/// What.
#[derive(Debug, clap::Args)]
pub struct Content {
    /// The text to send; what comes on standard input if there is none
    text: Option<String>,
    /// Send what is in this file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
}

impl How {
    /// The request for the node.
    ///
    /// # Errors
    /// If the content cannot be read.
    pub(super) fn ask(&self, content: &Content) -> Result<MessageAsk, Failure> {
        Ok(MessageAsk {
            hashname: self.hashname.to_string(),
            namespace: self.label.namespace.to_string(),
            target: self.label.target.map(|t| t.to_string()),
            record: self.label.record.to_string(),
            payload: encode(&content.read()?),
            priority: self.label.priority,
            sequence: self.sequence.map(|s| s.to_string()),
            exactly: self.exactly,
            ttl: self.ttl,
            local: self.local,
            no_wait: false,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Content {
    pub(super) fn read(&self) -> Result<Vec<u8>, Failure> {
        match (&self.text, &self.file) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(file)) => {
                let opened = std::fs::File::open(file).map_err(|e| unreadable(file, &e))?;
                bounded(opened, file)
            }
            (None, None) => bounded(std::io::stdin().lock(), Path::new("standard input")),
        }
    }
}

/// What a node would not even look at is not sent there.
fn bounded(from: impl Read, name: &Path) -> Result<Vec<u8>, Failure> {
    let most = LONGEST_REQUEST / 4 * 3 - 4_096;
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX) + 1;
    from.take(limit).read_to_end(&mut bytes).map_err(|e| unreadable(name, &e))?;
    if bytes.len() > most {
        let name = name.display();
        return Err(Failure::Other(format!(
            "{name} has more than {most} bytes, and a message 1 MiB at the very most (too-large)"
        )));
    }
    Ok(bytes)
}

fn unreadable(name: &Path, error: &std::io::Error) -> Failure {
    Failure::Other(format!("cannot read {}: {error}", name.display()))
}
