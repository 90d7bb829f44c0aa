//! Listens, and sends packets that need no connection. The network is denied in every direction.

use std::net::{TcpListener, UdpSocket};

/// Returns what worked, given the address of a server.
#[burla::function]
fn attack(address: String) -> Vec<String> {
    let mut worked = Vec::new();
    for local in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        if TcpListener::bind(local).is_ok() {
            worked.push(format!("listen at {local}"));
        }
        if let Ok(socket) = UdpSocket::bind(local) {
            worked.push(format!("bind {local}"));
            if socket.send_to(b"secret", &address).is_ok() {
                worked.push(format!("send from {local}"));
            }
        }
    }
    worked
}
