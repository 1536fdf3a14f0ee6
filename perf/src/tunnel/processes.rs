//! Processor time of processes and their descendants, as `/proc` counts it.

use std::collections::HashMap;

/// Ticks a second in `/proc/PID/stat`: fixed in the kernel's interface.
const TICKS: f64 = 100.0;

struct Stat {
    parent: u32,
    ticks: f64,
    resident: f64,
}

/// Seconds that `roots` and all that descends from them used so far, and the MiB they hold.
pub(crate) fn used(roots: &[u32]) -> (f64, f64) {
    let all: HashMap<u32, Stat> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let (mut ticks, mut resident) = (0.0, 0.0);
    for (pid, own) in &all {
        let mut at = *pid;
        // Deeper families than this are not what a tunnel has.
        let descends = (0..16).any(|_| {
            let found = roots.contains(&at);
            at = all.get(&at).map_or(0, |s| s.parent);
            found
        });
        if descends {
            ticks += own.ticks;
            resident += own.resident;
        }
    }
    (ticks / TICKS, resident)
}

fn stat(pid: u32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<f64> =
        fields.split_ascii_whitespace().skip(1).map(|f| f.parse().unwrap_or(0.0)).collect();
    // After the state: parent first; user, system, and both of children that were waited for.
    let ticks = fields.get(10..14)?.iter().sum();
    let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let pages = fields.get(20)?;
    Some(Stat { parent, ticks, resident: pages * 4_096.0 / f64::from(1 << 20) })
}
