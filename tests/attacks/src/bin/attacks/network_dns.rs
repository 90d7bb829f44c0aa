//! Looks up names, which alone can carry data out. The network is denied, and looking up is a part of it. Only names that every
//! machine knows by itself, so that no test asks anyone.

use std::net::ToSocketAddrs;

/// Returns what was found.
#[burla::function]
fn attack() -> Vec<String> {
    let found = ["localhost:80", "localhost:443"].into_iter().filter_map(|name| name.to_socket_addrs().ok());
    found.flatten().map(|address| address.to_string()).collect()
}
