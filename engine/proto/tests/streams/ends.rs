//! How streams end: by halves, by reset, by stopping, with the line.

use std::time::Duration;

use bytes::Bytes;
use trunkline_proto::base::{DropReason, Priority};
use trunkline_proto::switch::streams::{
    Code, Open, OpenError, ReadError, ReadState, StreamEvent, StreamLimits, UnknownStream,
    WriteError,
};

use crate::pair::{Got, MS, Net, Pair};

const LONG: Duration = Duration::from_secs(300);

fn reset_of(events: &[StreamEvent]) -> Option<(Code, String)> {
    events.iter().find_map(|e| match e {
        StreamEvent::Reset { code, reason, .. } => Some((*code, reason.to_string())),
        _ => None,
    })
}

#[test]
fn s24_one_half_may_close_while_the_other_goes_on() {
    for loss in [0, 100_000] {
        let mut p = Pair::new(31, 1_150, Net { loss, ..Net::default() });
        let id = p.open(0);
        p.send(0, id, 1_000, true);
        p.run(LONG, |p| p.got(1, id).ended);
        assert_eq!(p.ends[0].write(id, &mut Bytes::from_static(b"x")), Err(WriteError::Finished));
        p.run_for(Duration::from_secs(5));
        assert!(p.events[0].contains(&StreamEvent::Finished(id)));
        p.send(1, id, 500_000, true);
        p.run(LONG, Pair::both_idle);
        assert_eq!(p.got(0, id), Got { bytes: 500_000, ended: true });
    }
}

#[test]
fn s24_a_reset_is_heard_with_its_code_and_reason_at_any_loss() {
    for (seed, loss) in [(1, 0), (2, 100_000), (3, 300_000)] {
        let mut p = Pair::new(seed, 1_150, Net { loss, ..Net::default() });
        let id = p.open(0);
        p.send(0, id, 1_000_000, true);
        p.send(1, id, 1_000_000, true);
        p.run(LONG, |p| p.got(1, id).bytes > 50_000);
        p.todo[0].clear();
        let long = "é".repeat(100);
        p.ends[0].reset(p.now, id, Code(700), &long).unwrap();
        assert_eq!(p.ends[0].reset(p.now, id, Code(700), ""), Err(UnknownStream));
        assert_eq!(p.ends[0].read(id, 10), Err(ReadError::Unknown));
        assert_eq!(p.ends[0].write(id, &mut Bytes::from_static(b"x")), Err(WriteError::Unknown));
        p.run(LONG, Pair::both_idle);
        assert_eq!(reset_of(&p.events[1]), Some((Code(700), "é".repeat(64))));
        assert_eq!(reset_of(&p.events[0]), None);
        for e in &p.ends {
            let s = e.stats();
            assert_eq!((s.in_flight, s.send_held, s.receive_held), (0, 0, 0));
        }
    }
}

#[test]
fn s24_both_sides_may_reset_at_once() {
    let mut p = Pair::new(33, 1_150, Net::default());
    let id = p.open(0);
    p.send(0, id, 100_000, false);
    p.run(LONG, |p| p.got(1, id).bytes > 50_000);
    p.todo[0].clear();
    for end in 0..2 {
        p.ends[end].reset(p.now, id, Code(300 + end as u16), "").unwrap();
    }
    p.run(LONG, Pair::both_idle);
    assert_eq!((reset_of(&p.events[0]), reset_of(&p.events[1])), (None, None));
}

#[test]
fn s24_a_stream_reset_before_its_first_packet_never_opens() {
    let mut p = Pair::new(34, 1_150, Net::default());
    let id = p.open(0);
    p.ends[0].reset(p.now, id, Code::CANCELLED, "").unwrap();
    p.run(LONG, Pair::both_idle);
    assert!(p.events[1].is_empty());
    // An opening that was overtaken by its reset opens nothing either.
    let data = [0x10, 0x01, 0x00, 0x00, 0, 0, 0, 0, 0x30, 0x00];
    assert_eq!(p.inject(1, &data), Err(DropReason::UnknownStream));
    p.act();
    assert!(p.events[1].is_empty());
}

#[test]
fn s24_stopping_ends_one_direction_and_the_other_goes_on() {
    for loss in [0, 100_000] {
        let mut p = Pair::new(35, 1_150, Net { loss, ..Net::default() });
        let id = p.open(0);
        p.send(0, id, 10_000_000, true);
        p.run(LONG, |p| p.got(1, id).bytes > 50_000);
        p.ends[1].stop(p.now, id, Code(404)).unwrap();
        assert_eq!(p.ends[1].read(id, 10), Err(ReadError::Stopped));
        p.send(1, id, 300_000, true);
        let stopped = StreamEvent::Stopped { id, code: Code(404) };
        p.run(LONG, |p| p.events[0].contains(&stopped));
        p.todo[0].clear();
        assert_eq!(
            p.ends[0].write(id, &mut Bytes::from_static(b"x")),
            Err(WriteError::Stopped(Code(404)))
        );
        p.run(LONG, Pair::both_idle);
        assert_eq!(p.got(0, id), Got { bytes: 300_000, ended: true });
        assert!(p.events[0].contains(&StreamEvent::Closed(id)));
        assert!(p.events[1].contains(&StreamEvent::Closed(id)));
    }
}

#[test]
fn s24_stopping_after_everything_has_come_still_acknowledges_the_end() {
    let mut p = Pair::new(36, 1_150, Net { loss: 200_000, ..Net::default() });
    p.reads[1] = false;
    let id = p.open(0);
    p.send(0, id, 5_000, true);
    p.run(LONG, |p| p.events[0].contains(&StreamEvent::Finished(id)));
    p.ends[1].stop(p.now, id, Code::CANCELLED).unwrap();
    p.send(1, id, 10, true);
    p.run(LONG, Pair::both_idle);
    assert!(p.events[0].contains(&StreamEvent::Closed(id)));
}

#[test]
fn s24_when_the_line_goes_every_stream_hears_it_once() {
    let mut p = Pair::new(37, 1_150, Net::default());
    let ids: Vec<_> = (0..10).map(|_| p.open(0)).collect();
    for id in &ids {
        p.send(0, *id, 100_000, false);
    }
    p.run_for(200 * MS);
    p.todo[0].clear();
    p.ends[1].fail_all(Code::LINE_DOWN);
    p.ends[0].fail_all(Code::LINE_DOWN);
    p.act();
    for end in 0..2 {
        let count = p.events[end]
            .iter()
            .filter(|e| matches!(e, StreamEvent::Reset { code: Code::LINE_DOWN, .. }))
            .count();
        assert_eq!(count, 10);
        let s = p.ends[end].stats();
        assert_eq!((s.streams, s.in_flight, s.send_held, s.receive_held), (0, 0, 0, 0));
        assert_eq!(p.ends[end].deadline(), None);
    }
}

#[test]
fn s24_there_are_only_so_many_streams() {
    let limits = StreamLimits { streams: 3, ..StreamLimits::default() };
    let mut p = Pair::with_limits(38, 1_150, Net::default(), limits);
    let ids = [0; 3].map(|_| p.open(0));
    assert_eq!(p.ends[0].open(Open::Generic, Priority::DEFAULT), Err(OpenError::TooMany));
    // The peer opens one too, in ignorance: it is refused, and says so.
    let other = p.open(1);
    p.run_for(200 * MS);
    let refused =
        p.events.iter().flatten().any(
            |e| matches!(e, StreamEvent::Reset { id, code: Code::TOO_MANY, .. } if *id == other),
        );
    assert!(refused, "{:?}", p.events);
    for id in ids {
        p.send(0, id, 10, true);
        p.send(1, id, 10, true);
    }
    p.run(LONG, |p| p.ends[0].stats().streams < 3);
    assert!(p.ends[0].open(Open::Sock("a:1".into()), Priority::DEFAULT).is_ok());
}

#[test]
fn s24_targets_have_1_to_255_bytes() {
    let mut p = Pair::new(39, 1_150, Net::default());
    for (len, fine) in [(0, false), (1, true), (255, true), (256, false)] {
        let open = Open::Sock("x".repeat(len).into());
        assert_eq!(p.ends[0].open(open, Priority::DEFAULT).is_ok(), fine, "{len}");
    }
    p.run_for(200 * MS);
    assert_eq!(p.events[1].len(), 2);
}

#[test]
fn s24_the_end_is_seen_even_without_a_byte() {
    let mut p = Pair::new(40, 1_150, Net::default());
    let id = p.open(0);
    p.ends[0].finish(id).unwrap();
    p.ends[0].finish(id).unwrap();
    p.run(LONG, |p| p.got(1, id).ended);
    assert_eq!(p.ends[1].read(id, 1), Ok(ReadState::End));
}

#[test]
fn s24_a_stream_may_be_for_writing_only_from_the_start() {
    for loss in [0, 200_000] {
        let mut p = Pair::new(41, 1_150, Net { loss, jitter: 10 * MS, ..Net::default() });
        let id = p.open(0);
        p.ends[0].stop(p.now, id, Code::CANCELLED).unwrap();
        p.send(0, id, 50_000, true);
        p.send(1, id, 50_000, true);
        let stopped = StreamEvent::Stopped { id, code: Code::CANCELLED };
        p.run(LONG, |p| p.got(1, id).ended && p.events[1].contains(&stopped));
        p.todo[1].clear();
        p.run(LONG, Pair::both_idle);
        assert_eq!(p.got(1, id), Got { bytes: 50_000, ended: true });
    }
}
