//! Any text as a configuration: one that keeps every promise of the model, or problems with
//! their lines.
#![no_main]

mod edits;

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use trunkline::config::{Config, ConfigError, HostPort, Link, TargetRule};
use trunkline_proto::wire::link::FRAME_MAX;

/// The example with every option switched on but one of two that exclude each other, with targets
/// to be reached, and without its comments, which would take most of the edits.
static EXAMPLE: LazyLock<String> = LazyLock::new(|| {
    let told = |line: &&str| !line.starts_with("# ") && !line.starts_with("#record_file");
    let on = |line: &str| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n";
    let text: String = Config::example().lines().filter(told).map(on).collect();
    let rules = r#"allow = ["10.0.0.0/8:443", "localhost:22", "[fd00::/8]:8000-8100"]"#;
    let text = text.replace("allow = []", rules);
    assert!(!Config::parse(&text, Path::new("")).unwrap().sock.allow.is_empty());
    text
});

fuzz_target!(|data: &[u8]| {
    let Some(text) = edits::text_of(&EXAMPLE, data) else { return };
    for text in [&text, &format!("[node]\nkeys = \"k\"\n{text}")] {
        match Config::parse(text, Path::new("/etc/trunkline/relay.toml")) {
            Ok(config) => promises(&config),
            Err(error) => problems(text, &error),
        }
    }
});

fn promises(config: &Config) {
    let l = &config.limits;
    assert!(l.frame <= l.lane_bytes && l.message <= l.assembling);
    assert!(l.rekey_after < l.keys_dead_after);
    assert!(l.frame <= FRAME_MAX, "no neighbour takes larger ones");
    for rule in &config.sock.allow {
        assert!(0 < rule.first_port && rule.first_port <= rule.last_port);
        assert_eq!(rule.to_string().parse::<TargetRule>().as_ref(), Ok(rule));
    }
    for link in &config.links {
        assert!((1..=Link::MAX_COST).contains(&link.cost) && !link.name.is_empty());
        again(&link.address);
    }
    config.peers.iter().flat_map(|p| &p.addresses).for_each(again);
    config.proxies.iter().map(|p| &p.target).for_each(again);
}

fn again(address: &HostPort) {
    assert_eq!(address.to_string().parse::<HostPort>().as_ref(), Ok(address));
}

fn problems(text: &str, error: &ConfigError) {
    let problems = error.problems();
    assert!(!problems.is_empty(), "what is refused is refused for a reason");
    assert!(problems.iter().all(|p| !p.what.is_empty()));
    let lines = 1 + text.bytes().filter(|b| *b == b'\n').count();
    assert!(problems.iter().filter_map(|p| p.line).all(|line| (1..=lines).contains(&line)));
    assert!(problems.is_sorted_by_key(|p| p.line.unwrap_or(usize::MAX)));
}
