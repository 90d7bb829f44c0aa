//! Asks a service of the node's own machine for credentials, as a stolen function would ask a cloud's metadata service. The
//! network is denied: it gets none. The address is an input, so that no test asks a real one.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Returns what the service said, given its address.
#[burla::function]
fn attack(address: String) -> Vec<String> {
    ask(&address).into_iter().collect()
}

fn ask(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /latest/meta-data/iam/security-credentials/ HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
