//! Any lines to a control socket: each is answered once and in order, and what reaches the node
//! has been judged.
#![no_main]

mod edits;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use trunkline::config::HostPort;
use trunkline::control::protocol::{
    Answer, Fault, Hop, LONGEST_REQUEST, PingAsk, PingSummary, Probe, Request, TraceAsk,
    TraceReport, What,
};
use trunkline::control::report::StatusReport;
use trunkline::control::{ControlError, ControlServer, ControlTarget, OpenProxy};
use trunkline_proto::base::{Hashname, Priority};

/// A node that does nothing but look at what it is asked.
struct Judge;

impl ControlTarget for Judge {
    fn status(&self) -> StatusReport {
        StatusReport::default()
    }

    fn ping(
        &self,
        to: Hashname,
        ask: &PingAsk,
        tell: &mut dyn FnMut(Probe) -> ControlFlow<()>,
    ) -> Result<PingSummary, Fault> {
        assert_eq!(Ok(to), ask.hashname.parse());
        assert!((1..=PingAsk::MOST).contains(&ask.count));
        assert!(ask.interval_ms <= PingAsk::LONGEST_MS && ask.timeout_ms <= PingAsk::LONGEST_MS);
        assert!(ask.priority.is_none_or(|p| Priority::new(p).is_some()));
        let _ = tell(Probe::default());
        Ok(PingSummary::default())
    }

    fn trace(
        &self,
        to: Hashname,
        ask: &TraceAsk,
        tell: &mut dyn FnMut(Hop) -> ControlFlow<()>,
    ) -> Result<TraceReport, Fault> {
        assert_eq!(Ok(to), ask.hashname.parse());
        assert!(ask.timeout_ms <= PingAsk::LONGEST_MS);
        let _ = tell(Hop::default());
        Ok(TraceReport::default())
    }

    fn proxy(
        &self,
        _: Hashname,
        target: HostPort,
        listen: SocketAddr,
    ) -> Result<Box<dyn OpenProxy>, Fault> {
        assert_ne!(target.port, 0);
        Ok(Box::new(Proxy(listen)))
    }

    fn http(&self, _: Hashname, listen: SocketAddr) -> Result<Box<dyn OpenProxy>, Fault> {
        Ok(Box::new(Proxy(listen)))
    }

    fn stop(&self) {}
}

struct Proxy(SocketAddr);

impl OpenProxy for Proxy {
    fn listening(&self) -> SocketAddr {
        self.0
    }
}

/// A server for the whole run. Fuzzers side by side have their own, and the files that ended ones
/// leave behind are taken over by the next.
static SERVER: LazyLock<(PathBuf, ControlServer)> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join("trunkline-fuzz");
    for number in 0..64 {
        let path = directory.join(format!("{number}.sock"));
        match ControlServer::start(&path, Arc::new(Judge)) {
            Ok(server) => return (path, server),
            Err(ControlError::InUse { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("64 fuzzers are running already");
});

/// What honest commands write, for the fuzzer to begin with.
const HONEST: &str = r#"{"id":1,"do":"status"}
{"id":2,"do":"ping","hashname":"@","count":3,"interval_ms":9,"timeout_ms":8,"priority":7}
{"id":3,"do":"trace","hashname":"@","timeout_ms":9}
{"id":4,"do":"stop"}
{"id":5,"do":"proxy","hashname":"@","target":"h:1","listen":"127.0.0.1:0"}
{"id":6,"do":"http","hashname":"@","listen":"127.0.0.1:0"}
"#;

fuzz_target!(|data: &[u8]| {
    let honest = HONEST.replace('@', &"0123abCD".repeat(8));
    let asked = match data.split_first() {
        Some((0, rest)) => rest.to_vec(),
        // A line of about the length that is taken at most.
        Some((1, rest)) => [&[b' '; LONGEST_REQUEST - 8], rest].concat(),
        Some((_, edits)) => edits::edited(&honest, edits).into_bytes(),
        None => return,
    };
    let mut stream = UnixStream::connect(&SERVER.0).expect("the server listens");
    // A server that was asked too much hangs up before it has read all.
    let _ = stream.write_all(&asked);
    let _ = stream.shutdown(Shutdown::Write);
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert!(told.is_empty() || told.ends_with(b"\n"), "the last line is whole");
    let mut answers = told
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<Answer>(line).expect("every line is an answer"));
    judge(&asked, &mut answers);
    assert_eq!(answers.next(), None, "nothing else is said");
});

fn judge(asked: &[u8], answers: &mut impl Iterator<Item = Answer>) {
    let mut proxy = false;
    for line in asked.split_inclusive(|b| *b == b'\n') {
        if line.len() > LONGEST_REQUEST || line.len() == LONGEST_REQUEST && !line.ends_with(b"\n") {
            let last = answers.next().expect("a line that is too long is answered");
            assert!(last.id == 0 && matches!(last.what, What::Error(_)));
            return;
        }
        if line.trim_ascii().is_empty() && !proxy {
            continue;
        }
        let request = serde_json::from_slice::<Request>(line).ok().filter(|_| !proxy);
        let id = match &request {
            Some(request) => {
                let written = serde_json::to_string(request).unwrap();
                assert_eq!(&serde_json::from_str::<Request>(&written).unwrap(), request);
                request.id
            }
            None => {
                let value = serde_json::from_slice::<serde_json::Value>(line).ok();
                value.and_then(|v| v.get("id")?.as_u64()).unwrap_or(0)
            }
        };
        loop {
            let answer = answers.next().expect("every request is answered");
            assert_eq!(answer.id, id);
            match answer.what {
                What::Error(_) => break,
                What::Ok(_) => {
                    assert!(request.is_some());
                    break;
                }
                What::Event(event) => {
                    assert!(request.is_some());
                    proxy = event.get("listening").is_some();
                    if proxy {
                        break;
                    }
                }
            }
        }
    }
}
