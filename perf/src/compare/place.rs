//! Where everything runs: programs, processors, the scratch directory, and processes that end with
//! this one.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use trunkline_drive::{BEGIN, Load, Outcome};
use trunkline_perf::{Kept, used};

use crate::contender::is_program;
use crate::drive::Measured;
use crate::plan::Shape;

/// How often it is asked whether a peer listens, and how long in all.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: usize = 500;

/// Where everything runs.
#[derive(Debug)]
pub(crate) struct Place {
    /// Ours, as they were built.
    pub(crate) ours: PathBuf,
    /// Where peers were installed that the system does not have.
    pub(crate) peers: PathBuf,
    /// Configurations and logs, removed in the end.
    pub(crate) scratch: PathBuf,
    /// Keys of our nodes, which take long to make.
    pub(crate) keys: PathBuf,
    /// The processor of what is measured,
    pub(crate) relay_cpu: usize,
    /// and of everything else.
    pub(crate) load_cpu: usize,
    /// Seconds measured each time.
    pub(crate) seconds: f64,
    /// What was started since it was last asked.
    pub(crate) started: Started,
}

/// Commands, as somebody would write them.
#[derive(Debug, Default)]
pub(crate) struct Started(RefCell<Vec<String>>);

impl Started {
    /// What was started since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Seconds before measuring begins.
pub(crate) const WARM_UP: f64 = 0.7;

impl Place {
    /// The path of a program: of ours, of the peers installed for this, or of the system's.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let system =
            ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"].map(PathBuf::from);
        let installed = self.peers.join("bin");
        let built = self.peers.join("build/release");
        [self.ours.clone(), installed, built]
            .into_iter()
            .chain(system)
            .map(|directory| directory.join(name))
            .find(|path| is_program(path))
    }

    /// What the drivers of this program are told.
    pub(crate) fn load(&self, shape: &Shape) -> Load {
        Load {
            size: shape.size,
            pairs: shape.pairs,
            group: shape.group,
            window: shape.window,
            rate: shape.rate,
            warm_up: WARM_UP,
            seconds: self.seconds,
        }
    }

    /// A command that runs a program on the relays' processor, and ends with this process.
    pub(crate) fn on_relay_cpu(&self, program: &str) -> Result<Command, String> {
        self.pinned(program, self.relay_cpu)
    }

    /// A command that runs a program where the load runs, and ends with this process.
    pub(crate) fn on_load_cpu(&self, program: &str) -> Result<Command, String> {
        self.pinned(program, self.load_cpu)
    }

    /// A command that runs a program which places itself, and ends with this process.
    pub(crate) fn anywhere(&self, program: &str) -> Result<Command, String> {
        let path = self.program(program).ok_or_else(|| format!("{program} is not here"))?;
        become_program(&path, None)
    }

    fn pinned(&self, program: &str, cpu: usize) -> Result<Command, String> {
        let path = self.program(program).ok_or_else(|| format!("{program} is not here"))?;
        become_program(&path, Some(cpu))
    }

    /// Remembers a command that is about to run, without what is only of this machine.
    pub(crate) fn note(&self, command: &Command) {
        let words = command.get_args().map(|w| w.to_string_lossy().into_owned());
        self.started.0.borrow_mut().push(written(words, &self.scratch));
    }

    /// Starts a peer whose output goes to a file.
    pub(crate) fn start(&self, name: &str, mut command: Command) -> Result<Server, String> {
        let log = self.scratch.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        self.note(&command);
        let child = command.spawn().map_err(|e| format!("{name} could not be started: {e}"))?;
        Ok(Server { name: name.to_owned(), child: Kept(child), log })
    }

    /// Writes a file for a peer.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.scratch.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }
}

/// A command of this program that becomes another, on one processor or on all, and ends with this
/// process.
pub(crate) fn become_program(path: &Path, cpu: Option<usize>) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(own);
    command.arg("start");
    if let Some(cpu) = cpu {
        command.arg("--cpu").arg(cpu.to_string());
    }
    command.arg(path);
    Ok(command)
}

/// A command of [`become_program`] as a shell would be told it: the program by its name, and files
/// of the scratch directory by theirs.
fn written(words: impl Iterator<Item = String>, scratch: &Path) -> String {
    let mut words = words.skip(1).peekable();
    let mut line = Vec::new();
    if words.next_if(|w| w == "--cpu").is_some() {
        line.extend(["taskset".to_owned(), "-c".to_owned()]);
        line.extend(words.next());
    }
    let name = |path: String| match Path::new(&path).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => path,
    };
    line.extend(words.next().map(name));
    let scratch = format!("{}/", scratch.display());
    line.extend(words.map(|w| w.replace(&scratch, "")));
    line.join(" ")
}

/// A peer that runs as long as this lives.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Kept,
    log: PathBuf,
}

impl Server {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Waits until it takes connections at `door`.
    pub(crate) fn wait_for(&mut self, door: SocketAddr) -> Result<(), String> {
        self.wait_until(|| TcpStream::connect_timeout(&door, LOOK).is_ok())
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        for _ in 0..LOOKS {
            if let Ok(Some(status)) = self.child.0.try_wait() {
                return Err(format!("{} ended ({status}): {}", self.name, self.last_words()));
            }
            if ready() {
                return Ok(());
            }
            pause(LOOK);
        }
        Err(format!("{} does not come up: {}", self.name, self.last_words()))
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default();
        last.join(" | ")
    }
}

/// Becomes another program, on one processor or on all, which ends when the one that started it does.
pub(crate) fn become_pinned(
    cpu: Option<usize>,
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
) -> io::Error {
    let prepared = prctl::set_pdeathsig(Signal::SIGTERM).and_then(|()| match cpu {
        Some(cpu) => stay_on(cpu),
        None => roam(),
    });
    match prepared {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(e) => e.into(),
    }
}

/// Keeps this thread, and those it starts, on one processor.
pub(crate) fn stay_on(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Lets this thread, and those it starts, run on every processor there is.
fn roam() -> nix::Result<()> {
    let mut set = CpuSet::new();
    (0..CpuSet::count()).try_for_each(|cpu| set.set(cpu))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// An address of this machine where nobody listens, neither over TCP nor over UDP.
pub(crate) fn free_door() -> Result<SocketAddr, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for _ in 0..64 {
        let listener = TcpListener::bind(any).map_err(|e| e.to_string())?;
        let door = listener.local_addr().map_err(|e| e.to_string())?;
        if UdpSocket::bind(door).is_ok() {
            return Ok(door);
        }
    }
    Err("there is no free port".into())
}

/// Runs a driver that is a program of its own, and watches the peer's processes meanwhile.
pub(crate) fn drive(
    place: &Place,
    driver: &str,
    arguments: &[String],
    shape: &Shape,
    processes: &[u32],
) -> Result<Measured, String> {
    use std::io::{BufRead, BufReader};
    let failed = |what: &str| format!("{driver} {what}");
    let load = place.load(shape);
    let mut command = place.on_load_cpu(driver)?;
    command.args(arguments);
    for (flag, value) in [
        ("--size", load.size.to_string()),
        ("--pairs", load.pairs.to_string()),
        ("--group", load.group.to_string()),
        ("--window", load.window.to_string()),
        ("--warm-up", load.warm_up.to_string()),
        ("--seconds", load.seconds.to_string()),
    ] {
        command.arg(flag).arg(value);
    }
    if let Some(rate) = load.rate {
        command.arg("--rate").arg(rate.to_string());
    }
    let log = place.scratch.join(format!("{driver}.log"));
    let errors = File::create(&log).map_err(|e| e.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    place.note(&command);
    let mut child = Kept(command.spawn().map_err(|e| failed(&e.to_string()))?);
    let out = child.0.stdout.take().ok_or_else(|| failed("says nothing"))?;
    let mut lines = BufReader::new(out).lines();
    let mut before = None;
    while let Some(Ok(line)) = lines.next() {
        if line == BEGIN {
            before = Some(used(processes));
        } else if let (Some(before), Ok(outcome)) = (before, serde_json::from_str::<Outcome>(&line))
        {
            return Ok(Measured::new(outcome, before, used(processes)));
        }
    }
    let words = fs::read_to_string(&log).unwrap_or_default();
    Err(failed(&format!("ended early: {}", words.lines().last().unwrap_or_default())))
}

/// Waits in full.
#[expect(clippy::disallowed_methods, reason = "there is no event that tells")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_without_what_is_only_of_this_machine() {
        let line =
            |words: &str| written(words.split(' ').map(str::to_owned), Path::new("/scratch/x"));
        let pinned = line("start --cpu 1 /usr/sbin/turnserver -n --db /scratch/x/turn.db");
        assert_eq!(pinned, "taskset -c 1 turnserver -n --db turn.db");
        assert_eq!(line("start target/release/trunkline-load --json"), "trunkline-load --json");
    }
}
