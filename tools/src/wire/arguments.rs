//! The command line of `trunkline-wire`.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Parser;
use trunkline_sim::emulator::Conditions;

use super::{Place, units};
use crate::kernel::DEVICE_NAME_MAX;

/// Carry Ethernet frames between two TAP devices, with the delays and faults of a real link.
///
/// The devices are created if they are not there, and vanish at the end. Conditions hold for each
/// direction: `--delay 25ms` makes a round trip of 50 ms. Give each end a network namespace with
/// `--netns-a` and `--netns-b`, or move the devices once they are there
/// (`ip link set tapb netns NAME`), then bring them up and give them addresses. Needs root.
#[derive(Parser, Debug)]
#[command(name = "trunkline-wire", version)]
pub struct Arguments {
    /// TAP device of one end
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub a: String,
    /// TAP device of the other end
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub b: String,
    /// Network namespace in which the first device is made (one of `ip netns list`)
    #[arg(long, value_name = "NAME")]
    pub netns_a: Option<String>,
    /// Network namespace in which the second device is made
    #[arg(long, value_name = "NAME")]
    pub netns_b: Option<String>,
    /// Least time a frame takes, one way
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = units::duration)]
    pub delay: Duration,
    /// Most that comes on top of the delay, drawn evenly; keeps the order
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = units::duration)]
    pub jitter: Duration,
    /// Share of frames lost
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share_ppm)]
    pub loss: u32,
    /// Share of frames held back so that later ones overtake
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share_ppm)]
    pub reorder: u32,
    /// How long a frame is held back for that
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = units::duration)]
    pub reorder_by: Duration,
    /// Share of frames sent twice
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share_ppm)]
    pub duplicate: u32,
    /// Share of frames with one bit flipped
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share_ppm)]
    pub corrupt: u32,
    /// Bits a second, such as 100mbit; none if not given
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub rate: Option<NonZeroU64>,
    /// Bytes that may wait for the rate; what does not fit is dropped
    #[arg(long, value_name = "BYTES", default_value = "256k", value_parser = units::bytes)]
    pub queue: usize,
    /// End after this many seconds
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// End when standard input ends, so that the wire does not outlive who started it
    #[arg(long)]
    pub until_eof: bool,
    /// Run at ordinary priority; otherwise the wire goes before all else, to keep time
    #[arg(long)]
    pub no_realtime: bool,
    /// Number from which all chance is drawn; the same gives the same fates
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON line when ready and one with the statistics at the end
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// What each direction does to its frames.
    #[must_use]
    pub const fn conditions(&self) -> Conditions {
        Conditions {
            delay: self.delay,
            jitter: self.jitter,
            loss_ppm: self.loss,
            reorder_ppm: self.reorder,
            reorder_by: self.reorder_by,
            duplicate_ppm: self.duplicate,
            corrupt_ppm: self.corrupt,
            rate_bytes_per_s: self.rate,
            queue_bytes: self.queue,
        }
    }

    /// Where the two ends are.
    #[must_use]
    pub fn places(&self) -> [Place; 2] {
        let place = |device: &String, netns: &Option<String>| Place {
            device: device.clone(),
            netns: netns.clone(),
        };
        [place(&self.a, &self.netns_a), place(&self.b, &self.netns_b)]
    }
}

/// The options that make `trunkline-wire` apply `conditions`.
#[must_use]
pub fn as_options(conditions: &Conditions) -> Vec<String> {
    let micros = |d: Duration| format!("{}us", d.as_micros());
    let ppm = |p: u32| format!("{p}ppm");
    let mut options = vec![
        ("--delay", micros(conditions.delay)),
        ("--jitter", micros(conditions.jitter)),
        ("--loss", ppm(conditions.loss_ppm)),
        ("--reorder", ppm(conditions.reorder_ppm)),
        ("--reorder-by", micros(conditions.reorder_by)),
        ("--duplicate", ppm(conditions.duplicate_ppm)),
        ("--corrupt", ppm(conditions.corrupt_ppm)),
        ("--queue", conditions.queue_bytes.to_string()),
    ];
    if let Some(rate) = conditions.rate_bytes_per_s {
        options.push(("--rate", format!("{}bit", u128::from(rate.get()) * 8)));
    }
    options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

fn device(text: &str) -> Result<String, String> {
    let legal = !text.is_empty()
        && text.len() <= DEVICE_NAME_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'%' && b != b':');
    if legal {
        Ok(text.to_owned())
    } else {
        Err(format!("a device name has 1 to {DEVICE_NAME_MAX} characters without spaces, / : or %"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn conditions_survive_the_way_through_the_command_line() {
        let conditions = Conditions {
            delay: Duration::from_micros(25_001),
            jitter: Duration::from_millis(1),
            loss_ppm: 10_000,
            reorder_ppm: 7,
            reorder_by: Duration::from_millis(3),
            duplicate_ppm: 1,
            corrupt_ppm: 1_000_000,
            rate_bytes_per_s: NonZeroU64::new(12_500_001),
            queue_bytes: 1_500,
        };
        let line = ["trunkline-wire", "--a", "x", "--b", "y"].map(str::to_owned);
        let arguments = Arguments::parse_from(line.into_iter().chain(as_options(&conditions)));
        assert_eq!(arguments.conditions(), conditions);
    }

    #[test]
    fn names_no_device_can_have_are_refused() {
        for bad in ["", "a/b", "sixteen-letters-", "a b", "é"] {
            assert!(device(bad).is_err(), "{bad}");
        }
        assert_eq!(device("to-b").as_deref(), Ok("to-b"));
    }
}
