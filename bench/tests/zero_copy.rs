//! Forwarding in steady state allocates nothing and copies no payload byte: what is written lies
//! in the memory it was read into.

mod counting;

use std::hint::black_box;

use counting::Counting;
use trunkline_bench::relay::{Relay, frames};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts the allocations of `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = counting::allocations();
    work();
    counting::allocations() - before
}

/// Forwards `rounds` batches, each written before the next is read, `behind` batches late at most.
/// Gives back how many pieces written did not lie in memory of a read.
fn forward(relay: &mut Relay, batch: &[u8], rounds: usize, behind: usize) -> u64 {
    let mut copies = 0;
    // Room for the addresses of reads whose frames may still wait.
    let mut reads = [(0usize, 0usize); 16];
    for round in 0..rounds {
        let memory = relay.read(batch);
        reads[round % reads.len()] = (memory.start.addr(), memory.end.addr());
        if round % (behind + 1) == behind {
            relay.write(|piece| {
                let (start, end) = (piece.as_ptr().addr(), piece.as_ptr().addr() + piece.len());
                copies += u64::from(!reads.iter().any(|r| r.0 <= start && end <= r.1));
            });
        }
    }
    copies
}

#[test]
fn c3_c4_a_forwarded_frame_costs_no_allocation_and_no_copy() {
    let shapes = [
        ("64 × 300 B to one node", frames(64, 300, 1), 0),
        ("64 × 1,200 B to one node", frames(64, 1_200, 1), 3),
        ("64 × 300 B to a hundred nodes", frames(64, 300, 100), 0),
        ("one frame a round", frames(1, 300, 1), 0),
        ("one frame a round, a backlog of ten", frames(1, 300, 1), 9),
    ];
    assert_eq!(allocations(|| drop(black_box(vec![1u8]))), 1, "the counter does not count");
    let mut relay = Relay::new(100);
    for (name, batch, behind) in shapes {
        // Every slab has come round, every queue has had its length.
        forward(&mut relay, &batch, 2_000, behind);
        let (before, slabs) = (relay.forwarded(), relay.slabs());
        let mut copies = 0;
        let allocated = allocations(|| copies = forward(&mut relay, &batch, 10_000, behind));
        assert!(relay.forwarded() - before >= 10_000, "{name}: nothing was forwarded");
        assert_eq!(copies, 0, "{name}: pieces outside of what was read");
        assert_eq!(allocated, 0, "{name}: allocations");
        assert_eq!(relay.slabs(), slabs, "{name}: slabs");
    }
}
