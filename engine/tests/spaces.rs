//! Closed spaces over real sockets: who is vouched for gets through, who is not is told so; two
//! spaces, or two hashnames of one, in a process.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, identity, linked, listening, meet, plans};
use trunkline::config::Transport;
use trunkline::proto::base::{Chance, Priority};
use trunkline::proto::crypto::{Flags, Identity, SpaceRules, voucher};
use trunkline::proto::stage::plan::Plan;
use trunkline::runtime::clock::Clock;
use trunkline::{Engine, Setup};

const DAY: Duration = Duration::from_secs(86_400);
/// The operator of the closed space; the relay of all of these tests.
const OPERATOR: usize = 0;

/// The space `test`, closed; who has no voucher shows none.
fn close(mut setup: Setup, vouched: bool) -> Setup {
    let operator = identity(OPERATOR);
    let rules = SpaceRules::closed(*operator.space(), [operator.hashname()]);
    rules.learned(operator.record());
    if vouched {
        let (us, end) = (setup.identity.hashname(), Clock::wall().after(DAY));
        let voucher = voucher::issue(&operator, &us, Flags::NONE, end);
        rules.show(Bytes::copy_from_slice(&voucher));
    }
    setup.space = Arc::new(rules);
    setup
}

/// Waits until a node's report satisfies `seen`.
fn wait(engine: &Engine, seen: impl Fn(&trunkline::runtime::letters::Report) -> bool) {
    for _ in 0..2_000 {
        if engine.handle().report().unwrap_or_default().iter().any(&seen) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let reports = engine.handle().report().unwrap_or_default();
    let dials: Vec<_> = reports.iter().flat_map(|r| &r.dials).collect();
    panic!("it never came to be: {dials:?}");
}

#[test]
fn s5_members_of_a_closed_space_meet_and_a_stranger_is_told_why_not() {
    for (name, plan) in plans() {
        for transport in [Transport::Tls, Transport::Plain] {
            let relay = close(listening(OPERATOR, plan, transport), false);
            let relay = Engine::start(relay).expect("a relay");
            let start = |index, vouched| {
                let setup = close(linked(index, plan, transport, &[&relay]), vouched);
                Engine::start(setup).expect("a node")
            };
            let (a, b, stranger) = (start(1, true), start(2, true), start(3, false));
            meet(&a, &b);
            let to = b.handle().hashname();
            a.handle().ping(to, Priority::DEFAULT, 9, PATIENCE).expect(name);
            // Where another thread writes, the connection may end before the goodbye has left.
            let why = if name == "spread" { "" } else { "no voucher was shown" };
            wait(&stranger, |report| {
                let told = |e: &String| e.contains(why);
                report.dials.iter().any(|d| d.last_error.as_ref().is_some_and(told))
            });
            let us = stranger.handle().hashname();
            assert!(!relay.handle().wait_reachable(&us, Duration::ZERO), "{name}");
        }
    }
}

#[test]
fn s7_one_operator_down_is_no_outage() {
    // Both vouched for by an operator that does not run; the relay is a member like them.
    let plan = Plan::collapsed(1);
    let relay = close(listening(3, plan, Transport::Tls), true);
    let relay = Engine::start(relay).expect("a relay");
    let start = |index| {
        let setup = close(linked(index, plan, Transport::Tls, &[&relay]), true);
        Engine::start(setup).expect("a node")
    };
    let (a, b) = (start(1), start(2));
    meet(&a, &b);
    a.handle().ping(b.handle().hashname(), Priority::DEFAULT, 9, PATIENCE).expect("a line");
}

#[test]
fn s4_two_spaces_in_one_process_do_not_mix() {
    let plan = Plan::collapsed(1);
    let here = Engine::start(listening(0, plan, Transport::Tls)).expect("a node");
    let elsewhere = {
        let (space, mut chance) = ("elsewhere".parse().unwrap(), Chance::from_number(77));
        Identity::generate(&space, 2_048, &mut chance, Clock::wall(), DAY).unwrap()
    };
    let mut setup = Setup::new(elsewhere);
    setup.plan = plan;
    setup.udp = vec!["127.0.0.1:0".parse().unwrap()];
    setup.dials = linked(1, plan, Transport::Tls, &[&here]).dials;
    let other = Engine::start(setup).expect("a node of another space");
    wait(&other, |report| {
        report.dials.iter().any(|d| d.last_error.as_ref().is_some_and(|e| e.contains("space")))
    });
    assert!(!here.handle().wait_reachable(&other.handle().hashname(), Duration::ZERO));
    // In its own space the process's other node is reached as ever.
    let friend = Engine::start(linked(2, plan, Transport::Tls, &[&here])).expect("a friend");
    meet(&here, &friend);
}

#[test]
fn s5_several_hashnames_in_one_process() {
    let plan = Plan::collapsed(1);
    let relay = Engine::start(listening(0, plan, Transport::Tls)).expect("a relay");
    let all: Vec<Engine> = (1..5)
        .map(|i| Engine::start(linked(i, plan, Transport::Tls, &[&relay])).expect("a node"))
        .collect();
    for (a, b) in all.iter().zip(all.iter().skip(1)) {
        meet(a, b);
        a.handle().ping(b.handle().hashname(), Priority::DEFAULT, 9, PATIENCE).expect("a line");
    }
}
