//! The table of hashnames: bounded, found by address, and by slot without a search.

use crate::base::{Address, Chance, Hashname, Keyed, Map};

use super::contact::{Contact, Standing, State};

/// How many contacts are looked at to find one that can go. Bounds the work when full.
const LOOKS: usize = 32;

/// How many contacts there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// With a line.
    pub(super) lined: usize,
    /// Without one.
    pub(super) others: usize,
}

/// All contacts of one partition.
#[derive(Debug)]
pub(super) struct Contacts {
    /// Boxed: a table of contacts themselves would be half empty right after it doubled.
    slots: Vec<Option<Box<Contact>>>,
    free: Vec<u32>,
    by_address: Map<Address, u32>,
    bounds: Bounds,
    /// How many of them have a line.
    lined: usize,
    tenants: u32,
    /// Where the search for one that can go stands.
    hand: usize,
}

impl Contacts {
    pub(super) fn new(bounds: Bounds, chance: &mut Chance) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_address: Keyed::map(chance),
            bounds,
            lined: 0,
            tenants: 0,
            hand: 0,
        }
    }

    /// A number no other tenant of any slot has.
    pub(super) const fn new_tenant(&mut self) -> u32 {
        self.tenants = self.tenants.wrapping_add(1);
        self.tenants
    }

    pub(super) fn find(&self, address: &Address) -> Option<u32> {
        self.by_address.get(address).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Contact> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Contact> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.slots.iter().flatten().map(|contact| &**contact)
    }

    /// Every slot there is, taken or free.
    pub(super) fn all_slots(&self) -> core::ops::Range<u32> {
        0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether one more may have a line.
    pub(super) const fn has_room_for_a_line(&self) -> bool {
        self.lined < self.bounds.lined
    }

    /// Moves a contact to another state and hands out what the old one held. An illegal move is
    /// not made, nor one that would make a line too many.
    pub(super) fn become_(&mut self, slot: u32, next: Standing) -> Option<Standing> {
        let room = self.has_room_for_a_line();
        let contact = self.slots.get_mut(slot as usize)?.as_mut()?;
        let lined = |s: State| usize::from(s == State::Connected);
        let before = lined(contact.state());
        if before == 0 && !room && matches!(next, Standing::Connected(_)) {
            return None;
        }
        let held = contact.become_(next)?;
        self.lined = (self.lined + lined(contact.state())).saturating_sub(before);
        Some(held)
    }

    /// The slot of `hashname`, made if need be. `None` if the table is full of contacts that
    /// must stay, or if another hashname has the same address.
    pub(super) fn enter(&mut self, hashname: Hashname) -> Option<u32> {
        if let Some(slot) = self.find(&hashname.address()) {
            return (self.get(slot)?.hashname == hashname).then_some(slot);
        }
        if self.len().saturating_sub(self.lined) >= self.bounds.others {
            self.evict()?;
        }
        let tenant = self.new_tenant();
        let contact = Contact::new(hashname, tenant);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).ok()?
            }
        };
        *self.slots.get_mut(slot as usize)? = Some(Box::new(contact));
        self.by_address.insert(hashname.address(), slot);
        Some(slot)
    }

    /// Forgets one contact that nothing depends on.
    fn evict(&mut self) -> Option<()> {
        for _ in 0..LOOKS.min(self.slots.len()) {
            self.hand = (self.hand + 1) % self.slots.len();
            let idle = |c: &Contact| {
                // What the mesh said is said once: a contact it leads to must stay, and there are
                // no more of those than origins in the link state.
                !c.configured
                    && !c.reachable
                    && !c.wanted
                    && c.kept_until.is_none()
                    && c.questions.is_empty()
                    && !matches!(c.state(), State::Connected | State::Connecting)
            };
            let here = self.slots.get_mut(self.hand)?;
            if let Some(gone) = here.take_if(|c| idle(c)) {
                self.by_address.remove(&gone.hashname.address());
                self.free.push(u32::try_from(self.hand).ok()?);
                return Some(());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Line;
    use super::super::paths::Path;
    use super::*;
    use crate::base::Instant;

    fn name(i: u32) -> Hashname {
        let mut b = [0; 32];
        b[..4].copy_from_slice(&i.to_be_bytes());
        Hashname::new(b)
    }

    fn bounds(others: usize) -> Bounds {
        Bounds { lined: 5, others }
    }

    fn connect(t: &mut Contacts, slot: u32) -> bool {
        let line = Line::new(Instant::ZERO, Path::Mesh);
        t.become_(slot, Standing::Connected(Box::new(line))).is_some()
    }

    #[test]
    fn s15_lines_have_a_bound_of_their_own_and_take_no_room_from_those_without() {
        let mut t = Contacts::new(bounds(3), &mut Chance::from_number(1));
        for i in 0..5 {
            let slot = t.enter(name(i)).unwrap();
            assert!(connect(&mut t, slot));
        }
        for i in 5..20 {
            let slot = t.enter(name(i)).unwrap();
            assert!(!connect(&mut t, slot), "{i}");
        }
        assert_eq!((t.len(), t.lined), (8, 5));
        let gone = t.find(&name(2).address()).unwrap();
        assert!(t.become_(gone, Standing::Resolved).is_some());
        let next = t.find(&name(19).address()).unwrap();
        assert!(connect(&mut t, next));
        // Of four without a line one has to go before another comes.
        assert!(t.enter(name(20)).is_some());
        assert!((0..5).filter(|i| *i != 2).all(|i| t.find(&name(i).address()).is_some()));
        assert!(t.len() <= 9);
    }

    #[test]
    fn s15_a_flood_of_hashnames_holds_the_bound_and_keeps_what_is_configured() {
        let mut t = Contacts::new(bounds(100), &mut Chance::from_number(1));
        let kept = t.enter(name(0)).unwrap();
        t.get_mut(kept).unwrap().configured = true;
        for i in 1..10_000 {
            assert!(t.enter(name(i)).is_some(), "{i}");
        }
        assert_eq!(t.len(), 100);
        assert!(t.slots.len() <= 100);
        assert_eq!(t.find(&name(0).address()), Some(kept));
        assert_eq!(t.iter().count(), 100);
    }

    #[test]
    fn s15_a_table_full_of_what_must_stay_refuses() {
        let mut t = Contacts::new(bounds(3), &mut Chance::from_number(1));
        for i in 0..3 {
            let slot = t.enter(name(i)).unwrap();
            t.get_mut(slot).unwrap().wanted = true;
        }
        assert_eq!(t.enter(name(9)), None);
        assert!(t.enter(name(1)).is_some());
    }

    #[test]
    fn two_hashnames_with_one_address_are_not_taken_for_each_other() {
        let mut t = Contacts::new(bounds(3), &mut Chance::from_number(1));
        let mut twin = *name(1).as_bytes();
        twin[31] = 1;
        assert!(t.enter(name(1)).is_some());
        assert_eq!(t.enter(Hashname::new(twin)), None);
    }
}
