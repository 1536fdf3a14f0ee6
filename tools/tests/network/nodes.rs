//! Real node processes in the laboratory's hosts: keys, configuration, start, questions.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use trunkline::config::keyfile;
use trunkline::control::Client;
use trunkline::control::protocol::{Act, PingAsk, PingSummary, Probe};
use trunkline_proto::base::{Chance, Space};
use trunkline_proto::crypto::Identity;
use trunkline_tools::lab::{Host, LabError, Running};

/// The port every node listens at for links, in its own namespace.
pub(crate) const PORT: u16 = 42_424;

/// Nodes and their files.
pub(crate) struct Nodes {
    dir: TempDir,
}

/// One node process in a host.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) hashname: String,
    pub(crate) process: Option<Running>,
    socket: std::path::PathBuf,
}

/// What a node is to do, beyond existing.
#[derive(Default)]
pub(crate) struct Duties<'a> {
    /// Neighbours to dial: where, and who.
    pub(crate) dial: Vec<(IpAddr, &'a str)>,
    /// Targets it may be used to reach.
    pub(crate) allow: Vec<String>,
    /// Extra lines of configuration.
    pub(crate) more: &'a str,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-nodes-").tempdir();
        Self { dir: dir.expect("a directory") }
    }

    /// Keys for a node, made before it is started so that others can name it.
    pub(crate) fn keys(&self, name: &str) -> String {
        let space = Space::new("lab").expect("a space");
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("chance");
        let (mut chance, now) = (Chance::from_seed(seed), trunkline_tools::print::now());
        let life = Duration::from_secs(86_400);
        let identity =
            Identity::generate(&space, 2_048, &mut chance, now, life).expect("an identity");
        keyfile::write_new(&self.path(name, "keys"), &identity).expect("a key file");
        identity.hashname().to_string()
    }

    fn path(&self, name: &str, kind: &str) -> std::path::PathBuf {
        self.dir.path().join(format!("{name}.{kind}"))
    }

    /// Starts a node whose keys were made, and waits until it runs.
    pub(crate) fn start(
        &self,
        host: &Host,
        name: &str,
        hashname: &str,
        duties: &Duties<'_>,
    ) -> Result<Node, LabError> {
        let socket = self.path(name, "sock");
        let mut text = format!(
            "[node]\nname = \"{name}\"\nkeys = \"{name}.keys\"\n[listen]\nudp = []\n\
             tls = [\"0.0.0.0:{PORT}\"]\n[control]\nsocket = \"{}\"\n",
            socket.display()
        );
        for (address, hashname) in &duties.dial {
            text +=
                &format!("[[link]]\naddress = \"{address}:{PORT}\"\nhashname = \"{hashname}\"\n");
        }
        text += &format!("[sock]\nallow = {:?}\n{}", duties.allow, duties.more);
        std::fs::write(self.path(name, "toml"), text).expect("a configuration");
        let process = self.run(host, name)?;
        let node = Node {
            name: name.to_owned(),
            hashname: hashname.to_owned(),
            process: Some(process),
            socket,
        };
        node.wait_until_running();
        Ok(node)
    }

    fn run(&self, host: &Host, name: &str) -> Result<Running, LabError> {
        let log = std::fs::File::create(self.path(name, "log")).expect("a log");
        let mut command: Command = host.command(env!("CARGO_BIN_EXE_trunkline"));
        command.args(["run", "--config"]).arg(self.path(name, "toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        host.start(command)
    }

    /// The log of a node, for messages of failed tests.
    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name, "log")).unwrap_or_default()
    }

    /// The directory, for files that tests serve.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Node {
    fn wait_until_running(&self) {
        wait_for("the node's control socket", || Client::connect(&self.socket).is_ok());
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Round trips to another node.
    pub(crate) fn ping(&self, to: &str, ask: PingAsk) -> Option<PingSummary> {
        let act = Act::Ping(PingAsk { hashname: to.to_owned(), ..ask });
        Client::connect(&self.socket).ok()?.ask(act, |_: Probe| {}).ok()
    }

    /// Waits until the mesh leads there.
    pub(crate) fn wait_for(&self, to: &Self, nodes: &Nodes) {
        let there = || self.ping(&to.hashname, PingAsk::once(String::new()));
        let met = poll(|| there().is_some_and(|s| s.received == 1));
        let logs = || format!("{}\n--\n{}", nodes.log(&self.name), nodes.log(&to.name));
        assert!(met, "{} does not reach {}:\n{}", self.name, to.name, logs());
    }

    /// A local port in the node's host that leads to a target behind another node, for the life
    /// of the process given back.
    pub(crate) fn proxy(
        &self,
        host: &Host,
        to: &Self,
        target: SocketAddr,
        port: u16,
    ) -> Result<Running, LabError> {
        let mut command = host.command(env!("CARGO_BIN_EXE_trunkline"));
        command.args(["proxy", &to.hashname, &target.to_string()]);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--control"]).arg(self.socket());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = host.start(command)?;
        let open = || {
            let listening = host.exec("ss", &["-ltn"]).unwrap_or_default();
            listening.contains(&format!("127.0.0.1:{port}"))
        };
        wait_for("the proxy's port", open);
        Ok(running)
    }
}

/// Asks again and again, for half a minute at most.
pub(crate) fn poll(mut done: impl FnMut() -> bool) -> bool {
    (0..600).any(|_| {
        let yes = done();
        if !yes {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        yes
    })
}

/// [`poll`], or the test fails.
pub(crate) fn wait_for(what: &str, done: impl FnMut() -> bool) {
    assert!(poll(done), "waited in vain for {what}");
}
