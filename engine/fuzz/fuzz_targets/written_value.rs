//! The small things people write (addresses, rules, names, quantities): each reads back what it
//! shows.
#![no_main]

use core::fmt::Display;
use core::str::FromStr;

use libfuzzer_sys::fuzz_target;
use trunkline::config::{HostPort, TargetHosts, TargetRule, units};
use trunkline_proto::base::{Hashname, Space};

fuzz_target!(|text: &str| {
    again::<HostPort>(text);
    again::<Hashname>(text);
    again::<Space>(text);
    if let Some(TargetRule { hosts, first_port, last_port }) = again::<TargetRule>(text) {
        assert!(0 < first_port && first_port <= last_port);
        if let TargetHosts::Net { network, prefix } = hosts {
            assert_eq!(network, network.to_canonical(), "IPv4 is never written as IPv6");
            assert!(prefix <= if network.is_ipv4() { 32 } else { 128 });
        }
    }
    if let Ok(duration) = units::duration(text) {
        assert_eq!(units::duration(&units::show_duration(duration)), Ok(duration));
    }
    if let Ok(bytes) = units::bytes(text) {
        assert_eq!(units::bytes(&units::show_bytes(bytes)), Ok(bytes));
    }
    let _ = units::bits_per_second(text);
});

fn again<T: FromStr + Display + PartialEq + core::fmt::Debug>(text: &str) -> Option<T> {
    let value = text.parse::<T>().ok()?;
    let shown = value.to_string();
    assert_eq!(shown.parse::<T>().ok().as_ref(), Some(&value), "{shown}");
    Some(value)
}
