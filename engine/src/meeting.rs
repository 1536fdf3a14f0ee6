//! What the part of a node that brings hashnames together is told at the start, and the thread that
//! answers it from the directory: reading a disk must not hold up packets.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use trunkline_proto::base::Hashname;
use trunkline_proto::stage::plan::Role;
use trunkline_proto::stage::post::Post;
use trunkline_proto::stage::renewal::papers;
use trunkline_proto::switch::meet::Terms;

use crate::directory::Directory;
use crate::runtime::letters::Letter;
use crate::runtime::mailbox::{Lane, Sender as Mail};
use crate::setup::Setup;

/// Look-ups that wait for the directory. × ~100 bytes.
const WAITING: usize = 1_024;
/// Neighbours with which a line is kept so that they tell where this node is seen from: two see
/// what kind of NAT it is.
const WITNESSES: usize = 2;

/// A question for the directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookUp {
    pub(crate) asker: Hashname,
    pub(crate) id: u64,
    pub(crate) who: Hashname,
}

/// The terms of a node that receives at `udp`.
pub(crate) fn terms(setup: &Setup, udp: &[SocketAddr]) -> Terms {
    let us = setup.identity.hashname();
    let mut terms = setup.terms.clone();
    let operators = setup.operators.iter().map(|o| o.hashname).filter(|o| *o != us);
    terms.operators.extend(operators);
    terms.serves_keys = setup.directory.is_some();
    if !udp.is_empty() {
        let neighbours = setup.dials.iter().map(|d| d.hashname);
        terms.witnesses.extend(neighbours.take(WITNESSES));
    }
    terms.local.extend(local(setup, udp));
    terms
}

/// Where this node receives, as seen from here: of a socket on all addresses, those from which
/// packets to others would leave. Nothing is sent to find that out.
fn local(setup: &Setup, udp: &[SocketAddr]) -> Vec<SocketAddr> {
    let known = setup.known.iter().flat_map(|k| &k.addresses);
    let dials = setup.dials.iter().flat_map(|d| &d.addresses);
    let somewhere = [
        SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 9),
        SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), 9),
    ];
    let targets: Vec<SocketAddr> = known.chain(dials).copied().chain(somewhere).collect();
    // The IPv6 wildcard takes IPv4 as well, unless there is an address for that.
    let both = !udp.iter().any(SocketAddr::is_ipv4);
    let mut out = Vec::new();
    for at in udp {
        if !at.ip().is_unspecified() {
            out.push(*at);
            continue;
        }
        for to in targets.iter().filter(|to| both || to.is_ipv4() == at.is_ipv4()) {
            let from = match to {
                SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let from = from.and_then(|s| s.connect(to).and_then(|()| s.local_addr()));
            if let Ok(from) = from {
                out.push(SocketAddr::new(from.ip(), at.port()));
            }
        }
    }
    let mut seen = Vec::new();
    out.retain(|at| {
        let new = !seen.contains(at) && !at.ip().is_unspecified();
        seen.push(*at);
        new
    });
    out
}

/// Starts answering from a directory. The thread ends when every sender of questions is gone.
pub(crate) fn answer(
    directory: Arc<dyn Directory>,
    meeting: Mail<Letter>,
) -> std::io::Result<(Sender<LookUp>, JoinHandle<()>)> {
    let (sender, questions): (_, Receiver<LookUp>) = bounded(WAITING);
    let thread = std::thread::Builder::new().name("directory".into()).spawn(move || {
        for LookUp { asker, id, who } in questions {
            let papers = match directory.look_up(&who) {
                Ok(entry) => entry.map(|e| papers(&e.voucher.unwrap_or_default(), &e.record)),
                Err(error) => {
                    // Whoever asks hears nothing, and asks another operator.
                    tracing::warn!(%error, "a key was asked for and cannot be looked up");
                    continue;
                }
            };
            let post = Post::LookedUp { asker, id, who, papers };
            // A full mailbox is a question lost: it is asked again.
            let _ = meeting.push(Lane::Urgent, Letter::Post(Role::Meeting, post));
        }
    })?;
    Ok((sender, thread))
}
