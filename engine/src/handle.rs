//! What an application does with a running node.

pub(crate) mod links;
mod messages;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::bounded;
use trunkline_proto::base::{Address, Hashname, Priority};
use trunkline_proto::crypto::Identity;
use trunkline_proto::stage::plan::{Plan, Role};
use trunkline_proto::stage::post::Post;
use trunkline_proto::switch::streams::Open;
use trunkline_proto::switch::{Answer, Ask, ContactReport, Question};
use trunkline_proto::wire::package::Code;

use crate::callbacks::CallbackCounters;
use crate::engine::Shared;
use crate::runtime::letters::{Command, Letter, Report};
use crate::runtime::mailbox::{Lane, Sender};
use crate::runtime::pipe::Bell;
use crate::runtime::tunnels::ProxyId;

/// How long a worker may take to answer its owner.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the packet that shows that a line is open.
const LINE_PROBE: usize = 9;
/// The most hops a trace looks for.
const HOPS: u8 = 32;
/// Why something asked of the mesh did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It came back, or was given up.
    #[error("{}{} (raised by {})", code.label(), by_rule(*rule), by.map_or("this node".to_owned(), |b| format!("{b:?}")))]
    Code {
        /// Why.
        code: Code,
        /// Which node said so; this one if `None`.
        by: Option<Address>,
        /// By which of its rules, counted from 1; 0 if by none.
        rule: u16,
    },
    /// This node has more to do than it may, or is stopping.
    #[error("this node is too busy or stopping")]
    Busy,
}

fn by_rule(rule: u16) -> String {
    if rule == 0 { String::new() } else { format!(" by rule {rule}") }
}

/// One hop of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Which node.
    pub node: Address,
    /// There and back; `None` if it did not answer.
    pub rtt: Option<Duration>,
    /// Whether it is the destination.
    pub arrived: bool,
}

/// What an application uses to drive a node; cheap to clone. Calls may block the caller, never
/// a worker.
#[derive(Clone)]
pub struct Handle {
    identity: Arc<Identity>,
    plan: Plan,
    shared: Arc<Shared>,
    workers: Vec<Sender<Letter>>,
    bells: Vec<Arc<Bell>>,
    proxies: Arc<AtomicU64>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("hashname", &self.hashname()).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(
        identity: Arc<Identity>,
        plan: Plan,
        shared: Arc<Shared>,
        workers: Vec<Sender<Letter>>,
        bells: Vec<Arc<Bell>>,
    ) -> Self {
        Self { identity, plan, shared, workers, bells, proxies: Arc::default() }
    }

    pub(crate) fn workers(&self) -> &[Sender<Letter>] {
        &self.workers
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Who the node is.
    #[must_use]
    pub fn hashname(&self) -> Hashname {
        self.identity.hashname()
    }

    /// Its keys' public side and space.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Waits until the mesh leads to `node`; false when `patience` ends first.
    #[must_use]
    pub fn wait_reachable(&self, node: &Hashname, patience: Duration) -> bool {
        self.shared.wait_reachable(node, patience)
    }

    /// Opens a local port: each connection to it is carried to `target`, seen from `peer`. It
    /// stays open until the tunnel is dropped.
    ///
    /// # Errors
    /// The system's, when `listen` cannot be listened at.
    pub fn proxy(&self, peer: Hashname, target: &str, listen: SocketAddr) -> io::Result<Tunnel> {
        self.listen_for(peer, Open::Sock(target.into()), listen)
    }

    /// Opens a local port: each connection to it is an HTTP connection to `peer`, which serves it
    /// as `req` (its `[http]`). It stays open until the tunnel is dropped.
    ///
    /// # Errors
    /// The system's, when `listen` cannot be listened at.
    pub fn http_proxy(&self, peer: Hashname, listen: SocketAddr) -> io::Result<Tunnel> {
        self.listen_for(peer, Open::Req, listen)
    }

    /// What became of events for callbacks, so far.
    #[must_use]
    pub fn callback_counters(&self) -> CallbackCounters {
        self.shared.dispatch.counters()
    }

    /// Opens a line to `peer`, and whatever is needed for it, and waits until it carries packets.
    /// Gives back how long a packet took there and back.
    ///
    /// # Errors
    /// [`Failure`], when there is no way or `patience` ends.
    pub fn line(&self, peer: Hashname, patience: Duration) -> Result<Duration, Failure> {
        self.ping(peer, Priority::HIGHEST, LINE_PROBE, patience)
    }

    /// What this node knows of another: the state of their relationship, the way its packets
    /// take. `None` if it knows nothing.
    ///
    /// # Errors
    /// [`Failure::Busy`].
    pub fn contact(&self, peer: Hashname) -> Result<Option<ContactReport>, Failure> {
        let reports = self.report()?;
        let mut contacts = reports.into_iter().flat_map(|r| r.contacts);
        Ok(contacts.find(|c| c.hashname == peer))
    }

    pub(crate) fn listen_for(
        &self,
        peer: Hashname,
        open: Open,
        listen: SocketAddr,
    ) -> io::Result<Tunnel> {
        let partition = self.plan.partition_of(&peer.address());
        let seat = self.plan.seat(self.plan.streams_of(partition));
        let id = ProxyId(self.proxies.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = bounded(1);
        self.command(seat, Command::OpenProxy { id, peer, open, listen, reply })?;
        let gone = |_| io::Error::new(io::ErrorKind::TimedOut, "the worker did not answer");
        let local = answer.recv_timeout(PATIENCE).map_err(gone)??;
        Ok(Tunnel { handle: self.clone(), seat, id, local, kept: false })
    }

    fn command(&self, seat: usize, command: Command) -> io::Result<()> {
        let worker = self.workers.get(seat);
        let push = |w: &Sender<Letter>| w.push(Lane::Urgent, Letter::Command(command)).is_ok();
        if worker.is_some_and(push) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the node is busy or stopping"))
    }

    /// How long to `peer` and back inside a line, opening one if need be.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn ping(
        &self,
        peer: Hashname,
        priority: Priority,
        length: usize,
        patience: Duration,
    ) -> Result<Duration, Failure> {
        let question = Question::Ping { priority, length, patience };
        match self.ask(peer, question, patience)? {
            Answer::Pong(rtt) => Ok(rtt),
            Answer::Failed { code, by } => Err(Failure::Code { code, by, rule: 0 }),
            Answer::Probed { .. } | Answer::Nearest(_) => Err(Failure::Busy),
        }
    }

    /// The nodes on the way to `peer`, one after the other, each as soon as it answered.
    ///
    /// # Errors
    /// [`Failure`], when there is no way.
    pub fn trace(
        &self,
        peer: Hashname,
        patience: Duration,
        mut each: impl FnMut(u8, Hop),
    ) -> Result<Vec<Hop>, Failure> {
        let mut hops = Vec::new();
        for ttl in 1..=HOPS {
            let hop = match self.ask(peer, Question::Probe { ttl, patience }, patience)? {
                Answer::Probed { node, code, after } => {
                    Hop { node, rtt: Some(after), arrived: code == Code::Arrived }
                }
                Answer::Failed { code: Code::TimedOut, .. } => {
                    Hop { node: Address::new([0; 16]), rtt: None, arrived: false }
                }
                Answer::Failed { code, by } => return Err(Failure::Code { code, by, rule: 0 }),
                Answer::Pong(_) | Answer::Nearest(_) => return Err(Failure::Busy),
            };
            each(ttl, hop);
            hops.push(hop);
            if hop.arrived {
                break;
            }
        }
        Ok(hops)
    }

    /// The hashnames of the space that are nearest to `to`, as far as this node can find out: the
    /// nearest first. Empty if there is nobody to ask.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn nearest(&self, to: Hashname, patience: Duration) -> Result<Vec<Hashname>, Failure> {
        let token = self.shared.new_token();
        let (reply, answer) = bounded(1);
        if !self.shared.expect(token, reply) {
            return Err(Failure::Busy);
        }
        let seat = self.plan.seat(Role::Meeting);
        let letter = Letter::Post(Role::Meeting, Post::Nearest(token, to));
        let sent = self.workers.get(seat).is_some_and(|w| w.push(Lane::Urgent, letter).is_ok());
        let answer = sent.then(|| answer.recv_timeout(patience));
        self.shared.forget(token);
        match answer {
            Some(Ok(Answer::Nearest(found))) => Ok(found),
            Some(Ok(Answer::Failed { code, by })) => Err(Failure::Code { code, by, rule: 0 }),
            Some(Err(_)) => Err(Failure::Code { code: Code::TimedOut, by: None, rule: 0 }),
            _ => Err(Failure::Busy),
        }
    }

    /// As [`Self::nearest`], of a text: 64 hex digits are taken as they are, anything else by its
    /// SHA-256.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn resolve(&self, what: &str, patience: Duration) -> Result<Vec<Hashname>, Failure> {
        self.nearest(named(what), patience)
    }

    fn ask(
        &self,
        peer: Hashname,
        question: Question,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let token = self.shared.new_token();
        let (reply, answer) = bounded(1);
        if !self.shared.expect(token, reply) {
            return Err(Failure::Busy);
        }
        let asked = self.post(peer, Ask { token, peer, question });
        let result = match asked {
            Ok(()) => answer.recv_timeout(patience + PATIENCE).map_err(|_| Failure::Code {
                code: Code::TimedOut,
                by: None,
                rule: 0,
            }),
            Err(failure) => Err(failure),
        };
        if result.is_err() {
            self.shared.forget(token);
        }
        result
    }

    fn post(&self, peer: Hashname, ask: Ask) -> Result<(), Failure> {
        let role = Role::Partition(self.plan.partition_of(&peer.address()));
        let letter = Letter::Post(role, Post::Ask(ask));
        let worker = self.workers.get(self.plan.seat(role)).ok_or(Failure::Busy)?;
        worker.push(Lane::Urgent, letter).map_err(|_| Failure::Busy)
    }

    /// What every worker tells of itself.
    ///
    /// # Errors
    /// [`Failure::Busy`], if one does not answer in time.
    pub fn report(&self) -> Result<Vec<Report>, Failure> {
        let (reply, answers) = bounded(self.workers.len());
        for seat in 0..self.workers.len() {
            self.command(seat, Command::Report(reply.clone())).map_err(|_| Failure::Busy)?;
        }
        drop(reply);
        let mut reports = Vec::new();
        while reports.len() < self.workers.len() {
            reports.push(answers.recv_timeout(PATIENCE).map_err(|_| Failure::Busy)?);
        }
        reports.sort_by_key(|r| r.seat);
        Ok(reports)
    }
}

/// A local port that leads to a target behind a peer, as long as this lives.
#[derive(Debug)]
pub struct Tunnel {
    handle: Handle,
    seat: usize,
    id: ProxyId,
    local: SocketAddr,
    kept: bool,
}

impl Tunnel {
    /// Where local programs connect.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Lets it live as long as the node.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.handle.command(self.seat, Command::CloseProxy(self.id));
        }
    }
}

/// The place in the space that a text names.
pub(crate) fn named(what: &str) -> Hashname {
    what.parse().unwrap_or_else(|_| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, what.as_bytes());
        let mut bytes = [0; Hashname::LEN];
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(b, d)| *b = *d);
        Hashname::new(bytes)
    })
}
