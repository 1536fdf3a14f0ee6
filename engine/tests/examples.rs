//! The examples are run as a reader of the documents would: as processes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A program that is killed if the test fails, and its output.
struct Running(Child, #[allow(dead_code, reason = "kept open")] BufReader<ChildStdout>);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example, built as this test was: `cargo test` alone builds it, `cargo test --test` does not.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("this program");
    let profile: PathBuf = test.ancestors().nth(2).expect("a profile's directory").into();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "trunkline", "--example", name, "--target-dir"]);
    build.arg(profile.parent().expect("a target directory"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo").success());
    Command::new(profile.join("examples").join(name))
}

/// Starts a server at a free port; gives back that port and the hashname it prints.
fn serve(name: &str) -> (Running, String, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let address = port.expect("a port").to_string();
    let mut command = example(name);
    command.args(["serve", &address]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("a server");
    let out = child.stdout.take().expect("its output");
    let mut hashname = String::new();
    let mut out = BufReader::new(out);
    out.read_line(&mut hashname).expect("a hashname");
    (Running(child, out), address, hashname.trim().to_owned())
}

#[test]
fn s13_the_echo_example_runs_as_two_processes() {
    let source = include_str!("../examples/echo.rs");
    assert!(source.lines().count() < 60, "short enough to be read at once");
    let (mut server, address, hashname) = serve("echo");
    let called = example("echo").args(["call", &address, &hashname, "good day"]).output();
    let called = called.expect("a caller");
    let told = String::from_utf8_lossy(&called.stderr).into_owned();
    assert!(called.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&called.stdout), "good day\n");
    // Its input ends, and so does it.
    drop(server.0.stdin.take());
    assert!(server.0.wait().expect("an end").success());
}

#[test]
fn n21_the_example_of_messages_runs() {
    let ran = example("messages").output().expect("a program");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(told.contains("bread costs 3.20"), "{told}");
    assert!(told.contains("came back: unknown-target (said by the shop: true)"), "{told}");
    assert!(told.contains("takes an order: two loaves"), "{told}");
}

#[cfg(feature = "http")]
#[test]
fn s9_s12_the_http_example_answers_a_program_and_a_browser() {
    let (_server, address, hashname) = serve("http_service");
    let got = example("http_service").args(["get", &address, &hashname, "/who"]).output();
    let got = got.expect("a caller");
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(String::from_utf8_lossy(&got.stdout).starts_with("you are "));

    let mut command = example("http_service");
    command.args(["browse", &address, &hashname, "127.0.0.1:0"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("a gateway");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let mut browse = Running(child, out);
    let mut line = String::new();
    browse.1.read_line(&mut line).expect("an address");
    let port = line.trim().rsplit_once(':').and_then(|(_, p)| p.strip_suffix("/who"));
    let port: u16 = port.and_then(|p| p.parse().ok()).expect("a port");
    let ask = || {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a gateway");
        let request = format!(
            "GET /who HTTP/1.1\r\nHost: service.localhost:{port}\r\nConnection: close\r\n\r\n"
        );
        std::io::Write::write_all(&mut socket, request.as_bytes()).expect("asked");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut socket, &mut answer).expect("answered");
        answer
    };
    // The gateway is there before the link is.
    let mut answer = ask();
    for _ in 0..100 {
        if answer.contains("you are ") {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        answer = ask();
    }
    panic!("{answer}");
}
