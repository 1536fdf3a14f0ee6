//! Links that come and go while nodes run, what is told of them, and what is said to all.

mod common;

use std::time::Duration;

use common::{PATIENCE, identity, linked, listening, meet, plans};
use trunkline::config::Transport;
use trunkline::proto::base::{Hashname, Priority};
use trunkline::proto::mesh::Obstacle;
use trunkline::proto::wire::link::Cost;
use trunkline::{
    Code, Dial, Engine, Failure, Handle, LinkError, MeshChange, MeshChanges, Outbound, Sequence,
};

fn dial(name: &str, to: &Engine, cost: u32) -> Dial {
    Dial {
        name: name.into(),
        addresses: to.link_addresses().to_vec(),
        hashname: to.handle().hashname(),
        transport: Transport::Tls,
        cost: Cost::new(cost).expect("a cost"),
    }
}

/// The cost of the way to a node once it is what is expected.
fn wait_for_cost(from: &Handle, to: Hashname, expected: Option<u64>) {
    let cost = || {
        let found = from.explain(to.address()).expect("an answer");
        found.ok().map(|route| route.hop.cost)
    };
    for _ in 0..400 {
        if cost() == expected {
            return;
        }
        std::thread::park_timeout(PATIENCE / 400);
    }
    panic!("{:?} instead of {expected:?}", from.explain(to.address()));
}

/// Changes up to the one that is waited for, it included.
fn until(changes: &MeshChanges, last: impl Fn(&MeshChange) -> bool) -> Vec<MeshChange> {
    let mut all = Vec::new();
    loop {
        let change = changes.next(PATIENCE).unwrap_or_else(|| panic!("only {all:?}"));
        all.push(change);
        if last(&change) {
            return all;
        }
    }
}

#[test]
fn n1_n2_links_are_opened_priced_and_closed_while_the_node_runs() {
    for (name, plan) in plans() {
        let hub = Engine::start(listening(0, plan, Transport::Tls)).expect("a hub");
        let far = Engine::start(linked(1, plan, Transport::Tls, &[&hub])).expect("far");
        let node = Engine::start(listening(2, plan, Transport::Tls)).expect("a node");
        let (handle, to) = (node.handle(), far.handle().hashname());
        let changes = handle.changes();
        assert_eq!(handle.explain(to.address()), Ok(Err(Obstacle::Unknown)), "{name}");

        handle.link_add(dial("hub", &hub, 10)).expect("added");
        meet(&node, &far);
        wait_for_cost(handle, to, Some(20));
        handle.link_add(dial("direct", &far, 50)).expect("added");
        until(&changes, |c| matches!(c, MeshChange::LinkUp { peer, .. } if *peer == to));
        handle.link_cost("direct", Cost::new(15).expect("a cost")).expect("priced");
        wait_for_cost(handle, to, Some(15));
        let route = handle.explain(to.address()).expect("an answer").expect("a route");
        assert_eq!(route.ways.iter().map(|w| w.cost).collect::<Vec<_>>(), [15, 20], "{name}");
        handle
            .link_cost(&route.hop.link.0.to_string(), Cost::new(30).expect("a cost"))
            .expect("by number");
        wait_for_cost(handle, to, Some(20));

        handle.link_close("hub").expect("closed");
        wait_for_cost(handle, to, Some(30));
        handle.link_close(&route.hop.link.0.to_string()).expect("closed by number");
        wait_for_cost(handle, to, None);
        assert_eq!(handle.link_close("direct"), Err(LinkError::Unknown("direct".into())));
        assert_eq!(handle.link_close("99999"), Err(LinkError::Unknown("99999".into())));
        let all = until(&changes, |c| *c == MeshChange::NodeDown(to));
        assert!(all.iter().filter(|c| matches!(c, MeshChange::LinkDown { .. })).count() == 2);
    }
}

#[test]
fn n2_links_that_cannot_be_are_refused() {
    let (_, plan) = plans()[0];
    let mut setup = listening(0, plan, Transport::Tls);
    setup.limits.links = 2;
    let node = Engine::start(setup).expect("a node");
    let other = Engine::start(listening(1, plan, Transport::Tls)).expect("another");
    let handle = node.handle();
    assert_eq!(handle.link_add(dial("me", &node, 1)), Err(LinkError::Oneself));
    let nowhere = Dial { addresses: vec![], ..dial("nowhere", &other, 1) };
    assert_eq!(handle.link_add(nowhere), Err(LinkError::NoAddress("nowhere".into())));
    assert_eq!(handle.link_add(dial("one", &other, 1)), Ok(()));
    assert_eq!(handle.link_add(dial("one", &other, 1)), Err(LinkError::Taken("one".into())));
    assert_eq!(handle.link_add(dial("two", &other, 1)), Ok(()));
    assert_eq!(handle.link_add(dial("three", &other, 1)), Err(LinkError::Full(2)));
    handle.link_close("one").expect("closed");
    assert_eq!(handle.link_add(dial("three", &other, 1)), Ok(()));
}

#[test]
fn n1_a_follower_hears_of_each_link_and_node_once_and_in_order() {
    let (_, plan) = plans()[1];
    let hub = Engine::start(listening(0, plan, Transport::Tls)).expect("a hub");
    let node = Engine::start(linked(1, plan, Transport::Tls, &[&hub])).expect("a node");
    let early = node.handle().changes();
    let (to_hub, far_name) = (hub.handle().hashname(), identity(2).hashname());
    let far = Engine::start(linked(2, plan, Transport::Tls, &[&hub])).expect("far");
    let mut heard = until(&early, |c| *c == MeshChange::NodeUp(far_name));
    far.stop();
    heard.extend(until(&early, |c| *c == MeshChange::NodeDown(far_name)));
    assert!(matches!(heard[0], MeshChange::LinkUp { peer, .. } if peer == to_hub));
    let nodes =
        [MeshChange::NodeUp(to_hub), MeshChange::NodeUp(far_name), MeshChange::NodeDown(far_name)];
    assert_eq!(heard[1..], nodes);
    let late = node.handle().changes();
    let first = until(&late, |c| *c == MeshChange::NodeUp(to_hub));
    assert_eq!(first, heard[..2]);
    node.stop();
    drop(hub);
    let rest: Vec<_> = std::iter::from_fn(|| late.next(PATIENCE)).collect();
    assert!(matches!(rest[0], MeshChange::LinkDown { peer, .. } if peer == to_hub), "{rest:?}");
    assert_eq!(rest[1..], [MeshChange::NodeDown(to_hub)], "and no more calls");
}

#[test]
fn n7_n8_what_one_says_to_all_reaches_whoever_subscribed_at_each_node_once() {
    let (news, quiet) = ("news".parse().expect("a name"), "quiet".parse().expect("a name"));
    for (name, plan) in plans() {
        // A triangle with a tail: there is more than one way to everybody but the last.
        let mut nodes = vec![Engine::start(listening(0, plan, Transport::Tls)).expect("a node")];
        for (index, to) in [(1, vec![0]), (2, vec![0, 1]), (3, vec![2])] {
            let to: Vec<&Engine> = to.into_iter().map(|n: usize| &nodes[n]).collect();
            nodes.push(Engine::start(linked(index, plan, Transport::Tls, &to)).expect("a node"));
        }
        for a in &nodes {
            for b in nodes.iter().filter(|b| b.handle().hashname() != a.handle().hashname()) {
                meet(a, b);
            }
        }
        let takes = |n: &Engine| n.handle().subscribe(news, None).expect("a subscription");
        let taken: Vec<_> = nodes.iter().map(takes).collect();
        let other = nodes[0].handle().subscribe(quiet, None).expect("a subscription");
        let origin = nodes[1].handle();
        let mut what = Outbound::to(news, 7.into());
        what.priority = Priority::HIGHEST;
        let mut numbers = Vec::new();
        for n in 0..20u8 {
            what.sequence =
                [None, Some(Sequence::M), Some("MZ".parse().expect("one"))][usize::from(n) % 3];
            numbers.push(origin.broadcast(&what, vec![n; 1_000], n % 2 == 0).expect("sent"));
        }
        for (at, subscription) in taken.iter().enumerate() {
            let mut got = Vec::new();
            let expected = if at == 1 { 10 } else { 20 };
            while got.len() < expected {
                let m =
                    subscription.next(PATIENCE).unwrap_or_else(|| panic!("{name} {at}: {got:?}"));
                assert!(m.broadcast && m.proved && m.hashname == Some(origin.hashname()), "{m:?}");
                assert_eq!((m.record().len(), m.priority), (1_000, Priority::HIGHEST));
                assert_eq!(numbers[usize::from(m.record()[0])], m.id);
                got.push(m.id);
            }
            got.sort_unstable();
            let own = numbers.iter().step_by(2).copied().collect();
            assert_eq!(got, if at == 1 { own } else { numbers.clone() }, "{name} {at}");
            assert!(subscription.next(Duration::ZERO).is_none(), "{name} {at}: no more");
        }
        assert!(other.next(Duration::ZERO).is_none());
        let code = |said: Result<u64, Failure>| match said {
            Err(Failure::Code { code, by: None, .. }) => Some(code),
            _ => None,
        };
        let too_many = (0..100).find_map(|_| code(origin.broadcast(&what, "more", false)));
        assert_eq!(too_many, Some(Code::QueueFull), "{name}");
        let handle = nodes[0].handle();
        what.sequence = Some(Sequence::M);
        assert_eq!(code(handle.broadcast(&what, vec![0; 20_000], false)), Some(Code::TooLarge));
        what.sequence = Some(Sequence::MA);
        assert_eq!(code(handle.broadcast(&what, "a secret", false)), Some(Code::NoKey));
    }
}
