//! Which thread does what: a pure function of a few numbers.
//!
//! A *role* is a piece of work with its own state; a *seat* is a thread. *Collapsed* seats every
//! role of a number on one thread, so that a packet never waits for another thread to wake.
//! *Spread* gives each role a thread of its own.

use crate::base::{Address, LinkId};

/// A piece of work with its own state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The lines of a part of all hashnames, and the reading of a part of all sockets.
    Partition(u16),
    /// The streams of the lines of some partitions, and the sockets that streams lead to.
    Streams(u16),
    /// The link state and the routes of the whole node.
    Routing,
    /// Bringing hashnames together, for the whole node.
    Meeting,
    /// Finding the next hop for what some links bring.
    Forward(u16),
    /// The priority lanes and the writing of some sockets.
    Writer(u16),
}

/// How many of each role there are, and on how many threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Every thread does a share of everything.
    Collapsed,
    /// Every role has a thread of its own.
    Spread,
}

/// The seating of all roles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    placement: Placement,
    partitions: u16,
    streams: u16,
    forwards: u16,
    writers: u16,
}

impl Plan {
    /// `workers` threads that each do a share of everything.
    #[must_use]
    pub fn collapsed(workers: u16) -> Self {
        let n = workers.max(1);
        Self { placement: Placement::Collapsed, partitions: n, streams: n, forwards: n, writers: n }
    }

    /// A thread for each of so many partitions, stream workers, forwarders and writers, and one
    /// for what is off the path of packets.
    #[must_use]
    pub fn spread(partitions: u16, streams: u16, forwards: u16, writers: u16) -> Self {
        Self {
            placement: Placement::Spread,
            partitions: partitions.max(1),
            streams: streams.max(1),
            forwards: forwards.max(1),
            writers: writers.max(1),
        }
    }

    /// What measurement chose for a machine with so many cores: collapsed, a thread a core up to
    /// four. A wake-up costs 6 µs, a call nothing; see perf/RESULTS.md.
    #[must_use]
    pub fn for_cores(cores: usize) -> Self {
        Self::collapsed(u16::try_from(cores.div_ceil(2).clamp(1, 4)).unwrap_or(1))
    }

    /// Which placement this is.
    #[must_use]
    pub const fn placement(&self) -> Placement {
        self.placement
    }

    /// How many threads.
    #[must_use]
    pub const fn seats(&self) -> usize {
        match self.placement {
            Placement::Collapsed => self.partitions as usize,
            Placement::Spread => {
                self.partitions as usize
                    + self.streams as usize
                    + self.forwards as usize
                    + self.writers as usize
                    + 1
            }
        }
    }

    /// How many partitions.
    #[must_use]
    pub const fn partitions(&self) -> u16 {
        self.partitions
    }

    /// The thread a role is done on.
    #[must_use]
    pub const fn seat(&self, role: Role) -> usize {
        let (p, s, f) = (self.partitions as usize, self.streams as usize, self.forwards as usize);
        match (self.placement, role) {
            (Placement::Collapsed, Role::Routing | Role::Meeting) => 0,
            (
                Placement::Collapsed,
                Role::Partition(i) | Role::Streams(i) | Role::Forward(i) | Role::Writer(i),
            ) => i as usize,
            (Placement::Spread, Role::Partition(i)) => i as usize,
            (Placement::Spread, Role::Streams(i)) => p + i as usize,
            (Placement::Spread, Role::Forward(i)) => p + s + i as usize,
            (Placement::Spread, Role::Writer(i)) => p + s + f + i as usize,
            (Placement::Spread, Role::Routing | Role::Meeting) => self.seats() - 1,
        }
    }

    /// Every role.
    pub fn roles(&self) -> impl Iterator<Item = Role> + use<> {
        let all = |n: u16, role: fn(u16) -> Role| (0..n).map(role);
        all(self.partitions, Role::Partition)
            .chain(all(self.streams, Role::Streams))
            .chain(all(self.forwards, Role::Forward))
            .chain(all(self.writers, Role::Writer))
            .chain([Role::Routing, Role::Meeting])
    }

    /// The partition that owns a hashname, by its address.
    #[must_use]
    pub fn partition_of(&self, address: &Address) -> u16 {
        crate::base::id::partition(address, self.partitions)
    }

    /// The stream worker of a partition's lines.
    #[must_use]
    pub const fn streams_of(&self, partition: u16) -> Role {
        Role::Streams(partition % self.streams)
    }

    /// The partition whose thread reads a link.
    #[must_use]
    pub fn reader_of(&self, link: LinkId) -> Role {
        Role::Partition(modulo(link, self.partitions))
    }

    /// The forwarder of what a link brings.
    #[must_use]
    pub fn forward_of(&self, link: LinkId) -> Role {
        Role::Forward(modulo(link, self.forwards))
    }

    /// The writer of a link.
    #[must_use]
    pub fn writer_of(&self, link: LinkId) -> Role {
        Role::Writer(modulo(link, self.writers))
    }

    /// The forwarder of what a partition sends itself.
    #[must_use]
    pub const fn forward_for(&self, partition: u16) -> Role {
        Role::Forward(partition % self.forwards)
    }

    /// The writer of a partition's datagrams.
    #[must_use]
    pub const fn datagram_writer(&self, partition: u16) -> Role {
        Role::Writer(partition % self.writers)
    }
}

fn modulo(link: LinkId, n: u16) -> u16 {
    u16::try_from(link.0 % u32::from(n)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn c1_collapsed_seats_a_share_of_everything_on_each_thread() {
        let plan = Plan::collapsed(2);
        assert_eq!(plan.seats(), 2);
        assert_eq!(plan.seat(Role::Partition(1)), plan.seat(Role::Writer(1)));
        assert_eq!(plan.seat(Role::Routing), 0);
        assert_eq!(plan.reader_of(LinkId(3)), Role::Partition(1));
    }

    #[test]
    fn c2_spread_seats_every_role_alone() {
        let plan = Plan::spread(2, 1, 2, 1);
        let seats: HashSet<usize> = plan.roles().map(|r| plan.seat(r)).collect();
        assert_eq!((seats.len(), plan.seats()), (7, 7));
        assert!(seats.iter().all(|s| *s < 7));
    }

    #[test]
    fn c1_every_address_has_one_partition() {
        let plan = Plan::collapsed(4);
        let mut count = [0; 4];
        for i in 0..=255u8 {
            count[usize::from(plan.partition_of(&Address::new([i; 16])))] += 1;
        }
        assert_eq!(count, [64; 4]);
    }
}
