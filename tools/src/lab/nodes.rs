//! Real node processes in the laboratory's hosts: keys, configuration, start, questions.
//!
//! What runs is the `trunkline` program beside the one that asks, as its users run it. The files are
//! the caller's own, so that one that cannot be written is a panic and no error to be handed on.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use trunkline::config::keyfile;
use trunkline::control::Client;
use trunkline::control::finding::{WhyAsk, WhyReport};
use trunkline::control::protocol::{Act, PingAsk, PingSummary, Probe};
use trunkline_proto::base::{Chance, Space};
use trunkline_proto::crypto::Identity;

use super::links::program;
use super::{Family, Host, LabError, Running};

/// The port every node listens at, in its own namespace.
pub const PORT: u16 = 42_424;

/// Nodes and their files, which go with this.
#[derive(Debug)]
pub struct Nodes {
    dir: TempDir,
}

/// One node process in a host.
#[derive(Debug)]
pub struct Node {
    /// What its files are called.
    pub name: String,
    /// Who it is.
    pub hashname: String,
    /// Ends when dropped, without a word.
    pub process: Option<Running>,
    socket: PathBuf,
}

/// What a node is to do, beyond existing.
#[derive(Clone, Debug, Default)]
pub struct Duties<'a> {
    /// Whether it takes lines over UDP; links it takes in any case.
    pub udp: bool,
    /// What it listens to, for lines and links.
    pub family: Family,
    /// Neighbours to dial: where, and who.
    pub dial: Vec<(IpAddr, &'a str)>,
    /// Targets it may be used to reach.
    pub allow: Vec<String>,
    /// Extra lines of configuration.
    pub more: &'a str,
}

impl Default for Nodes {
    fn default() -> Self {
        Self::new()
    }
}

impl Nodes {
    /// A directory for the files of nodes to come.
    ///
    /// # Panics
    /// If there can be none.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tl-nodes-").tempdir();
        Self { dir: dir.expect("a directory") }
    }

    /// Keys for a node, made before it is started so that others can name it.
    ///
    /// # Panics
    /// If the key file cannot be written, as when there is one already.
    #[must_use]
    pub fn keys(&self, name: &str) -> String {
        let space = Space::new("lab").expect("a space");
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("chance");
        let (mut chance, now) = (Chance::from_seed(seed), crate::print::now());
        let life = Duration::from_secs(86_400);
        let identity =
            Identity::generate(&space, 2_048, &mut chance, now, life).expect("an identity");
        keyfile::write_new(&self.path(name, "keys"), &identity).expect("a key file");
        identity.hashname().to_string()
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.{kind}"))
    }

    /// Starts a node whose keys were made, and waits until it runs.
    ///
    /// # Errors
    /// If the program is not built or cannot be started.
    ///
    /// # Panics
    /// If its configuration cannot be written, or it does not come up.
    pub fn start(
        &self,
        host: &Host,
        name: &str,
        hashname: &str,
        duties: &Duties<'_>,
    ) -> Result<Node, LabError> {
        let socket = self.path(name, "sock");
        let listen: Vec<String> =
            duties.family.listen(PORT).iter().map(ToString::to_string).collect();
        let udp = if duties.udp { listen.as_slice() } else { &[] };
        let mut text = format!(
            "[node]\nname = \"{name}\"\nkeys = \"{name}.keys\"\n[listen]\nudp = {udp:?}\n\
             tls = {listen:?}\n[control]\nsocket = \"{}\"\n",
            socket.display()
        );
        for (address, hashname) in &duties.dial {
            let at = SocketAddr::new(*address, PORT);
            text += &format!("[[link]]\naddress = \"{at}\"\nhashname = \"{hashname}\"\n");
        }
        text += &format!("[sock]\nallow = {:?}\n{}", duties.allow, duties.more);
        std::fs::write(self.path(name, "toml"), text).expect("a configuration");
        let (name, hashname) = (name.to_owned(), hashname.to_owned());
        let mut node = Node { name, hashname, process: None, socket };
        self.run(host, &mut node)?;
        Ok(node)
    }

    /// Starts a node's process, again if it ran before, and waits until it runs.
    ///
    /// # Errors
    /// If the program is not built or cannot be started.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn run(&self, host: &Host, node: &mut Node) -> Result<(), LabError> {
        drop(node.process.take());
        let log = std::fs::File::create(self.path(&node.name, "log")).expect("a log");
        let mut command: Command = host.command(&program("trunkline")?.to_string_lossy());
        command.args(["run", "--config"]).arg(self.path(&node.name, "toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        node.process = Some(host.start(command)?);
        let up = poll(|| Client::connect(&node.socket).is_ok());
        assert!(up, "{} does not come up:\n{}", node.name, self.log(&node.name));
        Ok(())
    }

    /// The log of a node, for messages of failed tests.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name, "log")).unwrap_or_default()
    }

    /// The directory, for files that tests serve.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Node {
    /// Where its owner talks to it.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Round trips to another node; nothing if it cannot be asked or knows no way.
    #[must_use]
    pub fn ping(&self, to: &str, ask: PingAsk) -> Option<PingSummary> {
        let act = Act::Ping(PingAsk { hashname: to.to_owned(), ..ask });
        Client::connect(&self.socket).ok()?.ask(act, |_: Probe| {}).ok()
    }

    /// What it knows of the way to another; nothing known if it cannot be asked.
    #[must_use]
    pub fn why(&self, to: &str) -> WhyReport {
        let act = Act::Why(WhyAsk { hashname: to.to_owned() });
        let client = Client::connect(&self.socket).ok();
        let answer = client.and_then(|mut c| c.ask(act, |_: serde_json::Value| {}).ok());
        answer.unwrap_or_default()
    }

    /// Waits until the mesh leads there.
    ///
    /// # Panics
    /// If it does not, with the logs of both.
    pub fn wait_for(&self, to: &Self, nodes: &Nodes) {
        let there = || self.ping(&to.hashname, PingAsk::once(String::new()));
        let met = poll(|| there().is_some_and(|s| s.received == 1));
        let logs = || format!("{}\n--\n{}", nodes.log(&self.name), nodes.log(&to.name));
        assert!(met, "{} does not reach {}:\n{}", self.name, to.name, logs());
    }

    /// A local port in the node's host that leads to a target behind another node, for the life
    /// of the process given back.
    ///
    /// # Errors
    /// If the program is not built or cannot be started.
    ///
    /// # Panics
    /// If the port does not come up.
    pub fn proxy(
        &self,
        host: &Host,
        to: &Self,
        target: SocketAddr,
        port: u16,
    ) -> Result<Running, LabError> {
        let mut command = host.command(&program("trunkline")?.to_string_lossy());
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
#[must_use]
pub fn poll(mut done: impl FnMut() -> bool) -> bool {
    (0..600).any(|_| {
        let yes = done();
        if !yes {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        yes
    })
}

/// [`poll`], or the test fails.
///
/// # Panics
/// If it was in vain.
pub fn wait_for(what: &str, done: impl FnMut() -> bool) {
    assert!(poll(done), "waited in vain for {what}");
}
