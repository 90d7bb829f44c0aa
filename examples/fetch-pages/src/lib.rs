//! What the grid runs: each function fetches a page in one of the two ways that there are.
//!
//! 1. [`fetch_by_hand`] speaks HTTP itself, over a TCP connection of std;
//! 2. [`fetch`] has the node send the request, with `wasi:http`, which also has TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde::{Deserialize, Serialize};

/// What is told of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// What stands between `<title>` and `</title>`.
    pub title: String,
    /// The size of the whole page.
    pub bytes: u64,
}

impl Page {
    fn of(text: &str) -> Self {
        let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
        Self { title: title.map_or("", |(title, _)| title).to_owned(), bytes: text.len() as u64 }
    }
}

/// Fetches a page over a TCP connection. `server` is its host and port.
#[burla::function]
pub fn fetch_by_hand(server: String, path: String) -> io::Result<Page> {
    let mut stream = TcpStream::connect(&server)?;
    // The server of HTTP/1.0 closes when it has sent all.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, text) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("{server}{path}: {status}")));
    }
    Ok(Page::of(text))
}

/// Fetches a page by its URL.
#[burla::function]
pub fn fetch(url: String) -> Result<Page, String> {
    get(&url).map(|text| Page::of(&text)).map_err(|error| format!("{url}: {error}"))
}

#[cfg(target_family = "wasm")]
fn get(url: &str) -> Result<String, String> {
    use wstd::http::{Body, Client, Error, Request};

    let text = wstd::runtime::block_on(async {
        let request = Request::get(url).body(Body::empty())?;
        let response = Client::new().send(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(Error::msg(status));
        }
        let mut body = response.into_body();
        Ok::<_, Error>(body.str_contents().await?.to_owned())
    });
    text.map_err(|error| format!("{error:#}"))
}

#[cfg(not(target_family = "wasm"))]
fn get(_url: &str) -> Result<String, String> {
    Err("only a component can have its host send requests: run it on the grid".to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_page_has_a_title_or_none() {
        let page = |title: &str, bytes| Page { title: title.to_owned(), bytes };
        assert_eq!(Page::of("<title>A b</title><title>c</title>"), page("A b", 34));
        assert_eq!(Page::of("<title>A b"), page("", 10));
        assert_eq!(Page::of(""), page("", 0));
    }

    #[test]
    fn what_the_server_says_is_the_page_or_the_error() {
        let answers =
            ["HTTP/1.0 200 OK\r\nA: b\r\n\r\n<title>c</title>\r\n\r\n", "HTTP/1.0 404 Not Found\r\n\r\n", "HTTP/1.0 200 OK"];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let answering = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let read = stream.read(&mut request).unwrap();
                assert!(request[..read].starts_with(b"GET /page HTTP/1.0\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let page = || fetch_by_hand(server.clone(), "/page".to_owned());
        assert_eq!(page().unwrap(), Page { title: "c".to_owned(), bytes: 20 });
        assert_eq!(page().unwrap_err().to_string(), format!("{server}/page: HTTP/1.0 404 Not Found"));
        assert_eq!(page().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        answering.join().unwrap();
    }
}
