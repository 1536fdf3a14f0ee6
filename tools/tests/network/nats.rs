//! Hashnames that know nothing of each other but their names, behind real NATs: they meet, directly
//! where the NATs let them and over a bridge where not. Times are measured by `perf/nats.sh`.

use std::time::Duration;

use trunkline::control::protocol::PingAsk;
use trunkline_tools::clock::Clock;
use trunkline_tools::lab::strangers::{Met, Options, Place};
use trunkline_tools::lab::{Family, Lab, LabError, Nat};

type Outcome = Result<(), LabError>;

/// How long a pair has to become direct, and how long one that must not is watched.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_secs(4);

fn end_direct(places: &[Place]) -> Outcome {
    for place in places {
        let Ok(mut lab) = Lab::new() else { return Ok(()) };
        let strangers = lab.strangers(*place, &Options::default())?;
        let met = strangers.meet(PATIENCE);
        eprintln!("{place:?}: {met:?}");
        assert!(met.first.is_some(), "{place:?}: {}", strangers.account());
        assert!(met.is_direct(), "{place:?}: {}", strangers.account());
    }
    Ok(())
}

fn stay_bridged(places: &[Place]) -> Outcome {
    for place in places {
        let Ok(mut lab) = Lab::new() else { return Ok(()) };
        let strangers = lab.strangers(*place, &Options::default())?;
        let met = strangers.meet(GLANCE);
        eprintln!("{place:?}: {met:?}");
        assert!(met.first.is_some(), "{place:?}: {}", strangers.account());
        assert!(met.is_bridged(), "{place:?}: {}", strangers.account());
    }
    Ok(())
}

#[test]
fn s22_cones_and_firewalls_end_direct() -> Outcome {
    end_direct(&[
        Place::Apart(Nat::Port, Nat::Port),
        Place::Apart(Nat::Firewall, Nat::Port),
        Place::Apart(Nat::Address, Nat::Port),
    ])
}

#[test]
fn s22_a_symmetric_nat_and_an_address_restricted_one_end_direct() -> Outcome {
    end_direct(&[
        Place::Apart(Nat::Symmetric, Nat::Address),
        Place::Apart(Nat::Address, Nat::Symmetric),
    ])
}

#[test]
fn s22_symmetric_nats_fall_back_to_a_bridge() -> Outcome {
    stay_bridged(&[
        Place::Apart(Nat::Symmetric, Nat::Symmetric),
        Place::Apart(Nat::Port, Nat::Symmetric),
    ])
}

#[test]
fn s22_nats_in_a_row_end_direct_and_a_shared_one_that_does_not_turn_round_bridged() -> Outcome {
    end_direct(&[Place::Doubled([Nat::Port, Nat::Port], Nat::Port)])?;
    stay_bridged(&[Place::Carrier([Nat::Port, Nat::Port], Nat::Port)])
}

#[test]
fn s22_two_behind_one_nat_meet_inside_or_over_a_bridge_if_kept_apart() -> Outcome {
    end_direct(&[Place::Household(Nat::Port)])?;
    stay_bridged(&[Place::Customers(Nat::Port)])
}

#[test]
fn s22_plain_masquerades_meet_at_least_over_a_bridge() -> Outcome {
    // What is sent to let somebody in comes before that one has sent, and costs it its port there:
    // see `Nat::Bare`.
    for place in [Place::Apart(Nat::Bare, Nat::Bare), Place::Apart(Nat::Port, Nat::Bare)] {
        let Ok(mut lab) = Lab::new() else { return Ok(()) };
        let strangers = lab.strangers(place, &Options::default())?;
        let met = strangers.meet(Duration::from_secs(1));
        eprintln!("{place:?}: {met:?}");
        assert!(met.first.is_some(), "{place:?}: {}", strangers.account());
    }
    Ok(())
}

#[test]
fn s22_guests_of_a_relay_that_restarts_get_a_new_bridge_by_themselves() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let place = Place::Apart(Nat::Symmetric, Nat::Symmetric);
    let mut strangers = lab.strangers(place, &Options::default())?;
    assert!(strangers.meet(GLANCE).is_bridged(), "{}", strangers.account());
    strangers.nodes.run(&strangers.relay_host, &mut strangers.relay)?;
    let clock = Clock::start();
    let [a, b] = [&strangers.guests[0].node, &strangers.guests[1].node];
    let ask = || PingAsk { timeout_ms: 1_000, ..PingAsk::once(String::new()) };
    let mut back = false;
    while !back && clock.now().as_micros() < 90_000_000 {
        back = a.ping(&b.hashname, ask()).is_some_and(|s| s.received > 0);
    }
    eprintln!("a new bridge {:?} after the relay was up again", clock.now());
    assert!(back, "{}", strangers.account());
    Ok(())
}

/// Who speaks what, behind which gate, and how it ends.
fn met(kinds: [Nat; 2], speak: [Family; 2], patience: Duration) -> Result<Option<Met>, LabError> {
    let Ok(mut lab) = Lab::new() else { return Ok(None) };
    let options = Options { speak, ..Options::default() };
    let strangers = lab.strangers(Place::Apart(kinds[0], kinds[1]), &options)?;
    let met = strangers.meet(patience);
    eprintln!("{kinds:?} {speak:?}: {met:?}");
    assert!(met.first.is_some(), "{kinds:?} {speak:?}: {}", strangers.account());
    Ok(Some(met))
}

#[test]
fn s22_ipv6_alone_behind_stateful_firewalls_ends_direct() -> Outcome {
    let Some(met) = met([Nat::Firewall; 2], [Family::V6; 2], PATIENCE)? else { return Ok(()) };
    assert!(met.is_direct() && met.ways.iter().all(|w| w.contains("[fd77:")), "{met:?}");
    Ok(())
}

#[test]
fn s22_two_symmetric_nats_with_ipv6_beside_them_end_direct_over_it() -> Outcome {
    let Some(met) = met([Nat::Symmetric; 2], [Family::Both; 2], PATIENCE)? else { return Ok(()) };
    assert!(met.is_direct() && met.ways.iter().all(|w| w.contains("[fd77:")), "{met:?}");
    Ok(())
}

#[test]
fn s22_ipv6_alone_and_both_end_direct() -> Outcome {
    let speak = [Family::V6, Family::Both];
    let Some(met) = met([Nat::Firewall, Nat::Port], speak, PATIENCE)? else { return Ok(()) };
    assert!(met.is_direct(), "{met:?}");
    Ok(())
}

#[test]
fn s22_ipv4_alone_and_ipv6_alone_meet_over_a_bridge_that_speaks_both() -> Outcome {
    let speak = [Family::V4, Family::V6];
    let Some(met) = met([Nat::Port, Nat::Firewall], speak, GLANCE)? else { return Ok(()) };
    assert!(met.is_bridged(), "{met:?}");
    Ok(())
}
