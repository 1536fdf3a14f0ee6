//! What a builder says of HTTP.

use std::sync::Arc;

use trunkline_proto::base::Hashname;

use super::{BuildError, Builder, listening, wrong};
use crate::config::HostPort;

/// What was said of HTTP.
#[derive(Debug, Default)]
pub(super) struct HttpWords {
    backend: Option<String>,
    pass_host: bool,
    service: Option<crate::http::Service>,
    gateway: Option<String>,
    names: std::collections::BTreeMap<String, Hashname>,
}

/// HTTP: what it serves to peers, and what it lets browsers of this machine reach.
impl Builder {
    /// Passes peers' requests to this server. It learns who asks from the header
    /// [`HASHNAME_HEADER`], and gets its own address as Host.
    ///
    /// [`HASHNAME_HEADER`]: crate::http::HASHNAME_HEADER
    pub fn http_backend(mut self, address: impl Into<String>) -> Self {
        self.http.backend = Some(address.into());
        self
    }

    /// Lets the server behind [`Self::http_backend`] hear the Host the asker wrote.
    pub const fn http_pass_host(mut self) -> Self {
        self.http.pass_host = true;
        self
    }

    /// Answers peers' requests. Each runs on a thread where it may take its time.
    ///
    /// ```no_run
    /// # use trunkline::{Engine, http::Response};
    /// let builder = Engine::builder()
    ///     .http_service(|request| Response::text(format!("good day, {}\n", request.from())));
    /// ```
    pub fn http_service(
        mut self,
        f: impl Fn(crate::http::Request) -> crate::http::Response + Send + Sync + 'static,
    ) -> Self {
        self.http.service = Some(crate::http::Service(Arc::new(f)));
        self
    }

    /// Lets browsers of this machine reach peers at `http://NAME.localhost:PORT/`; NAME is one of
    /// [`Self::gateway_name`] or a hashname's [label](crate::http::to_label).
    pub fn gateway(mut self, listen: impl Into<String>) -> Self {
        self.http.gateway = Some(listen.into());
        self
    }

    /// Calls a hashname by this name, in lower case, at the gateway.
    pub fn gateway_name(mut self, name: impl Into<String>, hashname: Hashname) -> Self {
        self.http.names.insert(name.into(), hashname);
        self
    }
}

impl HttpWords {
    pub(super) fn fill(self, setup: &mut crate::http::HttpSetup) -> Result<(), BuildError> {
        setup.service = self.service;
        if let Some(text) = &self.backend {
            let address: HostPort = text.parse().map_err(|e| wrong(text, e))?;
            let found = address.resolve().map_err(|e| wrong(text, e))?;
            let address = *found.first().ok_or_else(|| wrong(text, "has no address"))?;
            let pass_host = self.pass_host;
            setup.backend = Some(crate::http::Backend { address, pass_host });
        }
        if let Some(text) = &self.gateway {
            let (listen, names) = (listening(text)?, self.names);
            setup.gateway = Some(crate::http::GatewaySetup { listen, names });
        }
        Ok(())
    }
}
