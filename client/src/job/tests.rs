//! Jobs against a scheduler that does what a test says, opening by opening.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;

use burla_proto::status;
use burla_proto::v1::client_api_server::{ClientApi, ClientApiServer};
use burla_proto::v1::map_request::Request;
use burla_proto::v1::{CallEvents, JobOpened, MapRequest, MapResponse};
use burla_types::OutputStream;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request as Asked, Response as Answer, async_trait};

use super::*;
use crate::input_buffer::input_buffer;
use crate::input_source::InputSink;
use crate::options::Options;
use crate::raw_calls::RawCalls;
use crate::{CallEnd, Grid, connection, interrupt};

/// What the scheduler does with one opening of a job, one after another. After the last, it says that the job is over.
#[derive(Clone, Debug)]
enum Step {
    /// Answers with an error before it opens anything.
    Refuse(Status),
    /// Answers that the component is unknown.
    NeedComponent,
    Opened {
        resumed: bool,
        next_index: u64,
    },
    /// Reads until it has this many inputs of this opening, and notes them.
    Inputs(usize),
    /// Reads until there are no more.
    Closed,
    /// Reads until it is told that this many events were taken.
    Taken(u64),
    /// Reads until the job is abandoned, and notes that.
    Abandoned,
    /// Tells that these calls ended, each with its index as the output.
    End(Vec<u64>),
    /// Tells that a call printed this.
    Print(u64, u64, &'static str),
    /// Gives the client's iterator another input.
    Give(&'static [u8]),
    GiveNoMore,
    Waiting(&'static str),
    /// Tells what means nothing.
    Malformed,
    /// Ends the stream with this.
    Fail(Status),
}

use Step::*;

/// Gives each of three inputs back.
fn echo() -> Vec<Step> {
    vec![Inputs(3), Closed, End(vec![0, 1, 2])]
}

fn gone() -> Status {
    Status::unavailable("gone")
}

/// What a scheduler was asked: by whom, and what.
type Log = Arc<Mutex<Vec<(SocketAddr, String)>>>;

#[derive(Clone)]
struct Fake {
    openings: Arc<Mutex<std::vec::IntoIter<Vec<Step>>>>,
    log: Log,
    give: Arc<Mutex<Option<mpsc::UnboundedSender<Result<Bytes>>>>>,
}

impl Fake {
    fn note(&self, address: SocketAddr, what: impl Into<String>) {
        self.log.lock().unwrap().push((address, what.into()));
    }

    async fn serve(
        self,
        address: SocketAddr,
        mut requests: Streaming<MapRequest>,
        steps: Vec<Step>,
        responses: mpsc::Sender<Result<MapResponse, Status>>,
    ) {
        let (mut inputs, mut shown) = (Vec::new(), Vec::new());
        for step in steps {
            let response = match step {
                Inputs(count) => {
                    while inputs.len() < count {
                        if let Some(Request::Inputs(batch)) = next(&mut requests).await {
                            let consecutive = (batch.first_index..).take(batch.inputs.len()).map(|index| format!("{index}"));
                            let named = batch.indices.iter().map(|index| format!("#{index}"));
                            if batch.indices.is_empty() {
                                inputs.extend(consecutive)
                            } else {
                                inputs.extend(named)
                            }
                            shown.extend(batch.shown.iter().map(|shown| (shown.index, shown.stdout, shown.stderr)));
                        }
                    }
                    let shown = if shown.is_empty() { String::new() } else { format!(", shown {shown:?}") };
                    self.note(address, format!("inputs {}{shown}", inputs.join(" ")));
                    continue;
                }
                Closed => {
                    while !matches!(next(&mut requests).await, Some(Request::InputsClosed(_))) {}
                    continue;
                }
                Taken(events) => {
                    while next(&mut requests).await != Some(Request::Taken(v1::Taken { events })) {}
                    self.note(address, format!("taken {events}"));
                    continue;
                }
                Abandoned => {
                    while !matches!(next(&mut requests).await, Some(Request::Abandon(_))) {}
                    self.note(address, "abandon");
                    continue;
                }
                Give(input) => {
                    self.give.lock().unwrap().as_ref().unwrap().send(Ok(Bytes::from_static(input))).unwrap();
                    continue;
                }
                GiveNoMore => {
                    *self.give.lock().unwrap() = None;
                    continue;
                }
                Opened { resumed, next_index } => Response::Opened(JobOpened { resumed, next_index, ..JobOpened::default() }),
                End(indices) => {
                    let ended = |index| {
                        let outcome = Outcome::Done(Bytes::from(format!("{index}")));
                        let report = CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() };
                        convert::call_event(index, 1, report)
                    };
                    Response::Events(CallEvents { events: indices.into_iter().map(ended).collect() })
                }
                Print(index, first_line, lines) => {
                    let report = CallReport::Printed { stream: OutputStream::Stdout, first_line, lines: lines.into() };
                    Response::Events(CallEvents { events: vec![convert::call_event(index, 1, report)] })
                }
                Malformed => Response::Events(CallEvents { events: vec![v1::CallEvent::default()] }),
                Waiting(reason) => Response::Waiting(v1::Waiting { reason: reason.to_owned() }),
                Fail(status) => {
                    let _ = responses.send(Err(status)).await;
                    return;
                }
                Refuse(_) | NeedComponent => unreachable!("only at first"),
            };
            let _ = responses.send(Ok(MapResponse { response: Some(response) })).await;
        }
    }
}

/// What the client says next. The client never ends the stream before the job is over.
async fn next(requests: &mut Streaming<MapRequest>) -> Option<Request> {
    requests.message().await.expect("the client has not gone").expect("the client has not ended the stream").request
}

#[async_trait]
impl ClientApi for Fake {
    async fn offer_component(
        &self,
        asked: Asked<v1::OfferComponentRequest>,
    ) -> Result<Answer<v1::OfferComponentResponse>, Status> {
        self.note(asked.remote_addr().unwrap(), "offer");
        Ok(Answer::new(v1::OfferComponentResponse { known: false }))
    }

    async fn upload_component(
        &self,
        asked: Asked<Streaming<v1::ComponentChunk>>,
    ) -> Result<Answer<v1::UploadComponentResponse>, Status> {
        self.note(asked.remote_addr().unwrap(), "upload");
        let mut chunks = asked.into_inner();
        while chunks.message().await?.is_some() {}
        Ok(Answer::new(v1::UploadComponentResponse {}))
    }

    type SubmitJobStream = tokio_stream::Empty<Result<v1::SubmitJobResponse, Status>>;

    async fn submit_job(&self, _: Asked<Streaming<MapRequest>>) -> Result<Answer<Self::SubmitJobStream>, Status> {
        unreachable!("no job asks")
    }

    type FollowJobStream = tokio_stream::Empty<Result<v1::FollowJobResponse, Status>>;

    async fn follow_job(&self, _: Asked<v1::FollowJobRequest>) -> Result<Answer<Self::FollowJobStream>, Status> {
        unreachable!("no job asks")
    }

    async fn get_job(&self, _: Asked<v1::GetJobRequest>) -> Result<Answer<v1::GetJobResponse>, Status> {
        unreachable!("no job asks")
    }

    type MapStream = Pin<Box<dyn Stream<Item = Result<MapResponse, Status>> + Send>>;

    async fn map(&self, asked: Asked<Streaming<MapRequest>>) -> Result<Answer<Self::MapStream>, Status> {
        let steps = self.openings.lock().unwrap().next().expect("the test says what to do");
        let address = asked.remote_addr().unwrap();
        let mut requests = asked.into_inner();
        let Some(Request::Open(open)) = next(&mut requests).await else { panic!("the first message opens the job") };
        assert_eq!(open.job_id.len(), 16);
        match &open.resume {
            None => self.note(address, "open"),
            Some(resume) => {
                self.note(address, format!("open again, taken {}, openings {}", resume.events_taken, resume.openings));
            }
        }
        match &steps[0] {
            Refuse(status) => return Err(status.clone()),
            NeedComponent => {
                let digest = convert::digest(&open.work.unwrap().digest).unwrap();
                return Err(status::to_status(&GridError::UnknownComponent(digest)));
            }
            _ => {}
        }
        let (responses, answer) = mpsc::channel(1);
        tokio::spawn(self.clone().serve(address, requests, steps, responses));
        Ok(Answer::new(Box::pin(ReceiverStream::new(answer))))
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

/// A scheduler of a test, and what it was asked.
struct Scheduler {
    grid: Grid,
    log: Log,
    given: Option<mpsc::UnboundedReceiver<Result<Bytes>>>,
}

/// Serves one opening after another, each as `openings` say.
fn scheduler(openings: impl IntoIterator<Item = Vec<Step>>) -> Scheduler {
    let (listening, log) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Log::default());
    let grid = Grid::at(format!("http://{}", listening.local_addr().unwrap())).unwrap();
    listening.set_nonblocking(true).unwrap();
    let (give, given) = mpsc::unbounded_channel();
    let openings = Arc::new(Mutex::new(openings.into_iter().collect::<Vec<_>>().into_iter()));
    let gives = openings.lock().unwrap().as_slice().iter().flatten().any(|step| matches!(step, Give(_)));
    let fake = Fake { openings, log: Arc::clone(&log), give: Arc::new(Mutex::new(gives.then_some(give))) };
    connection::runtime().spawn(async move {
        let incoming = TcpIncoming::from(TcpListener::from_std(listening).unwrap());
        Server::builder().add_service(ClientApiServer::new(fake)).serve_with_incoming(incoming).await
    });
    Scheduler { grid, log, given: Some(given) }
}

/// A component that has nothing in it: the preamble alone.
fn component() -> Component {
    Component::from_bytes(Bytes::from_static(b"\0asm\x0d\0\x01\0")).unwrap()
}

impl Scheduler {
    /// Starts a job on three inputs, and those that the scheduler gives.
    fn start(&mut self, stdout: Stdout) -> RawCalls<impl Stream<Item = Result<Bytes>> + Unpin + use<>> {
        let inputs = tokio_stream::iter([b"a", b"b", b"c"].map(|input| Ok(Bytes::from_static(input))));
        let given = self.given.take().unwrap_or_else(|| mpsc::unbounded_channel().1);
        let options = Options { grid: Some(self.grid.clone()), stdout, ..Options::default() };
        RawCalls::start(component(), "tests::echo", inputs.chain(UnboundedReceiverStream::new(given)), options).unwrap()
    }

    /// Runs such a job, and returns which calls ended, in that order.
    fn run(&mut self) -> Result<Vec<u64>> {
        let mut calls = self.start(Stdout::Discard);
        let mut indices = Vec::new();
        while let Some(index) = next_end(&mut calls)? {
            indices.push(index);
        }
        Ok(indices)
    }

    fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
    }

    /// On how many connections.
    fn connections(&self) -> usize {
        self.log.lock().unwrap().iter().map(|(address, _)| *address).collect::<HashSet<_>>().len()
    }
}

fn next_end<S: Stream<Item = Result<Bytes>> + Unpin>(calls: &mut RawCalls<S>) -> Result<Option<u64>> {
    let end = crate::block_on::block_on(std::future::poll_fn(|context| calls.poll_next(context))).transpose()?;
    Ok(end.map(|CallEnd { index, result, .. }| {
        assert_eq!(result.unwrap(), format!("{index}"));
        index
    }))
}

#[test]
fn a_notice_is_one_line_without_commands() {
    let mut notice = Notice::default();
    notice.set(Some("no\nnode\x1b[2J".to_owned()));
    assert_eq!(notice.waiting.map(|(_, reason)| reason).as_deref(), Some("no node␛[2J"));
}

#[test]
fn jobs_one_after_another_have_one_connection_and_ask_for_nothing_else() {
    let mut scheduler = scheduler([echo(), echo(), echo()]);
    for _ in 0..3 {
        assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    }
    assert_eq!(
        (scheduler.asked(), scheduler.connections()),
        (["open", "inputs 0 1 2"].repeat(3).iter().map(ToString::to_string).collect(), 1)
    );
}

#[test]
fn a_component_that_the_scheduler_has_forgotten_is_provided_again() {
    let mut scheduler = scheduler([vec![NeedComponent], echo(), vec![NeedComponent], echo()]);
    for _ in 0..2 {
        assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    }
    let each = ["open", "offer", "upload", "open", "inputs 0 1 2"];
    assert_eq!((scheduler.asked(), scheduler.connections()), (each.repeat(2).iter().map(ToString::to_string).collect(), 1));
}

#[test]
fn a_component_that_is_unknown_although_it_was_provided_is_an_error() {
    let error = scheduler([vec![NeedComponent], vec![NeedComponent]]).run().unwrap_err();
    assert!(matches!(error, Error::Grid(GridError::UnknownComponent(_))), "{error:?}");
}

#[test]
fn a_kept_connection_that_is_stale_costs_a_dial_and_no_job() {
    let again = [vec![Opened { resumed: false, next_index: 0 }], echo()].concat();
    let mut scheduler = scheduler([echo(), vec![Refuse(gone())], again]);
    for _ in 0..2 {
        assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    }
    assert_eq!(scheduler.asked()[2..4], ["open", "open again, taken 0, openings 1"]);
    assert_eq!(scheduler.connections(), 2);
}

#[test]
fn a_scheduler_that_dies_before_it_has_answered_is_asked_again() {
    let anew = |openings| [vec![Opened { resumed: false, next_index: 0 }], openings].concat();
    let mut scheduler = scheduler([vec![Refuse(gone())], vec![Refuse(gone())], anew(echo())]);
    assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    assert_eq!(scheduler.asked()[..3], ["open", "open again, taken 0, openings 1", "open again, taken 0, openings 2"]);
}

#[test]
fn a_job_goes_on_where_it_was_when_the_scheduler_still_has_it() {
    let mut scheduler = scheduler([
        vec![Inputs(3), Print(1, 0, "x\n"), End(vec![0]), Fail(gone())],
        vec![Opened { resumed: true, next_index: 2 }, Inputs(1), Closed, End(vec![1]), Fail(gone())],
        vec![Opened { resumed: true, next_index: 3 }, Closed, End(vec![2])],
    ]);
    assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    let asked = ["open", "inputs 0 1 2", "open again, taken 2, openings 1", "inputs 2", "open again, taken 3, openings 2"];
    assert_eq!(scheduler.asked(), asked);
}

#[test]
fn a_scheduler_that_forgot_the_job_is_given_what_has_not_ended_and_then_the_rest() {
    let mut scheduler = scheduler([
        vec![Inputs(3), Print(2, 0, "x\ny\n"), End(vec![1]), Fail(gone())],
        vec![
            Opened { resumed: false, next_index: 0 },
            Inputs(2),
            Give(b"d"),
            Inputs(3),
            GiveNoMore,
            Closed,
            End(vec![0]),
            Fail(status::to_status(&GridError::ShuttingDown)),
        ],
        vec![Opened { resumed: true, next_index: 4 }, Closed, End(vec![2, 3])],
    ]);
    assert_eq!(scheduler.run().unwrap(), [1, 0, 2, 3]);
    let asked = [
        "open",
        "inputs 0 1 2",
        "open again, taken 2, openings 1",
        "inputs #0 #2, shown [(2, 2, 0)]",
        "inputs #0 #2 3, shown [(2, 2, 0)]",
        "open again, taken 1, openings 2",
    ];
    assert_eq!(scheduler.asked(), asked);
    assert_eq!(scheduler.connections(), 3);
}

#[test]
fn a_second_outcome_of_a_call_is_dropped_and_lines_after_it() {
    let mut scheduler = scheduler([vec![
        Inputs(3),
        Closed,
        Print(1, 0, "first\n"),
        End(vec![1, 1]),
        Print(1, 1, "late\n"),
        End(vec![0, 1, 2, 0]),
    ]]);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&lines);
    let mut calls = scheduler.start(Stdout::to(move |index, _, line| to.lock().unwrap().push((index, line.to_owned()))));
    let mut indices = Vec::new();
    while let Some(index) = next_end(&mut calls).unwrap() {
        indices.push(index);
    }
    assert_eq!(indices, [1, 0, 2]);
    assert_eq!(*lines.lock().unwrap(), [(1, "first".to_owned())]);
}

#[test]
fn the_scheduler_is_told_what_was_taken_when_it_is_much_and_after_a_while() {
    let many = vec![1; TAKEN_EVENTS as usize];
    let mut scheduler = scheduler([
        vec![Inputs(3), End(vec![0]), Taken(1), End(many), Taken(TAKEN_EVENTS + 1), Fail(gone())],
        // What the client said in opening the job again, it has said.
        vec![Opened { resumed: false, next_index: 0 }, Waiting("x"), Closed, End(vec![2])],
    ]);
    assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    let taken = TAKEN_EVENTS + 1;
    let asked = ["open", "inputs 0 1 2", "taken 1", &format!("taken {taken}"), &format!("open again, taken {taken}, openings 1")];
    assert_eq!(scheduler.asked(), asked);
}

#[test]
fn a_stream_that_ends_before_the_job_does_has_broken() {
    let mut scheduler = scheduler([
        vec![Inputs(3), Closed, End(vec![0])],
        vec![Opened { resumed: true, next_index: 3 }, Closed, End(vec![1, 2])],
    ]);
    assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
}

#[test]
fn a_job_that_misses_nothing_but_its_end_does_not_go_on() {
    let mut scheduler = scheduler([vec![Inputs(3), Closed, End(vec![0, 1, 2]), Fail(gone())]]);
    assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    assert_eq!(scheduler.asked(), ["open", "inputs 0 1 2"]);
}

#[test]
fn a_job_that_is_dropped_is_abandoned_before_the_drop_is_over() {
    let mut scheduler = scheduler([vec![Inputs(3), End(vec![0]), Abandoned]]);
    let mut calls = scheduler.start(Stdout::Discard);
    assert_eq!(next_end(&mut calls).unwrap(), Some(0));
    // On a thread of a runtime of the user's own.
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async move { drop(calls) });
    assert_eq!(scheduler.asked(), ["open", "inputs 0 1 2", "abandon"]);
}

#[test]
fn a_job_that_fails_here_is_abandoned() {
    let mut scheduler = scheduler([vec![Inputs(3), End(vec![0]), Abandoned]]);
    let (give, given) = mpsc::unbounded_channel();
    scheduler.given = Some(given);
    let mut calls = scheduler.start(Stdout::Discard);
    assert_eq!(next_end(&mut calls).unwrap(), Some(0));
    give.send(Err(Error::InputTooLarge { index: 3, bytes: 2, bytes_max: 1 })).unwrap();
    let error = next_end(&mut calls).unwrap_err();
    assert!(matches!(error, Error::InputTooLarge { .. }), "{error:?}");
    assert_eq!(scheduler.asked(), ["open", "inputs 0 1 2", "abandon"]);
}

#[test]
fn a_message_that_means_nothing_is_the_schedulers_fault() {
    let mut fake = scheduler([vec![Inputs(3), Malformed, Abandoned]]);
    let error = fake.run().unwrap_err();
    assert!(matches!(&error, Error::Protocol { reason } if reason.contains("a call event without an event")), "{error:?}");
    assert_eq!(fake.asked(), ["open", "inputs 0 1 2", "abandon"], "and the job is not tried again");
    // A status that tonic makes of bytes that are no message.
    let unreadable = Status::internal("failed to decode Protobuf message: invalid varint");
    let error = scheduler([vec![Inputs(3), Fail(unreadable)]]).run().unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[test]
fn an_output_is_given_before_an_iterator_is_asked_that_may_block() {
    let fake = scheduler([vec![Inputs(1), End(vec![0]), Inputs(2), End(vec![1]), Inputs(3), Closed, End(vec![2])]]);
    let (seen, outputs) = std::sync::mpsc::channel();
    let mut given = 0;
    // As of lines that somebody types who reads each answer first.
    let blocking = std::iter::from_fn(move || {
        if (1..3).contains(&given) {
            let index = outputs.recv_timeout(Duration::from_secs(60)).expect("the output of the last input is there");
            assert_eq!(index, given - 1);
        }
        given += 1;
        (given <= 3).then(|| Ok(Bytes::from_static(b"line")))
    });
    let options = Options { grid: Some(fake.grid.clone()), stdout: Stdout::Discard, ..Options::default() };
    let mut calls = RawCalls::start(component(), "tests::echo", tokio_stream::iter(blocking), options).unwrap();
    calls.be_patient();
    for expected in 0..3 {
        assert_eq!(next_end(&mut calls).unwrap(), Some(expected));
        let _ = seen.send(expected);
    }
    assert_eq!(next_end(&mut calls).unwrap(), None);
}

#[test]
fn outputs_lead_to_further_inputs_through_a_channel_that_a_thread_waits_on() {
    let mut steps: Vec<_> = (0..3).flat_map(|index| [Inputs(index as usize + 1), End(vec![index])]).collect();
    steps.push(Closed);
    let fake = scheduler([steps]);
    let (sender, pages) = std::sync::mpsc::channel::<u64>();
    let mut inputs = crate::from_thread(|| pages);
    let encoded = tokio_stream::wrappers::ReceiverStream::new({
        let (forward, forwarded) = mpsc::channel(1);
        connection::runtime().spawn(async move {
            use crate::Inputs as _;
            while let Some(page) = std::future::poll_fn(|context| inputs.poll_input(context)).await {
                let _ = forward.send(Ok(Bytes::from(format!("{page}")))).await;
            }
        });
        forwarded
    });
    let options = Options { grid: Some(fake.grid.clone()), stdout: Stdout::Discard, ..Options::default() };
    let mut calls = RawCalls::start(component(), "tests::echo", encoded, options).unwrap();
    let mut sender = Some(sender);
    sender.as_ref().unwrap().send(0).unwrap();
    let mut ended = Vec::new();
    while let Some(index) = next_end(&mut calls).unwrap() {
        ended.push(index);
        match index {
            0 | 1 => sender.as_ref().unwrap().send(index + 1).unwrap(),
            _ => sender = None,
        }
    }
    assert_eq!(ended, [0, 1, 2], "and the job ends when the sender is dropped");
}

#[test]
fn answers_end_the_job_also_when_it_is_opened_again() {
    let error = scheduler([vec![Inputs(3), Fail(status::to_status(&GridError::Canceled))]]).run().unwrap_err();
    assert!(matches!(error, Error::JobCanceled { by: CanceledBy::Operator, .. }), "{error:?}");

    let unknown = GridError::UnknownFunction { name: "f".to_owned(), available: Vec::new() };
    let mut scheduler = scheduler([vec![Inputs(3), Fail(gone())], vec![Refuse(status::to_status(&unknown))]]);
    let error = scheduler.run().unwrap_err();
    assert!(matches!(error, Error::Grid(GridError::UnknownFunction { .. })), "{error:?}");
    assert_eq!(scheduler.asked().len(), 3);
}

#[test]
fn a_component_that_is_gone_when_the_job_is_opened_again_is_provided() {
    let mut scheduler = scheduler([
        vec![Inputs(3), End(vec![0]), Fail(gone())],
        vec![NeedComponent],
        vec![Opened { resumed: false, next_index: 0 }, Inputs(2), Closed, End(vec![1, 2])],
    ]);
    assert_eq!(scheduler.run().unwrap(), [0, 1, 2]);
    let again = "open again, taken 1, openings 1";
    assert_eq!(scheduler.asked(), ["open", "inputs 0 1 2", again, "offer", "upload", again, "inputs #1 #2"]);
}

#[test]
fn a_connection_that_cannot_be_replaced_is_an_error_after_a_while() {
    // Whether it was open before or not.
    for first in [vec![Inputs(3), Fail(gone())], vec![Refuse(gone())]] {
        is_lost_after_a_while(first);
    }
}

fn is_lost_after_a_while(first: Vec<Step>) {
    let mut openings = vec![first];
    openings.resize(10, vec![Refuse(gone())]);
    let scheduler = scheduler(openings);
    let options = Options { grid: Some(scheduler.grid.clone()), spinner: Some(false), ..Options::default() };
    let progress = Progress::start(Some(false));
    let job = Job {
        function: "tests::echo".to_owned(),
        component: component(),
        options: options.try_into().unwrap(),
        progress,
        reconnect_time_max: Duration::from_millis(150),
    };
    let (sender, receiver) = input_buffer();
    (0..3).for_each(|_| sender.push(Bytes::from_static(b"a")));
    let (outcomes, _outcomes) = mpsc::channel(1);
    let (_wanted, unwanted) = oneshot::channel();
    let error = connection::runtime().block_on(job.run(receiver, outcomes, interrupt::watch(), unwanted)).unwrap_err();
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    // At once, after at most 100 ms and after at most 300 ms.
    let asked = scheduler.asked();
    assert!((3..=5).contains(&asked.iter().filter(|asked| asked.starts_with("open")).count()), "{asked:?}");
}

#[test]
fn a_node_that_was_lost_is_told_with_what_that_costs() {
    let text = |name: &str, calls| node_lost_text(&v1::NodeLost { name: name.to_owned(), calls });
    assert_eq!(text("node-1", 1), "node node-1 was lost; its 1 call runs again");
    assert_eq!(text("a\nb", 7), "node a b was lost; its 7 calls run again");
}
