//! `wasi:http`, as guests have it: each request gets a connection of its own, if the call may.
//!
//! Redirects are the guest's business: it sees them, and what it then asks for is another request. Bodies flow as they are read
//! and written, and what is on its way between them is bounded.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use tokio::time::{Instant, Sleep, timeout};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::access::{Access, RequestSlot};
use super::dial::Destination;

/// The longest that a guest may wait for a connection, for an answer to begin, and for it to go on; also what it waits unless it
/// says otherwise. wasmtime's own default, which is long enough for any server that will answer.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What the head of a response may take. Servers send 16 KiB at most, browsers take up to 256.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 << 10;

/// What one connection may have read or not yet written, each way. Holds the largest head.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// How much of a request's body a guest may write at once. Two of these wait at most, and then the guest does.
const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;

/// The same of a call without grants, which is charged for none of it and can send none of it. More than std and the bindings write
/// at once.
const UNGRANTED_BODY_CHUNK_BYTES_MAX: usize = 8 << 10;

/// Reads and writes a connection for as long as its response is wanted.
type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Sends the requests of one call.
pub(super) struct Requests {
    access: Arc<Access>,
}

impl Requests {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access }
    }

    /// Whether the call may send this now: where it goes, and the slot that it takes.
    fn admit(&self, request: &Request<WasiBody>) -> Result<(Destination, RequestSlot), Error> {
        let destination = Destination::of(request.uri())?;
        if !self.access.allow_request(&destination.host, destination.port) {
            return Err(Error::HttpRequestDenied);
        }
        let slot = RequestSlot::take(&self.access).ok_or(Error::ConnectionLimitReached)?;
        Ok((destination, slot))
    }
}

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_error: Worker,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Worker), Error>> + Send> {
        // Now and not when the future is first polled: what has to wait for a slot is not kept meanwhile.
        match self.admit(&request) {
            Ok((destination, slot)) => {
                Box::new(send(Arc::clone(&self.access), destination, slot, request, options.unwrap_or_default()))
            }
            Err(error) => {
                let refused: Result<(Response<WasiBody>, Worker), Error> = Err(error);
                Box::new(std::future::ready(refused))
            }
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        if self.access.has_grants() { BODY_CHUNK_BYTES_MAX } else { UNGRANTED_BODY_CHUNK_BYTES_MAX }
    }
}

/// Sends one request, and returns the response with what reads the rest of it.
async fn send(
    access: Arc<Access>,
    destination: Destination,
    slot: RequestSlot,
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Worker), Error> {
    let connecting = timeout(wait(options.connect_timeout), destination.connect(&access, slot));
    let (stream, slot) = connecting.await.map_err(|_| Error::ConnectionTimeout)??;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX).max_header_size(RESPONSE_HEAD_BYTES_MAX);
    let (mut sender, mut connection) = builder.handshake::<_, WasiBody>(TokioIo::new(stream)).await.map_err(failed)?;

    // Scheme and host are for proxies; a server is sent the path alone.
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();
    let mut ended = false;
    let response = {
        let response = timeout(wait(options.first_byte_timeout), sender.send_request(request));
        tokio::pin!(response);
        tokio::select! {
            response = &mut response => response,
            result = &mut connection => {
                result.map_err(failed)?;
                ended = true;
                // The connection is over, and the whole response was before.
                response.await
            }
        }
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(failed)?;
    let between_frames_max = wait(options.between_bytes_timeout);
    let slot = Arc::new(slot);
    let response = response.map(|incoming| WasiBody::new(TimedBody::new(incoming, between_frames_max, Arc::clone(&slot))));
    let worker: Worker = Box::new(async move {
        if !ended && let Err(error) = connection.await {
            // Who reads the body is told of it there.
            tracing::debug!(%error, "an HTTP connection of a call has failed");
        }
        drop(slot);
        Ok(())
    });
    Ok((response, worker))
}

/// How long to wait where the guest asks for this long.
fn wait(asked: Option<Duration>) -> Duration {
    asked.map_or(WAIT_MAX, |asked| asked.min(WAIT_MAX))
}

/// The body of a response, which ends with an error when the server falls silent.
struct TimedBody {
    incoming: Incoming,
    silence_max: Duration,
    silence: Pin<Box<Sleep>>,
    /// A part of the body may wait to be read when the connection is long over. Who reads it drops it at its end.
    _slot: Option<Arc<RequestSlot>>,
}

impl TimedBody {
    fn new(incoming: Incoming, silence_max: Duration, slot: Arc<RequestSlot>) -> Self {
        let slot = (!incoming.is_end_stream()).then_some(slot);
        Self { incoming, silence_max, silence: Box::pin(tokio::time::sleep(silence_max)), _slot: slot }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                this.silence.as_mut().reset(Instant::now() + this.silence_max);
                Poll::Ready(frame.map(|frame| frame.map_err(failed)))
            }
            Poll::Pending => {
                ready!(this.silence.as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What a guest is told when a connection did not carry its request or the response. Never hyper's own error, for which wasmtime
/// writes a line into the node's log: any guest could fill it.
fn failed(error: hyper::Error) -> Error {
    tracing::debug!(%error, "an HTTP request of a call has failed");
    let from_network = std::error::Error::source(&error).is_some_and(|source| source.is::<io::Error>());
    if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_closed() || error.is_canceled() || from_network {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::super::access::SOCKETS_MAX;
    use super::*;

    /// What a server does with each connection, after it has read the request's head.
    #[derive(Clone, Copy)]
    enum Answer {
        /// Sends this, and closes.
        Say(&'static str),
        /// Sends this, and stays.
        Stall(&'static str),
    }

    /// Answers all connections, and tells the heads of the requests.
    async fn serve(answer: Answer) -> (u16, JoinHandle<()>, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, received) = tokio::sync::mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let heads = heads.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let _ = heads.send(String::from_utf8(head).unwrap());
                    let (Answer::Say(text) | Answer::Stall(text)) = answer;
                    stream.write_all(text.as_bytes()).await.unwrap();
                    if let Answer::Stall(_) = answer {
                        // Until the other side closes.
                        let _ = stream.read_u8().await;
                    }
                });
            }
        });
        (port, server, received)
    }

    fn requests(grants: &[&str], private: &[&str]) -> Requests {
        Requests::new(Arc::new(Access::of(grants, private, 1024)))
    }

    const LOOPBACK: &[&str] = &["127.0.0.0/8", "::1/128"];

    async fn ask(requests: &mut Requests, url: &str, options: RequestOptions) -> Result<(Response<WasiBody>, Worker), Error> {
        let request = Request::get(url).header("host", "as.wasmtime.sets.it").body(WasiBody::default()).unwrap();
        Box::into_pin(requests.send_request(request, Some(options), Box::new(async { Ok(()) }))).await
    }

    async fn get(requests: &mut Requests, url: &str, options: RequestOptions) -> Result<Response<WasiBody>, Error> {
        let (response, worker) = ask(requests, url, options).await?;
        tokio::spawn(Box::into_pin(worker));
        Ok(response)
    }

    async fn text(response: Response<WasiBody>) -> Result<String, Error> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            bytes.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        Ok(String::from_utf8(bytes).unwrap())
    }

    const HELLO: Answer = Answer::Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");

    #[tokio::test]
    async fn a_granted_server_is_asked_and_answers() {
        let (port, _server, mut heads) = serve(HELLO).await;
        for host in ["127.0.0.1", "localhost", "LOCALHOST."] {
            let mut requests = requests(&[&format!("127.0.0.1:{port}"), &format!("localhost:{port}")], LOOPBACK);
            let url = format!("http://{host}:{port}/page?q=1");
            let response = get(&mut requests, &url, RequestOptions::default()).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(text(response).await.unwrap(), "hello");
            assert!(heads.recv().await.unwrap().starts_with("GET /page?q=1 HTTP/1.1\r\n"));
            assert!(requests.access.take_denials().is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_not_granted_is_not_connected_to() {
        let (port, _server, mut heads) = serve(HELLO).await;
        let mut requests = requests(&["127.0.0.1:1", "*.localhost:*"], LOOPBACK);
        for host in ["127.0.0.1", "localhost"] {
            let error = get(&mut requests, &format!("http://{host}:{port}/"), RequestOptions::default()).await.err().unwrap();
            assert!(matches!(error, Error::HttpRequestDenied), "{error}");
        }
        let error = get(&mut requests, "https://example.com/", RequestOptions::default()).await.err().unwrap();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
        let targets = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "example.com:443".to_owned()];
        let expected = targets.map(|target| format!("{target}: not granted; add .allow_network(\"{target}\")"));
        assert_eq!(requests.access.take_denials(), expected);
        assert!(heads.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
        let (port, _server, mut heads) = serve(HELLO).await;
        let mut requests = requests(&["*"], &[]);
        let options = RequestOptions::default();
        let error = get(&mut requests, &format!("http://localhost:{port}/"), options).await.err().unwrap();
        assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
        let error = get(&mut requests, &format!("http://127.0.0.1:{port}/"), options).await.err().unwrap();
        assert!(matches!(error, Error::HttpRequestDenied), "{error}");
        let denials = requests.access.take_denials();
        assert!(denials.len() == 2 && denials.iter().all(|denial| denial.contains("`allow-private`")), "{denials:?}");
        assert!(heads.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_server_that_keeps_silent_is_not_waited_for() {
        let millisecond = Some(Duration::from_millis(1));
        let (port, _server, _heads) = serve(Answer::Stall("")).await;
        let mut requests = requests(&["*"], LOOPBACK);
        let options = RequestOptions { first_byte_timeout: millisecond, ..RequestOptions::default() };
        let error = get(&mut requests, &format!("http://127.0.0.1:{port}/"), options).await.err().unwrap();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
        let (port, _server, _heads) = serve(Answer::Stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")).await;
        let options = RequestOptions { between_bytes_timeout: millisecond, ..RequestOptions::default() };
        let response = get(&mut requests, &format!("http://127.0.0.1:{port}/"), options).await.unwrap();
        let error = text(response).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
        assert_eq!(wait(Some(Duration::MAX)), WAIT_MAX);
    }

    #[tokio::test]
    async fn what_is_no_response_is_an_error() {
        let head: &str = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(RESPONSE_HEAD_BYTES_MAX)).leak();
        let answers = ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "what?\r\n\r\n", head];
        for answer in answers {
            let (port, _server, _heads) = serve(Answer::Say(answer)).await;
            let mut requests = requests(&["*"], LOOPBACK);
            let url = format!("http://127.0.0.1:{port}/");
            let result = match get(&mut requests, &url, RequestOptions::default()).await {
                Ok(response) => text(response).await,
                Err(error) => Err(error),
            };
            let error = result.unwrap_err();
            assert!(!matches!(error, Error::Hyper(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn so_many_requests_are_under_way_at_a_time() {
        let (port, _server, _heads) = serve(Answer::Stall("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")).await;
        let mut requests = requests(&["*"], LOOPBACK);
        let url = format!("http://127.0.0.1:{port}/");
        let mut open = Vec::new();
        for _ in 0..SOCKETS_MAX {
            open.push(ask(&mut requests, &url, RequestOptions::default()).await.unwrap());
        }
        let error = ask(&mut requests, &url, RequestOptions::default()).await.err().unwrap();
        assert!(matches!(error, Error::ConnectionLimitReached), "{error}");
        open.pop();
        assert!(ask(&mut requests, &url, RequestOptions::default()).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_is_sent_as_it_is_written() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"0\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            sender.send(String::from_utf8(request).unwrap()).unwrap();
        });
        struct Word(Option<&'static str>);
        impl Body for Word {
            type Data = Bytes;
            type Error = Error;

            fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
                Poll::Ready(self.0.take().map(|word| Ok(Frame::data(Bytes::from(word)))))
            }
        }
        let mut requests = requests(&["*"], LOOPBACK);
        let request = Request::post(url).body(WasiBody::new(Word(Some("hello")))).unwrap();
        let sending = requests.send_request(request, None, Box::new(async { Ok(()) }));
        let (response, worker) = Box::into_pin(sending).await.unwrap();
        tokio::spawn(Box::into_pin(worker));
        assert_eq!(response.status(), 204);
        assert!(receiver.await.unwrap().ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
    }
}
