//! `trunkline operator`: who belongs to a closed space, said by one who may.
//!
//! The members stand in the file that `node.directory` names. While the node runs it has that
//! file open, and is asked over its control socket; otherwise the command opens it itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trunkline::config::{Config, keyfile, record, units, voucher as voucher_text};
use trunkline::control::protocol::{Act, MemberList, MemberReport, OperatorAsk};
use trunkline::control::report::StatusReport;
use trunkline::control::{Client, members};
use trunkline::directory::{DirectoryError, Register};
use trunkline_proto::base::{Hashname, Wall};
use trunkline_proto::crypto::{Flags, Identity, voucher};

use crate::failure::Failure;
use crate::print::{self, Table};

/// Say who belongs to a closed space: keep its members, make their vouchers
///
/// An operator is a hashname that the members of a space name in `operator` sections of their configuration.
/// Members stay for as long as they are listed; whoever is removed gets no further voucher, and is
/// out when the last one ends.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, on the operator's machine:
  trunkline operator add b.record --config operator.toml
  trunkline operator voucher b.record --config operator.toml --out b.voucher")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Add(Add),
    Remove(Remove),
    List(List),
    Voucher(Voucher),
}

/// Make hashnames members, or change the terms of members
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, with what `trunkline keys show FILE --record` printed on the members' machines:
  trunkline operator add a.record b.record --config operator.toml --valid 7d")]
struct Add {
    /// Their key records
    #[arg(required = true, value_name = "RECORD_FILE")]
    records: Vec<PathBuf>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    which: Which,
}

/// Strike a hashname off: it gets no further voucher
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline operator remove HASHNAME --config operator.toml")]
struct Remove {
    /// The member
    hashname: Hashname,
    #[command(flatten)]
    which: Which,
}

/// Show the members, and when the newest voucher of each ends
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline operator list --config operator.toml")]
struct List {
    /// Print one JSON object for each member
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// Make a voucher for a hashname, whether it is a member or not
///
/// Needs the operator's key file only. The voucher is no secret and of use to that hashname alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  trunkline operator voucher b.record --keys operator.keys --valid 7d --out b.voucher")]
struct Voucher {
    /// Whom it is for: 64 hex digits, or a file with its key record
    #[arg(value_name = "HASHNAME|RECORD_FILE")]
    subject: String,
    #[command(flatten)]
    terms: Terms,
    /// The operator's key file
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    keys: Option<PathBuf>,
    /// The operator's configuration, to find its key file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where it goes, in the place of what is there; standard output if none is said
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Terms {
    /// How long a voucher is valid: whoever is removed stays that long at most
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = valid)]
    valid: Duration,
    /// What the member may offer to the space: spacer, operator, proxy, http, or none
    #[arg(
        long,
        value_name = "WORDS",
        value_delimiter = ',',
        default_value = "spacer,proxy,http",
        value_parser = ["spacer", "operator", "proxy", "http", "none"]
    )]
    allow: Vec<String>,
}

impl Terms {
    fn words(&self) -> Vec<String> {
        self.allow.iter().filter(|word| *word != "none").cloned().collect()
    }

    fn flags(&self) -> Flags {
        let flags = self.allow.iter().filter_map(|word| Flags::of_word(word));
        flags.fold(Flags::NONE, Flags::with)
    }
}

/// Whose members.
#[derive(Debug, clap::Args)]
struct Which {
    /// The operator's configuration: its key file, its directory, its control socket
    #[arg(long, value_name = "FILE", conflicts_with_all = ["control", "keys", "directory"])]
    config: Option<PathBuf>,
    /// The control socket of the running operator
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["keys", "directory"])]
    control: Option<PathBuf>,
    /// The operator's key file, while its node does not run
    #[arg(long, value_name = "FILE", requires = "directory")]
    keys: Option<PathBuf>,
    /// The file of the members, while the node does not run
    #[arg(long, value_name = "FILE", requires = "keys")]
    directory: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If it cannot be done; what was printed as done is on the disk.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Add(args) => add(&args),
        What::Remove(args) => {
            let hashname = args.hashname.to_string();
            args.which.open()?.ask(OperatorAsk::Remove { hashname })?;
            print::line(&format!("removed {}", args.hashname))
        }
        What::List(args) => list(&args),
        What::Voucher(args) => make_voucher(&args),
    }
}

fn add(args: &Add) -> Result<(), Failure> {
    let mut door = args.which.open()?;
    for path in &args.records {
        let record = record::read_file(path).map_err(|e| Failure::Other(e.to_string()))?;
        let (allow, valid_s) = (args.terms.words(), args.terms.valid.as_secs());
        let added = door.ask(OperatorAsk::Add { record, allow, valid_s });
        let added = added.map_err(|e| Failure::Other(format!("{}: {e}", path.display())))?;
        // Each on its own line as soon as it is safe: whoever reads it may rely on it.
        for member in added.members {
            print::line(&format!("added {}", member.hashname))?;
        }
    }
    Ok(())
}

fn list(args: &List) -> Result<(), Failure> {
    let mut door = args.which.open()?;
    let now = print::now();
    let mut table = Table::new(&["hashname", "serial", "allows", "vouchers for", "newest ends"]);
    let mut after = None;
    loop {
        let most = OperatorAsk::MOST_LISTED;
        let page = door.ask(OperatorAsk::List { after: after.take(), most })?.members;
        for member in &page {
            if args.json {
                print::json(member)?;
            } else {
                table.row(row(member, now));
            }
        }
        match page.last() {
            Some(last) if page.len() == most => after = Some(last.hashname.clone()),
            _ => break,
        }
    }
    if args.json { Ok(()) } else { table.print() }
}

fn row(member: &MemberReport, now: Wall) -> [String; 5] {
    [
        member.hashname.clone(),
        member.serial.to_string(),
        if member.allow.is_empty() { "none".to_owned() } else { member.allow.join(", ") },
        print::span(member.valid_s.saturating_mul(1_000)),
        print::date(Wall::from_secs(member.voucher_expires), now),
    ]
}

fn make_voucher(args: &Voucher) -> Result<(), Failure> {
    let keys = match (&args.keys, &args.config) {
        (Some(keys), _) => keys.clone(),
        (None, Some(config)) => Config::load(config)?.node.keys,
        (None, None) => return Err(Failure::Other("--keys FILE or --config FILE".to_owned())),
    };
    let operator = keyfile::read(&keys)?;
    let now = print::now();
    let subject = subject(&args.subject, &operator, now)?;
    let (flags, expiry) = (args.terms.flags(), now.after(args.terms.valid));
    let text = voucher_text::to_text(&voucher::issue(&operator, &subject, flags, expiry));
    let Some(out) = &args.out else { return print::line(text.trim_end()) };
    replace(out, &text)
        .map_err(|e| Failure::Other(format!("cannot write {}: {e}", out.display())))?;
    let until = print::date(expiry, now);
    print::line(&format!("voucher for {subject}, until {until}, allows: {flags}"))
}

/// Whom a voucher is for. Of a bare hashname nobody can tell the space: there it is taken as it
/// is.
fn subject(text: &str, operator: &Identity, now: Wall) -> Result<Hashname, Failure> {
    if let Ok(hashname) = text.parse() {
        return Ok(hashname);
    }
    let path = Path::new(text);
    let other = |what: String| Failure::Other(format!("{text}: {what}"));
    let text = record::read_file(path).map_err(|e| {
        other(format!("neither a hashname (64 hex digits) nor a file with a key record: {e}"))
    })?;
    let record = record::from_text(&text, now).map_err(|e| other(e.to_string()))?;
    if record.space() != operator.space() {
        let hashname = record.hashname();
        let (theirs, ours) = (record.space().to_string(), operator.space().to_string());
        return Err(other(DirectoryError::OtherSpace { hashname, theirs, ours }.to_string()));
    }
    Ok(record.hashname())
}

/// Puts a file in the place of another at once: a node may read it at any moment.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

/// The way to the members: their file, or the node that has it.
enum Door {
    Own(Box<Register>),
    Node(Client),
}

impl Door {
    fn ask(&mut self, ask: OperatorAsk) -> Result<MemberList, Failure> {
        match self {
            Self::Own(register) => {
                members::act(register, &ask).map_err(|fault| Failure::Other(fault.message))
            }
            Self::Node(client) => {
                Ok(client.ask(Act::Operator(ask), |event: serde_json::Value| drop(event))?)
            }
        }
    }
}

impl Which {
    fn open(&self) -> Result<Door, Failure> {
        if let Some(socket) = &self.control {
            return Ok(Door::Node(Client::connect(socket)?));
        }
        let (keys, directory, sockets) = self.places()?;
        let operator = Arc::new(keyfile::read(&keys)?);
        match Register::open(&directory, operator.clone()) {
            Ok(register) => Ok(Door::Own(Box::new(register))),
            Err(error @ DirectoryError::Locked { .. }) => {
                let node = sockets.iter().find_map(|socket| node_of(socket, &operator));
                node.map(Door::Node).ok_or_else(|| Failure::Other(error.to_string()))
            }
            Err(error) => Err(Failure::Other(error.to_string())),
        }
    }

    /// Key file, directory, and where the node may be asked.
    fn places(&self) -> Result<(PathBuf, PathBuf, Vec<PathBuf>), Failure> {
        if let (Some(keys), Some(directory)) = (&self.keys, &self.directory) {
            return Ok((keys.clone(), directory.clone(), Vec::new()));
        }
        let Some(file) = &self.config else {
            let what = "say whose members: --config FILE, --control SOCKET, or --keys FILE and \
                        --directory FILE";
            return Err(Failure::Other(what.to_owned()));
        };
        let config = Config::load(file)?;
        let sockets = config.control_sockets_to_try();
        let directory = config.node.directory.ok_or_else(|| {
            let file = file.display();
            Failure::Other(format!(
                "{file} makes no operator: write directory = \"FILE\" under [node]"
            ))
        })?;
        Ok((config.node.keys, directory, sockets))
    }
}

/// The node behind a socket, if it is that operator: several may run on a machine.
fn node_of(socket: &Path, operator: &Identity) -> Option<Client> {
    let mut client = Client::connect(socket).ok()?;
    let status: StatusReport =
        client.ask(Act::Status, |event: serde_json::Value| drop(event)).ok()?;
    (status.hashname == operator.hashname().to_string()).then_some(client)
}

fn valid(text: &str) -> Result<Duration, String> {
    let valid = units::duration(text).map_err(|e| e.to_string())?;
    if Register::VALID_BOUNDS.contains(&valid) {
        Ok(valid)
    } else {
        Err("choose 1h to 366d".to_owned())
    }
}
