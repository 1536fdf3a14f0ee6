use super::*;

const T0: Instant = Instant::from_micros(1);

fn v4(n: u8) -> SocketAddr {
    ([192, 0, 2, n], 1).into()
}

/// Lets time pass for so long, on a path that takes datagrams up to `fits`. Says how many tries
/// went and how often the size was taken back.
fn pass(width: &mut Width, from: Instant, time: Duration, fits: usize) -> (usize, usize, Instant) {
    let (mut sent, mut narrowed, mut now) = (0, 0, from);
    let to = width.to.unwrap();
    while let Some(next) = width.deadline(to).filter(|at| *at <= from + time) {
        assert!(next >= now || sent == 0, "time stands still");
        now = now.max(next);
        match width.due(now, 100 + sent as u64) {
            Due::Try(_, size, token) => {
                sent += 1;
                if size <= fits {
                    assert!(width.answered(now, token).is_some());
                }
            }
            Due::Narrowed => narrowed += 1,
            Due::Nothing => {}
        }
    }
    (sent, narrowed, from + time)
}

const SOON: Duration = Duration::from_secs(9);

#[test]
fn s22_the_largest_datagrams_that_pass_are_found_in_a_few_tries() {
    let to6: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
    let cases = [
        (v4(1), 9_000, 8_800, 2),
        (v4(1), 1_500, 1_472, 4),
        (v4(1), 1_450, 1_400, 4),
        (v4(1), 1_300, MAX_DATAGRAM, 6),
        (to6, 9_000, 8_800, 2),
        (to6, 1_460, 1_452, 4),
    ];
    for (to, fits, expected, tries) in cases {
        let mut width = Width::default();
        assert_eq!(width.of(to), MAX_DATAGRAM);
        width.widen(T0, to);
        let (sent, ..) = pass(&mut width, T0, SOON, fits);
        assert_eq!((width.of(to), sent), (expected, tries), "{fits}");
    }
}

#[test]
fn s22_what_ethernet_takes_is_in_use_before_larger_ones_are_tried() {
    let mut width = Width::default();
    width.widen(T0, v4(1));
    let Due::Try(_, 1_472, token) = width.due(T0, 7) else { panic!() };
    assert_eq!(width.answered(T0, token), Some(true));
    let Due::Try(_, 8_800, token) = width.due(T0, 8) else { panic!() };
    assert_eq!(width.of(v4(1)), 1_472);
    assert_eq!(width.answered(T0, token), Some(true));
    assert_eq!(width.of(v4(1)), 8_800);
}

#[test]
fn s22_jumbo_frames_that_get_lost_are_not_tried_again_for_ten_minutes() {
    let to = v4(1);
    let mut width = Width::default();
    width.widen(T0, to);
    let (.., now) = pass(&mut width, T0, SOON, 9_000);
    assert_eq!(width.of(to), 8_800);
    assert!(width.suspect(now));
    let (.., now) = pass(&mut width, now, RAISE - SOON, 9_000);
    assert_eq!(width.of(to), 1_472);
    pass(&mut width, now, 2 * SOON, 9_000);
    assert_eq!(width.of(to), 8_800);
}

#[test]
fn s22_jumbo_frames_that_are_not_confirmed_are_not_tried_again_at_once() {
    let to = v4(1);
    let mut width = Width::default();
    width.widen(T0, to);
    let (.., now) = pass(&mut width, T0, SOON, 9_000);
    assert!(width.sent(8_800));
    let (sent, narrowed, now) = pass(&mut width, now, CONFIRM + SOON, 2_000);
    assert_eq!((sent, narrowed, width.of(to)), (4, 1, 1_472), "three for the large, one for this");
    let (sent, ..) = pass(&mut width, now, RAISE - 3 * SOON, 9_000);
    assert_eq!((sent, width.of(to)), (0, 1_472));
}

#[test]
fn s22_a_line_that_falls_silent_goes_back_to_small_datagrams_for_a_minute() {
    let to = v4(1);
    let mut width = Width::default();
    width.widen(T0, to);
    let (.., now) = pass(&mut width, T0, SOON, 2_000);
    assert!(width.narrow(now) && !width.narrow(now));
    assert_eq!(width.of(to), MAX_DATAGRAM);
    assert_eq!(width.deadline(to), Some(now + REST));
    assert_eq!(width.deadline(v4(9)), None, "of this path only");
    pass(&mut width, now, REST + SOON, 2_000);
    assert_eq!(width.of(to), 1_472);
    assert_eq!(width.of(v4(2)), MAX_DATAGRAM, "another path is another matter");
}

#[test]
fn s22_an_answer_to_nothing_widens_nothing() {
    let mut width = Width::default();
    assert_eq!(width.answered(T0, 0), None);
    width.widen(T0, v4(1));
    assert_eq!(width.answered(T0, 0), None);
    let Due::Try(_, _, token) = width.due(T0, 7) else { panic!() };
    assert_eq!(width.answered(T0, token + 1), None);
    assert_eq!(width.answered(T0, token), Some(true));
}

#[test]
fn s22_a_size_in_use_is_tried_again_and_taken_back_when_it_does_not_pass() {
    let to = v4(1);
    let mut width = Width::default();
    width.widen(T0, to);
    let (.., now) = pass(&mut width, T0, SOON, 2_000);
    assert!(width.deadline(to) > Some(now + CONFIRM), "nobody makes use of it");
    assert!(!width.sent(MAX_DATAGRAM) && width.sent(1_472) && !width.sent(1_472));
    let (sent, narrowed, now) = pass(&mut width, now, CONFIRM, 2_000);
    assert_eq!((sent, narrowed, width.of(to)), (1, 0, 1_472));
    assert!(width.sent(1_300));
    // The way is another now.
    let (_, narrowed, now) = pass(&mut width, now, CONFIRM + SOON, 1_410);
    assert_eq!((narrowed, width.of(to)), (1, 1_400));
    assert!(width.sent(1_400));
    let (sent, narrowed, now) = pass(&mut width, now, CONFIRM, 1_410);
    assert_eq!((sent, narrowed), (1, 0));
    // And back again, which is found when it is time to.
    pass(&mut width, now, RAISE, 2_000);
    assert_eq!(width.of(to), 1_472);
}

#[test]
fn s22_while_larger_ones_are_tried_the_size_that_passed_stays() {
    let to = v4(1);
    let mut width = Width::default();
    width.widen(T0, to);
    let (.., now) = pass(&mut width, T0, SOON, 1_410);
    let raise = now + RAISE;
    while let Some(next) = width.deadline(to).filter(|at| *at < raise) {
        assert_eq!(width.of(to), 1_400);
        assert_ne!(width.due(next, 9), Due::Narrowed);
    }
    assert_eq!(width.of(to), 1_400);
}

#[test]
fn s22_lost_large_datagrams_bring_small_ones_at_once_and_the_second_time_for_a_minute() {
    let to = v4(1);
    let mut width = Width::default();
    assert!(!width.suspect(T0));
    width.widen(T0, to);
    let (.., now) = pass(&mut width, T0, SOON, 2_000);
    assert!(width.suspect(now) && !width.suspect(now));
    assert_eq!((width.of(to), width.deadline(to)), (MAX_DATAGRAM, Some(now)));
    let (.., now) = pass(&mut width, now, SOON, 2_000);
    assert_eq!(width.of(to), 1_472, "it was not the size");
    assert!(width.suspect(now));
    assert_eq!((width.of(to), width.deadline(to)), (MAX_DATAGRAM, Some(now + REST)));
}
