//! Hashnames found by their names alone, over real sockets: by introducers, by operators, and from
//! an address without a key.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, identity, plans};
use trunkline::config::Transport;
use trunkline::directory::{self, Entry};
use trunkline::proto::base::{Hashname, Priority};
use trunkline::proto::stage::plan::Plan;
use trunkline::proto::switch::Path;
use trunkline::{Engine, Failure, Known, OperatorAt, Setup};

/// A node with a socket on loopback, before it starts.
fn node(index: usize, plan: Plan) -> Setup {
    let mut setup = Setup::new(identity(index));
    setup.plan = plan;
    setup.udp = vec![([127, 0, 0, 1], 0).into()];
    setup
}

/// Somebody whose address is known and whose key is not.
fn known(engine: &Engine) -> Known {
    let addresses = engine.udp_addresses().to_vec();
    Known { hashname: engine.handle().hashname(), record: None, addresses }
}

/// A node that is found, and finds others, through `introducer`.
fn guest(index: usize, plan: Plan, introducer: &Engine) -> Setup {
    let mut setup = node(index, plan);
    setup.known.push(known(introducer));
    setup.terms.introducers.push(introducer.handle().hashname());
    setup
}

fn meshing(mut setup: Setup) -> Setup {
    setup.terms.spacer = true;
    setup
}

fn ping(from: &Engine, to: Hashname) -> Result<Duration, Failure> {
    from.handle().ping(to, Priority::DEFAULT, 64, PATIENCE)
}

#[test]
fn s14_strangers_reach_each_other_knowing_only_an_introducer_and_a_name() {
    for (name, plan) in plans() {
        let introducer = Engine::start(meshing(node(0, plan))).unwrap();
        let [a, b] = [1, 2].map(|i| Engine::start(guest(i, plan, &introducer)).unwrap());
        // Whoever wants to be found has to have been heard of.
        ping(&b, introducer.handle().hashname()).unwrap_or_else(|e| panic!("{name}: {e}"));
        ping(&a, b.handle().hashname()).unwrap_or_else(|e| panic!("{name}: {e}"));
        ping(&b, a.handle().hashname()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let near = a.handle().resolve("anything", PATIENCE).unwrap();
        assert_eq!(near, [introducer.handle().hashname()], "{name}");
        let nobody = ping(&a, identity(5).hashname()).unwrap_err().to_string();
        assert!(nobody.contains("no-route"), "{name}: {nobody}");
    }
}

#[test]
fn s27_a_peer_without_a_record_is_asked_for_it_at_its_address() {
    let plan = Plan::collapsed(1);
    let b = Engine::start(node(1, plan)).unwrap();
    let mut setup = node(0, plan);
    setup.known.push(known(&b));
    let a = Engine::start(setup).unwrap();
    ping(&a, b.handle().hashname()).unwrap();
}

#[test]
fn s7_an_operator_answers_look_ups_from_an_applications_own_directory() {
    for (name, plan) in plans() {
        let member = identity(2);
        let record = Bytes::copy_from_slice(member.record().encoded());
        let (who, asked) = (member.hashname(), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let mut setup = meshing(node(0, plan));
        setup.directory = Some(directory::from_fn(move |asked: &Hashname| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok((*asked == who).then(|| Entry { record: record.clone(), voucher: None }))
        }));
        let operator = Engine::start(setup).unwrap();
        let at = OperatorAt {
            hashname: operator.handle().hashname(),
            addresses: operator.udp_addresses().to_vec(),
        };
        let mut setup = guest(1, plan, &operator);
        setup.operators.push(at);
        let a = Engine::start(setup).unwrap();
        let b = Engine::start(guest(2, plan, &operator)).unwrap();
        ping(&b, operator.handle().hashname()).unwrap();
        ping(&a, who).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(asked.load(Ordering::Relaxed) > 0, "{name}");
    }
}

#[test]
fn b1_a_line_over_a_relay_goes_direct_by_itself() {
    let plan = Plan::collapsed(1);
    let mut setup = common::listening(0, plan, Transport::Plain);
    setup.udp = vec![([127, 0, 0, 1], 0).into()];
    let relay = Engine::start(setup).unwrap();
    let [a, b] = [1, 2].map(|i| {
        let mut setup = common::linked(i, plan, Transport::Plain, &[&relay]);
        setup.udp = vec![([127, 0, 0, 1], 0).into()];
        // Here the relay's port for lines is not the one for links.
        setup.known.push(known(&relay));
        Engine::start(setup).unwrap()
    });
    common::meet(&a, &b);
    ping(&a, b.handle().hashname()).unwrap();
    let end = std::time::Instant::now() + PATIENCE;
    let direct = |x: &Engine, y: &Engine| {
        let contact = x.handle().contact(y.handle().hashname()).unwrap();
        contact.is_some_and(|c| matches!(c.path, Some(Path::Direct(_))))
    };
    while !(direct(&a, &b) && direct(&b, &a)) {
        assert!(std::time::Instant::now() < end, "{:?}", a.handle().contact(b.handle().hashname()));
        std::thread::yield_now();
    }
}
