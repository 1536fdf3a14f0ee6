//! Streams and HTTP: what an application does with the bytes of a line.

use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::switch::streams::Open;

use super::Handle;
use crate::stream::{self, Stream, StreamError, StreamListener, StreamOptions};

impl Handle {
    /// Opens a stream to `peer`, and whatever is needed for it. Nothing is waited for: what is
    /// written travels as soon as there is a line, and if there is no way, reading and writing
    /// say so.
    ///
    /// # Errors
    /// [`StreamError::TooMany`] and [`StreamError::NodeGone`].
    ///
    /// ```no_run
    /// # fn example(node: &trunkline::Handle, peer: trunkline::Hashname) -> std::io::Result<()> {
    /// use std::io::{Read, Write};
    ///
    /// let mut stream = node.stream(peer)?;
    /// stream.write_all(b"hello")?;
    /// stream.finish();
    /// let mut answer = String::new();
    /// stream.read_to_string(&mut answer)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self, peer: Hashname) -> Result<Stream, StreamError> {
        self.stream_with(peer, StreamOptions::default())
    }

    /// As [`Self::stream`], with a choice.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn stream_with(
        &self,
        peer: Hashname,
        options: StreamOptions,
    ) -> Result<Stream, StreamError> {
        self.open_stream(peer, Open::Generic, options.priority)
    }

    pub(crate) fn open_stream(
        &self,
        peer: Hashname,
        open: Open,
        priority: Priority,
    ) -> Result<Stream, StreamError> {
        let partition = self.plan.partition_of(&peer.address());
        let seat = self.plan.seat(self.plan.streams_of(partition));
        let bell = self.bells.get(seat).ok_or(StreamError::NodeGone)?;
        bell.open(peer, open, priority).map(Stream::new)
    }

    /// Asks `peer` over HTTP.
    ///
    /// ```no_run
    /// # fn example(node: &trunkline::Handle, peer: trunkline::Hashname) -> std::io::Result<()> {
    /// let mut answer = node.http(peer).get("/notes.txt").send()?;
    /// if answer.status().is_success() {
    ///     std::io::copy(&mut answer, &mut std::io::stdout())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(&self, peer: Hashname) -> crate::http::Client {
        crate::http::Client { handle: self.clone(), peer }
    }

    /// An HTTP connection to `peer`, for a client of the application's own.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn http_stream(
        &self,
        peer: Hashname,
        options: StreamOptions,
    ) -> Result<Stream, StreamError> {
        self.open_stream(peer, Open::Req, options.priority)
    }

    /// Takes the streams that peers open, from now on and instead of the callback.
    #[must_use]
    pub fn listener(&self) -> StreamListener {
        stream::Arrivals::listen(&self.shared.streams)
    }
}
