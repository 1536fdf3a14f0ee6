//! Lanes as their users meet them, against a plain model where order is at stake.

use super::*;
use proptest::prelude::*;

#[derive(Debug, PartialEq, Clone)]
struct Item(u32, usize);
impl Weight for Item {
    fn bytes(&self) -> usize {
        self.1
    }
}

const SMALL: LaneBounds = LaneBounds { lane_bytes: 300, lane_items: 5, all_bytes: 600 };
const LARGE: LaneBounds =
    LaneBounds { lane_bytes: 1 << 30, lane_items: 1 << 20, all_bytes: 1 << 30 };

fn data(level: u8) -> Lane {
    Lane::Data(Priority::new(level).unwrap())
}

fn link(n: u32) -> Source {
    Source::link(LinkId(n))
}

/// The first so many of what a walk comes to.
fn walk(lanes: &Lanes<Item>, most: usize) -> Vec<u32> {
    let mut seen = Vec::new();
    lanes.walk(|item| {
        seen.push(item.0);
        seen.len() < most
    });
    seen
}

#[test]
fn n18_the_highest_lane_leaves_first_and_each_in_order() {
    let mut lanes = Lanes::new(SMALL);
    let order = [(data(3), 1), (data(7), 2), (data(0), 3), (data(7), 4), (Lane::Control, 5)];
    for (lane, n) in order {
        lanes.push(lane, Source::OWN, Item(n, 10), |_, _| panic!("fits"));
    }
    assert_eq!(walk(&lanes, 9), [5, 2, 4, 1, 3]);
    let left: Vec<u32> = lanes.drain().map(|(_, i)| i.0).collect();
    assert_eq!(left, [5, 2, 4, 1, 3]);
    assert!(lanes.is_empty() && lanes.bytes() == 0);
}

#[test]
fn n18_room_is_made_by_the_newest_of_the_lowest_level() {
    let mut lanes = Lanes::new(SMALL);
    for n in 0..3 {
        lanes.push(data(0), Source::OWN, Item(n, 100), |_, _| panic!("fits"));
        lanes.push(data(1), Source::OWN, Item(10 + n, 100), |_, _| panic!("fits"));
    }
    let mut gone = Vec::new();
    lanes.push(data(7), Source::OWN, Item(20, 150), |l, i| gone.push((l, i.0)));
    assert_eq!(gone, [(data(0), 2), (data(0), 1)]);
    gone.clear();
    lanes.push(data(0), Source::OWN, Item(21, 150), |l, i| gone.push((l, i.0)));
    assert_eq!(gone, [(data(0), 21)], "a newcomer of the lowest level goes itself");
}

#[test]
fn n18_a_full_lane_drops_the_newest_of_whoever_fills_it() {
    let mut lanes = Lanes::new(SMALL);
    lanes.push(data(3), link(1), Item(1, 100), |_, _| panic!("fits"));
    lanes.push(data(3), link(1), Item(2, 190), |_, _| panic!("fits"));
    let mut gone = Vec::new();
    lanes.push(data(3), link(2), Item(3, 50), |_, i| gone.push(i.0));
    assert_eq!(gone, [2], "the flood of link 1 makes room for link 2");
    lanes.push(data(3), link(1), Item(4, 190), |_, i| gone.push(i.0));
    assert_eq!(gone, [2, 4], "whose next one finds none");
    let left: Vec<u32> = lanes.drain().map(|(_, i)| i.0).collect();
    assert_eq!(left, [1, 3]);
}

#[test]
fn n18_a_lane_full_of_small_things_drops_those_of_whoever_has_most() {
    let mut lanes = Lanes::new(SMALL);
    lanes.push(data(3), link(1), Item(1, 200), |_, _| panic!("fits"));
    for n in 2..6 {
        lanes.push(data(3), link(2), Item(n, 1), |_, _| panic!("fits"));
    }
    let mut gone = Vec::new();
    lanes.push(data(3), link(3), Item(6, 1), |_, i| gone.push(i.0));
    assert_eq!(gone, [5]);
}

#[test]
fn n19_control_traffic_passes_every_flood_and_finds_room() {
    for percent in [0, 12] {
        let mut lanes = Lanes::new(SMALL).with_share(percent);
        for n in 0..20 {
            lanes.push(data(7), link(n), Item(n, 60), |_, _| {});
            lanes.push(data(6), link(n), Item(n, 60), |_, _| {});
        }
        assert!(lanes.bytes() > 500);
        for n in 100..105 {
            lanes
                .push(Lane::Control, Source::OWN, Item(n, 50), |l, _| assert_ne!(l, Lane::Control));
        }
        let first: Vec<u32> = lanes.drain().take(5).map(|(_, i)| i.0).collect();
        assert_eq!(first, [100, 101, 102, 103, 104]);
    }
}

/// Keeps `sources` filled in `lanes` and takes out `bytes`; gives back what each sent.
fn contest(sizes: &[usize], bytes: usize) -> Vec<usize> {
    let mut lanes = Lanes::new(LARGE);
    for (n, size) in (0..).zip(sizes) {
        for _ in 0..bytes / size + 1 {
            lanes.push(data(3), link(n), Item(n, *size), |_, _| panic!("fits"));
        }
    }
    let mut sent = vec![0; sizes.len()];
    let mut all = 0;
    while all < bytes {
        let (_, item) = lanes.pop().unwrap();
        sent[item.0 as usize] += item.1;
        all += item.1;
    }
    sent
}

#[test]
fn n18_neighbours_share_a_level_by_bytes_whatever_sizes_they_send() {
    let sent = contest(&[64, 1_500, 16_384, 131_072], 8 << 20);
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(most - least <= (16 << 10) + 131_072, "{sent:?}");
}

#[test]
fn n18_many_sources_do_not_get_more_for_one_neighbour() {
    let sent = contest(&[1_000; 100], 4 << 20);
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(most - least <= (16 << 10) + 1_000, "{sent:?}");
}

#[test]
fn n18_a_source_that_sends_seldom_waits_for_one_turn_of_the_others() {
    let mut lanes = Lanes::new(LARGE);
    for n in 0..10_000 {
        lanes.push(data(3), link(1), Item(n, 1_000), |_, _| panic!("fits"));
    }
    lanes.pop();
    lanes.push(data(3), link(2), Item(77_777, 1_000), |_, _| panic!("fits"));
    let before = lanes.drain().take_while(|(_, i)| i.0 != 77_777).count();
    assert!(before <= 17, "{before}");
}

/// What each level sends of 16 MiB if all always have something.
fn levels(percent: u8) -> Vec<usize> {
    let mut lanes = Lanes::new(LARGE).with_share(percent);
    let mut sent = vec![0; 8];
    for level in 0..8 {
        lanes.push(data(level), Source::OWN, Item(0, 1_000), |_, _| panic!("fits"));
    }
    while sent.iter().sum::<usize>() < 16 << 20 {
        let (lane, item) = lanes.pop().unwrap();
        sent[lane.index()] += item.1;
        lanes.push(lane, Source::OWN, item, |_, _| panic!("fits"));
    }
    sent
}

#[test]
fn n18_lower_levels_get_what_they_are_promised_and_else_nothing() {
    let sent = levels(0);
    assert!(sent[7] >= 16 << 20 && sent[..7].iter().all(|b| *b == 0), "{sent:?}");
    let sent = levels(5);
    let all: usize = sent.iter().sum();
    for lower in &sent[..7] {
        let percent = lower * 1_000 / all;
        assert!((45..=55).contains(&percent), "{sent:?}");
    }
}

/// A step of a test: push to a lane from a source, or take something out.
#[derive(Clone, Debug)]
enum Step {
    Push(u8, u32, usize),
    Pop,
    Shrink,
}

fn any_step(largest: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..9, 0u32..4, 1..largest).prop_map(|(l, s, b)| Step::Push(l, s, b)),
        1 => Just(Step::Pop),
        1 => Just(Step::Shrink),
    ]
}

proptest! {
    #[test]
    fn n18_bounds_hold_and_nothing_is_lost_unnamed(
        steps in prop::collection::vec(any_step(200), 1..300), percent in 0u8..13,
    ) {
        let mut lanes = Lanes::new(SMALL).with_share(percent);
        let (mut pushed, mut dropped, mut popped) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Push(level, source, size) => {
                    let lane = Priority::new(level).map_or(Lane::Control, Lane::Data);
                    pushed += 1;
                    lanes.push(lane, link(source), Item(0, size), |_, _| dropped += 1);
                    prop_assert!(lanes.bytes() <= SMALL.all_bytes);
                    prop_assert!(lanes.depth(lane).0 <= SMALL.lane_bytes);
                    prop_assert!(lanes.depth(lane).1 <= SMALL.lane_items);
                }
                Step::Pop => popped += usize::from(lanes.pop().is_some()),
                Step::Shrink => lanes.shrink(|_, item| item.1 -= item.1 / 2),
            }
            prop_assert_eq!(pushed, dropped + popped + lanes.iter().count());
            prop_assert_eq!(lanes.bytes(), lanes.iter().map(Weight::bytes).sum::<usize>());
            let depth = |lane| lanes.depth(lane).0;
            prop_assert_eq!(lanes.bytes(), Lane::all().map(depth).sum::<usize>());
        }
        let left = lanes.iter().count();
        prop_assert_eq!(lanes.drain().count(), left);
        prop_assert!(lanes.is_empty() && lanes.bytes() == 0 && lanes.highest().is_none());
    }

    /// What is gathered for a socket is a walk, and what the socket took is taken out one by one:
    /// were they to differ, frames would be torn.
    #[test]
    fn n18_a_walk_sees_what_is_then_taken_out_in_that_order(
        steps in prop::collection::vec(any_step(100_000), 1..200), percent in 0u8..13,
    ) {
        let mut lanes = Lanes::new(LARGE).with_share(percent);
        for (n, step) in (0..).zip(steps) {
            match step {
                Step::Push(level, source, size) => {
                    let lane = Priority::new(level).map_or(Lane::Control, Lane::Data);
                    lanes.push(lane, link(source), Item(n, size), |_, _| panic!("fits"));
                }
                Step::Pop => drop(lanes.pop()),
                Step::Shrink => lanes.shrink(|_, item| item.1 -= item.1 / 2),
            }
            let seen = walk(&lanes, 5);
            prop_assert_eq!(&seen, &walk(&lanes, 5), "looking changes nothing");
            prop_assert_eq!(lanes.peek().map(|(_, i)| i.0), seen.first().copied());
        }
        let seen = walk(&lanes, usize::MAX);
        let taken: Vec<u32> = lanes.drain().map(|(_, i)| i.0).collect();
        prop_assert_eq!(seen, taken);
    }

    #[test]
    fn n18_what_one_source_sends_at_one_level_keeps_its_order(
        steps in prop::collection::vec(any_step(50_000), 1..300), percent in 0u8..13,
    ) {
        let mut lanes = Lanes::new(LARGE).with_share(percent);
        let mut last = std::collections::HashMap::new();
        let mut sources = Vec::new();
        for (n, step) in (0u32..).zip(steps) {
            if let Step::Push(level, source, size) = step {
                let lane = Priority::new(level).map_or(Lane::Control, Lane::Data);
                lanes.push(lane, link(source), Item(n, size), |_, _| panic!("fits"));
            }
            sources.push(match step { Step::Push(_, source, _) => source, _ => 0 });
            if let Step::Pop = step && let Some((lane, item)) = lanes.pop() {
                let before = last.insert((lane, sources[item.0 as usize]), item.0);
                prop_assert!(before.is_none_or(|before| before < item.0));
            }
        }
    }
}
