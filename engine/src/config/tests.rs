//! The configuration as its users meet it: texts in, configurations or advice out.

use std::path::{Path, PathBuf};

use super::*;
use trunkline_proto::base::Limits;

const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/trunkline/relay.toml"))
}

/// The configuration of a file that has its keys and `more`.
fn with(more: &str) -> Config {
    parse(&format!("[node]\nkeys = \"k\"\n{more}")).unwrap()
}

/// The problems of such a file, one a line, without its path.
fn complaints(more: &str) -> String {
    let error = parse(&format!("[node]\nkeys = \"k\"\n{more}")).unwrap_err();
    error.to_string().replace("/etc/trunkline/relay.toml:", "")
}

/// The example with every option switched on.
fn all_options() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        // Of two options that exclude each other the test needs both, one at a time.
        Some(option) if !option.starts_with(' ') => option.to_owned(),
        _ => line.to_owned(),
    };
    Config::example().lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_file_with_nothing_but_keys_is_the_defaults() {
    assert_eq!(with(""), Config::new(PathBuf::from("/etc/trunkline/k")));
}

#[test]
fn the_example_as_printed_is_the_defaults() {
    let example = parse(Config::example()).unwrap();
    assert_eq!(example, Config::new(PathBuf::from("/etc/trunkline/trunkline.keys")));
}

#[test]
fn the_example_shows_every_option_at_its_default() {
    let text = all_options();
    // Both forms of a record are shown, and exclude each other.
    let (config, problems, absent) = Config::read(&text, Path::new("/etc/trunkline/x.toml"));
    let both = |p: &Problem, option| p.option == option && p.what.contains("both");
    assert!(
        matches!(&problems[..], [o, p] if both(o, "operator[0]") && both(p, "peer[0]")),
        "{problems:?}"
    );
    assert_eq!(absent, Vec::<String>::new(), "options the example does not show");

    let (config, defaults) = (config.unwrap(), Config::new(PathBuf::new()));
    assert_eq!(config.listen, defaults.listen);
    assert_eq!(config.sock, defaults.sock);
    let shown = config.messages;
    assert_eq!(shown.pairs.len(), 1);
    assert_eq!(crate::config::Messages { pairs: Vec::new(), ..shown }, defaults.messages);
    assert_eq!(config.placement, defaults.placement);
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(config.log, defaults.log);
    let [link] = &config.links[..] else { panic!("one link is shown") };
    assert_eq!((link.cost, link.transport), (Link::DEFAULT_COST, Transport::default()));
    assert_eq!(config.proxies.len(), 1);
    assert_eq!(config.http.pass_host, defaults.http.pass_host);
    assert_eq!(config.gateway.names.len(), 1);

    let one_record = text.replace("record_file", "#record_file");
    let config = parse(&one_record).unwrap();
    assert_eq!((config.peers.len(), config.space.operators.len()), (1, 1));
    assert!(!config.space.closed && config.node.voucher.is_some());
}

#[test]
fn every_limit_can_be_set_and_has_bounds() {
    for name in limits::NAMES {
        for value in ["-1", "\"x\"", "99999999999999999", "\"999999999d\"", "[]", "1.5"] {
            let problem = complaints(&format!("[limits]\n{name} = {value}\n"));
            assert!(problem.contains(&format!("4: limits.{name}: ")), "{name}: {problem}");
        }
    }
    let config = with("[limits]\nheartbeat = \"100ms\"\nframe = \"8KiB\"\nlinks = 9\n");
    let heartbeat = std::time::Duration::from_millis(100);
    let expected = Limits { heartbeat, frame: 8_192, links: 9, ..Limits::default() };
    assert_eq!(config.limits, expected);
}

#[test]
fn no_frame_may_be_larger_than_neighbours_take() {
    let problem = complaints("[limits]\nframe = \"16385B\"\n");
    assert!(problem.contains("to 16KiB"), "{problem}");
    with("[limits]\nframe = \"16KiB\"\n");
}

#[test]
fn limits_that_cannot_hold_together_are_refused() {
    let problem = complaints("[limits]\nrekey_after = \"10min\"\n");
    assert!(problem.contains("keys_dead_after must be longer than rekey_after"), "{problem}");
    let problem = complaints("[limits]\nline_idle = \"1min\"\n");
    assert!(problem.contains("line_idle must not be shorter than keys_dead_after"), "{problem}");
    let problem = complaints("[limits]\nassembling = \"1KiB\"\n");
    assert!(problem.contains("not even one message"), "{problem}");
}

#[test]
fn unknown_keys_are_errors_with_line_and_suggestion() {
    for (text, expected) in [
        ("[listen]\nupd = []\n", "4: listen.upd: no such option; did you mean `udp`?"),
        ("[lisen]\n", "3: lisen: no such option; did you mean `listen`?"),
        ("[log]\nLevel = \"info\"\n", "4: log.Level: no such option; did you mean `level`?"),
        ("[log]\nxyzzy = 1\n", "4: log.xyzzy: no such option; known here: level, format"),
        ("[limits]\nheartbeats = 4\n", "did you mean `heartbeat`?"),
        ("[limits]\nheartbeats_mised = 4\n", "did you mean `heartbeats_missed`?"),
    ] {
        let problem = complaints(text);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn one_pass_reports_everything() {
    let text = format!(
        "[log]\nlevel = \"inof\"\nformat = 7\n\
         [[link]]\nhashname = \"{HASH}\"\ncost = 0\n\
         [[proxy]]\nhashname = \"abc\"\ntarget = \"x\"\nlisten = \"localhost:80\"\n\
         [sock]\nallow = [\"127.0.0.1\", 5, \"10.0.0.0/8:443\"]\n"
    );
    let problems = complaints(&text);
    for expected in [
        "4: log.level: `inof` is not one of error, warn, info, debug, trace; did you mean `info`?",
        "5: log.format: write it in quotes",
        "6: link[0].address: is missing",
        "8: link[0].cost: 0 is out of bounds, choose 1 to 65535",
        "10: proxy[0].hashname: a hashname is 64 hex digits, this is 3 characters",
        "11: proxy[0].target: `x` has no port",
        "12: proxy[0].listen: `localhost:80` is not an address to listen on",
        "14: sock.allow[0]: `127.0.0.1` has no port",
        "14: sock.allow[1]: write it in quotes",
    ] {
        assert!(problems.contains(expected), "{expected}\nnot in\n{problems}");
    }
    assert_eq!(problems.lines().count(), 9, "{problems}");
}

#[test]
fn what_is_not_toml_says_where_and_nothing_else() {
    let problem = parse("[node]\nkeys = \n[listen\n").unwrap_err();
    assert!(problem.problems().iter().all(|p| p.what.starts_with("not TOML")), "{problem}");
    assert_eq!(problem.problems().first().and_then(|p| p.line), Some(2), "{problem}");
    let problem = parse("[node]\nkeys = \"a\"\nkeys = \"b\"\n").unwrap_err();
    assert!(problem.to_string().contains(":3: not TOML: duplicate key"), "{problem}");
}

#[test]
fn wrong_shapes_say_which_is_right() {
    for (text, expected) in [
        ("[link]\naddress = \"x\"\n", "link: is a list of sections, write [[link]]"),
        ("[[log]]\nlevel = \"info\"\n", "log: is a section: [log]"),
        ("[listen]\nudp = \"0.0.0.0:1\"\n", "listen.udp: expected a list"),
        ("[placement]\nworkers = \"4\"\n", "placement.workers: expected a number without"),
        ("[placement]\nworkers = 999\n", "999 is out of bounds, choose 0 to 256"),
        ("[placement]\nmode = \"collapsed\"\nwriters = 1\n", "no threads in collapsed"),
        ("[listen]\ntls = [\"0.0.0.0:1\"]\nplain = [\"0.0.0.0:1\"]\n", "listed twice"),
        ("[[peer]]\nhashname = \"0\"\n", "peer[0]: needs its key record"),
    ] {
        let problem = complaints(text);
        assert!(problem.contains(expected), "{problem}");
    }
    let missing = parse("[log]\n").unwrap_err().to_string();
    assert!(missing.contains("node.keys: is missing: write keys"), "{missing}");
}

#[test]
fn links_peers_and_proxies_read_as_written() {
    let config = with(
        &format!(
            "[listen]\nudp = []\ntls = []\nplain = [\"127.0.0.1:7\"]\n\
         [[link]]\naddress = \"relay.example.org\"\nhashname = \"{HASH}\"\n\
         [[link]]\nname = \"b\"\naddress = \"[::1]:9\"\nhashname = \"{HASH}\"\n\
         transport = \"plain\"\ncost = 3\n\
         [[peer]]\nhashname = \"{HASH}\"\nrecord_file = \"peers/x\"\naddresses = [\"::ffff\"]\n"
        )
        .replace("::ffff", "192.0.2.1"),
    );
    assert_eq!(config.listen.udp, []);
    let [listener] = config.listen.links[..] else { panic!() };
    assert_eq!(listener.transport, Transport::Plain);
    let [first, second] = &config.links[..] else { panic!() };
    assert_eq!(first.name, "relay.example.org:42424");
    assert_eq!((first.cost, first.transport), (10, Transport::Tls));
    assert_eq!((second.name.as_str(), second.cost), ("b", 3));
    let [peer] = &config.peers[..] else { panic!() };
    assert_eq!(peer.record, Some(RecordSource::File("/etc/trunkline/peers/x".into())));
    assert_eq!(peer.addresses[0].to_string(), "192.0.2.1:42424");
}

#[test]
fn http_and_gateway_read_as_written() {
    let config = with(&format!(
        "[http]\nbackend = \"localhost:8080\"\npass_host = true\n\
         [gateway]\nlisten = \"127.0.0.1:8480\"\n[gateway.names]\nwiki = \"{HASH}\"\n"
    ));
    let backend = config.http.backend.map(|b| b.to_string());
    assert_eq!((backend.as_deref(), config.http.pass_host), (Some("localhost:8080"), true));
    assert_eq!(config.gateway.names["wiki"].to_string(), HASH);
    for (text, expected) in [
        ("[http]\nbackend = \"localhost\"\n", "http.backend: `localhost` has no port"),
        ("[http]\npass_host = \"yes\"\n", "expected true or false, without quotes"),
        ("[gateway]\nlisten = \"0.0.0.0:8480\"\n", "the gateway is for this machine"),
        ("[gateway.names]\nWiki = \"0\"\n", "gateway.names.Wiki: as a part of a host name"),
        ("[gateway.names]\n\"a.b\" = \"0\"\n", "as a part of a host name"),
        ("[gateway.names]\nwiki = \"0\"\n", "gateway.names.wiki: a hashname is 64 hex digits"),
        ("[gateway]\nname = 1\n", "gateway.name: no such option; did you mean `names`?"),
    ] {
        let problem = complaints(text);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn s4_spaces_and_operators_read_as_written() {
    let config = with(&format!(
        "voucher = \"v\"\ndirectory = \"/d\"\n[space]\nclosed = true\n\
         [[operator]]\nhashname = \"{HASH}\"\naddress = \"op.example.org\"\n\
         [[operator]]\nhashname = \"{HASH}\"\nrecord_file = \"op.record\"\n"
    ));
    assert_eq!(config.node.voucher, Some("/etc/trunkline/v".into()));
    assert_eq!(config.node.directory, Some("/d".into()));
    assert!(config.space.closed);
    let [first, second] = &config.space.operators[..] else { panic!() };
    assert_eq!(first.address.as_ref().unwrap().to_string(), "op.example.org:42424");
    assert_eq!((first.record.clone(), second.address.clone()), (None, None));
    assert_eq!(second.record, Some(RecordSource::File("/etc/trunkline/op.record".into())));
    for (text, expected) in [
        ("[space]\nclosed = \"yes\"\n", "4: space.closed: expected true or false, without quotes"),
        ("[space]\nclose = true\n", "did you mean `closed`?"),
        ("[[operator]]\naddress = \"a\"\n", "operator[0].hashname: is missing"),
        (&"[[operator]]\nhashname=\"ab\"\n".repeat(17), "17 sections are too many, at most 16"),
    ] {
        let problem = complaints(text);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn relative_paths_start_from_the_file_and_absolute_ones_do_not() {
    let config =
        parse("[node]\nkeys = \"/k\"\nstate_dir = \"state\"\n[control]\nsocket = \"run/c.sock\"\n")
            .unwrap();
    assert_eq!(config.node.keys, Path::new("/k"));
    assert_eq!(config.state_dir(), Path::new("/etc/trunkline/state"));
    assert_eq!(config.control_socket(), Path::new("/etc/trunkline/run/c.sock"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/x.toml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/x.toml") && error.contains("No such file"), "{error}");
}

proptest::proptest! {
    /// Whatever the text, judging it ends in a configuration or in problems.
    #[test]
    fn no_text_breaks_the_reader(text in "(\\[|\\]|=|\"|\n|#|[a-z.:0-9]|udp|node|limits|link){0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("[node]\nkeys=\"k\"\n[[link]]\n{text}"));
    }
}

#[test]
fn every_configuration_in_the_guides_is_one() {
    let readme = include_str!("../../../README.md");
    let guide = include_str!("../../../docs/guides/deploy.md");
    let http = include_str!("../../../docs/guides/http.md");
    let spaces = include_str!("../../../docs/guides/spaces.md");
    let nat = include_str!("../../../docs/guides/nat.md");
    let gate = include_str!("../../../docs/guides/gate.md");
    let guides = [(guide, 4), (spaces, 2), (http, 2), (nat, 2), (gate, 1)];
    for (text, expected) in guides.into_iter().chain([(readme, 6)]) {
        let mut blocks = 0;
        for block in text.split("```toml\n").skip(1) {
            let text = block.split("```").next().unwrap_or_default();
            let names = [
                "RELAY_HASHNAME",
                "OPERATOR_HASHNAME",
                "MEET_HASHNAME",
                "A_HASHNAME",
                "B_HASHNAME",
            ];
            let text = names.iter().fold(text.to_owned(), |text, name| text.replace(name, HASH));
            // Some are additions to a file that stands elsewhere.
            let head = if text.contains("[node]") { "" } else { "[node]\nkeys = \"k\"\n" };
            assert!(parse(&format!("{head}{text}")).is_ok(), "{text}");
            blocks += 1;
        }
        assert_eq!(blocks, expected);
    }
}
