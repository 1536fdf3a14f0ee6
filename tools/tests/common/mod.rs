//! The program as its users run it: commands and what they left behind, nodes as processes.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// It must have succeeded.
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// The last line as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out.lines().last().unwrap_or_default()).expect(&self.out)
    }
}

/// The program, in this directory.
pub(crate) fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    // Surroundings that no node of this machine can be in.
    command.current_dir(dir).env("XDG_RUNTIME_DIR", dir).env_remove("RUNTIME_DIRECTORY");
    command
}

/// Runs it to its end; what it prints may be any bytes.
pub(crate) fn output(dir: &Path, args: &[&str]) -> Output {
    program(dir).args(args).output().expect("the program")
}

/// Runs it to its end; what it prints is text.
pub(crate) fn trunkline(dir: &Path, args: &[&str]) -> Ran {
    let output = output(dir, args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Writes a file that these may read.
pub(crate) fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Makes `NAME.keys` and gives back the hashname and its label.
pub(crate) fn keys(dir: &Path, name: &str) -> [String; 2] {
    let file = format!("{name}.keys");
    let args = ["keys", "new", "--space", "t", "--bits", "2048", "--json", "--out", &file];
    let made = trunkline(dir, &args).fine().json();
    ["hashname", "label"].map(|key| made[key].as_str().expect("a text").to_owned())
}

/// A process, killed at the end whatever happens.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Kept open, so that it can go on writing.
    _log: Option<BufReader<ChildStderr>>,
}

impl Running {
    /// Starts it as it is.
    pub(crate) fn start(mut command: Command) -> Self {
        Self { child: command.spawn().expect("a process"), _log: None }
    }

    /// Starts a node with `NAME.keys`, `NAME.sock` and this configuration besides. It is up.
    pub(crate) fn node(dir: &Path, name: &str, more: &str) -> Self {
        let text =
            format!("[node]\nkeys = \"{name}.keys\"\n[control]\nsocket = \"{name}.sock\"\n{more}");
        fs::write(dir.join(format!("{name}.toml")), text).expect("written");
        let mut command = program(dir);
        command.args(["run", "--config", &format!("{name}.toml")]).stderr(Stdio::piped());
        let mut node = Self::start(command);
        let mut log = BufReader::new(node.child.stderr.take().expect("its log"));
        let mut line = String::new();
        while !line.contains(" running ") {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "{name} did not start");
        }
        node._log = Some(log);
        node
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks forty times a second until it is so; ten seconds at most.
pub(crate) fn wait(what: &str, until: impl FnMut() -> bool) {
    wait_for(Duration::from_secs(10), what, until);
}

/// The same with another patience.
pub(crate) fn wait_for(patience: Duration, what: &str, mut until: impl FnMut() -> bool) {
    for _ in 0..patience.as_millis() / 25 {
        if until() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(25));
    }
    panic!("it never came to be: {what}");
}
