//! A running job as messages: opens it, passes inputs on, shows what calls print, and passes outcomes back. Knows no user types.
//!
//! This is an edge file: generated types stop here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use burla_proto::WireSize;
use burla_proto::convert::{self, CallReport, Work};
use burla_proto::v1::{self, MapRequest, map_request::Request, map_response::Response};
use burla_types::{GridError, Outcome, Peer, Usage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tonic::Streaming;

use crate::component::Component;
use crate::connection::Connection;
use crate::input_buffer::{InputReceiver, InputStream};
use crate::interrupt::Interrupt;
use crate::options::CheckedOptions;
use crate::progress::{self, Progress};
use crate::{CanceledBy, Error, Result, Stdout};

/// How long a job waits before it says what for. Shorter waits are not worth a line.
const WAITING_NOTICE_DELAY: Duration = Duration::from_secs(1);

/// Bytes of outcomes that may wait for the user to take them. A single one may be larger, and then waits alone.
const OUTCOME_BYTES_MAX: usize = 16 << 20;

/// Bytes that a permit of the semaphore over them stands for, since it counts in 32 bits.
const BYTES_PER_PERMIT: usize = 1 << 10;

/// Calls that ended, and the room they take.
pub(crate) struct EndedBatch {
    pub(crate) ended: Vec<Ended>,
    _room: OwnedSemaphorePermit,
}

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
    pub(crate) stderr_tail: String,
    pub(crate) usage: Usage,
}

/// What to run, and how.
pub(crate) struct Job {
    pub(crate) function: String,
    pub(crate) component: Component,
    pub(crate) options: CheckedOptions,
    pub(crate) progress: Arc<Progress>,
}

impl Job {
    /// Runs the job to its end. Ends early when nobody receives outcomes any more, or with a Ctrl-C.
    pub(crate) async fn run(self, inputs: InputReceiver, outcomes: mpsc::Sender<EndedBatch>, interrupt: Interrupt) -> Result<()> {
        let progress = Arc::clone(&self.progress);
        let canceled = |by| Err(Error::JobCanceled { by, calls_ended: progress.calls_ended() });
        tokio::select! {
            ended = self.run_uninterrupted(inputs, outcomes) => match ended {
                Err(Error::Grid(GridError::Canceled)) => canceled(CanceledBy::Operator),
                ended => ended,
            },
            () = interrupt.pressed() => canceled(CanceledBy::CtrlC),
        }
    }

    async fn run_uninterrupted(self, inputs: InputReceiver, outcomes: mpsc::Sender<EndedBatch>) -> Result<()> {
        let open = self.open();
        let Self { component, options: CheckedOptions { url, stdout, .. }, progress, .. } = self;
        let (connection, responses) = start(&url, &open, &component, &progress, &inputs).await?;
        inputs.answered();
        progress.running();
        let room = Arc::new(Semaphore::new(OUTCOME_BYTES_MAX / BYTES_PER_PERMIT));
        let mut responses = Responses { responses, stdout, progress, notice: Notice::default(), outcomes, room };
        // Both directions at once: a grid that has no room for more inputs may have outcomes to get rid of first. Inputs end when
        // the iterator does; the job ends when the scheduler says so, and only then.
        if responses.receive(&connection).await? == End::SaidByScheduler {
            connection.keep();
        }
        Ok(())
    }

    fn open(&self) -> v1::OpenJob {
        let options = &self.options;
        let work = Work {
            digest: self.component.digest,
            function: self.function.clone(),
            limits: options.limits.clone(),
            env: options.env.clone(),
            wants_output: options.stdout.wants_output(),
        };
        v1::OpenJob {
            client: Some(Peer::this().into()),
            work: Some(work.into()),
            cpu_millis: options.cpu_millis,
            memory_bytes: options.memory_bytes,
            max_parallelism: options.max_parallelism,
            name: options.name.clone().unwrap_or_else(|| self.function.clone()),
        }
    }
}

/// Opens the job, and has its first inputs follow at once. A scheduler that does not have the component is given it. A connection
/// that was kept may have broken since, or lead to a scheduler that is gone: then the job is opened again on a new one. What the
/// scheduler may have begun by then ends with the old.
async fn start(
    url: &str,
    open: &v1::OpenJob,
    component: &Component,
    progress: &Progress,
    inputs: &InputReceiver,
) -> Result<(Connection, Streaming<v1::MapResponse>)> {
    let (mut connection, mut is_new) = match Connection::kept(url) {
        Some(connection) => (connection, false),
        None => (Connection::open(url).await?, true),
    };
    let mut provided = false;
    loop {
        let requests = Requests { open: Some(open.clone()), inputs: inputs.open(), over: false };
        let mut failed;
        match connection.map(requests).await {
            Ok(responses) => return Ok((connection, responses)),
            Err(error) => failed = error,
        }
        if matches!(failed, Error::Grid(GridError::UnknownComponent(_))) && !provided {
            match connection.provide(component, |bytes| progress.uploading(bytes)).await {
                Ok(()) => {
                    provided = true;
                    continue;
                }
                Err(error) => failed = error,
            }
        }
        if is_new || !matches!(failed, Error::ConnectionLost { .. } | Error::Grid(GridError::ShuttingDown)) {
            return Err(failed);
        }
        (connection, is_new, provided) = (Connection::open(url).await?, true, false);
    }
}

/// What goes to the scheduler: the job, its inputs, and that they are all. When the user has dropped the job, the stream ends
/// without `InputsClosed`, which the scheduler takes for what it is: nobody waits for the outcomes any more.
///
/// The connection takes from it what it has room for, and puts messages that are ready together into one write.
struct Requests {
    open: Option<v1::OpenJob>,
    inputs: InputStream,
    over: bool,
}

impl Stream for Requests {
    type Item = MapRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<MapRequest>> {
        if let Some(open) = self.open.take() {
            return Poll::Ready(Some(MapRequest { request: Some(Request::Open(open)) }));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let request = match ready!(self.inputs.poll_batch(context)) {
            Some(batch) => Some(Request::Inputs(v1::InputBatch { first_index: batch.first_index, inputs: batch.inputs })),
            None => {
                self.over = true;
                self.inputs.finished().then_some(Request::InputsClosed(v1::InputsClosed {}))
            }
        };
        Poll::Ready(request.map(|request| MapRequest { request: Some(request) }))
    }
}

/// Why nothing more is received.
#[derive(PartialEq)]
enum End {
    /// The job is over.
    SaidByScheduler,
    /// Nobody receives outcomes any more.
    Unwanted,
}

/// What comes back from the scheduler.
struct Responses {
    responses: Streaming<v1::MapResponse>,
    stdout: Stdout,
    progress: Arc<Progress>,
    notice: Notice,
    outcomes: mpsc::Sender<EndedBatch>,
    room: Arc<Semaphore>,
}

impl Responses {
    async fn receive(&mut self, connection: &Connection) -> Result<End> {
        loop {
            let message = tokio::select! {
                message = self.responses.message() => message,
                () = self.notice.due() => {
                    // Stderr may be full, or stopped with Ctrl-S; the connection's own task must not wait behind it.
                    tokio::task::block_in_place(|| self.notice.show());
                    continue;
                }
            };
            let Some(message) = message.map_err(|status| connection.error(status))? else { return Ok(End::SaidByScheduler) };
            match message.response {
                Some(Response::Events(events)) => {
                    let (ended, bytes) = self.handle(events)?;
                    if ended.is_empty() {
                        continue;
                    }
                    // Not taking them off the connection is what holds the grid back.
                    let permits = bytes.min(OUTCOME_BYTES_MAX) / BYTES_PER_PERMIT;
                    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
                    // Nobody closes the semaphore.
                    let Ok(room) = Arc::clone(&self.room).acquire_many_owned(permits).await else {
                        return Ok(End::Unwanted);
                    };
                    if self.outcomes.send(EndedBatch { ended, _room: room }).await.is_err() {
                        return Ok(End::Unwanted);
                    }
                }
                Some(Response::Waiting(waiting)) => {
                    let reason = (!waiting.reason.is_empty()).then_some(waiting.reason);
                    self.progress.set_waiting(reason.clone());
                    if !self.progress.has_line() {
                        self.notice.set(reason);
                    }
                }
                Some(Response::Progress(progress)) => self.progress.set_running(progress.running, progress.nodes),
                Some(Response::Opened(opened)) => tracing::debug!(job = ?opened.job_id, "job opened"),
                None => {}
            }
        }
    }

    /// Shows what was printed, in order, and keeps what ended, with the bytes of that.
    fn handle(&mut self, events: v1::CallEvents) -> Result<(Vec<Ended>, usize)> {
        let (mut ended, mut bytes) = (Vec::with_capacity(events.events.len()), 0);
        for event in events.events {
            let index = event.index;
            let report =
                convert::call_report(event).map_err(|invalid| GridError::InvalidRequest { reason: invalid.to_string() })?;
            let report_bytes = report.wire_bytes();
            match report {
                CallReport::Printed(stream, lines) => {
                    // A terminal may be slow, or stopped with Ctrl-S; the connection's own task must not wait behind it.
                    let stdout = &mut self.stdout;
                    let show = || stdout.show(index, stream, &lines);
                    tokio::task::block_in_place(|| self.progress.instead(show)).map_err(Error::Print)?;
                }
                CallReport::Ended { outcome, stderr_tail, usage } => {
                    bytes += report_bytes;
                    self.progress.call_ended(matches!(outcome, Outcome::Done(_)));
                    ended.push(Ended { index, outcome, stderr_tail, usage });
                }
            }
        }
        Ok((ended, bytes))
    }
}

/// What the job waits for, and when to say so.
#[derive(Default)]
struct Notice {
    waiting: Option<(tokio::time::Instant, String)>,
}

impl Notice {
    fn set(&mut self, reason: Option<String>) {
        let due = || tokio::time::Instant::now() + WAITING_NOTICE_DELAY;
        self.waiting = reason.map(|reason| (due(), progress::shown_reason(&reason)));
    }

    async fn due(&self) {
        match &self.waiting {
            Some((due, _)) => tokio::time::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    fn show(&mut self) {
        if let Some((_, reason)) = self.waiting.take() {
            progress::tell(&format!("the job waits: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use burla_proto::status;
    use burla_proto::v1::client_api_server::{ClientApi, ClientApiServer};
    use bytes::Bytes;
    use tokio::net::TcpListener;
    use tonic::transport::server::{Server, TcpIncoming};
    use tonic::{Request as Asked, Response as Answer, Status, async_trait};

    use super::*;
    use crate::connection;
    use crate::options::Options;
    use crate::raw_calls::RawCalls;
    use crate::{CallEnd, Grid};

    #[test]
    fn a_notice_is_one_line_without_commands() {
        let mut notice = Notice::default();
        notice.set(Some("no\nnode\x1b[2J".to_owned()));
        assert_eq!(notice.waiting.map(|(_, reason)| reason).as_deref(), Some("no node␛[2J"));
    }

    /// What the scheduler of a test does with a job.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Act {
        /// Takes it, and gives each input back as the output.
        Echo,
        /// Does not have the component, unless it was uploaded since.
        NeedComponent,
        /// Breaks off before it has answered, as a lost connection does.
        Break,
    }

    /// What a scheduler was asked: by whom, and what.
    type Log = Arc<Mutex<Vec<(SocketAddr, String)>>>;

    struct Fake {
        acts: Vec<Act>,
        jobs: AtomicU32,
        log: Log,
    }

    impl Fake {
        fn note<T>(&self, asked: &Asked<T>, what: impl Into<String>) {
            let address = asked.remote_addr().unwrap();
            self.log.lock().unwrap().push((address, what.into()));
        }
    }

    #[async_trait]
    impl ClientApi for Fake {
        async fn offer_component(
            &self,
            asked: Asked<v1::OfferComponentRequest>,
        ) -> Result<Answer<v1::OfferComponentResponse>, Status> {
            self.note(&asked, "offer");
            Ok(Answer::new(v1::OfferComponentResponse { known: false }))
        }

        async fn upload_component(
            &self,
            asked: Asked<Streaming<v1::ComponentChunk>>,
        ) -> Result<Answer<v1::UploadComponentResponse>, Status> {
            self.note(&asked, "upload");
            let mut chunks = asked.into_inner();
            while chunks.message().await?.is_some() {}
            Ok(Answer::new(v1::UploadComponentResponse {}))
        }

        type MapStream = Pin<Box<dyn Stream<Item = Result<v1::MapResponse, Status>> + Send>>;

        async fn map(&self, asked: Asked<Streaming<MapRequest>>) -> Result<Answer<Self::MapStream>, Status> {
            let act = self.acts[self.jobs.fetch_add(1, Ordering::Relaxed) as usize];
            self.note(&asked, format!("{act:?}"));
            let mut requests = asked.into_inner();
            match act {
                Act::Break => return Err(Status::unavailable("gone")),
                Act::NeedComponent => {
                    let first = requests.message().await?.and_then(|message| message.request);
                    let Some(Request::Open(open)) = first else { panic!("the first message opens the job") };
                    let digest = convert::digest(&open.work.unwrap().digest).unwrap();
                    return Err(status::to_status(&GridError::UnknownComponent(digest)));
                }
                Act::Echo => {}
            }
            let mut events = Vec::new();
            loop {
                match requests.message().await?.and_then(|message| message.request) {
                    Some(Request::Open(_)) => {}
                    Some(Request::Inputs(batch)) => {
                        assert_eq!(batch.first_index, events.len() as u64);
                        for (input, index) in batch.inputs.into_iter().zip(batch.first_index..) {
                            let outcome = Outcome::Done(input);
                            let ended = CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() };
                            events.push(convert::call_event(index, 0, ended));
                        }
                    }
                    Some(Request::InputsClosed(_)) => break,
                    None => panic!("the inputs are closed first"),
                }
            }
            let response = Some(Response::Events(v1::CallEvents { events }));
            Ok(Answer::new(Box::pin(tokio_stream::iter([Ok(v1::MapResponse { response })]))))
        }

        async fn list_nodes(&self, _: Asked<v1::ListNodesRequest>) -> Result<Answer<v1::ListNodesResponse>, Status> {
            unreachable!("no job asks")
        }

        async fn list_jobs(&self, _: Asked<v1::ListJobsRequest>) -> Result<Answer<v1::ListJobsResponse>, Status> {
            unreachable!("no job asks")
        }

        async fn cancel_job(&self, _: Asked<v1::CancelJobRequest>) -> Result<Answer<v1::CancelJobResponse>, Status> {
            unreachable!("no job asks")
        }
    }

    /// Serves one job after another, each as `acts` say.
    fn scheduler(acts: &[Act]) -> (Grid, Log) {
        let (listening, log) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Log::default());
        let grid = Grid::at(format!("http://{}", listening.local_addr().unwrap())).unwrap();
        listening.set_nonblocking(true).unwrap();
        let fake = Fake { acts: acts.to_vec(), jobs: AtomicU32::new(0), log: Arc::clone(&log) };
        connection::runtime().spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listening).unwrap());
            Server::builder().add_service(ClientApiServer::new(fake)).serve_with_incoming(incoming).await
        });
        (grid, log)
    }

    /// Runs a job on three inputs, and returns its outputs.
    fn run(grid: &Grid) -> Result<Vec<Bytes>> {
        // The preamble of a component: one that has nothing in it.
        let component = Component::from_bytes(Bytes::from_static(b"\0asm\x0d\0\x01\0")).unwrap();
        let inputs = tokio_stream::iter([b"a", b"b", b"c"].map(|input| Ok(Bytes::from_static(input))));
        let options = Options { grid: Some(grid.clone()), ..Options::default() };
        let mut calls = RawCalls::start(component, "tests::echo", inputs, options)?;
        let mut outputs = Vec::new();
        while let Some(end) = crate::block_on::block_on(std::future::poll_fn(|context| calls.poll_next(context))) {
            let CallEnd { index, result, .. } = end?;
            assert_eq!(index, outputs.len() as u64);
            outputs.push(result.unwrap());
        }
        Ok(outputs)
    }

    fn asked(log: &Log) -> Vec<String> {
        log.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
    }

    /// On how many connections.
    fn connections(log: &Log) -> usize {
        log.lock().unwrap().iter().map(|(address, _)| *address).collect::<std::collections::HashSet<_>>().len()
    }

    #[test]
    fn jobs_one_after_another_have_one_connection_and_ask_for_nothing_else() {
        let (grid, log) = scheduler(&[Act::Echo; 3]);
        for _ in 0..3 {
            assert_eq!(run(&grid).unwrap(), ["a", "b", "c"]);
        }
        assert_eq!((asked(&log), connections(&log)), (vec!["Echo".to_owned(); 3], 1));
    }

    #[test]
    fn a_component_that_the_scheduler_has_forgotten_is_provided_again() {
        let (grid, log) = scheduler(&[Act::NeedComponent, Act::Echo, Act::NeedComponent, Act::Echo]);
        for _ in 0..2 {
            assert_eq!(run(&grid).unwrap(), ["a", "b", "c"]);
        }
        let each = ["NeedComponent", "offer", "upload", "Echo"];
        assert_eq!((asked(&log), connections(&log)), (each.repeat(2).iter().map(ToString::to_string).collect(), 1));
    }

    #[test]
    fn a_component_that_is_unknown_although_it_was_provided_is_an_error() {
        let (grid, _log) = scheduler(&[Act::NeedComponent, Act::NeedComponent]);
        let error = run(&grid).unwrap_err();
        assert!(matches!(error, Error::Grid(GridError::UnknownComponent(_))), "{error:?}");
    }

    #[test]
    fn a_kept_connection_that_is_stale_costs_a_dial_and_no_job() {
        let (grid, log) = scheduler(&[Act::Echo, Act::Break, Act::Echo]);
        for _ in 0..2 {
            assert_eq!(run(&grid).unwrap(), ["a", "b", "c"]);
        }
        assert_eq!((asked(&log), connections(&log)), (["Echo", "Break", "Echo"].map(str::to_owned).to_vec(), 2));
    }

    #[test]
    fn a_new_connection_that_breaks_is_an_error() {
        let (grid, log) = scheduler(&[Act::Echo, Act::Break, Act::Break]);
        run(&grid).unwrap();
        let error = run(&grid).unwrap_err();
        assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
        assert_eq!(asked(&log), ["Echo", "Break", "Break"]);
    }
}
