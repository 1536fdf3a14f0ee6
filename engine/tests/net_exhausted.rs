//! A listener whose process has run out of descriptors says so instead of spinning. Alone in its
//! file, because the limit it lowers is the whole process's.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use trunkline::net::{Accepted, LinkListener, ListenOptions, TcpOptions};

#[test]
fn out_of_descriptors_is_told_and_passes() {
    let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let listener =
        LinkListener::bind(addr, TcpOptions::default(), ListenOptions::default()).unwrap();
    let waiting = std::net::TcpStream::connect(listener.local_addr()).unwrap();
    let pid = std::process::id().to_string();
    let lowered = Command::new("prlimit").args(["--pid", &pid, "--nofile=64"]).status();
    if !lowered.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no prlimit to lower the limit with");
        return;
    }
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    for _ in 0..3 {
        assert!(matches!(listener.accept().unwrap(), Accepted::Exhausted));
    }
    hoard.truncate(hoard.len() / 2);
    let Accepted::Link(_, from) = listener.accept().unwrap() else { panic!("still waits") };
    assert_eq!(from, waiting.local_addr().unwrap());
    assert!(matches!(listener.accept().unwrap(), Accepted::Empty));
}
