//! Fetches pages on the grid, in both ways that a function has, from a server that it starts on this machine.

#![expect(clippy::print_stdout, reason = "what was fetched is the program's result")]

mod server;

use std::error::Error;

use burla::remote_parallel_map;
use fetch_pages::{fetch, fetch_by_hand};

fn main() -> Result<(), Box<dyn Error>> {
    let address = server::start()?.to_string();
    let paths = server::PAGES.map(|(path, _)| path);

    let pages = paths.map(|path| (address.clone(), path.to_owned()));
    let by_hand = remote_parallel_map(fetch_by_hand, pages).allow_network(address.as_str()).run()?;

    let urls = paths.map(|path| format!("http://{address}{path}"));
    let by_host = remote_parallel_map(fetch, urls).allow_network(address.as_str()).run()?;

    // Outputs have the order of their inputs.
    for (path, page) in paths.iter().zip(&by_hand) {
        println!("{path:<14}{:>4} bytes  {}", page.bytes, page.title);
    }
    let same = if by_host == by_hand { "the same" } else { "something else" };
    println!("over wasi:http: {same}");
    Ok(())
}
