//! The laboratory does what it says, on this machine's kernel. Needs root; says so otherwise.
//!
//! Bounds are wide: these tests ask whether a fault happens, not how precisely this machine
//! keeps time today.

use std::net::UdpSocket;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use trunkline_sim::emulator::Conditions;
use trunkline_tools::clock::Clock;
use trunkline_tools::lab::{Lab, LabError, Link};

type Outcome = Result<(), LabError>;

const MS: Duration = Duration::from_millis(1);

#[test]
fn hosts_reach_each_other_across_a_veth() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let link = lab.link(&a, &b)?;
    let _echo = b.echo(7)?;
    let answers = a.probe((link.b.address, 7).into(), 50, MS)?;
    assert_eq!((answers.received(), answers.duplicates, answers.errors), (50, 0, 0));
    Ok(())
}

#[test]
fn hosts_forward_for_their_neighbours() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, middle, b) = (lab.host("a")?, lab.host("middle")?, lab.host("b")?);
    let (left, right) = (lab.link(&a, &middle)?, lab.link(&middle, &b)?);
    a.ip(&["route", "add", "default", "via", &left.b.address.to_string()])?;
    b.ip(&["route", "add", "default", "via", &right.a.address.to_string()])?;
    let _echo = b.echo(7)?;
    assert_eq!(a.probe((right.b.address, 7).into(), 10, MS)?.received(), 10);
    Ok(())
}

#[test]
fn a_host_becomes_a_nat_by_its_rules() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, nat, b) = (lab.host("a")?, lab.host("nat")?, lab.host("b")?);
    let (inner, outer) = (lab.link(&a, &nat)?, lab.link(&nat, &b)?);
    a.ip(&["route", "add", "default", "via", &inner.b.address.to_string()])?;
    let masquerade = format!("oifname \"{}\" masquerade", outer.a.device);
    let hook = "type nat hook postrouting priority 100;";
    nat.nft(&format!("table ip nat {{\n chain out {{\n {hook}\n {masquerade}\n }}\n }}\n"))?;
    let sink = b.inside(|| UdpSocket::bind(("0.0.0.0", 9)))?.expect("a socket");
    sink.set_read_timeout(Some(1_000 * MS)).expect("a timeout");
    let source = a.inside(|| UdpSocket::bind(("0.0.0.0", 0)))?.expect("a socket");
    source.send_to(b"hello", (outer.b.address, 9)).expect("a route");
    let (_, from) = sink.recv_from(&mut [0; 9]).expect("a datagram");
    assert_eq!(from.ip(), outer.a.address, "the inner address is not seen outside");
    Ok(())
}

#[test]
fn a_wire_delays_and_loses_as_asked() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let far = Conditions { delay: 25 * MS, loss_ppm: 10_000, ..Conditions::default() };
    let link = lab.wire(&a, &b, far)?;
    let _echo = b.echo(7)?;
    let answers = a.probe((link.b.address, 7).into(), 1_000, MS)?;
    let report = lab.end_wire(&link)?;
    println!("{:?} {:?}\n{report}", answers.least(), answers.median());

    assert!(answers.least() >= Some(50 * MS), "{:?}", answers.least());
    assert!(answers.median() < Some(150 * MS), "{:?}", answers.median());
    // 1.99% of 1,000 is 20, with a standard deviation of 4.4; none at all is one in 500 million.
    assert!((1..=50).contains(&answers.lost()), "{} lost", answers.lost());
    // Each was lost on one of the two ways; the first datagrams of `wire` count there as well.
    let lost = report.a_to_b.lost + report.b_to_a.lost;
    assert!(lost >= answers.lost() as u64, "{report}");
    for d in [report.a_to_b, report.b_to_a] {
        assert_eq!(d.entered + d.duplicated, d.delivered + d.lost + d.dropped + d.held);
        assert_eq!((d.dropped, d.duplicated, d.reordered, d.corrupted), (0, 0, 0, 0));
    }
    Ok(())
}

#[test]
fn a_wire_duplicates_and_reorders_as_asked() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let odd = Conditions {
        duplicate_ppm: 200_000,
        reorder_ppm: 100_000,
        reorder_by: 20 * MS,
        ..Conditions::default()
    };
    let link = lab.wire(&a, &b, odd)?;
    let _echo = b.echo(7)?;
    let answers = a.probe((link.b.address, 7).into(), 500, MS)?;
    let report = lab.end_wire(&link)?;
    assert_eq!(answers.lost(), 0);
    // 1.2 × 1.2 answers to a datagram.
    assert!((110..=330).contains(&answers.duplicates), "{}", answers.duplicates);
    assert!(report.a_to_b.reordered > 10 && report.b_to_a.reordered > 10, "{report}");
    Ok(())
}

/// Sends datagrams of 1,000 bytes for half a second, eight megabytes a second, and returns how
/// many arrived within it and the half second after.
fn flood(link: &Link) -> Result<usize, LabError> {
    let sink = link.b.host.inside(|| UdpSocket::bind(("0.0.0.0", 9)))?.expect("a socket");
    let source = link.a.host.inside(|| UdpSocket::bind(("0.0.0.0", 0)))?.expect("a socket");
    source.connect((link.b.address, 9)).expect("a route");
    sink.set_read_timeout(Some(MS)).expect("a timeout");
    let (clock, mut sent, mut received, mut buffer) = (Clock::start(), 0, 0, [0; 2_000]);
    while clock.now().as_micros() < 1_000_000 {
        let due = (clock.now().as_micros() / 125).min(4_000);
        while sent < due {
            // A full queue may be reported here; it is the drop that is being tested.
            let _ = source.send(&[0; 1_000]);
            sent += 1;
        }
        received += usize::from(sink.recv(&mut buffer).is_ok());
    }
    Ok(received)
}

#[test]
fn a_token_bucket_bounds_a_veth() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let link = lab.link(&a, &b)?;
    lab.rate(&link.a, 8.0, 10_000, 20 * MS)?;
    // A megabyte a second for half a second and what waits: 500 + 10 + 20 datagrams.
    let received = flood(&link)?;
    assert!((100..=560).contains(&received), "{received}");
    Ok(())
}

#[test]
fn a_rate_bounds_a_wire_and_its_queue_drops_the_rest() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let rate_bytes_per_s = NonZeroU64::new(1_000_000);
    let narrow = Conditions { rate_bytes_per_s, queue_bytes: 20_000, ..Conditions::default() };
    let link = lab.wire(&a, &b, narrow)?;
    let received = flood(&link)?;
    let report = lab.end_wire(&link)?;
    assert!((100..=530).contains(&received), "{received}");
    assert!(report.a_to_b.dropped > 1_000, "{report}");
    Ok(())
}

#[test]
fn a_cut_is_silent_and_heals() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let link = lab.link(&a, &b)?;
    let _echo = b.echo(7)?;
    let to = (link.b.address, 7).into();
    assert_eq!(a.probe(to, 5, MS)?.received(), 5);
    lab.cut(&link)?;
    let cut = a.probe(to, 5, MS)?;
    assert_eq!((cut.received(), cut.errors), (0, 0));
    lab.heal(&link)?;
    assert_eq!(a.probe(to, 5, MS)?.received(), 5);
    lab.block(&link.a)?;
    let deaf = a.probe(to, 5, MS)?;
    assert_eq!((deaf.received(), deaf.errors), (0, 0));
    lab.unblock(&link.a)?;
    lab.unblock(&link.a)?;
    assert_eq!(a.probe(to, 5, MS)?.received(), 5);
    Ok(())
}

#[test]
fn a_share_of_what_arrives_is_lost() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let link = lab.link(&a, &b)?;
    let _echo = b.echo(7)?;
    let to = (link.b.address, 7).into();
    lab.loss(&link.b, 50.0)?;
    lab.loss(&link.b, 10.0)?;
    let answers = a.probe(to, 1_000, MS / 2)?;
    assert!((40..=160).contains(&answers.lost()), "{} lost", answers.lost());
    lab.loss(&link.b, 0.0)?;
    assert_eq!(a.probe(to, 50, MS)?.lost(), 0);
    Ok(())
}

#[test]
fn everything_is_gone_after_a_panic() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    lab.wire(&a, &b, Conditions::default())?;
    let mut sleeper = a.command("sleep");
    sleeper.arg("600").stdout(Stdio::piped());
    let mut sleeper = sleeper.spawn().expect("sleep starts");
    let names = [a.netns().to_owned(), b.netns().to_owned()];
    assert!(names.iter().all(|n| Path::new("/run/netns").join(n).exists()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lab = lab;
        std::panic::resume_unwind(Box::new("a test failed"));
    }));
    assert!(panicked.is_err());
    assert!(!names.iter().any(|n| Path::new("/run/netns").join(n).exists()));
    assert!(!sleeper.wait().expect("an end").success(), "what ran in a host was killed");
    Ok(())
}

#[test]
fn mistakes_are_named() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let a = lab.host("a")?;
    for bad in ["", "A", "ten-letters", "tenletters", "a/b"] {
        assert!(matches!(lab.host(bad), Err(LabError::BadName(_))), "{bad}");
    }
    let twice = lab.host("a").expect_err("a name is given once").to_string();
    assert!(twice.contains("ip netns add") && twice.contains("File exists"), "{twice}");
    let failed = a.exec("ls", &["/nowhere"]).expect_err("no such folder").to_string();
    assert!(failed.contains("/nowhere") && failed.contains("No such file"), "{failed}");
    // The failed host must not have taken the first one's namespace along.
    assert!(a.exec("true", &[]).is_ok());
    Ok(())
}
