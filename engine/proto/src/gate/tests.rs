//! The gatekeeper against its definition: the first rule that matches, in a plain list.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::{Chance, Instant};
use core::time::Duration;

fn node(n: u8) -> Address {
    Address::new([n; 16])
}

fn name(text: &str) -> Namespace {
    Namespace::new(text).unwrap()
}

fn rules(list: &[Rule], default: Action) -> Rules {
    Rules::new(list.to_vec(), default, false, &mut Chance::from_number(1)).unwrap()
}

/// A sealed message of node 1 over port 22000 and neighbour 9.
fn question(record: u64, namespace: &str) -> Question {
    Question {
        entrance: Entrance { port: Some(22_000), neighbour: Some(node(9)) },
        record: RecordId::Integer(record),
        namespace: name(namespace),
        sender: node(1),
        proved: true,
    }
}

const ALLOW: Rule = Rule {
    action: Action::Allow,
    port: None,
    neighbour: None,
    record: None,
    namespace: None,
    sender: None,
};
const REFUSE: Rule = Rule { action: Action::Refuse, ..ALLOW };

#[test]
fn n20_the_first_rule_that_matches_decides_and_else_the_default() {
    let shop = Some("shop.*".parse().unwrap());
    let list = [
        Rule { record: Some(RecordId::Integer(7)), ..REFUSE },
        Rule { namespace: shop, port: Some(22_000), ..ALLOW },
        Rule { namespace: shop, ..REFUSE },
    ];
    let rules = rules(&list, Action::Refuse);
    assert_eq!(rules.decide(&question(7, "shop.orders")), (1, Action::Refuse));
    assert_eq!(rules.decide(&question(8, "shop.orders")), (2, Action::Allow));
    let entrance = Entrance { port: None, ..question(8, "a").entrance };
    let dialled = Question { entrance, ..question(8, "shop.orders") };
    assert_eq!(rules.decide(&dialled), (3, Action::Refuse));
    assert_eq!(rules.decide(&question(8, "shop")), (0, Action::Refuse));
    assert_eq!(rules.decide(&question(8, "shopping")), (0, Action::Refuse));
}

#[test]
fn n20_a_claimed_sender_opens_nothing_and_closes_what_it_names() {
    let list = [
        Rule { sender: Some(node(1)), namespace: Some("a".parse().unwrap()), ..ALLOW },
        Rule { sender: Some(node(1)), ..REFUSE },
    ];
    let rules = rules(&list, Action::Allow);
    assert_eq!(rules.decide(&question(1, "a")), (1, Action::Allow));
    let claimed = Question { proved: false, ..question(1, "a") };
    assert_eq!(rules.decide(&claimed), (2, Action::Refuse));
    let other = Question { sender: node(2), ..claimed };
    assert_eq!(rules.decide(&other), (0, Action::Allow));
}

#[test]
fn n20_record_ids_of_different_kinds_are_different() {
    let text = RecordId::text("7").unwrap();
    let uuid = RecordId::Uuid([b'7'; 16]);
    let rules = rules(&[Rule { record: Some(text), ..REFUSE }], Action::Allow);
    for (record, rule) in [(text, 1), (RecordId::Integer(7), 0), (uuid, 0)] {
        assert_eq!(rules.decide(&Question { record, ..question(7, "a") }).0, rule, "{record:?}");
    }
}

#[test]
fn n20_patterns_are_a_namespace_or_the_beginning_of_some() {
    for text in ["shop", "shop.*", "shop.eu.*", "a..*"] {
        assert_eq!(text.parse::<NamePattern>().unwrap().to_string(), text);
    }
    for text in ["", "*", "shop*", "shop.*.eu", "**", "sh op.*"] {
        assert_eq!(text.parse::<NamePattern>(), Err(NotAPattern), "{text:?}");
    }
}

#[test]
fn n20_each_decision_is_counted_where_it_was_made() {
    let list = [Rule { record: Some(RecordId::Integer(7)), ..REFUSE }, ALLOW];
    let mut gate = Gate::new(Arc::new(rules(&list[..1], Action::Allow)));
    for record in [7, 8, 7] {
        let verdict = gate.judge(&question(record, "a"));
        assert_eq!(verdict, Verdict { allow: record != 7, rule: u16::from(record == 7) });
    }
    assert_eq!(gate.hits(), &Hits { rules: vec![2], default: 1, refused: 2 });
    let mut sum = Hits::default();
    sum.merge(gate.hits());
    sum.merge(gate.hits());
    assert_eq!(sum, Hits { rules: vec![4], default: 2, refused: 4 });
}

#[test]
fn n20_a_dry_run_counts_and_lets_pass() {
    let chance = &mut Chance::from_number(1);
    let rules = Rules::new(vec![REFUSE], Action::Allow, true, chance).unwrap();
    let mut gate = Gate::new(Arc::new(rules));
    assert_eq!(gate.judge(&question(1, "a")), Verdict { allow: true, rule: 1 });
    assert_eq!((gate.hits().refused, gate.hits().rules[0]), (1, 1));
    assert!(gate.take_note(Instant::ZERO).is_some_and(|n| n.dry_run && n.rule == 1));
}

#[test]
fn n20_refusals_are_told_once_a_second_with_how_many_they_were() {
    let mut gate = Gate::new(Arc::new(rules(&[], Action::Refuse)));
    let start = Instant::ZERO;
    assert_eq!((gate.take_note(start), gate.deadline()), (None, None));
    gate.judge(&question(1, "a"));
    assert_eq!(gate.take_note(start).unwrap().refused, 1);
    for n in 0..5 {
        gate.judge(&question(n, "a"));
    }
    let soon = start + Duration::from_millis(999);
    assert_eq!(gate.take_note(soon), None);
    let due = gate.deadline().unwrap();
    let note = gate.take_note(due).unwrap();
    assert_eq!((note.refused, note.question.record), (5, RecordId::Integer(4)));
    assert_eq!(gate.deadline(), None);
}

#[test]
fn n20_rules_are_bounded() {
    let new = |n| Rules::new(vec![ALLOW; n], Action::Allow, false, &mut Chance::from_number(1));
    assert_eq!(new(Rules::MOST + 1).unwrap_err(), TooManyRules(10_001));
    assert_eq!(new(Rules::MOST).unwrap().decide(&question(1, "a")), (1, Action::Allow));
}

#[test]
fn n20_rules_that_can_never_decide_are_found_with_the_one_in_front() {
    let record = Some(RecordId::Integer(7));
    let (shop, orders) = ("shop.*".parse().unwrap(), "shop.orders".parse().unwrap());
    let list = [
        Rule { namespace: Some(shop), ..ALLOW },
        Rule { namespace: Some(orders), record, ..REFUSE },
        Rule { record, ..ALLOW },
        Rule { record, ..ALLOW },
        Rule { record, ..REFUSE },
        Rule { sender: Some(node(1)), ..ALLOW },
        // Not useless: it is for those who only claim to be node 1.
        Rule { sender: Some(node(1)), ..REFUSE },
        Rule { sender: Some(node(1)), port: Some(1), ..ALLOW },
        Rule { sender: Some(node(1)), port: Some(1), ..REFUSE },
    ];
    let found: Vec<Flaw> = rules(&list, Action::Allow).audit().collect();
    let expected = [
        Flaw::Unreachable { rule: 2, behind: 1, alike: false },
        Flaw::Duplicate { rule: 4, of: 3 },
        Flaw::Contradiction { rule: 5, with: 3 },
        Flaw::Unreachable { rule: 8, behind: 6, alike: true },
        Flaw::Unreachable { rule: 9, behind: 7, alike: true },
    ];
    assert_eq!(found, expected);
}

fn any_pattern() -> impl Strategy<Value = NamePattern> {
    "[ab](\\.[ab]){0,2}(\\.\\*)?".prop_map(|text| text.parse().unwrap())
}

fn any_record() -> impl Strategy<Value = RecordId> {
    prop_oneof![
        (0u64..3).prop_map(RecordId::Integer),
        "[01]".prop_map(|t| RecordId::text(&t).unwrap()),
        (0u8..2).prop_map(|b| RecordId::Uuid([b; 16])),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    use prop::option::of;
    let action = prop_oneof![Just(Action::Allow), Just(Action::Refuse)];
    let node = || of((0u8..2).prop_map(node));
    (action, of(0u16..2), node(), of(any_record()), of(any_pattern()), node()).prop_map(
        |(action, port, neighbour, record, namespace, sender)| Rule {
            action,
            port,
            neighbour,
            record,
            namespace,
            sender,
        },
    )
}

fn any_question() -> impl Strategy<Value = Question> {
    use prop::option::of;
    let entrance = (of(0u16..2), of((0u8..2).prop_map(node)));
    let name = "[ab](\\.[ab]){0,3}\\.?".prop_map(|n| Namespace::new(&n).unwrap());
    (entrance, any_record(), name, (0u8..2).prop_map(node), any::<bool>()).prop_map(
        |((port, neighbour), record, namespace, sender, proved)| Question {
            entrance: Entrance { port, neighbour },
            record,
            namespace,
            sender,
            proved,
        },
    )
}

proptest! {
    #[test]
    fn n20_the_look_up_finds_what_a_plain_list_finds(
        list in prop::collection::vec(any_rule(), 0..40),
        asked in prop::collection::vec(any_question(), 1..40),
    ) {
        let rules = rules(&list, Action::Allow);
        for q in asked {
            let plain = list.iter().position(|rule| rule.matches(&q));
            let number = plain.map_or(0, |index| index as u16 + 1);
            let action = plain.map_or(Action::Allow, |index| list[index].action);
            prop_assert_eq!(rules.decide(&q), (number, action), "{:?}", q);
        }
    }

    #[test]
    fn n20_a_rule_found_useless_decides_nothing(
        list in prop::collection::vec(any_rule(), 0..40),
        asked in prop::collection::vec(any_question(), 1..40),
    ) {
        let rules = rules(&list, Action::Allow);
        let useless: Vec<u16> = rules.audit().map(|flaw| flaw.rule()).collect();
        for q in asked {
            prop_assert!(!useless.contains(&rules.decide(&q).0), "{:?}", q);
        }
    }
}
