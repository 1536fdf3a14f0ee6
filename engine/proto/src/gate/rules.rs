//! All rules, and the one that decides, found without looking at each.
//!
//! Rules that set the same fields lie in one hash table, under what they set: one look-up for each
//! combination of fields that is in use, however many rules use it. The tables are asked in the
//! order of their first rules, until none can know an earlier rule than the one found. A prefix of
//! `n` labels counts as a combination of its own: the message's namespace up to its `n`th dot.
//!
//! Keyed hashing, because what is looked up comes from the network.

use core::hash::{Hash, Hasher};

use super::Question;
use super::rule::{Action, NamePattern, Rule};
use crate::base::{Address, Chance, Keyed, Map, Namespace, RecordId};

/// The rules of a node, in order, and its default. Never changed: shared by all that judge.
/// By default there are none, and everything is welcome.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    list: Vec<Rule>,
    default: Action,
    dry_run: bool,
    /// In the order of their first rules.
    tables: Vec<Table>,
}

/// More rules than [`Rules::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} rules are too many, at most {most}", most = Rules::MOST)]
pub struct TooManyRules(pub usize);

/// Which fields the rules of a table set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    port: bool,
    neighbour: bool,
    record: bool,
    namespace: Span,
    sender: bool,
}

/// How much of a namespace counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Nothing,
    Whole,
    /// Up to and with so many dots.
    Dots(usize),
}

/// What the rules of a table set, or what a message has in their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    port: Option<u16>,
    neighbour: Option<Address>,
    record: Option<RecordId>,
    namespace: Option<Namespace>,
    sender: Option<Address>,
}

/// The first rules under one key, [`NONE`] if there is none.
#[derive(Clone, Copy, Debug)]
struct First {
    /// Of all of them.
    any: u16,
    /// Of those that refuse: all that a sender's mere claim can match.
    refusing: u16,
}

#[derive(Clone, Debug)]
struct Table {
    shape: Shape,
    /// The number of its first rule.
    least: u16,
    rules: Map<Key, First>,
}

/// What is looked up: a message, or all messages that a rule is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    port: Option<u16>,
    neighbour: Option<Address>,
    record: Option<RecordId>,
    namespace: Option<NamePattern>,
    sender: Option<Address>,
    proved: bool,
}

/// Larger than the number of any rule.
const NONE: u16 = u16::MAX;

impl Rules {
    /// The most rules of a node: 10,000 × ~700 bytes = 7 MiB, and 80 KiB of counters a thread.
    pub const MOST: usize = 10_000;

    /// These rules in this order. In a dry run they are judged and counted, and nothing is
    /// refused.
    ///
    /// # Errors
    /// [`TooManyRules`].
    pub fn new(
        list: Vec<Rule>,
        default: Action,
        dry_run: bool,
        chance: &mut Chance,
    ) -> Result<Self, TooManyRules> {
        if list.len() > Self::MOST {
            return Err(TooManyRules(list.len()));
        }
        let mut tables: Vec<Table> = Vec::new();
        for (number, rule) in (1..).zip(&list) {
            let (shape, key) = (Shape::of(rule), Probe::of(rule));
            let known = tables.iter().position(|t| t.shape == shape);
            let index = known.unwrap_or(tables.len());
            if known.is_none() {
                tables.push(Table { shape, least: number, rules: Keyed::map(chance) });
            }
            let Some((table, key)) = tables.get_mut(index).zip(shape.key(&key)) else { continue };
            let first = table.rules.entry(key).or_insert(First { any: number, refusing: NONE });
            if rule.action == Action::Refuse {
                first.refusing = first.refusing.min(number);
            }
        }
        Ok(Self { list, default, dry_run, tables })
    }

    /// The number of the rule that decides, counted from 1, and what it does; 0 is the default.
    #[must_use]
    pub fn decide(&self, question: &Question) -> (u16, Action) {
        let number = self.first(&Probe::from(question)).unwrap_or(0);
        (number, self.rule(number).map_or(self.default, |rule| rule.action))
    }

    /// The first rule that matches everything that `probe` stands for.
    pub(super) fn first(&self, probe: &Probe) -> Option<u16> {
        let mut found = NONE;
        for table in &self.tables {
            if table.least >= found {
                break;
            }
            let first = table.shape.key(probe).and_then(|key| table.rules.get(&key));
            if let Some(first) = first {
                let claim = table.shape.sender && !probe.proved;
                found = found.min(if claim { first.refusing } else { first.any });
            }
        }
        (found != NONE).then_some(found)
    }

    /// The rule of that number, counted from 1.
    #[must_use]
    pub fn rule(&self, number: u16) -> Option<&Rule> {
        self.list.get(usize::from(number).checked_sub(1)?)
    }

    /// All rules in order.
    #[must_use]
    pub fn list(&self) -> &[Rule] {
        &self.list
    }

    /// What becomes of messages that no rule matches.
    #[must_use]
    pub const fn default_action(&self) -> Action {
        self.default
    }

    /// Whether nothing is refused.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether nothing can ever be refused: there is nothing to judge.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.list.is_empty() && matches!(self.default, Action::Allow)
    }
}

impl Probe {
    /// Everything that `rule` is about.
    pub(super) fn of(rule: &Rule) -> Self {
        let Rule { action, port, neighbour, record, namespace, sender } = *rule;
        let proved = action == Action::Allow;
        Self { port, neighbour, record, namespace, sender, proved }
    }
}

impl From<&Question> for Probe {
    fn from(q: &Question) -> Self {
        Self {
            port: q.entrance.port,
            neighbour: q.entrance.neighbour,
            record: Some(q.record),
            namespace: Some(NamePattern::Exact(q.namespace)),
            sender: Some(q.sender),
            proved: q.proved,
        }
    }
}

impl Shape {
    fn of(rule: &Rule) -> Self {
        Self {
            port: rule.port.is_some(),
            neighbour: rule.neighbour.is_some(),
            record: rule.record.is_some(),
            namespace: match &rule.namespace {
                None => Span::Nothing,
                Some(NamePattern::Exact(_)) => Span::Whole,
                Some(NamePattern::Prefix(prefix)) => {
                    Span::Dots(prefix.as_bytes().iter().filter(|b| **b == b'.').count())
                }
            },
            sender: rule.sender.is_some(),
        }
    }

    /// What `probe` has in the fields of this shape; none if it leaves one of them open.
    fn key(self, probe: &Probe) -> Option<Key> {
        let mut key = Key::default();
        if self.port {
            key.port = Some(probe.port?);
        }
        if self.neighbour {
            key.neighbour = Some(probe.neighbour?);
        }
        if self.record {
            key.record = Some(probe.record?);
        }
        if self.sender {
            key.sender = Some(probe.sender?);
        }
        key.namespace = match (self.namespace, probe.namespace) {
            (Span::Nothing, _) => None,
            (Span::Whole, Some(NamePattern::Exact(name))) => Some(name),
            (Span::Dots(n), Some(NamePattern::Exact(name) | NamePattern::Prefix(name))) => {
                Some(up_to_dot(&name, n)?)
            }
            (Span::Whole | Span::Dots(_), _) => return None,
        };
        Some(key)
    }
}

/// The beginning of `name` up to and with its `n`th dot, if it has as many.
fn up_to_dot(name: &Namespace, n: usize) -> Option<Namespace> {
    let bytes = name.as_bytes();
    let mut dots = (1..).zip(bytes).filter(|(_, b)| **b == b'.');
    let (end, _) = dots.nth(n.checked_sub(1)?)?;
    Namespace::from_bytes(bytes.get(..end)?).ok()
}

/// Only what is there: names are kept in room for the longest.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(port) = self.port {
            state.write_u16(port);
        }
        for address in [self.neighbour, self.sender].iter().flatten() {
            state.write(address.as_bytes());
        }
        match &self.record {
            None => {}
            Some(RecordId::Integer(n)) => state.write_u64(*n),
            Some(RecordId::Uuid(bytes)) => state.write(bytes),
            Some(RecordId::Text(text)) => state.write(text.as_bytes()),
        }
        if let Some(name) = &self.namespace {
            state.write_u8(0);
            state.write(name.as_bytes());
        }
    }
}
