//! Nodes in this process, over real sockets on loopback.
#![allow(dead_code, reason = "each test uses its part")]

use std::sync::OnceLock;
use std::time::Duration;

use trunkline::proto::base::{Chance, Hashname};
use trunkline::proto::crypto::Identity;
use trunkline::proto::stage::plan::Plan;
use trunkline::proto::wire::link::Cost;
use trunkline::{Dial, Engine, Listener, Setup};

use trunkline::config::Transport;

/// Long enough for a loaded machine; nothing waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Identities are slow to make: each is made once for the process, as its key text.
pub(crate) fn identity(index: usize) -> Identity {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let space = "test".parse().expect("a space");
        let life = Duration::from_secs(86_400);
        let wall = trunkline::runtime::clock::Clock::wall();
        (0..6)
            .map(|i| {
                let mut chance = Chance::from_number(1_000 + i);
                let id = Identity::generate(&space, 2_048, &mut chance, wall, life);
                id.expect("an identity").to_text().expect("a text").to_string()
            })
            .collect()
    });
    Identity::from_text(&texts[index]).expect("our own text")
}

/// The plans every behaviour must hold under.
#[allow(dead_code, reason = "not every test is about plans")]
pub(crate) fn plans() -> [(&'static str, Plan); 3] {
    [
        ("one thread", Plan::collapsed(1)),
        ("two threads, collapsed", Plan::collapsed(2)),
        ("spread", Plan::spread(2, 2, 1, 2)),
    ]
}

/// A node listening for links at a free port of loopback.
pub(crate) fn listening(index: usize, plan: Plan, transport: Transport) -> Setup {
    let mut setup = Setup::new(identity(index));
    setup.name = format!("node-{index}");
    setup.plan = plan;
    let cost = Cost::new(10).expect("a cost");
    let address = "127.0.0.1:0".parse().expect("an address");
    setup.listeners.push(Listener { address, transport, cost });
    setup
}

/// A node that keeps a link to another one up.
pub(crate) fn linked(index: usize, plan: Plan, transport: Transport, to: &[&Engine]) -> Setup {
    let mut setup = listening(index, plan, transport);
    for engine in to {
        setup.dials.push(Dial {
            name: "link".into(),
            addresses: engine.link_addresses().to_vec(),
            hashname: engine.handle().hashname(),
            transport,
            cost: Cost::new(10).expect("a cost"),
        });
    }
    setup
}

/// Waits until each of these reaches the other.
pub(crate) fn meet(a: &Engine, b: &Engine) {
    let reach = |x: &Engine, to: Hashname| x.handle().wait_reachable(&to, PATIENCE);
    assert!(reach(a, b.handle().hashname()), "no route one way");
    assert!(reach(b, a.handle().hashname()), "no route the other way");
}
