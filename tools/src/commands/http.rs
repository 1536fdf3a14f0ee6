//! `trunkline http`: one HTTP request to a hashname, and its answer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};

use trunkline::control::protocol::{Act, HttpAsk, ProxyOpened};
use trunkline::http::to_label;
use trunkline_proto::base::Hashname;
use ureq::http::{HeaderName, HeaderValue, Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use crate::failure::Failure;
use crate::node::WhichNode;

/// Send one HTTP request to a hashname
///
/// What answers is the web server behind the other node, or its program. The body of the answer goes to
/// standard output as it arrives. Redirections are shown, not followed. Exit code 0 means that
/// there was an answer; see --fail.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  trunkline http HASHNAME GET /index.html
  trunkline http HASHNAME PUT /backup.tar --data @backup.tar -H 'content-type: application/x-tar'")]
pub struct Args {
    /// Who is asked, 64 hex digits
    hashname: Hashname,
    /// GET, POST, PUT, ...
    method: Method,
    /// What is asked for, with its query: /path?query
    #[arg(value_parser = path)]
    path: String,
    /// A header field; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body: a text, @FILE, or - for standard input
    #[arg(short, long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    data: Option<String>,
    /// Where the body of the answer goes
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show status and header fields of the answer before its body
    #[arg(short, long)]
    include: bool,
    /// End with exit code 1 if the status is 400 or more
    #[arg(short, long)]
    fail: bool,
    #[command(flatten)]
    node: WhichNode,
}

/// Runs the command.
///
/// # Errors
/// If the node cannot be asked, there is no answer, or it cannot be written.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.node.connect()?;
    let wrong = |e: io::Error| Failure::Other(format!("the connection to the node failed: {e}"));
    let hang_up = client.handle().map_err(wrong)?;
    // A port of its own, there as long as this request takes.
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let ask = HttpAsk { hashname: args.hashname.to_string(), listen };
    let mut done = None;
    let end = client.ask::<ProxyOpened, serde_json::Value>(Act::Http(ask), |opened| {
        done = Some(exchange(&args, opened.listening));
        let _ = hang_up.shutdown(Shutdown::Both);
    });
    match (done, end) {
        (Some(done), _) => done,
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(Failure::Other("the node opened no port".to_owned())),
    }
}

fn exchange(args: &Args, port: SocketAddr) -> Result<(), Failure> {
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut request = Request::builder()
        .method(args.method.clone())
        .uri(format!("http://{port}{}", args.path))
        .header("host", format!("{}.localhost", to_label(&args.hashname)));
    for (name, value) in &args.headers {
        request = request.header(name, value);
    }
    let not_one = |e: ureq::http::Error| Failure::Other(format!("not a request: {e}"));
    let no_answer = |e: ureq::Error| {
        Failure::Other(format!(
            "no answer from {}: {e}; is there a way there (`trunkline ping`), and does it serve \
             HTTP ([http])?",
            args.hashname.short()
        ))
    };
    let answer = match args.data.as_deref() {
        None => agent.run(request.body(()).map_err(not_one)?),
        Some(data) => {
            let (mut body, length) = open(data)?;
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            agent.run(request.body(SendBody::from_reader(&mut body)).map_err(not_one)?)
        }
    };
    show(args, answer.map_err(no_answer)?)
}

/// The body to be sent, and how long it is if that is known.
fn open(data: &str) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if data == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let Some(name) = data.strip_prefix('@') else {
        let bytes = data.as_bytes().to_vec();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        return Ok((Box::new(io::Cursor::new(bytes)), Some(length)));
    };
    let cannot = |e: io::Error| Failure::Other(format!("cannot read {name}: {e}"));
    let file = File::open(name).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    let length = metadata.is_file().then_some(metadata.len());
    // A file that grows meanwhile is sent as long as it was said to be.
    Ok((Box::new(file.take(length.unwrap_or(u64::MAX))), length))
}

fn show(args: &Args, answer: Response<Body>) -> Result<(), Failure> {
    let status = answer.status();
    let mut out: Box<dyn Write> = match &args.output {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(File::create(path).map_err(|e| cannot_write(path, e))?),
    };
    if args.include {
        write_head(&mut out, &answer).map_err(Failure::Output)?;
    }
    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => return Err(Failure::Other(format!("the answer broke off: {e}"))),
        };
        out.write_all(buffer.get(..n).unwrap_or_default()).map_err(Failure::Output)?;
    }
    out.flush().map_err(Failure::Output)?;
    if args.fail && status.as_u16() >= 400 {
        return Err(Failure::Other(format!("{} answers {status}", args.hashname.short())));
    }
    Ok(())
}

fn cannot_write(path: &Path, error: io::Error) -> Failure {
    Failure::Other(format!("cannot write {}: {error}", path.display()))
}

fn write_head(out: &mut impl Write, answer: &Response<Body>) -> io::Result<()> {
    writeln!(out, "{:?} {}", answer.version(), answer.status())?;
    for (name, value) in answer.headers() {
        out.write_all(name.as_str().as_bytes())?;
        out.write_all(b": ")?;
        out.write_all(value.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}

fn path(text: &str) -> Result<String, String> {
    let fine = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
    if fine { Ok(text.to_owned()) } else { Err("begin with /, write blanks as %20".to_owned()) }
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no name of a field"))?;
    let value = value.trim().parse().map_err(|_| "no value of a field".to_owned())?;
    Ok((name, value))
}
