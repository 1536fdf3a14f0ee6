//! What is on its way, without a stream around it.

use super::*;

#[test]
fn s23_ranges_finer_than_packets_do_not_fill_the_books() {
    let mut flight = Flight::default();
    let now = Instant::from_micros(1_000_000);
    for i in 0..100 {
        flight.push(i * 1_000, (i + 1) * 1_000, now);
    }
    // Every second byte, as a thousand ACKs could tell it.
    for i in 0..1_000 {
        let runs = (0..32).map(|j| (i * 64 + j * 2 + 1, i * 64 + j * 2 + 2));
        assert!(!flight.acknowledge(0, runs, None).any);
    }
    assert!(flight.acked.len() <= 101, "{}", flight.acked.len());
    assert!(flight.acknowledge(100_000, core::iter::empty(), None).any && flight.is_empty());
}
