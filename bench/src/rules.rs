//! Rules of the gatekeeper, and messages they are about.
//!
//! The rules are of four shapes, as in the guide: record and namespace, record and sender, a prefix
//! of namespaces at a port, a sender at a port.

use trunkline_proto::base::{Address, Chance, Namespace, RecordId};
use trunkline_proto::gate::{Action, Entrance, Gate, NamePattern, Question, Rule, Rules};

fn node(n: u64) -> Address {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Address::new(bytes)
}

/// Rule `n`.
///
/// # Panics
/// Never: the names are some.
#[must_use]
pub fn rule(n: u64) -> Rule {
    let namespace = NamePattern::Exact(Namespace::new(&format!("shop.orders-{n}")).unwrap());
    let prefix = format!("shop-{n}.*").parse().unwrap();
    let record = Some(RecordId::Integer(n));
    let (port, action) = (Some(22_000), Action::Allow);
    let all = Rule { action, ..Rule::default() };
    match n % 4 {
        0 => Rule { record, namespace: Some(namespace), ..all },
        1 => Rule { record, sender: Some(node(n)), ..all },
        2 => Rule { port, namespace: Some(prefix), ..all },
        _ => Rule { port, sender: Some(node(n)), ..all },
    }
}

/// A message that rule `n` is about, and no other.
///
/// # Panics
/// Never: the names are some.
#[must_use]
pub fn about(n: u64) -> Question {
    Question {
        entrance: Entrance { port: Some(22_000), neighbour: Some(node(u64::MAX)) },
        record: RecordId::Integer(n),
        namespace: Namespace::new(&match n % 4 {
            2 => format!("shop-{n}.orders"),
            _ => format!("shop.orders-{n}"),
        })
        .unwrap(),
        sender: node(n),
        proved: true,
    }
}

/// A gate with rules 0 to `count`.
///
/// # Panics
/// If there are more than a gate takes.
#[must_use]
pub fn gate(count: u64) -> Gate {
    let list = (0..count).map(rule).collect();
    let chance = &mut Chance::from_number(count);
    let compiled = Rules::new(list, Action::Refuse, false, chance).expect("rules");
    Gate::new(std::sync::Arc::new(compiled))
}
