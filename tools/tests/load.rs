//! `trunkline-load --bare`: bare links through real relays.

use std::process::{Command, Output};

fn load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline-load"));
    command.args(["--bare", "--json", "--warm-up", "0.1", "--duration", "0.4"]).args(arguments);
    command.output().expect("the program runs")
}

#[test]
fn c8_bare_links_bring_every_message_over_two_relays_in_order() {
    // The larger ones travel in two frames each.
    for (transport, size, window) in
        [("plain", "300", "64"), ("tls", "300", "64"), ("plain", "16384", "16")]
    {
        let arguments = ["--hops", "2", "--pairs", "2", "--group", "8"];
        let these = ["--transport", transport, "--size", size, "--window", window];
        let output = load(&[&arguments[..], &these].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{transport}: {said}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let count = |name: &str| report[name].as_u64().expect(name);
        assert!(count("delivered") > 64, "{transport}: {report}");
        for none in ["lost", "reordered", "duplicated", "stalls"] {
            assert_eq!(count(none), 0, "{transport}: {none}: {report}");
        }
        assert_eq!(
            report["processes"].as_array().expect("processes").len(),
            3,
            "two relays and us"
        );
    }
}

#[test]
fn c8_bare_links_say_what_they_cannot_do() {
    for (arguments, why) in [
        (&["--hops", "0"][..], "need a relay"),
        (&["--bridged"], "cannot be used with"),
        (&["--kind", "sealed"], "--kind is message"),
    ] {
        let output = load(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}
