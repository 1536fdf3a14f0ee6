//! The writer's half of a link: order, shares, bounds, and frames that are never torn.

use super::*;
use crate::base::{LinkId, Priority};
use core::time::Duration;
use proptest::prelude::*;

const NOW: Instant = Instant::from_micros(1_000);

fn frame(tag: u8, body: usize) -> Vec<u8> {
    let mut f = u16::try_from(body).unwrap().to_be_bytes().to_vec();
    f.extend_from_slice(&[6, tag]);
    f.resize(4 + body, tag);
    f
}

fn run(frames: &[Vec<u8>]) -> Run {
    let (bytes, source) = (Bytes::from(frames.concat()), Source::OWN);
    Run { bytes, frames: u32::try_from(frames.len()).unwrap(), source }
}

fn data(level: u8) -> Lane {
    Lane::Data(Priority::new(level).unwrap())
}

/// Writes `chunk` bytes at a time and returns the tags of the frames in order of arrival.
fn drain(out: &mut Outgoing, chunk: usize, mut between: impl FnMut(&mut Outgoing)) -> Vec<u8> {
    let mut wire = Vec::new();
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = out.gather(chunk, &mut slices);
        let bytes: Vec<u8> = slices[..used].iter().flat_map(|s| s.to_vec()).collect();
        assert!(!bytes.is_empty() && bytes.len() <= chunk);
        out.consume(NOW, bytes.len());
        wire.extend(bytes);
        between(out);
    }
    let mut tags = Vec::new();
    while !wire.is_empty() {
        let length = frame_length(&wire);
        assert!(wire[4..length].iter().all(|b| *b == wire[3]), "a frame was torn");
        tags.push(wire[3]);
        wire.drain(..length);
    }
    tags
}

#[test]
fn n18_an_urgent_frame_waits_for_the_frame_being_written_and_no_other() {
    let mut out = Outgoing::new(&Limits::default());
    out.push(NOW, data(3), run(&[frame(1, 100), frame(2, 100), frame(3, 100)]), |_, _| panic!());
    let mut urgent = Some(run(&[frame(9, 20)]));
    let tags = drain(&mut out, 50, |o| {
        if let Some(u) = urgent.take() {
            o.push(NOW, data(7), u, |_, _| panic!());
        }
    });
    assert_eq!(tags, [1, 9, 2, 3]);
    assert_eq!(out.counters().frames, 4);
}

#[test]
fn c3_what_is_gathered_is_the_memory_that_was_queued() {
    let mut out = Outgoing::new(&Limits::default());
    let r = run(&[frame(1, 50), frame(2, 50)]);
    let range = r.bytes.as_ptr_range();
    out.push(NOW, data(3), r, |_, _| panic!());
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(out.gather(1 << 20, &mut slices), 1);
    assert!(range.contains(&slices[0].as_ptr()) && slices[0].len() == 108);
}

#[test]
fn a_frame_torn_by_the_end_of_its_link_is_counted_as_dropped() {
    let mut out = Outgoing::new(&Limits::default());
    out.push(NOW, data(3), run(&[frame(1, 50), frame(2, 50), frame(3, 50)]), |_, _| panic!());
    out.consume(NOW, 54 + 10);
    let balance = |o: &Outgoing| (o.counters().queued, o.counters().frames, o.frames_held());
    assert_eq!(balance(&out), (3, 1, 2));
    out.abandon(|_, _| {});
    assert_eq!((balance(&out), out.counters().drops.total()), ((3, 1, 0), 2));
}

#[test]
fn a_link_that_is_gone_names_every_frame_it_takes_along() {
    let mut out = Outgoing::new(&Limits::default());
    out.push(NOW, data(3), run(&[frame(1, 50), frame(2, 50)]), |_, _| panic!());
    let mut frames = 0;
    out.abandon(|_, r| frames += r.frames);
    assert_eq!((frames, out.counters().drops.of(DropReason::LinkDown)), (2, 2));
    assert!(out.is_empty());
}

#[test]
fn n18_neighbours_that_fill_a_link_share_it_whatever_batches_they_come_in() {
    let mut out = Outgoing::new(&Limits { lane_bytes: 1 << 30, ..Limits::default() });
    let batches = [(1u8, 100), (2, 1), (3, 10)];
    for (tag, frames) in batches {
        let source = Source::link(LinkId(u32::from(tag)));
        let batch = vec![frame(tag, 996); frames];
        for _ in 0..1_000 / frames {
            out.push(NOW, data(3), Run { source, ..run(&batch) }, |_, _| panic!());
        }
    }
    let mut sent = [0u64; 4];
    for _ in 0..150 {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = out.gather(10_000, &mut slices);
        let mut taken = 0;
        for slice in &slices[..used] {
            slice.chunks(1_000).for_each(|frame| sent[usize::from(frame[frame.len() / 2])] += 1);
            taken += slice.len();
        }
        out.consume(NOW, taken);
    }
    let (least, most) = (sent[1..].iter().min().unwrap(), sent[1..].iter().max().unwrap());
    // A quantum and the largest run, and pieces of frames at the ends of writes.
    assert!(most - least <= 130, "{sent:?}");
}

#[test]
fn n18_each_level_counts_what_left_what_was_dropped_and_how_long_it_waited() {
    let mut out = Outgoing::new(&Limits { lane_items: 2, ..Limits::default() });
    let mut dropped = 0;
    for _ in 0..3 {
        out.push(NOW, data(3), run(&[frame(1, 96), frame(1, 96)]), |_, r| dropped += r.frames);
    }
    out.push(NOW + Duration::from_millis(2), data(7), run(&[frame(2, 46)]), |_, _| panic!());
    let later = NOW + Duration::from_millis(5);
    // The urgent one, one frame, and half of another.
    out.consume(later, 50 + 100 + 50);
    let told = |level: u8, out: &Outgoing| {
        let (_, l) = out.levels().nth(usize::from(level)).unwrap();
        (l.frames, l.bytes, l.dropped, l.waits.max().map(|d| d.as_millis()))
    };
    assert_eq!(told(7, &out), (1, 50, 0, Some(3)));
    assert_eq!(told(3, &out), (2, 200, 2, Some(5)));
    assert_eq!(told(0, &out), (0, 0, 0, None));
    assert_eq!((dropped, out.depth(data(3))), (2, (200, 1)));
    out.consume(later, 50 + 200);
    assert!(out.is_empty() && out.counters().frames == 5);
}

#[test]
fn n19_a_flood_of_replies_keeps_no_heartbeat_waiting() {
    let mut out = Outgoing::new(&Limits::default());
    let mut beats = 0;
    for round in 0..2_000u32 {
        let source = Source::link(LinkId(round % 7));
        let replies = vec![frame(7, 1_000); 16];
        out.push(NOW, data(7), Run { source, ..run(&replies) }, |lane, _| {
            assert_ne!(lane, Lane::Control);
        });
        if round % 10 == 0 {
            out.push(NOW, Lane::Control, run(&[frame(9, 10)]), |_, _| panic!("no room"));
            // What the socket is in the middle of, then the heartbeat.
            let mut slices = [IoSlice::new(&[]); 2];
            let used = out.gather(1 << 20, &mut slices);
            let heartbeat = slices[..used].iter().position(|s| s.len() == 14).unwrap();
            let before: usize = slices[..heartbeat].iter().map(|s| s.len()).sum();
            assert!(before <= 1_004, "{before} bytes before a heartbeat");
            out.consume(NOW, before + 14 + 500);
            beats += 1;
        }
    }
    assert_eq!(out.levels().next_back().unwrap().1.frames, beats);
}

proptest! {
    #[test]
    fn n18_no_frame_is_torn_however_the_socket_takes_them(
        runs in prop::collection::vec(
            (0u8..9, 0u32..3, prop::collection::vec(0usize..9_000, 1..5)), 1..40
        ),
        at_once in 1usize..40, chunk in 1usize..60_000, lower_share in 0u8..13,
    ) {
        let mut out = Outgoing::new(&Limits { lower_share, ..Limits::default() });
        let mut total = 0u64;
        let mut more = runs.iter();
        let mut push = |out: &mut Outgoing, count| {
            for (level, source, bodies) in more.by_ref().take(count) {
                let lane = Priority::new(*level).map_or(Lane::Control, Lane::Data);
                let frames: Vec<_> = bodies.iter().map(|b| frame(*level, *b)).collect();
                total += frames.len() as u64;
                let source = Source::link(LinkId(*source));
                out.push(NOW, lane, Run { source, ..run(&frames) }, |_, _| panic!());
            }
        };
        push(&mut out, at_once);
        let mut writes = 0;
        let mut tags = drain(&mut out, chunk, |out| {
            writes += 1;
            // A socket that takes nothing: what was gathered is not what is written next.
            let _ = out.gather(chunk, &mut [IoSlice::new(&[]); 4]);
            push(out, usize::from(writes % 3 == 0));
        });
        push(&mut out, runs.len());
        tags.extend(drain(&mut out, chunk, |_| {}));
        prop_assert_eq!(tags.len() as u64, total);
        prop_assert_eq!(out.counters().frames, total);
        let levels: u64 = out.levels().map(|(_, l)| l.frames).sum();
        prop_assert_eq!(levels, total);
    }
}
