//! Two processes, a stream, a callback.
//!
//! ```sh
//! cargo run -p trunkline --example echo -- serve 127.0.0.1:42424
//! cargo run -p trunkline --example echo -- call 127.0.0.1:42424 HASHNAME "good day"
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;

use trunkline::{Engine, Hashname};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => serve(address),
        ["call", address, hashname, text] => call(address, hashname.parse()?, text),
        _ => Err("serve ADDRESS, or call ADDRESS HASHNAME TEXT".into()),
    }
}

/// Sends every stream's bytes back, until standard input ends.
fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let node = Engine::builder()
        .space("examples")
        .listen(address)
        .serve_streams(|stream| {
            println!("a stream from {}", stream.peer());
            let (mut reader, mut writer) = stream.split();
            if let Err(error) = io::copy(&mut reader, &mut writer) {
                println!("it broke off: {error}");
            }
        })
        .start()?;
    println!("{}", node.handle().hashname());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Opens a stream, says something, and prints what comes back.
fn call(address: &str, peer: Hashname, text: &str) -> Result<(), Box<dyn Error>> {
    let node = Engine::builder().space("examples").link(address, peer).start()?;
    if !node.handle().wait_reachable(&peer, Duration::from_secs(20)) {
        return Err("nobody of that hashname answers there".into());
    }
    let mut stream = node.handle().stream(peer)?;
    stream.write_all(text.as_bytes())?;
    stream.finish();
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}
