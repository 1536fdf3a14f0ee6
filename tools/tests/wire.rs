//! `trunkline-wire` as a program: how it ends and what it says when it cannot begin.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use trunkline_tools::lab::{Lab, LabError};
use trunkline_tools::wire::Report;

type Outcome = Result<(), LabError>;

fn wire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline-wire"));
    command.args(arguments);
    command
}

/// Runs a wire that cannot begin and returns what it says.
fn complaint(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = wire(arguments).output().expect("the program starts");
    assert!(!status.success());
    String::from_utf8(stderr).expect("text")
}

#[test]
fn it_says_what_is_wrong_with_a_command_line() {
    for (arguments, expected) in [
        (&["--a", "x", "--b", "y", "--delay", "soon"][..], "25ms"),
        (&["--a", "x", "--b", "y", "--loss", "200%"], "at most 100%"),
        (&["--a", "x", "--b", "y", "--rate", "0"], "100mbit"),
        (&["--a", "x", "--b", "a-name-too-long-"], "1 to 15 characters"),
        (&["--a", "x", "--b", "x"], "both ends are x"),
    ] {
        let said = complaint(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn it_says_what_is_missing_and_what_to_do() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let said = complaint(&["--a", "x", "--netns-a", "no-such-namespace", "--b", "y"]);
    assert!(said.contains("no-such-namespace") && said.contains("ip netns add"), "{said}");

    let host = lab.host("a")?;
    let taken = complaint(&["--a", "lo", "--netns-a", host.netns(), "--b", "y"]);
    assert!(taken.contains("TAP device lo") && taken.contains("another name"), "{taken}");

    let mut first = wire(&["--a", "x", "--netns-a", host.netns(), "--b", "y", "--netns-b"]);
    first.args([host.netns(), "--until-eof"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut first = first.spawn().expect("the program starts");
    let mut out = BufReader::new(first.stdout.take().expect("its output"));
    out.read_line(&mut String::new()).expect("a line");
    let busy = complaint(&["--a", "x", "--netns-a", host.netns(), "--b", "z"]);
    assert!(busy.contains("another program holds it"), "{busy}");
    drop(first.stdin.take());
    assert!(first.wait().expect("an end").success());
    Ok(())
}

#[test]
fn it_ends_with_its_statistics_at_a_signal_after_its_time_and_with_its_parent() -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let ends = ["--a", "x", "--netns-a", a.netns(), "--b", "x", "--netns-b", b.netns(), "--json"];
    for end in ["INT", "TERM", "time", "eof"] {
        let mut command = wire(&ends);
        match end {
            "time" => command.args(["--seconds", "1"]),
            "eof" => command.arg("--until-eof"),
            _ => &mut command,
        };
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let mut ready = String::new();
        out.read_line(&mut ready).expect("a line");
        assert!(ready.contains("\"ready\""), "{ready}");
        match end {
            "time" => {}
            "eof" => drop(child.stdin.take()),
            signal => {
                let id = child.id().to_string();
                let kill = ["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &id];
                assert!(Command::new("sh").args(kill).status().expect("a shell").success());
            }
        }
        let mut last = String::new();
        out.read_to_string(&mut last).expect("text");
        assert!(child.wait().expect("an end").success(), "{end}");
        let mut last: serde_json::Value = serde_json::from_str(&last).expect("a line of JSON");
        let report: Report = serde_json::from_value(last["report"].take()).expect("a report");
        assert!(report.seconds < 5.0 && (end != "time" || report.seconds >= 1.0), "{report}");
    }
    Ok(())
}
