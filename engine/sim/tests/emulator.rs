//! What a link does to what it carries, one behaviour a test; the properties hold under any
//! conditions and any course of events.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use trunkline_proto::base::{Chance, Instant};
use trunkline_sim::emulator::{Conditions, Emulator, Reason, Verdict};

const MS: Duration = Duration::from_millis(1);

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn link(conditions: Conditions) -> Emulator<Vec<u8>> {
    Emulator::new(conditions, Chance::from_number(7))
}

/// An item of `size` bytes that carries its number.
fn item(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(size.max(4), 0);
    bytes
}

fn number(item: &[u8]) -> u32 {
    u32::from_be_bytes(*item.first_chunk().expect("four bytes"))
}

/// Everything that comes out, each with the time it did, following the deadlines.
fn drain(link: &mut Emulator<Vec<u8>>) -> Vec<(Instant, Vec<u8>)> {
    let mut out = Vec::new();
    while let Some(now) = link.deadline() {
        while let Some(item) = link.pop(now) {
            out.push((now, item));
        }
        assert!(link.deadline().is_none_or(|next| next > now), "a deadline that stands still");
    }
    out
}

fn assert_conserved(link: &Emulator<Vec<u8>>) {
    let s = link.statistics();
    assert_eq!(s.entered + s.duplicated, s.delivered + s.lost + s.dropped + link.held(), "{s:?}");
}

#[test]
fn a_perfect_link_delivers_at_once_and_in_order() {
    let mut link = link(Conditions::default());
    for n in 0..10 {
        assert_eq!(link.push(at(5), item(n, 100)), Verdict::Queued);
    }
    let out = drain(&mut link);
    assert!(out.iter().zip(0..).all(|((t, i), n)| *t == at(5) && number(i) == n));
    assert_eq!(out.len(), 10);
}

#[test]
fn an_item_comes_out_after_the_delay_and_not_before() {
    let mut link = link(Conditions { delay: 25 * MS, ..Conditions::default() });
    link.push(at(1_000), item(0, 100));
    assert_eq!(link.deadline(), Some(at(26_000)));
    assert_eq!(link.pop(at(25_999)), None);
    assert!(link.pop(at(26_000)).is_some());
    assert_eq!((link.deadline(), link.held()), (None, 0));
}

#[test]
fn the_rate_spaces_items_out_and_rounding_does_not_add_up() {
    // 1,500 bytes at 7 MB/s take 214.28 µs; 7,000 of them take 1.5 s to the microsecond.
    let rate = NonZeroU64::new(7_000_000);
    let mut link = link(Conditions {
        rate_bytes_per_s: rate,
        queue_bytes: usize::MAX,
        ..Conditions::default()
    });
    for n in 0..7_000 {
        link.push(at(0), item(n, 1_500));
    }
    let out = drain(&mut link);
    assert_eq!(out[0].0, at(215));
    assert_eq!(out[6_999].0, at(1_500_000));
}

#[test]
fn the_tail_is_dropped_when_the_queue_is_full_and_an_idle_link_takes_one() {
    let rate = NonZeroU64::new(1_000_000);
    let mut tight = Conditions { rate_bytes_per_s: rate, queue_bytes: 0, ..Conditions::default() };
    let full = Verdict::Dropped(Reason::QueueFull);
    let mut one = link(tight);
    assert_eq!(one.push(at(0), item(0, 1_000)), Verdict::Queued);
    assert_eq!(one.push(at(999), item(1, 1_000)), full);
    assert_eq!(one.push(at(1_000), item(2, 1_000)), Verdict::Queued);

    tight.queue_bytes = 2_500;
    let mut three = link(tight);
    let verdicts: Vec<_> = (0..5).map(|n| three.push(at(0), item(n, 1_000))).collect();
    let queued = Verdict::Queued;
    assert_eq!(verdicts, [queued, queued, queued, full, full]);
    assert_eq!(three.waiting_bytes(), 2_000);
    assert_eq!(drain(&mut three).iter().map(|(_, i)| number(i)).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((three.statistics().dropped, three.waiting_bytes()), (2, 0));
}

#[test]
fn loss_duplication_corruption_and_reordering_happen_as_often_as_asked() {
    let mut link = link(Conditions {
        loss_ppm: 100_000,
        duplicate_ppm: 50_000,
        corrupt_ppm: 20_000,
        reorder_ppm: 10_000,
        reorder_by: 5 * MS,
        delay: 10 * MS,
        ..Conditions::default()
    });
    for n in 0..100_000 {
        link.push(at(u64::from(n) * 100), item(n, 64));
    }
    let out = drain(&mut link);
    let s = *link.statistics();
    let near = |n: u64, expected: u64| n.abs_diff(expected) < expected / 10;
    assert!(near(s.lost, 10_000), "{s:?}");
    assert!(near(s.duplicated, 4_500), "{s:?}");
    assert!(near(s.corrupted, 1_890), "{s:?}");
    assert!(near(s.reordered, 945), "{s:?}");
    let altered =
        out.iter().filter(|(t, i)| i[4..] != [0; 60] || !near_number(*t, i)).count() as u64;
    assert!(altered <= s.corrupted && altered * 10 > s.corrupted * 8, "{altered} of {s:?}");
}

/// Whether the number an item carries fits the time it came out.
fn near_number(t: Instant, item: &[u8]) -> bool {
    let entered = t.as_micros().saturating_sub(10_000) / 100;
    entered.abs_diff(u64::from(number(item))) <= 50
}

#[test]
fn an_item_held_back_is_overtaken_and_nothing_waits_for_it() {
    let all = 1_000_000;
    let late =
        Conditions { reorder_ppm: all, reorder_by: 3 * MS, delay: MS, ..Conditions::default() };
    let mut link = link(late);
    link.push(at(0), item(0, 10));
    link.set_conditions(at(0), Conditions { reorder_ppm: 0, ..late });
    link.push(at(100), item(1, 10));
    let out: Vec<_> = drain(&mut link).into_iter().map(|(t, i)| (t, number(&i))).collect();
    assert_eq!(out, [(at(1_100), 1), (at(4_000), 0)]);
    assert_eq!(link.statistics().reordered, 1);
}

#[test]
fn a_cut_loses_what_is_held_and_all_that_follows_until_it_heals() {
    let mut link = link(Conditions {
        delay: 10 * MS,
        rate_bytes_per_s: NonZeroU64::new(1_000_000),
        ..Conditions::default()
    });
    for n in 0..5 {
        link.push(at(0), item(n, 1_000));
    }
    link.cut();
    assert_eq!((link.held(), link.deadline(), link.is_cut()), (0, None, true));
    assert_eq!(link.push(at(20_000), item(5, 1_000)), Verdict::Dropped(Reason::Cut));
    assert_eq!(link.statistics().lost, 6);
    link.heal();
    link.push(at(30_000), item(6, 1_000));
    assert_eq!(drain(&mut link), [(at(41_000), item(6, 1_000))]);
    assert_conserved(&link);
}

#[test]
fn another_rate_holds_at_once_for_what_waits_and_for_the_rest_of_what_is_being_sent() {
    let slow = Conditions { rate_bytes_per_s: NonZeroU64::new(1_000_000), ..Conditions::default() };
    let fast = Conditions { rate_bytes_per_s: NonZeroU64::new(10_000_000), ..slow };
    let unbounded = Conditions { rate_bytes_per_s: None, ..slow };
    for (then, expected) in [(fast, [550, 650, 750]), (unbounded, [500; 3])] {
        let mut link = link(slow);
        (0..3).for_each(|n| assert_eq!(link.push(at(0), item(n, 1_000)), Verdict::Queued));
        link.set_conditions(at(500), then);
        let times: Vec<_> = drain(&mut link).into_iter().map(|(t, _)| t.as_micros()).collect();
        assert_eq!(times, expected);
    }
}

#[test]
fn a_shorter_delay_does_not_let_later_items_overtake() {
    let mut link = link(Conditions { delay: 50 * MS, ..Conditions::default() });
    link.push(at(0), item(0, 10));
    link.set_conditions(at(10), Conditions { delay: MS, ..Conditions::default() });
    link.push(at(20), item(1, 10));
    let out: Vec<_> = drain(&mut link).into_iter().map(|(t, i)| (t, number(&i))).collect();
    assert_eq!(out, [(at(50_000), 0), (at(50_000), 1)]);
}

#[test]
fn jitter_does_not_change_which_items_are_lost() {
    let lossy = Conditions { loss_ppm: 200_000, duplicate_ppm: 100_000, ..Conditions::default() };
    let lost = |conditions| {
        let mut link = link(conditions);
        (0..500)
            .filter(|n| link.push(at(0), item(*n, 9)) == Verdict::Dropped(Reason::Lost))
            .collect::<Vec<_>>()
    };
    assert_eq!(lost(lossy), lost(Conditions { jitter: MS, duplicate_ppm: 0, ..lossy }));
}

prop_compose! {
    fn any_conditions()(
        delay in 0u64..50_000,
        jitter in 0u64..20_000,
        loss_ppm in prop_oneof![Just(0u32), 0u32..500_000],
        reorder_ppm in prop_oneof![Just(0u32), 0u32..500_000],
        reorder_by in 0u64..30_000,
        duplicate_ppm in prop_oneof![Just(0u32), 0u32..500_000],
        corrupt_ppm in 0u32..500_000,
        rate in prop_oneof![Just(0u64), 1_000u64..100_000_000, Just(u64::MAX)],
        queue_bytes in prop_oneof![Just(0usize), 0usize..100_000, Just(usize::MAX)],
    ) -> Conditions {
        Conditions {
            delay: Duration::from_micros(delay),
            jitter: Duration::from_micros(jitter),
            loss_ppm,
            reorder_ppm,
            reorder_by: Duration::from_micros(reorder_by),
            duplicate_ppm,
            corrupt_ppm,
            rate_bytes_per_s: NonZeroU64::new(rate),
            queue_bytes,
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Push { size: usize, times: u32 },
    Pop,
    Change(Conditions),
    Cut,
    Heal,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (4usize..2_000, 1u32..20).prop_map(|(size, times)| Event::Push { size, times }),
        6 => Just(Event::Pop),
        1 => any_conditions().prop_map(Event::Change),
        1 => Just(Event::Cut),
        2 => Just(Event::Heal),
    ]
}

/// Pushes each `(gap, size)` and returns when each went in and came out, by number.
fn run(conditions: Conditions, offered: &[(u64, usize)]) -> Vec<(u32, usize, Instant, Instant)> {
    let mut link = link(conditions);
    let (mut now, mut entered, mut out) = (0, Vec::new(), Vec::new());
    let mut taken = |link: &mut Emulator<Vec<u8>>, until: Option<u64>| {
        while let Some(t) = link.deadline().filter(|t| until.is_none_or(|u| t.as_micros() <= u)) {
            while let Some(i) = link.pop(t) {
                out.push((number(&i), i.len(), t));
            }
        }
    };
    for (n, (gap, size)) in (0..).zip(offered) {
        now += gap;
        taken(&mut link, Some(now));
        link.push(at(now), item(n, *size));
        entered.push(at(now));
    }
    taken(&mut link, None);
    assert_eq!(link.held(), 0);
    out.into_iter().map(|(n, size, t)| (n, size, entered[n as usize], t)).collect()
}

fn offers() -> impl Strategy<Value = Vec<(u64, usize)>> {
    prop::collection::vec((prop_oneof![Just(0u64), 0u64..5_000], 4usize..1_600), 1..300)
}

proptest! {
    #[test]
    fn every_item_is_accounted_for_at_any_time(
        conditions in any_conditions(),
        events in prop::collection::vec((0u64..20_000, any_event()), 1..120),
    ) {
        let mut link = link(conditions);
        let mut now = 0;
        for (gap, event) in events {
            now += gap;
            match event {
                Event::Push { size, times } => {
                    (0..times).for_each(|n| { link.push(at(now), item(n, size)); });
                }
                Event::Pop => while link.pop(at(now)).is_some() {},
                Event::Change(conditions) => link.set_conditions(at(now), conditions),
                Event::Cut => link.cut(),
                Event::Heal => link.heal(),
            }
            assert_conserved(&link);
            prop_assert!(link.held() == 0 || link.deadline().is_some(), "held without a deadline");
        }
        drain(&mut link);
        assert_conserved(&link);
        prop_assert_eq!(link.held(), 0);
    }

    #[test]
    fn the_same_seed_repeats_everything(conditions in any_conditions(), offered in offers()) {
        let conditions = Conditions { corrupt_ppm: 0, ..conditions };
        prop_assert_eq!(run(conditions, &offered), run(conditions, &offered));
    }

    #[test]
    fn order_is_kept_unless_reordering_is_asked_for(
        conditions in any_conditions(),
        offered in offers(),
    ) {
        let conditions = Conditions { reorder_ppm: 0, corrupt_ppm: 0, ..conditions };
        let out = run(conditions, &offered);
        prop_assert!(out.is_sorted_by_key(|(n, ..)| *n));
        prop_assert!(out.is_sorted_by_key(|(.., t)| *t));
    }

    #[test]
    fn nothing_is_early_and_nothing_later_than_the_conditions_allow(
        conditions in any_conditions(),
        offered in offers(),
    ) {
        let conditions = Conditions { corrupt_ppm: 0, ..conditions };
        // At most the queue, the item being sent, the item itself and a copy of each.
        let wire = conditions.rate_bytes_per_s.map_or(0, |rate| {
            let all: usize = offered.iter().map(|(_, size)| 2 * size).sum();
            let ahead = conditions.queue_bytes.saturating_add(3_200).min(all);
            (ahead as u128 * 1_000_000).div_ceil(u128::from(rate.get())) as u64 + 1
        });
        let most = conditions.delay
            + conditions.jitter
            + conditions.reorder_by
            + Duration::from_micros(wire);
        for (n, _, entered, left) in run(conditions, &offered) {
            let took = left.since(entered);
            prop_assert!(took >= conditions.delay && took <= most, "{n}: {took:?}, most {most:?}");
        }
    }

    #[test]
    fn the_rate_is_never_exceeded_over_any_window(
        conditions in any_conditions(),
        rate in 10_000u64..50_000_000,
        offered in offers(),
    ) {
        let conditions = Conditions {
            rate_bytes_per_s: NonZeroU64::new(rate),
            corrupt_ppm: 0,
            reorder_ppm: 0,
            ..conditions
        };
        let out = run(conditions, &offered);
        // Jitter may bunch what was sent apart; one item is partly sent when the window opens.
        let bunched = conditions.jitter.as_micros() as u64;
        for (first, (_, _, _, opens)) in out.iter().enumerate() {
            let mut bytes = 0;
            for (_, size, _, closes) in &out[first + 1..] {
                bytes += *size as u64;
                let window = closes.since(*opens).as_micros() as u64 + bunched + 1;
                let most = u128::from(rate) * u128::from(window) / 1_000_000 + 1;
                prop_assert!(u128::from(bytes) <= most, "{bytes} in {window} µs at {rate} B/s");
            }
        }
    }
}
