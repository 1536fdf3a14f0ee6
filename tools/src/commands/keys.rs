//! `trunkline keys`: making and showing the file that makes a node who it is.

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::rand;
use serde_json::json;
use trunkline::config::{keyfile, record, units};
use trunkline::http::to_label;
use trunkline_proto::base::{Chance, Space};
use trunkline_proto::crypto::{Identity, KeyRecord};

use crate::failure::Failure;
use crate::print::{self, Table};

/// Make and show key files
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trunkline keys new --space home --out relay.keys")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    New(New),
    Show(Show),
}

/// Make a new hashname and its key file
///
/// The file is readable by its owner alone (mode 0600) and never overwrites another. Whoever has
/// it is this hashname; there is no other copy, so keep a backup.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline keys new --space home --out relay.keys")]
struct New {
    /// The space the hashname lives in; only hashnames of one space can meet
    #[arg(long, value_name = "NAME", value_parser = space)]
    space: Space,
    /// Where the key file goes
    #[arg(long, value_name = "FILE", default_value = "trunkline.keys")]
    out: PathBuf,
    /// The size of the RSA key, 2048 to 4096 in steps of 8
    #[arg(long, value_name = "N", default_value_t = Identity::DEFAULT_BITS, value_parser = bits)]
    bits: usize,
    /// How long the key record is valid
    #[arg(long, value_name = "TIME", default_value = "1825d", value_parser = life)]
    life: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show whose key file it is, and what may be told of it
///
/// Prints nothing secret. Refuses a file that others can read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, to let another machine open lines to this one without the mesh:
  trunkline keys show relay.keys --record > relay.record")]
struct Show {
    /// The key file
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print only the key record, which may be given to anyone
    #[arg(long, conflicts_with = "json")]
    record: bool,
}

/// Runs the command.
///
/// # Errors
/// If the keys cannot be made, written or read.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::New(args) => new(&args),
        What::Show(args) => show(&args),
    }
}

fn new(args: &New) -> Result<(), Failure> {
    // Asked before the primes are looked for; writing asks again, and then it counts.
    if args.out.symlink_metadata().is_ok() {
        return Err(keyfile::KeysError::Exists { path: args.out.clone() }.into());
    }
    let mut seed = [0; 32];
    rand::fill(&mut seed)
        .map_err(|_| Failure::Other("the system has no random numbers".to_owned()))?;
    let mut chance = Chance::from_seed(seed);
    let identity = Identity::generate(&args.space, args.bits, &mut chance, print::now(), args.life)
        .map_err(|e| Failure::Other(format!("cannot make keys: {e}")))?;
    keyfile::write_new(&args.out, &identity)?;
    let file = args.out.display().to_string();
    describe(identity.record(), args.json, ("file", &file))
}

fn show(args: &Show) -> Result<(), Failure> {
    let identity = keyfile::read(&args.file)?;
    if args.record {
        return print::line(record::to_text(identity.record()).trim_end());
    }
    let file = args.file.display().to_string();
    describe(identity.record(), args.json, ("file", &file))
}

fn describe(record: &KeyRecord, as_json: bool, (name, value): (&str, &str)) -> Result<(), Failure> {
    let hex = |key: &[u8; 32]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let hashname = record.hashname().to_string();
    let space = record.space().as_str();
    let (line_key, signing_key) = (hex(record.line_key()), hex(record.signing_key()));
    if as_json {
        return print::json(&json!({
            "hashname": hashname,
            "label": to_label(&record.hashname()),
            "space": space,
            "serial": record.serial(),
            "expires": record.expiry().as_secs(),
            "line_key": line_key,
            "signing_key": signing_key,
            "record": record::to_text(record),
            name: value,
        }));
    }
    let mut table = Table::new(&[]);
    table.pair("hashname", hashname);
    table.pair("label", to_label(&record.hashname()));
    table.pair("space", space);
    table.pair("serial", record.serial());
    table.pair("expires", print::date(record.expiry(), print::now()));
    table.pair("line key", line_key);
    table.pair("signing key", signing_key);
    table.pair(name, value);
    table.print()
}

fn space(text: &str) -> Result<Space, String> {
    Space::new(text).map_err(|e| e.to_string())
}

fn bits(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(bits) if (2_048..=4_096).contains(&bits) && bits.is_multiple_of(8) => Ok(bits),
        _ => Err("choose 2048 to 4096 in steps of 8".to_owned()),
    }
}

fn life(text: &str) -> Result<Duration, String> {
    let life = units::duration(text).map_err(|e| e.to_string())?;
    let bounds = Duration::from_secs(3_600)..=Duration::from_secs(100 * 365 * 86_400);
    if bounds.contains(&life) { Ok(life) } else { Err("choose 1h to 36500d".to_owned()) }
}
