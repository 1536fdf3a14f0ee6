//! What a process has used so far, as `/proc` tells.

use std::time::Duration;

use serde::Serialize;

/// Ticks a second in `/proc/PID/stat`: fixed in the kernel's interface.
const TICKS: u64 = 100;
/// The fields of `/proc/PID/stat` after the name in parentheses: user and system time.
const TIMES: (usize, usize) = (11, 12);

/// Time and memory of a process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Usage {
    /// In its own code.
    #[serde(skip)]
    pub(super) user: Duration,
    /// In the kernel for it.
    #[serde(skip)]
    pub(super) system: Duration,
    /// Memory it has now, in bytes.
    pub(super) rss_bytes: u64,
    /// Most memory it ever had, in bytes.
    pub(super) peak_rss_bytes: u64,
}

impl Usage {
    /// What `pid` has used so far; nothing if it is gone.
    #[must_use]
    pub(super) fn of(pid: u32) -> Self {
        let read = |what| std::fs::read_to_string(format!("/proc/{pid}/{what}"));
        let mut usage = Self::default();
        if let Ok(stat) = read("stat") {
            (usage.user, usage.system) = times(&stat);
        }
        if let Ok(status) = read("status") {
            usage.rss_bytes = kibibytes(&status, "VmRSS:") << 10;
            usage.peak_rss_bytes = kibibytes(&status, "VmHWM:") << 10;
        }
        usage
    }

    /// Time in all.
    #[must_use]
    pub(super) fn cpu(&self) -> Duration {
        self.user + self.system
    }

    /// What was used since `before`; memory is as it is now.
    #[must_use]
    pub(super) const fn since(&self, before: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            ..*self
        }
    }
}

fn times(stat: &str) -> (Duration, Duration) {
    // The name may hold anything, parentheses too.
    let Some((_, fields)) = stat.rsplit_once(')') else { return Default::default() };
    let field = |n| fields.split_ascii_whitespace().nth(n).and_then(|f| f.parse::<u64>().ok());
    let time = |n| Duration::from_millis(field(n).unwrap_or(0) * (1_000 / TICKS));
    (time(TIMES.0), time(TIMES.1))
}

fn kibibytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20";
        assert_eq!(times(stat), (Duration::from_millis(2_500), Duration::from_millis(310)));
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id());
        assert!(usage.rss_bytes > 1 << 20 && usage.peak_rss_bytes >= usage.rss_bytes);
    }
}
