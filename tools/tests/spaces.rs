//! Closed spaces from the command line: operators, members, vouchers, several nodes in a process.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use common::{Running, program, trunkline, wait, wait_for, write};
use tempfile::TempDir;

/// A directory with the keys `op`, `a`, `b` of one space and `c` of another, and their records.
fn place() -> TempDir {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        for (name, space) in [("op", "club"), ("a", "club"), ("b", "club"), ("c", "other")] {
            let args = ["keys", "new", "--space", space, "--out", name, "--bits", "2048"];
            trunkline(dir.path(), &args).fine();
        }
        dir
    });
    let dir = TempDir::new().unwrap();
    for name in ["op", "a", "b", "c"] {
        let text = fs::read_to_string(made.path().join(name)).unwrap();
        write(&dir.path().join(name), &text, 0o600);
        let record = trunkline(dir.path(), &["keys", "show", name, "--record"]).fine().out;
        write(&dir.path().join(format!("{name}.record")), &record, 0o644);
    }
    dir
}

fn hashname(dir: &TempDir, name: &str) -> String {
    let shown = trunkline(dir.path(), &["keys", "show", name, "--json"]).fine();
    shown.json()["hashname"].as_str().unwrap().to_owned()
}

/// A configuration in the closed space, without fixed ports.
fn configure(dir: &TempDir, name: &str, more: &str, links: &str) {
    let op = hashname(dir, "op");
    let text = format!(
        "[node]\nkeys = \"{name}\"\nname = \"{name}\"\n{more}\n\
         [space]\nclosed = true\n[[operator]]\nhashname = \"{op}\"\nrecord_file = \"op.record\"\n\
         [listen]\nudp = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\n\
         [control]\nsocket = \"{name}.sock\"\n{links}"
    );
    write(&dir.path().join(format!("{name}.toml")), &text, 0o644);
}

/// Something that a node does once a minute is waited for so long.
const LONG: Duration = Duration::from_secs(125);

/// A process with a node for each configuration, all of them up.
fn run(dir: &TempDir, configs: &[&str]) -> Running {
    let mut command = program(dir.path());
    command.arg("run").stderr(Stdio::null());
    for config in configs {
        command.args(["--config", config]);
    }
    let process = Running::start(command);
    for config in configs {
        wait("a node is up", || trunkline(dir.path(), &["status", "--config", config]).code == 0);
    }
    process
}

#[test]
fn s7_an_operator_keeps_its_members_by_commands() {
    let dir = place();
    configure(&dir, "op", "directory = \"d.redb\"", "");
    let at = ["--config", "op.toml"];
    let operator = |args: &[&str]| trunkline(dir.path(), &[&["operator"], args, &at].concat());
    let (a, b) = (hashname(&dir, "a"), hashname(&dir, "b"));
    let added = operator(&["add", "a.record", "b.record", "--valid", "3d"]).fine();
    assert_eq!(added.out, format!("added {a}\nadded {b}\n"));
    operator(&["add", "b.record", "--allow", "none"]).fine();
    let listed = operator(&["list"]).fine().out;
    assert!(listed.contains("spacer, proxy, http  3d00h"), "{listed}");
    assert!(listed.contains("none                 7d00h"), "{listed}");
    let last = operator(&["list", "--json"]).fine().json();
    assert_eq!(last["hashname"].as_str(), Some(a.as_str().max(&b)));
    assert_eq!(operator(&["remove", &a]).fine().out, format!("removed {a}\n"));
    let again = operator(&["remove", &a]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("is no member"), "{}", again.err);

    let other = operator(&["add", "c.record"]);
    assert!(other.err.contains("c.record: "), "{}", other.err);
    assert!(other.err.contains("lives in the space other, the operator in club"), "{}", other.err);
    let secret = operator(&["add", "a"]);
    assert!(secret.err.contains("this is a key file, with its secrets"), "{}", secret.err);
    for (args, hint) in [
        (&["operator", "add", "a.record"][..], "say whose members: --config FILE"),
        (&["operator", "list", "--config", "a.toml"], "makes no operator"),
    ] {
        configure(&dir, "a", "", "");
        let ran = trunkline(dir.path(), args);
        assert_eq!(ran.code, 1, "{}", ran.out);
        assert!(ran.err.contains(hint), "{}", ran.err);
    }
    assert_eq!(operator(&["add", "a.record", "--valid", "5min"]).code, 2);
    assert_eq!(operator(&["add", "a.record", "--allow", "everything"]).code, 2);
    trunkline(dir.path(), &["check", "--config", "op.toml"]).fine();
    write(&dir.path().join("d.redb"), &"no directory ".repeat(1_000), 0o600);
    let damaged = trunkline(dir.path(), &["check", "--config", "op.toml"]);
    assert!(
        damaged.out.contains("node.directory: the file d.redb is no directory of members"),
        "{}",
        damaged.out
    );
}

#[test]
fn s7_the_running_node_is_asked_since_it_has_the_file() {
    let dir = place();
    configure(&dir, "op", "directory = \"d.redb\"", "");
    let node = run(&dir, &["op.toml"]);
    let offline = ["operator", "list", "--keys", "op", "--directory", "d.redb"];
    let locked = trunkline(dir.path(), &offline);
    assert_eq!(locked.code, 1);
    assert!(locked.err.contains("open in another process"), "{}", locked.err);
    for at in [["--config", "op.toml"], ["--control", "op.sock"]] {
        trunkline(dir.path(), &[&["operator", "add", "a.record"][..], &at].concat()).fine();
        let listed = trunkline(dir.path(), &[&["operator", "list"][..], &at].concat()).fine();
        assert!(listed.out.contains(&hashname(&dir, "a")), "{}", listed.out);
    }
    drop(node);
    let kept = trunkline(dir.path(), &offline).fine();
    assert!(kept.out.contains(&hashname(&dir, "a")), "killed, and still there: {}", kept.out);
    configure(&dir, "a", "voucher = \"v\"", "");
    trunkline(dir.path(), &["operator", "voucher", "a.record", "--keys", "op", "--out", "v"])
        .fine();
    let _plain = run(&dir, &["a.toml"]);
    let refused = trunkline(dir.path(), &["operator", "list", "--control", "a.sock"]);
    assert!(refused.err.contains("this node is no operator"), "{}", refused.err);
}

#[test]
fn s5_a_member_gets_its_next_voucher_from_its_operator_by_itself() {
    let dir = place();
    configure(&dir, "op", "directory = \"d.redb\"", "");
    let operator = |args: &[&str]| {
        let at = ["--config", "op.toml"];
        trunkline(dir.path(), &[&["operator"], args, &at].concat()).fine()
    };
    let _operator = run(&dir, &["op.toml"]);
    let status = |name: &str| {
        let config = format!("{name}.toml");
        trunkline(dir.path(), &["status", "--config", &config, "--json"]).fine().json()
    };
    operator(&["voucher", "a.record", "--valid", "2h", "--out", "v"]);
    let old = fs::read_to_string(dir.path().join("v")).unwrap();
    operator(&["add", "a.record", "--valid", "5d"]);
    configure(&dir, "a", "voucher = \"v\"", "");
    let listening = status("op");
    let listening = listening["listening"].as_array().unwrap().clone();
    let udp = listening.iter().find_map(|l| l.as_str()?.strip_prefix("udp ")).unwrap();
    let text = fs::read_to_string(dir.path().join("a.toml")).unwrap();
    let known = format!("record_file = \"op.record\"\naddress = \"{udp}\"");
    let text = text.replace("record_file = \"op.record\"", &known);
    write(&dir.path().join("a.toml"), &text, 0o644);
    // Two hours are little: it asks as soon as it runs.
    let mut member = run(&dir, &["a.toml"]);
    let ends = || status("a")["voucher_expires"].as_u64().unwrap();
    let soon = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 4 * 86_400;
    wait_for(LONG, "a new voucher", || ends() > soon);
    let pid = member.child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(member.child.wait().unwrap().success());
    let kept = fs::read_to_string(dir.path().join("v")).unwrap();
    assert!(kept != old && kept.contains("BEGIN TRUNKLINE VOUCHER"), "{kept}");
    let checked = trunkline(dir.path(), &["check", "--config", "a.toml"]).fine().out;
    assert!(checked.contains("valid for 4 days and 23 hours"), "{checked}");
}

#[test]
fn s5_a_hashname_is_judged_before_its_node_starts() {
    let dir = place();
    let voucher = |subject: &str, more: &[&str]| {
        let args = ["operator", "voucher", subject, "--keys", "op", "--out", "v"];
        trunkline(dir.path(), &[&args, more].concat()).fine();
    };
    let check = || trunkline(dir.path(), &["check", "--config", "a.toml"]);
    let refused = |expected: &str| {
        let checked = check();
        assert_eq!(checked.code, 1);
        assert!(checked.out.contains(expected), "{expected}\nnot in\n{}", checked.out);
        let ran = trunkline(dir.path(), &["run", "--config", "a.toml"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(expected), "{expected}\nnot in\n{}", ran.err);
    };
    configure(&dir, "a", "", "");
    refused("the space club is closed and this node has no voucher: give its record");
    configure(&dir, "a", "voucher = \"v\"", "[sock]\nallow = [\"127.0.0.1:80\"]\n");
    refused("cannot read the voucher");
    write(&dir.path().join("v"), "hello", 0o644);
    refused("v holds no voucher (not a voucher): copy all that `trunkline operator voucher`");
    voucher("b.record", &[]);
    refused("it must have been made for this very key file");
    voucher("a.record", &["--allow", "spacer"]);
    refused("the voucher does not allow proxy, which sock.allow asks for (it allows: spacer)");
    configure(&dir, "a", "voucher = \"v\"", "[http]\nbackend = \"127.0.0.1:80\"\n");
    refused("the voucher does not allow http, which http.backend asks for (it allows: spacer)");
    voucher("a.record", &["--allow", "http"]);
    configure(&dir, "a", "voucher = \"v\"", "[mesh]\nspacer = true\n");
    refused("the voucher does not allow spacer, which mesh.spacer asks for (it allows: http)");
    configure(&dir, "a", "voucher = \"v\"", "[sock]\nallow = [\"127.0.0.1:80\"]\n");
    voucher(&hashname(&dir, "a"), &["--valid", "30h"]);
    let soon = check().fine().out;
    assert!(soon.contains("warning: node.voucher: valid for 1 days and "), "{soon}");
    voucher("a.record", &["--valid", "7d"]);
    let fine = check().fine().out;
    assert!(fine.contains("note: node.voucher: valid for "), "{fine}");
    assert!(fine.contains("allows: spacer, proxy, http"), "{fine}");
    assert!(fine.contains("a.toml: ok (0 errors, 0 warnings)"), "{fine}");

    let elsewhere =
        trunkline(dir.path(), &["operator", "voucher", "c.record", "--keys", "op", "--out", "v"]);
    assert!(elsewhere.err.contains("lives in the space other"), "{}", elsewhere.err);
}

#[test]
fn s4_operators_that_make_no_sense_are_refused() {
    let dir = place();
    let (op, c) = (hashname(&dir, "op"), hashname(&dir, "c"));
    for (more, expected) in [
        (
            "[space]\nclosed = true\n".to_owned(),
            "space.closed: the space is closed and there is no",
        ),
        (format!("[[operator]]\nhashname = \"{op}\"\n"), "has neither an address nor a record"),
        (
            format!("[[operator]]\nhashname = \"{c}\"\nrecord_file = \"c.record\"\n"),
            "lives in the space other, this node in club",
        ),
        (
            format!("[[operator]]\nhashname = \"{c}\"\nrecord_file = \"op.record\"\n"),
            "the record belongs to",
        ),
        (
            format!("[[operator]]\nhashname = \"{op}\"\nrecord_file = \"op.record\"\n").repeat(2),
            "is listed twice",
        ),
    ] {
        let text =
            format!("[node]\nkeys = \"a\"\n[listen]\nudp = [\"127.0.0.1:0\"]\ntls = []\n{more}");
        write(&dir.path().join("n.toml"), &text, 0o644);
        let checked = trunkline(dir.path(), &["check", "--config", "n.toml"]);
        assert_eq!(checked.code, 1, "{}", checked.out);
        assert!(checked.out.contains(expected), "{expected}\nnot in\n{}", checked.out);
        assert_eq!(trunkline(dir.path(), &["run", "--config", "n.toml"]).code, 1);
    }
}

#[test]
fn s4_a_process_runs_a_node_for_each_configuration() {
    let dir = place();
    configure(&dir, "op", "", "");
    let text = "[node]\nkeys = \"c\"\n[listen]\nudp = []\ntls = [\"127.0.0.1:0\"]\n\
                [control]\nsocket = \"c.sock\"\n";
    write(&dir.path().join("c.toml"), text, 0o644);
    let mut both = run(&dir, &["op.toml", "c.toml"]);
    for (name, space) in [("op", "club"), ("c", "other")] {
        let config = format!("{name}.toml");
        let status =
            trunkline(dir.path(), &["status", "--config", &config, "--json"]).fine().json();
        assert_eq!(status["space"], space);
        assert_eq!(status["hashname"].as_str().unwrap(), hashname(&dir, name));
        assert_eq!(status["pid"].as_u64(), Some(both.child.id().into()));
    }
    let ping = ["ping", &hashname(&dir, "c"), "--config", "op.toml", "--count", "1"];
    assert_eq!(trunkline(dir.path(), &ping).code, 1, "they share a process and nothing else");
    // One that cannot start keeps the others from starting.
    let broken = trunkline(dir.path(), &["run", "--config", "a.toml", "--config", "c.toml"]);
    assert_eq!(broken.code, 1);
    let pid = both.child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(both.child.wait().unwrap().success(), "all of them say goodbye and end");
}
