//! The grouping, without a socket: whatever is queued, nothing is lost, doubled or reordered within
//! an address.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use proptest::prelude::*;

use super::{BATCH, Kind, MAX_SEGMENTED_BYTES, MAX_SEGMENTS, Outbound, Plan, SendBatch, WINDOW};

fn queue(items: &[(u8, usize)]) -> VecDeque<Outbound> {
    let to = |peer: u8| SocketAddr::from(([10, 0, 0, peer], 4000 + u16::from(peer)));
    let outbound = |(peer, len): &(u8, usize)| {
        // Some peers get what may be cut.
        let (to, frame) = (to(*peer), Bytes::from(vec![*peer; *len]));
        Outbound { to, frame, divisible: peer % 5 == 4 }
    };
    items.iter().map(outbound).collect()
}

/// Lengths as traffic has them: mostly equal, some shorter, a few of any size.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => Just(300_usize), 2 => Just(1200_usize), 1 => 0..2000_usize]
}

proptest! {
    #[test]
    fn a_plan_keeps_what_the_kernel_and_the_peers_may_expect(
        items in prop::collection::vec((0..90_u8, length()), 1..400),
        few in any::<bool>(),
        segmenting in any::<bool>(),
        narrow in any::<bool>(),
    ) {
        let items: Vec<_> = items.into_iter().map(|(p, l)| (if few { p % 3 } else { p }, l)).collect();
        let queue = queue(&items);
        let mut plan = Plan::new();
        plan.make(&queue, false, segmenting, narrow);
        let planned = plan.settled.len();
        prop_assert!(planned > 0 && planned <= WINDOW && plan.messages.len() <= BATCH);
        let kinds: Vec<_> = queue.iter().take(planned).map(Outbound::kind).collect();
        prop_assert!(!(kinds.contains(&Kind::Whole) && kinds.contains(&Kind::Cut)));
        prop_assert!(kinds.iter().all(|k| *k == plan.kind || (!narrow && *k == Kind::Any)));
        let next = queue.get(planned).map(|outbound| outbound.kind());
        let mixes = next.is_some_and(|next| next != plan.kind && (narrow || next != Kind::Any));
        prop_assert!(planned == items.len().min(WINDOW) || plan.messages.len() == BATCH || mixes);

        let mut seen = vec![false; planned];
        let mut last: HashMap<SocketAddr, u16> = HashMap::new();
        for message in &plan.messages {
            let run = &plan.order[message.first.into()..usize::from(message.first + message.pieces)];
            let lens: Vec<usize> = run.iter().map(|i| queue[usize::from(*i)].frame.len()).collect();
            prop_assert!(segmenting || run.len() == 1);
            prop_assert!(run.len() <= MAX_SEGMENTS && lens.iter().sum::<usize>() <= MAX_SEGMENTED_BYTES);
            if run.len() > 1 {
                let (shorter, equal) = lens.split_last().unwrap();
                prop_assert!(equal.iter().all(|len| *len == usize::from(message.segment)));
                prop_assert!(*shorter <= usize::from(message.segment) && *shorter > 0);
            } else {
                prop_assert_eq!(message.segment, 0);
            }
            for index in run {
                let to = queue[usize::from(*index)].to;
                prop_assert_eq!(to, queue[usize::from(run[0])].to);
                prop_assert!(last.insert(to, *index).is_none_or(|before| before < *index));
                prop_assert!(!std::mem::replace(&mut seen[usize::from(*index)], true));
            }
        }
        prop_assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn what_was_not_sent_stays_in_order(
        items in prop::collection::vec((0..4_u8, length()), 1..300),
        settled in 0..64_usize,
    ) {
        let mut batch = SendBatch::new(1000);
        batch.queue = queue(&items);
        let before = queue(&items);
        batch.plan.make(&batch.queue, false, true, false);
        let mut gone = Vec::new();
        for message in 0..settled.min(batch.plan.messages.len()) {
            batch.plan.settle(message, |index| gone.push(index));
        }
        batch.remove_settled();
        let rest: Vec<_> = (0..before.len()).filter(|i| !gone.contains(i)).map(|i| (before[i].to, &before[i].frame)).collect();
        let left: Vec<_> = batch.queue.iter().map(|o| (o.to, &o.frame)).collect();
        prop_assert_eq!(left, rest);
    }
}

#[test]
fn a_run_the_kernel_refuses_is_sent_one_by_one() {
    let queue = queue(&[(1, 300), (2, 50), (1, 300), (1, 200)]);
    let segmenting = AtomicBool::new(true);
    for (code, stays) in [(libc::EMSGSIZE, true), (libc::EINVAL, true), (libc::EIO, false)] {
        let mut plan = Plan::new();
        plan.make(&queue, false, true, false);
        assert_eq!((plan.messages.len(), plan.segmented(0), plan.segmented(1)), (2, true, false));
        plan.split_run(0, &std::io::Error::from_raw_os_error(code), &segmenting);
        assert_eq!(segmenting.load(std::sync::atomic::Ordering::Relaxed), stays);
        assert_eq!(plan.messages.len(), 4);
        let mut settled = Vec::new();
        for message in 0..4 {
            assert!(!plan.segmented(message));
            plan.settle(message, |index| settled.push(index));
        }
        assert_eq!(settled, [0, 2, 3, 1]);
    }
}
