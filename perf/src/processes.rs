//! Processor time and memory of processes and their descendants, as `/proc` counts them.

use std::collections::HashMap;

/// Ticks a second in `/proc/PID/stat`: fixed in the kernel's interface.
const TICKS: f64 = 100.0;

/// What processes have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds in their own code and in the kernel for them.
    pub cpu: f64,
    /// MiB they hold now.
    pub resident: f64,
    /// MiB each of them held at most, added up.
    pub peak: f64,
}

struct Stat {
    parent: u32,
    ticks: f64,
    resident: f64,
}

/// What `roots` and all that descends from them used so far.
#[must_use]
pub fn used(roots: &[u32]) -> Usage {
    let all: HashMap<u32, Stat> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat(&text)?))
        })
        .collect();
    let mut usage = Usage::default();
    for (pid, own) in &all {
        let mut at = *pid;
        // Deeper families than this are not what a peer has.
        let descends = (0..16).any(|_| {
            let found = roots.contains(&at);
            at = all.get(&at).map_or(0, |s| s.parent);
            found
        });
        if descends {
            usage.cpu += own.ticks / TICKS;
            usage.resident += own.resident;
            usage.peak += peak(*pid).unwrap_or(own.resident);
        }
    }
    usage
}

fn stat(text: &str) -> Option<Stat> {
    // The name may hold anything, parentheses too.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().skip(1).collect();
    let number = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok());
    // After the state: parent first; user, system, and both of children that were waited for.
    let ticks = (10..14).filter_map(number).sum();
    let parent = fields.first()?.parse().ok()?;
    Some(Stat { parent, ticks, resident: number(20)? * 4_096.0 / f64::from(1 << 20) })
}

fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let text = "7 (a) b (c)) S 3 2 3 4 5 6 7 8 9 10 250 31 4 5 20 0 1 0 77 99 256 18446";
        let stat = stat(text).expect("a process");
        assert_eq!((stat.parent, stat.ticks), (3, 290.0));
        assert!((stat.resident - 1.0).abs() < 1e-9, "256 pages");
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = used(&[std::process::id()]);
        assert!(usage.resident > 1.0 && usage.peak >= usage.resident, "{usage:?}");
    }
}
