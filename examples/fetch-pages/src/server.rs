//! A web server of a few pages, on this machine. What the grid fetches from it would be anywhere else in earnest.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The pages, by their paths.
pub(crate) const PAGES: [(&str, &str); 4] = [
    ("/", "<!doctype html><title>Home</title><a href=/rivers>Rivers</a> <a href=/lakes>Lakes</a>"),
    ("/lakes", "<!doctype html><title>Lakes</title><ul><li>Chiemsee<li>Ammersee<li>Walchensee</ul>"),
    ("/rivers", "<!doctype html><title>Rivers</title><ul><li>Isar<li>Inn<li>Lech<li>Donau</ul>"),
    ("/rivers/isar", "<!doctype html><title>The Isar</title><p>It rises in the Karwendel and flows into the Donau."),
];

/// The longest head of a request that is read.
const HEAD_BYTES_MAX: u64 = 16 << 10;

/// Starts the server, which answers for as long as the program runs, and returns where it is.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who asks and does not wait for the answer gets none.
            let _ = answer(&stream);
        }
    });
    Ok(address)
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(io::Read::take(stream, HEAD_BYTES_MAX)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // An empty line ends the head.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let page = PAGES.iter().find(|(known, _)| *known == path);
    let (status, text) = page.map_or(("404 Not Found", ""), |&(_, text)| ("200 OK", text));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())
}
