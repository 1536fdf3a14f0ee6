//! Chromium at a web server behind another node, through the gateway, with a NAT in front of each:
//! what `perf/browser.sh` does, with the program that was just built. Needs root and Chromium; says
//! so otherwise.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The exit code for "not on this machine".
const SKIPPED: i32 = 2;

#[test]
fn s9_s22_a_browser_works_between_nats_and_pages_of_other_origins_do_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let mut command = Command::new("bash");
    command.arg(root.join("perf/browser.sh")).env("TRUNKLINE", env!("CARGO_BIN_EXE_trunkline"));
    let ran = command.output().expect("bash");
    let [out, err] = [&ran.stdout, &ran.stderr].map(|b| String::from_utf8_lossy(b).into_owned());
    if ran.status.code() == Some(SKIPPED) {
        // Past the harness's capture: a skipped test must not look like one that passed.
        let _ = write!(std::io::stderr(), "\n{err}\n");
        return;
    }
    assert!(ran.status.success(), "{out}{err}");
    eprintln!("{out}");
}
