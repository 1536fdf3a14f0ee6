//! HTTP between two programs, and for a browser.
//!
//! ```sh
//! cargo run -p trunkline --example http_service -- serve 127.0.0.1:42424
//! cargo run -p trunkline --example http_service -- get 127.0.0.1:42424 HASHNAME /who
//! cargo run -p trunkline --example http_service -- browse 127.0.0.1:42424 HASHNAME 127.0.0.1:8480
//! ```

use std::error::Error;
use std::io;
use std::time::Duration;

use trunkline::http::{Request, Response};
use trunkline::{Engine, Hashname};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => serve(address),
        ["get", address, hashname, path] => get(address, hashname.parse()?, path),
        ["browse", address, hashname, listen] => browse(address, hashname.parse()?, listen),
        _ => Err("serve ADDRESS, get ADDRESS HASHNAME PATH, browse ADDRESS HASHNAME LISTEN".into()),
    }
}

/// Answers peers' requests. Each call has a thread to itself and may take its time.
fn answer(mut request: Request) -> Response {
    match request.path() {
        "/who" => Response::text(format!("you are {}\n", request.from())),
        "/length" => match io::copy(&mut request, &mut io::sink()) {
            Ok(length) => Response::text(format!("{length} bytes\n")),
            Err(_) => Response::new(400),
        },
        _ => Response::new(404).body("try /who\n"),
    }
}

/// Serves until standard input ends.
fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let node = Engine::builder().space("examples").listen(address).http_service(answer).start()?;
    println!("{}", node.handle().hashname());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn get(address: &str, peer: Hashname, path: &str) -> Result<(), Box<dyn Error>> {
    let node = Engine::builder().space("examples").link(address, peer).start()?;
    if !node.handle().wait_reachable(&peer, Duration::from_secs(20)) {
        return Err("nobody of that hashname answers there".into());
    }
    let mut answer = node.handle().http(peer).get(path).send()?;
    eprintln!("{}", answer.status());
    io::copy(&mut answer, &mut io::stdout())?;
    Ok(())
}

/// Lets the browsers of this machine in, until standard input ends.
fn browse(address: &str, peer: Hashname, listen: &str) -> Result<(), Box<dyn Error>> {
    let node = Engine::builder()
        .space("examples")
        .link(address, peer)
        .gateway(listen)
        .gateway_name("service", peer)
        .start()?;
    if let Some(gateway) = node.gateway_address() {
        println!("http://service.localhost:{}/who", gateway.port());
    }
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
