//! Connects to a server on the node's own machine, by every way to write its address. The network is denied: nothing connects,
//! and nothing waits.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Returns what worked, given the address of a server.
#[burla::function]
fn attack(address: String) -> Vec<String> {
    let port = address.rsplit(':').next().unwrap_or_default();
    let hosts = ["127.0.0.1", "127.1.2.3", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]"];
    let mut worked: Vec<_> =
        hosts.iter().map(|host| format!("{host}:{port}")).filter(|to| TcpStream::connect(to).is_ok()).collect();
    let patiently = |to: &SocketAddr| TcpStream::connect_timeout(to, Duration::from_secs(1)).is_ok();
    worked.extend(address.parse::<SocketAddr>().ok().filter(patiently).map(|to| format!("{to}, with a timeout")));
    if TcpStream::connect(("localhost", port.parse::<u16>().unwrap_or(0))).is_ok() {
        worked.push("localhost".to_owned());
    }
    worked
}
