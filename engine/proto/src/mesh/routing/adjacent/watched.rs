//! Something that is asked when it is due far oftener than it changes.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

use crate::base::Instant;

/// A value, and the deadline that was last found in it: forgotten whenever it is borrowed to be changed.
#[derive(Debug)]
pub(super) struct Watched<T> {
    value: T,
    due: Cell<Option<Instant>>,
}

impl<T> Watched<T> {
    pub(super) const fn new(value: T) -> Self {
        Self { value, due: Cell::new(None) }
    }

    /// The deadline, if it was found since the last change and there is one.
    pub(super) const fn known(&self) -> Option<Instant> {
        self.due.get()
    }

    /// The deadline; looked for by `find` if it is not known.
    pub(super) fn found(&self, find: impl FnOnce(&T) -> Option<Instant>) -> Option<Instant> {
        if self.due.get().is_none() {
            self.due.set(find(&self.value));
        }
        self.due.get()
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.due.set(None);
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_looked_for_once_until_something_may_have_changed() {
        let at = Instant::from_micros;
        let looks = Cell::new(0);
        let look = |all: &Vec<u64>| {
            looks.set(looks.get() + 1);
            all.iter().min().map(|us| at(*us))
        };
        let mut all = Watched::new(vec![30, 20]);
        assert_eq!(all.known(), None);
        assert_eq!(
            (all.found(look), all.found(look), looks.get()),
            (Some(at(20)), Some(at(20)), 1)
        );
        assert_eq!((all.len(), all.known()), (2, Some(at(20))), "to read changes nothing");
        all.push(10);
        assert_eq!((all.known(), all.found(look), looks.get()), (None, Some(at(10)), 2));
    }
}
