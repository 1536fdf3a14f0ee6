//! The three processes: keys, configuration, start, questions, stop. Whatever happens, they are
//! gone when [`Mesh`] is.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tempfile::TempDir;
use trunkline::config::keyfile;
use trunkline::control::Client;
use trunkline::control::protocol::{Act, ProxyAsk, ProxyOpened};
use trunkline::control::report::StatusReport;
use trunkline_proto::base::{Chance, Space};
use trunkline_proto::crypto::Identity;

use crate::failure::Failure;
use crate::print;

/// How long a node may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(15);
const LIFE: Duration = Duration::from_secs(86_400);

/// One node process.
pub(super) struct Node {
    child: Child,
    socket: PathBuf,
    hashname: String,
}

/// A, R and B.
pub(super) struct Mesh {
    pub(super) a: Node,
    pub(super) relay: Node,
    pub(super) b: Node,
    dir: TempDir,
}

fn other(what: &str) -> impl Fn(std::io::Error) -> Failure {
    let what = what.to_owned();
    move |e| Failure::Other(format!("{what}: {e}"))
}

impl Mesh {
    /// Starts the three; B may be used to reach `server`.
    pub(super) fn start(server: SocketAddr) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("trunkline-demo-").tempdir();
        let dir = dir.map_err(other("cannot make a temporary directory"))?;
        let names = ["a", "relay", "b"];
        let hashnames = make_keys(dir.path(), &names)?;
        let listen = "[listen]\nudp = []\ntls = [\"127.0.0.1:0\"]\n";
        let relay = Node::start(dir.path(), "relay", &hashnames[1], listen)?;
        let address = relay.link_address()?;
        let link = format!(
            "[listen]\nudp = []\ntls = []\n[[link]]\nname = \"relay\"\naddress = \"{address}\"\n\
             hashname = \"{}\"\n",
            hashnames[1]
        );
        let a = Node::start(dir.path(), "a", &hashnames[0], &link)?;
        let sock = format!("{link}[sock]\nallow = [\"{server}\"]\n");
        let b = Node::start(dir.path(), "b", &hashnames[2], &sock)?;
        Ok(Self { a, relay, b, dir })
    }

    /// Ends the three in order and removes their files.
    pub(super) fn stop(self) -> Result<(), Failure> {
        let Self { a, relay, b, dir } = self;
        for node in [a, b, relay] {
            node.stop()?;
        }
        dir.close().map_err(other("cannot remove the temporary directory"))
    }
}

/// Three key files, made at once: RSA keys take their time.
fn make_keys(dir: &Path, names: &[&str; 3]) -> Result<[String; 3], Failure> {
    let space = Space::new("demo").map_err(|e| Failure::Other(e.to_string()))?;
    let now = print::now();
    let make = |name: &str| -> Result<String, Failure> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| Failure::Other("no random numbers".into()))?;
        let mut chance = Chance::from_seed(seed);
        let identity = Identity::generate(&space, Identity::DEFAULT_BITS, &mut chance, now, LIFE);
        let identity = identity.map_err(|e| Failure::Other(e.to_string()))?;
        keyfile::write_new(&dir.join(format!("{name}.keys")), &identity)?;
        Ok(identity.hashname().to_string())
    };
    let make = &make;
    let made = std::thread::scope(|scope| {
        names
            .map(|name| scope.spawn(move || make(name)))
            .map(|t| t.join().unwrap_or_else(|_| Err(Failure::Other("making keys failed".into()))))
    });
    let [a, r, b] = made;
    Ok([a?, r?, b?])
}

impl Node {
    fn start(dir: &Path, name: &str, hashname: &str, more: &str) -> Result<Self, Failure> {
        let config = dir.join(format!("{name}.toml"));
        let socket = dir.join(format!("{name}.sock"));
        let text = format!(
            "[node]\nname = \"{name}\"\nkeys = \"{name}.keys\"\n[control]\nsocket = \"{}\"\n\
             [log]\nlevel = \"info\"\n{more}",
            socket.display()
        );
        std::fs::write(&config, text).map_err(other("cannot write a configuration"))?;
        let program = std::env::current_exe().map_err(other("cannot find this program"))?;
        let mut child = Command::new(program)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(other("cannot start a node"))?;
        let log = child.stderr.take();
        let mut node = Self { child, socket, hashname: hashname.to_owned() };
        let mut lines = BufReader::new(log.ok_or_else(|| Failure::Other("no log".into()))?).lines();
        let mut told = Vec::new();
        let running = lines.by_ref().map_while(Result::ok).any(|line| {
            let up = line.contains(" running ");
            told.push(line);
            up
        });
        if !running {
            let _ = node.child.wait();
            return Err(Failure::Other(format!("node {name} did not start:\n{}", told.join("\n"))));
        }
        // The log is read on, so that the node never waits for it.
        let drain = move || lines.map_while(Result::ok).for_each(drop);
        let drained = std::thread::Builder::new().name("log".to_owned()).spawn(drain);
        drained.map(|_| node).map_err(other("cannot start a thread"))
    }

    pub(super) fn hashname(&self) -> &str {
        &self.hashname
    }

    pub(super) fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.socket)?)
    }

    pub(super) fn ask<T: DeserializeOwned>(&self, act: Act) -> Result<T, Failure> {
        Ok(self.connect()?.ask(act, |(): ()| {})?)
    }

    fn link_address(&self) -> Result<SocketAddr, Failure> {
        let status: StatusReport = self.ask(Act::Status)?;
        let tls = status.listening.iter().find_map(|l| l.strip_prefix("tls "));
        let address = tls.and_then(|a| a.parse().ok());
        address.ok_or_else(|| Failure::Other("the relay does not listen for links".into()))
    }

    /// A local port of this node that leads to `target` behind `to`.
    pub(super) fn proxy(&self, to: &Self, target: SocketAddr) -> Result<Proxy, Failure> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let ask = ProxyAsk { hashname: to.hashname.clone(), target: target.to_string(), listen };
        Proxy::open(self.connect()?, ask)
    }

    /// User and system time the process has taken.
    pub(super) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).map_err(other(&path))?;
        // The name may hold spaces; it ends at the last parenthesis. utime and stime follow as
        // the 12th and 13th fields from there, in ticks of which the kernel shows 100 a second.
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |n: usize| after.split_whitespace().nth(n).and_then(|t| t.parse::<u32>().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => Ok(f64::from(user + system) / 100.0),
            _ => Err(Failure::Other(format!("{path} has an unknown form"))),
        }
    }

    fn stop(mut self) -> Result<(), Failure> {
        let asked: Result<serde_json::Value, Failure> = self.ask(Act::Stop);
        asked?;
        for _ in 0..PATIENCE.as_millis() / 20 {
            if self.child.try_wait().map_err(other("cannot wait for a node"))?.is_some() {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Err(Failure::Other("a node did not end when asked to".into()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy held open over a control connection.
pub(super) struct Proxy {
    address: SocketAddr,
    hang_up: std::os::unix::net::UnixStream,
    holder: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    fn open(mut client: Client, ask: ProxyAsk) -> Result<Self, Failure> {
        let hang_up = client.handle().map_err(other("cannot hold a proxy open"))?;
        let (told, opened) = std::sync::mpsc::channel();
        let hold = move || {
            let end = client.ask::<ProxyOpened, serde_json::Value>(Act::Proxy(ask), |opened| {
                let _ = told.send(Ok(opened.listening));
            });
            if let Err(error) = end {
                let _ = told.send(Err(error));
            }
        };
        let holder = std::thread::Builder::new().name("proxy".to_owned()).spawn(hold);
        let holder = holder.map_err(other("cannot start a thread"))?;
        let opened = opened.recv_timeout(PATIENCE);
        let address = opened.map_err(|_| Failure::Other("A opened no proxy".into()))??;
        Ok(Self { address, hang_up, holder: Some(holder) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port.
    pub(super) fn close(&mut self) {
        let _ = self.hang_up.shutdown(std::net::Shutdown::Both);
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
    }
}
