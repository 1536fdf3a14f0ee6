//! What machine this is, in a few words.

use std::fs;
use std::process::Command;

/// What figures depend on.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Processors and memory.
    pub(crate) about: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// Of the sources, and whether they were changed since.
    pub(crate) commit: String,
}

impl Machine {
    /// This one.
    pub(crate) fn look() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = value(&processors, "model name").unwrap_or("an unknown processor");
        let count = processors.lines().filter(|l| l.starts_with("processor")).count();
        let virtual_one = if processors.contains(" hypervisor ") { ", virtual" } else { "" };
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kibibytes = value(&memory, "MemTotal").and_then(|v| v.split(' ').next()?.parse().ok());
        let gibibytes = kibibytes.unwrap_or(0u64) >> 20;
        let changed =
            if said("git", &["status", "--porcelain"]).is_empty() { "" } else { ", changed" };
        Self {
            about: format!("{count} x {model}{virtual_one}, {gibibytes} GiB"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            rustc: said("rustc", &["--version"]),
            commit: said("git", &["rev-parse", "--short=12", "HEAD"]) + changed,
        }
    }
}

/// What follows a name and a colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|l| l.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_their_names() {
        let text = "processor\t: 0\nmodel name\t: A Processor @ 2 GHz\n";
        assert_eq!(value(text, "model name"), Some("A Processor @ 2 GHz"));
        assert_eq!(value(text, "flags"), None);
    }
}
