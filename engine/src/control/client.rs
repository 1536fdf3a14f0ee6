//! The asking side of the control socket, for the command line and for programs beside a node.
//!
//! Blocking and in order: one request, its events, its end. Interrupting a request is hanging up.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::protocol::{Act, Answer, Fault, LONGEST_ANSWER, Request, What};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no node answers on {}: {source}; is it running, and as this user? \
         (--control SOCKET or --config FILE choose another)", path.display()
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node said no.
    #[error("{}", .0.message)]
    Fault(#[from] Fault),
    /// The node hung up before it was done.
    #[error("the node hung up: it stopped, or was stopped")]
    HungUp,
    /// The connection failed.
    #[error("the connection to the node failed: {0}")]
    Connection(#[from] io::Error),
    /// The answer is not of the protocol.
    #[error(
        "the node answers what this program does not understand ({0}); are both of one version?"
    )]
    Nonsense(String),
}

/// A connection to a node's control socket.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
    next_id: u64,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// If no node answers there.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .map_err(|source| ClientError::Unreachable { path: path.to_owned(), source })?;
        Ok(Self { reader: BufReader::new(stream), next_id: 1 })
    }

    /// A second handle to the connection; shutting it down ends a request that is under way.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn handle(&self) -> io::Result<UnixStream> {
        self.reader.get_ref().try_clone()
    }

    /// Asks, hands every event to `tell`, and returns the answer.
    ///
    /// # Errors
    /// With the node's fault, or if the conversation breaks.
    pub fn ask<E: DeserializeOwned, T: DeserializeOwned>(
        &mut self,
        act: Act,
        mut tell: impl FnMut(E),
    ) -> Result<T, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = serde_json::to_vec(&Request { id, act }).map_err(io::Error::other)?;
        line.push(b'\n');
        self.reader.get_ref().write_all(&line)?;
        loop {
            let answer = self.read_answer()?;
            match answer.what {
                // Id 0 answers what had no id yet: the connection itself was refused.
                What::Error(fault) if answer.id == id || answer.id == 0 => {
                    return Err(fault.into());
                }
                What::Event(event) if answer.id == id => tell(understand(event)?),
                What::Ok(value) if answer.id == id => return understand(value),
                What::Error(_) | What::Event(_) | What::Ok(_) => {}
            }
        }
    }

    fn read_answer(&mut self) -> Result<Answer, ClientError> {
        let mut line = Vec::new();
        let most = u64::try_from(LONGEST_ANSWER).unwrap_or(u64::MAX);
        match self.reader.by_ref().take(most).read_until(b'\n', &mut line) {
            Ok(_) if line.is_empty() => Err(ClientError::HungUp),
            Ok(_) => {
                serde_json::from_slice(&line).map_err(|e| ClientError::Nonsense(e.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(ClientError::HungUp)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn understand<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|e| ClientError::Nonsense(e.to_string()))
}
