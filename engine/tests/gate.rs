//! The gatekeeper in running nodes: what it refuses comes back with its rule, what it does not judge
//! passes, and what it decided is counted.

mod common;

use std::time::Duration;

use common::{PATIENCE, identity, linked, listening, meet, plans};
use trunkline::config::{Gate, GateRule, Transport};
use trunkline::proto::gate::{Action, Hits};
use trunkline::proto::stage::plan::Plan;
use trunkline::{Code, Engine, Failure, Handle, Hashname, Namespace, Outbound, RecordId, Sequence};

fn ns(name: &str) -> Namespace {
    Namespace::new(name).expect("a name")
}

/// A message of a record to a namespace, in the line or not.
fn message(namespace: &str, record: u64, sealed: bool) -> Outbound {
    let mut what = Outbound::to(ns(namespace), RecordId::Integer(record));
    what.sequence = Some(if sealed { Sequence::MA } else { Sequence::M });
    what
}

fn refuse() -> GateRule {
    GateRule { action: Action::Refuse, ..GateRule::default() }
}

/// What became of a message: delivered, or refused by which rule of whom.
fn outcome(from: &Handle, to: Hashname, what: &Outbound) -> Result<(), (Code, u16)> {
    match from.deliver(to, what, "hello", PATIENCE) {
        Ok(_) => Ok(()),
        Err(Failure::Code { code, by, rule }) => {
            assert!(by.is_none_or(|by| by == to.address()), "{by:?}");
            Err((code, rule))
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn hits(engine: &Engine) -> Hits {
    let mut all = Hits::default();
    engine.handle().report().expect("a report").iter().for_each(|r| all.merge(&r.gate));
    all
}

/// A, a relay, and B with a gatekeeper; A and C have the relay for a neighbour.
fn guarded(plan: Plan, gate: Gate) -> (Engine, Engine, Engine, Engine) {
    let relay = Engine::start(listening(0, plan, Transport::Plain)).expect("a relay");
    let a = Engine::start(linked(1, plan, Transport::Plain, &[&relay])).expect("a");
    let mut b = linked(2, plan, Transport::Plain, &[&relay]);
    b.gate = gate;
    let b = Engine::start(b).expect("b");
    let c = Engine::start(linked(3, plan, Transport::Plain, &[&relay])).expect("c");
    meet(&a, &b);
    meet(&c, &b);
    (a, relay, b, c)
}

#[test]
fn n9_n20_what_is_refused_comes_back_with_its_rule_and_the_rest_passes() {
    for (name, plan) in plans() {
        let shop = Some("shop.*".parse().expect("a pattern"));
        let a_hashname = identity(1).hashname();
        let rules = vec![
            GateRule { record: Some(RecordId::Integer(666)), ..refuse() },
            GateRule { namespace: shop, sender: Some(a_hashname), ..GateRule::default() },
            GateRule { namespace: shop, ..refuse() },
            GateRule { neighbour: Some(identity(0).hashname()), ..GateRule::default() },
        ];
        let gate = Gate { default: Action::Refuse, dry_run: false, rules };
        let (a, _relay, b, c) = guarded(plan, gate);
        let to = b.handle().hashname();
        let _shop = b.handle().subscribe(ns("shop.orders"), None).expect("a subscription");
        let _other = b.handle().subscribe(ns("other"), None).expect("a subscription");
        let says = |who: &Engine, namespace, record, sealed| {
            outcome(who.handle(), to, &message(namespace, record, sealed))
        };
        for sealed in [true, false] {
            assert_eq!(says(&a, "other", 666, sealed), Err((Code::Refused, 1)), "{name}");
            assert_eq!(says(&c, "shop.orders", 1, sealed), Err((Code::Refused, 3)), "{name}");
            assert_eq!(says(&c, "other", 1, sealed), Ok(()), "{name}: by the neighbour");
            assert_eq!(says(&c, "nobody", 1, sealed), Err((Code::UnknownTarget, 0)), "{name}");
        }
        assert_eq!(says(&a, "shop.orders", 1, true), Ok(()), "{name}");
        let claimed = says(&a, "shop.orders", 1, false);
        assert_eq!(claimed, Err((Code::Refused, 3)), "{name}: a claim opens nothing");
        // What B says to itself is not judged.
        assert_eq!(outcome(b.handle(), to, &message("shop.orders", 666, true)), Ok(()));
        let counted = hits(&b);
        assert_eq!((counted.rules, counted.refused), (vec![2, 1, 3, 4], 5), "{name}");
    }
}

#[test]
fn n9_answers_to_own_requests_pass_and_unasked_ones_go_back() {
    let gate = Gate { default: Action::Refuse, dry_run: false, rules: Vec::new() };
    for (name, plan) in plans() {
        let (a, _relay, b, _c) = guarded(plan, gate.clone());
        let prices = a.handle().subscribe(ns("prices"), None).expect("a subscription");
        let (asker, to) = (b.handle().clone(), a.handle().hashname());
        for sealed in [true, false] {
            let (asker, what) = (asker.clone(), message("prices", 5, sealed));
            #[allow(clippy::disallowed_methods, reason = "asking while answering")]
            let asking = std::thread::spawn(move || asker.request(to, &what, "bread?", PATIENCE));
            let asked = prices.next(PATIENCE).expect("a request");
            asked.reply("two").expect("sent");
            assert_eq!(asking.join().expect("asked").expect(name).record(), "two");
            // The same answer again was not asked for any more.
            let again = asked.reply("three").expect("sent");
            assert!(again > 0);
        }
        let refused = outcome(a.handle(), b.handle().hashname(), &message("x", 1, true));
        assert_eq!(refused, Err((Code::Refused, 0)), "{name}: by the default");
        assert_eq!(hits(&b).refused, 1, "{name}: answers are not judged");
    }
}

#[test]
fn n20_broadcasts_are_judged_by_the_message_in_them_and_passed_on_all_the_same() {
    let (_, plan) = plans()[0];
    let news = Some("news".parse().expect("a pattern"));
    let rules = vec![GateRule { namespace: news, ..refuse() }];
    // The guarded one is in the middle: what it refuses, C behind it hears.
    let mut b = listening(0, plan, Transport::Plain);
    b.gate = Gate { default: Action::Allow, dry_run: false, rules };
    let b = Engine::start(b).expect("b");
    let a = Engine::start(linked(1, plan, Transport::Plain, &[&b])).expect("a");
    let c = Engine::start(linked(2, plan, Transport::Plain, &[&b])).expect("c");
    meet(&a, &c);
    let [at_b, at_c] = [&b, &c].map(|n| n.handle().subscribe(ns("news"), None).expect("taken"));
    let more_at_b = b.handle().subscribe(ns("more"), None).expect("taken");
    a.handle().broadcast(&message("news", 1, false), "refused at b", false).expect("said");
    a.handle().broadcast(&message("more", 1, false), "welcome at b", false).expect("said");
    assert_eq!(at_c.next(PATIENCE).expect("heard").record(), "refused at b");
    assert_eq!(more_at_b.next(PATIENCE).expect("heard").record(), "welcome at b");
    assert!(at_b.next(Duration::ZERO).is_none());
    let counted = hits(&b);
    assert_eq!((counted.rules, counted.default, counted.refused), (vec![1], 1, 1));
    assert_eq!(a.handle().came_back(), 0, "nothing comes back for a broadcast");
}

#[test]
fn n20_a_dry_run_counts_and_refuses_nothing() {
    let (_, plan) = plans()[0];
    let gate = Gate { default: Action::Allow, dry_run: true, rules: vec![refuse()] };
    let (a, _relay, b, _c) = guarded(plan, gate);
    let _taken = b.handle().subscribe(ns("x"), None).expect("a subscription");
    let to = b.handle().hashname();
    assert_eq!(outcome(a.handle(), to, &message("x", 1, true)), Ok(()));
    assert_eq!((hits(&b).rules, hits(&b).refused), (vec![1], 1));
}
