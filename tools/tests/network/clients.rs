//! Ordinary programs through proxies to a hashname behind NATs, unchanged: scp, pgbench,
//! redis-benchmark and git. Prints what they measured. Needs root and the programs; says so
//! otherwise.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use trunkline_tools::clock::Clock;
use trunkline_tools::lab::nodes::wait_for;
use trunkline_tools::lab::strangers::{Options, Place, Strangers};
use trunkline_tools::lab::{Host, Lab, LabError, Nat, Running};

type Outcome = Result<(), LabError>;

/// The servers' ports at the second guest; a proxy at the first guest has each plus this.
const SSH: u16 = 2_222;
const POSTGRES: u16 = 5_432;
const REDIS: u16 = 6_379;
const GIT: u16 = 9_418;
const THERE: u16 = 10_000;

/// Bytes copied by scp, and in the repository that is cloned.
const FILE: usize = 100 << 20;
const REPOSITORY: usize = 20 << 20;

/// The servers and their files.
struct Servers {
    dir: tempfile::TempDir,
    running: Vec<Running>,
}

/// Where a program is, which may be off the path of root.
fn find(program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let postgres = versions.map(|version| version.path().join("bin"));
    let usual = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/bin"].map(PathBuf::from);
    usual.into_iter().chain(postgres).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// Whether every program is here; loudly if not.
fn programs_are_here() -> bool {
    let needed = [
        ("sshd", "openssh-server"),
        ("scp", "openssh-client"),
        ("initdb", "postgresql"),
        ("pgbench", "postgresql-contrib"),
        ("redis-server", "redis-server"),
        ("redis-benchmark", "redis-tools"),
        ("git", "git"),
    ];
    let missing: Vec<&str> =
        needed.iter().filter(|(p, _)| find(p).is_none()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        let packages = missing.join(" ");
        let mut err = std::io::stderr();
        let _ = writeln!(err, "\nCLIENTS SKIPPED: apt-get install -y {packages}\n");
    }
    missing.is_empty()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Servers {
    fn start(host: &Host) -> Result<Self, LabError> {
        let open = std::fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().prefix("tl-servers-").permissions(open).tempdir();
        let mut servers = Self { dir: dir.expect("a directory"), running: Vec::new() };
        servers.sshd(host)?;
        servers.postgres(host)?;
        let data = text(servers.dir.path());
        let redis = format!("--bind 127.0.0.1 --port {REDIS} --appendonly no --dir {data} --save");
        let mut redis: Vec<&str> = redis.split(' ').collect();
        redis.push("");
        servers.run(host, "redis-server", &redis)?;
        servers.git(host)?;
        for port in [SSH, POSTGRES, REDIS, GIT] {
            wait_for("a server", || {
                host.exec("ss", &["-ltn"]).is_ok_and(|s| s.contains(&format!(":{port} ")))
            });
        }
        Ok(servers)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&mut self, host: &Host, program: &str, arguments: &[&str]) -> Outcome {
        let mut command = host.command(&text(&find(program).expect("it was here")));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running.push(host.start(command)?);
        Ok(())
    }

    fn sshd(&mut self, host: &Host) -> Outcome {
        for key in ["host", "user"] {
            let path = text(&self.path(key));
            host.exec("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path])?;
        }
        let (key, users) = (text(&self.path("host")), text(&self.path("user.pub")));
        let config = format!(
            "ListenAddress 127.0.0.1:{SSH}\nHostKey {key}\nPidFile none\nStrictModes no\n\
             AuthorizedKeysFile {users}\nUsePAM no\nPermitRootLogin prohibit-password\n\
             Subsystem sftp internal-sftp\n"
        );
        std::fs::write(self.path("sshd_config"), config).expect("a configuration");
        host.exec("mkdir", &["-p", "/run/sshd"])?;
        let config = text(&self.path("sshd_config"));
        self.run(host, "sshd", &["-D", "-e", "-f", &config])
    }

    fn postgres(&mut self, host: &Host) -> Outcome {
        let data = text(&self.path("postgres"));
        let user = ["-u", "postgres", "--"];
        host.exec("install", &["-d", "-o", "postgres", "-m", "700", &data])?;
        let initdb = text(&find("initdb").expect("it was here"));
        let make = [&initdb, "-D", &data, "-A", "trust", "-U", "postgres", "--no-sync"];
        host.exec("runuser", &[&user[..], &make].concat())?;
        let (server, port) = (text(&find("postgres").expect("it was here")), POSTGRES.to_string());
        let sockets = format!("unix_socket_directories={data}");
        let serve = [&server, "-D", &data, "-p", &port, "-c", "listen_addresses=127.0.0.1"];
        let quick = ["-c", &sockets, "-c", "fsync=off"];
        self.run(host, "runuser", &[&user[..], &serve, &quick].concat())
    }

    fn git(&mut self, host: &Host) -> Outcome {
        let repository = text(&self.path("repository"));
        host.exec("git", &["init", "-q", &repository])?;
        for n in 0..20 {
            let path = self.path("repository").join(format!("{n}.bin"));
            std::fs::write(path, chance(REPOSITORY / 20)).expect("a file");
        }
        host.exec("git", &["-C", &repository, "add", "."])?;
        let who = ["-c", "user.name=lab", "-c", "user.email=lab@localhost"];
        let commit = ["commit", "-q", "--no-gpg-sign", "-m", "all"];
        host.exec("git", &[&["-C", &repository], &who[..], &commit].concat())?;
        let (base, port) = (format!("--base-path={}", text(self.dir.path())), GIT.to_string());
        let port = format!("--port={port}");
        let all = ["daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", &base, &port];
        self.run(host, "git", &all)
    }
}

fn chance(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).expect("chance");
    bytes
}

/// Runs a client at the first guest and gives back what it said and how long it took.
fn client(
    strangers: &Strangers,
    program: &str,
    arguments: &[&str],
) -> Result<(String, Duration), LabError> {
    let clock = Clock::start();
    let program = text(&find(program).expect("it was here"));
    let said = strangers.guests[0].host.exec(&program, arguments)?;
    Ok((said, Duration::from_nanos(clock.nanos())))
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / f64::from(1 << 20)
}

fn scp(strangers: &Strangers, servers: &Servers) -> Outcome {
    let content = chance(FILE);
    let [from, to, back, key] = ["file", "there", "back", "user"].map(|n| servers.path(n));
    std::fs::write(&from, &content).expect("a file");
    let (port, key) = ((SSH + THERE).to_string(), text(&key));
    let known = "-oUserKnownHostsFile=/dev/null";
    let how = ["-q", "-P", &port, "-i", &key, "-oStrictHostKeyChecking=no", known];
    let remote = format!("root@127.0.0.1:{}", text(&to));
    let (from, local) = (text(&from), text(&back));
    let (_, up) = client(strangers, "scp", &[&how[..], &[&from, &remote]].concat())?;
    let (_, down) = client(strangers, "scp", &[&how[..], &[&remote, &local]].concat())?;
    for copy in [to, back] {
        assert!(std::fs::read(copy).expect("the copy") == content, "other bytes came");
    }
    let (up, down) = (rate(FILE, up), rate(FILE, down));
    eprintln!("  scp              {up:.1} MiB/s there, {down:.1} MiB/s back, 100 MiB each");
    Ok(())
}

fn pgbench(strangers: &Strangers) -> Outcome {
    let port = (POSTGRES + THERE).to_string();
    let at = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
    client(strangers, "pgbench", &[&at[..], &["-q", "-i", "-s", "2", "postgres"]].concat())?;
    let bench = ["-c", "4", "-T", "5", "postgres"];
    let (said, _) = client(strangers, "pgbench", &[&at[..], &bench].concat())?;
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    let figures = said.lines().filter(|l| l.starts_with("latency average") || l.contains("tps"));
    eprintln!("  pgbench          {}", figures.collect::<Vec<_>>().join(", "));
    Ok(())
}

fn redis(strangers: &Strangers) -> Outcome {
    let port = (REDIS + THERE).to_string();
    let bench = ["-p", &port, "-n", "20000", "-c", "20", "-t", "set,get", "--csv"];
    let (said, _) = client(strangers, "redis-benchmark", &bench)?;
    let rows: Vec<_> = said.lines().filter(|l| !l.contains("avg_latency")).collect();
    assert_eq!(rows.len(), 2, "{said}");
    for row in rows {
        let cells: Vec<&str> = row.split(',').map(|c| c.trim_matches('"')).collect();
        let [name, rps, mean, _, median, _, p99, ..] = cells[..] else { panic!("{said}") };
        eprintln!("  redis {name:<10} {rps}/s, mean {mean} ms, median {median}, p99 {p99}");
    }
    Ok(())
}

fn git(strangers: &Strangers, servers: &Servers) -> Outcome {
    let (url, clone) = (format!("git://127.0.0.1:{}/repository", GIT + THERE), "clone");
    let to = text(&servers.path(clone));
    let (_, time) = client(strangers, "git", &["clone", "-q", &url, &to])?;
    client(strangers, "git", &["-C", &to, "fsck", "--full"])?;
    let head = |of: &str| client(strangers, "git", &["-C", of, "rev-parse", "HEAD"]).map(|s| s.0);
    assert_eq!(head(&to)?, head(&text(&servers.path("repository")))?);
    eprintln!("  git clone        {:.1} MiB/s, 20 MiB", rate(REPOSITORY, time));
    Ok(())
}

fn work(place: Place, bridged: bool) -> Outcome {
    let Ok(mut lab) = Lab::new() else { return Ok(()) };
    if !programs_are_here() {
        return Ok(());
    }
    let ports = [SSH, POSTGRES, REDIS, GIT];
    let allow = ports.map(|port| format!("127.0.0.1:{port}")).to_vec();
    let strangers = lab.strangers(place, &Options { allow, ..Options::default() })?;
    let [a, b] = &strangers.guests;
    let servers = Servers::start(&b.host)?;
    let mut proxies = Vec::new();
    for port in ports {
        let target = ([127, 0, 0, 1], port).into();
        proxies.push(a.node.proxy(&a.host, &b.node, target, port + THERE)?);
    }
    eprintln!("{}:", place.labels().join(" x "));
    scp(&strangers, &servers)?;
    pgbench(&strangers)?;
    redis(&strangers)?;
    git(&strangers, &servers)?;
    let way = if bridged { "bridge" } else { "direct" };
    assert!(strangers.ways().iter().all(|w| w.starts_with(way)), "{}", strangers.account());
    Ok(())
}

#[test]
fn b2_ordinary_clients_work_between_cones() -> Outcome {
    work(Place::Apart(Nat::Port, Nat::Port), false)
}

#[test]
fn b2_ordinary_clients_work_from_a_cone_to_a_symmetric_nat() -> Outcome {
    work(Place::Apart(Nat::Port, Nat::Symmetric), true)
}

#[test]
fn b2_ordinary_clients_work_between_symmetric_nats() -> Outcome {
    work(Place::Apart(Nat::Symmetric, Nat::Symmetric), true)
}
