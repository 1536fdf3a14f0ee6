//! Who takes which messages at this node.

use std::collections::BTreeMap;

use crate::base::Namespace;

/// A number for a subscription, chosen by whoever subscribes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(pub u64);

/// What somebody takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// To know it by.
    pub id: SubscriptionId,
    /// Messages to this namespace:
    pub namespace: Namespace,
    /// to this target there, or all of them.
    pub target: Option<Namespace>,
}

/// There are as many subscriptions as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many subscriptions as there may be")]
pub struct TooManySubscriptions;

/// Who takes, and to which target; all if to none.
type Taker = (SubscriptionId, Option<Namespace>);

/// The subscriptions of a node.
#[derive(Debug)]
pub(super) struct Subscriptions {
    by_namespace: BTreeMap<Box<[u8]>, Vec<Taker>>,
    count: usize,
    most: usize,
}

impl Subscriptions {
    pub(super) const fn new(most: usize) -> Self {
        Self { by_namespace: BTreeMap::new(), count: 0, most }
    }

    pub(super) fn add(&mut self, what: Subscription) -> Result<(), TooManySubscriptions> {
        if self.count >= self.most {
            return Err(TooManySubscriptions);
        }
        self.count += 1;
        self.by_namespace
            .entry(what.namespace.as_bytes().into())
            .or_default()
            .push((what.id, what.target));
        Ok(())
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) {
        self.by_namespace.retain(|_, takers| {
            takers.retain(|(held, _)| *held != id);
            !takers.is_empty()
        });
        self.count = self.by_namespace.values().map(Vec::len).sum();
    }

    /// Who takes a message to this namespace and target.
    pub(super) fn takers<'a>(
        &'a self,
        namespace: &[u8],
        target: Option<&'a [u8]>,
    ) -> impl Iterator<Item = SubscriptionId> + 'a {
        let all = self.by_namespace.get(namespace).into_iter().flatten();
        let takes = move |t: &Option<Namespace>| {
            t.as_ref().is_none_or(|t| target.is_some_and(|target| target == t.as_bytes()))
        };
        all.filter(move |(_, t)| takes(t)).map(|(id, _)| *id)
    }
}
