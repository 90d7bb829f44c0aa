//! A detached job against a scheduler of the tests' own: what it does on each connection is a script.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use burla_proto::convert::{self, CallReport};
use burla_proto::status;
use burla_proto::v1::client_api_server::{ClientApi, ClientApiServer};
use burla_proto::v1::{self, MapRequest, follow_job_response, map_request::Request, submit_job_response};
use burla_types::{GridError, Outcome, codec};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request as Asked, Response as Answer, Status, Streaming, async_trait};

use super::*;
use crate::options::Options;
use crate::{CallErrorKind, JobHandle};

/// What the scheduler does with one opening of a job.
#[derive(Clone, Copy, Debug)]
enum Submit {
    /// Takes all of it, and keeps it.
    Keep,
    /// Does not have the component.
    NeedComponent,
    /// Takes so many inputs, keeps so many of those, and breaks off.
    Break { takes: usize, keeps: u64 },
    /// Keeps everything and breaks off before it has said so.
    BreakAtTheEnd,
    /// Takes nothing: it is about to go away.
    ShutDown,
    /// Opens the job and waits for what the client does.
    Wait,
    /// Someone cancels the job.
    Cancel,
}

/// What the scheduler has been told and does.
#[derive(Default)]
struct State {
    submits: Vec<Submit>,
    /// What is sent on each connection that follows; where there is no end of the job in it, the connection breaks.
    follows: Vec<Vec<v1::FollowJobResponse>>,
    inputs: BTreeMap<u64, Bytes>,
    log: Vec<String>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().log.push(what.into());
    }

    fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    /// Serves until the process ends.
    fn serve(submits: &[Submit], follows: Vec<Vec<v1::FollowJobResponse>>) -> (Grid, Self) {
        let fake = Self(Arc::new(Mutex::new(State { submits: submits.to_vec(), follows, ..State::default() })));
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let grid = Grid::at(format!("http://{}", listening.local_addr().unwrap())).unwrap();
        listening.set_nonblocking(true).unwrap();
        let service = ClientApiServer::new(fake.clone());
        connection::runtime().spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listening).unwrap());
            Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        (grid, fake)
    }

    async fn submit(
        &self,
        act: Submit,
        asked: &mut Streaming<MapRequest>,
        answers: &tokio::sync::mpsc::Sender<Result<v1::SubmitJobResponse, Status>>,
    ) -> Result<(), Status> {
        let answer = async |response| {
            let _ = answers.send(Ok(v1::SubmitJobResponse { response: Some(response) })).await;
        };
        let next_index = self.0.lock().unwrap().inputs.len() as u64;
        let opened = v1::JobOpened { job_id: Bytes::new(), resumed: next_index > 0, next_index };
        answer(submit_job_response::Response::Opened(opened)).await;
        let mut taken = 0;
        loop {
            if let Submit::Break { takes, keeps } = act
                && taken >= takes
            {
                // What was taken and not kept is gone.
                self.0.lock().unwrap().inputs.retain(|&index, _| index < keeps);
                answer(submit_job_response::Response::Kept(v1::InputsKept { next_index: keeps })).await;
                return Err(Status::unavailable("gone"));
            }
            match asked.message().await?.and_then(|message| message.request) {
                Some(Request::Inputs(batch)) => {
                    let next_index = {
                        let mut state = self.0.lock().unwrap();
                        for (index, input) in (batch.first_index..).zip(batch.inputs) {
                            assert_eq!(index, state.inputs.len() as u64, "in order, without gaps, and none twice");
                            state.inputs.insert(index, input);
                            taken += 1;
                        }
                        state.inputs.len() as u64
                    };
                    if matches!(act, Submit::Keep) {
                        answer(submit_job_response::Response::Kept(v1::InputsKept { next_index })).await;
                    }
                }
                Some(Request::InputsClosed(_)) => break,
                other => {
                    self.note(format!("{other:?}"));
                    return Ok(());
                }
            }
        }
        if matches!(act, Submit::BreakAtTheEnd) {
            return Err(Status::unavailable("gone"));
        }
        let next_index = self.0.lock().unwrap().inputs.len() as u64;
        answer(submit_job_response::Response::Kept(v1::InputsKept { next_index })).await;
        answer(submit_job_response::Response::Submitted(v1::Submitted {})).await;
        Ok(())
    }
}

#[async_trait]
impl ClientApi for Fake {
    async fn offer_component(&self, _: Asked<v1::OfferComponentRequest>) -> Result<Answer<v1::OfferComponentResponse>, Status> {
        self.note("offer");
        Ok(Answer::new(v1::OfferComponentResponse { known: true }))
    }

    async fn upload_component(
        &self,
        _: Asked<Streaming<v1::ComponentChunk>>,
    ) -> Result<Answer<v1::UploadComponentResponse>, Status> {
        unreachable!("it is known")
    }

    type MapStream = tokio_stream::Empty<Result<v1::MapResponse, Status>>;

    async fn map(&self, _: Asked<Streaming<MapRequest>>) -> Result<Answer<Self::MapStream>, Status> {
        unreachable!("no attached job is opened")
    }

    type SubmitJobStream = ReceiverStream<Result<v1::SubmitJobResponse, Status>>;

    async fn submit_job(&self, asked: Asked<Streaming<MapRequest>>) -> Result<Answer<Self::SubmitJobStream>, Status> {
        let mut requests = asked.into_inner();
        let Some(Request::Open(open)) = requests.message().await?.and_then(|message| message.request) else {
            panic!("the first message opens the job")
        };
        assert_eq!(open.job_id.len(), 16);
        let act = self.0.lock().unwrap().submits.remove(0);
        self.note(format!("{act:?} again={}", open.resume.map_or(0, |resume| resume.openings)));
        match act {
            Submit::NeedComponent => {
                let digest = convert::digest(&open.work.unwrap().digest).unwrap();
                return Err(status::to_status(&GridError::UnknownComponent(digest)));
            }
            Submit::ShutDown => return Err(status::to_status(&GridError::ShuttingDown)),
            Submit::Cancel => return Err(status::to_status(&GridError::Canceled)),
            Submit::Keep | Submit::Break { .. } | Submit::BreakAtTheEnd | Submit::Wait => {}
        }
        let (answers, responses) = tokio::sync::mpsc::channel(16);
        let fake = self.clone();
        tokio::spawn(async move {
            if let Err(status) = fake.submit(act, &mut requests, &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Answer::new(ReceiverStream::new(responses)))
    }

    type FollowJobStream = ReceiverStream<Result<v1::FollowJobResponse, Status>>;

    async fn follow_job(&self, asked: Asked<v1::FollowJobRequest>) -> Result<Answer<Self::FollowJobStream>, Status> {
        let request = asked.into_inner();
        self.note(format!("follow {:?} {:?}", request.first_outcome, request.first_line_event));
        let script = {
            let mut state = self.0.lock().unwrap();
            if state.follows.is_empty() {
                return Err(status::to_status(&GridError::UnknownJob(convert::job_id(&request.job_id).unwrap())));
            }
            state.follows.remove(0)
        };
        let is_whole = matches!(script.last().and_then(|last| last.response.as_ref()),
            Some(follow_job_response::Response::Job(job)) if job.state() != v1::job::State::Open);
        let (answers, responses) = tokio::sync::mpsc::channel(script.len() + 1);
        for response in script {
            answers.send(Ok(response)).await.unwrap();
        }
        if !is_whole {
            answers.send(Err(Status::unavailable("gone"))).await.unwrap();
        }
        Ok(Answer::new(ReceiverStream::new(responses)))
    }

    async fn get_job(&self, asked: Asked<v1::GetJobRequest>) -> Result<Answer<v1::GetJobResponse>, Status> {
        let mut job = over(3, v1::job::State::Finished);
        job.job_id = asked.into_inner().job_id;
        job.failures = [("panicked".to_owned(), 1)].into();
        job.ended_ms_ago = Some(1500);
        let limits = v1::Limits { wall_time_max_ms: Some(2500), disk_bytes_max: Some(1 << 29), ..v1::Limits::default() };
        let env = [("B".to_owned(), String::new()), ("A".to_owned(), String::new())].into();
        let work = v1::Work { limits: Some(limits), env, ..v1::Work::default() };
        job.options = Some(v1::OpenJob { work: Some(work), cpu_millis: 1500, retries: 3, ..v1::OpenJob::default() });
        Ok(Answer::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn list_nodes(&self, _: Asked<v1::ListNodesRequest>) -> Result<Answer<v1::ListNodesResponse>, Status> {
        unreachable!("no job asks")
    }

    async fn list_jobs(&self, _: Asked<v1::ListJobsRequest>) -> Result<Answer<v1::ListJobsResponse>, Status> {
        unreachable!("no job asks")
    }

    async fn cancel_job(&self, _: Asked<v1::CancelJobRequest>) -> Result<Answer<v1::CancelJobResponse>, Status> {
        self.note("cancel");
        Ok(Answer::new(v1::CancelJobResponse {}))
    }
}

const ID: [u8; 16] = [7; 16];

/// Gives a job of these inputs to the grid.
fn submit(grid: &Grid, inputs: impl IntoIterator<Item = Result<Bytes>>) -> Result<JobId> {
    let _no_other_tests_ctrl_c = crate::interrupt::TESTS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The preamble of a component: one that has nothing in it.
    let component = Component::from_bytes(Bytes::from_static(b"\0asm\x0d\0\x01\0")).unwrap();
    let options = Options { grid: Some(grid.clone()), spinner: Some(false), ..Options::default() };
    let inputs = tokio_stream::iter(inputs.into_iter().collect::<Vec<_>>());
    block_on(submission::submit(component, "tests::echo", inputs, options)).map(|(_, id)| id)
}

fn inputs(count: u8) -> Vec<Result<Bytes>> {
    (0..count).map(|byte| Ok(vec![byte].into())).collect()
}

fn kept(fake: &Fake) -> Vec<u8> {
    fake.0.lock().unwrap().inputs.values().map(|input| input[0]).collect()
}

fn handle<T: serde::de::DeserializeOwned>(grid: &Grid) -> JobHandle<T> {
    grid.job::<T>(JobId::from_bytes(ID)).unwrap().spinner(false)
}

fn job(state: v1::job::State) -> v1::Job {
    v1::Job { job_id: Bytes::from_static(&ID), detached: true, state: state.into(), ..v1::Job::default() }
}

fn over(calls: u64, state: v1::job::State) -> v1::Job {
    v1::Job { inputs: calls, inputs_closed: true, calls_ended: calls, ..job(state) }
}

fn tells(job: v1::Job) -> v1::FollowJobResponse {
    v1::FollowJobResponse { response: Some(follow_job_response::Response::Job(job)) }
}

fn open() -> v1::FollowJobResponse {
    tells(job(v1::job::State::Open))
}

fn finished(calls: u64) -> v1::FollowJobResponse {
    tells(over(calls, v1::job::State::Finished))
}

fn ended(index: u64, outcome: Outcome) -> v1::CallEvent {
    convert::call_event(index, 1, CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() })
}

fn done(index: u64) -> v1::CallEvent {
    ended(index, Outcome::Done(codec::encode(&(index * 10)).unwrap().into()))
}

fn failed(index: u64) -> v1::CallEvent {
    ended(index, Outcome::Failed { message: format!("no {index}"), causes: Vec::new() })
}

fn outcomes(first: u64, events: Vec<v1::CallEvent>) -> v1::FollowJobResponse {
    v1::FollowJobResponse { response: Some(follow_job_response::Response::Outcomes(v1::KeptEvents { first, events })) }
}

fn lines(first: u64, texts: &[&'static str]) -> v1::FollowJobResponse {
    let printed = |text: &&'static str| {
        let lines = Bytes::from_static(text.as_bytes());
        convert::call_event(5, 1, CallReport::Printed { stream: burla_types::OutputStream::Stdout, first_line: 0, lines })
    };
    let events = texts.iter().map(printed).collect();
    v1::FollowJobResponse { response: Some(follow_job_response::Response::Lines(v1::KeptEvents { first, events })) }
}

#[test]
fn a_job_is_submitted_with_its_component() {
    let (grid, fake) = Fake::serve(&[Submit::NeedComponent, Submit::Keep], Vec::new());
    submit(&grid, inputs(3)).unwrap();
    assert_eq!(kept(&fake), [0, 1, 2]);
    assert_eq!(fake.log(), ["NeedComponent again=0", "offer", "Keep again=1"]);
}

#[test]
fn a_submission_that_breaks_goes_on_with_what_is_not_kept() {
    let acts = [
        Submit::ShutDown,
        Submit::Break { takes: 1, keeps: 1 },
        Submit::Break { takes: 2, keeps: 2 },
        Submit::BreakAtTheEnd,
        Submit::Keep,
    ];
    let (grid, fake) = Fake::serve(&acts, Vec::new());
    submit(&grid, inputs(100)).unwrap();
    assert_eq!(kept(&fake), (0..100).collect::<Vec<_>>());
    assert_eq!(fake.log().len(), acts.len(), "{:?}", fake.log());
    assert_eq!(fake.log()[4], "Keep again=4");
}

#[test]
fn more_inputs_than_may_be_unkept_wait_for_the_grid() {
    let (grid, fake) = Fake::serve(&[Submit::Break { takes: 4, keeps: 4 }, Submit::Keep], Vec::new());
    submit(&grid, (0..30u8).map(|byte| Ok(vec![byte; 1 << 20].into()))).unwrap();
    assert_eq!(kept(&fake), (0..30).collect::<Vec<_>>());
}

#[test]
fn an_input_that_cannot_be_cancels_the_job() {
    let (grid, fake) = Fake::serve(&[Submit::Wait], Vec::new());
    let mut given = inputs(2);
    given.push(Err(Error::InputTooLarge { index: 2, bytes: 2, bytes_max: 1 }));
    let error = submit(&grid, given).unwrap_err();
    assert!(matches!(error, Error::InputTooLarge { index: 2, .. }), "{error:?}");
    assert_eq!(fake.log().last().unwrap(), "cancel");
}

#[test]
fn a_job_that_is_canceled_while_it_is_submitted_says_so() {
    let (grid, _) = Fake::serve(&[Submit::Cancel], Vec::new());
    let error = submit(&grid, inputs(2)).unwrap_err();
    assert!(matches!(error, Error::JobCanceled { by: CanceledBy::Operator, .. }), "{error:?}");
}

#[test]
fn an_address_where_nobody_ever_was_is_an_error_at_once() {
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let grid = Grid::at(format!("http://{}", listening.local_addr().unwrap())).unwrap();
    drop(listening);
    assert!(matches!(submit(&grid, inputs(1)), Err(Error::Unreachable { .. })));
    assert!(matches!(handle::<u64>(&grid).results(), Err(Error::Unreachable { .. })));
}

#[test]
fn results_are_in_order_and_each_once_however_often_it_breaks() {
    let (grid, fake) = Fake::serve(
        &[],
        vec![
            vec![open(), outcomes(0, vec![done(2), done(0)])],
            // It sends some that were sent, and one index under two numbers.
            vec![open(), outcomes(0, vec![done(2), done(0), done(3), done(0)])],
            vec![],
            vec![open(), outcomes(4, vec![done(1)]), finished(4)],
        ],
    );
    assert_eq!(handle::<u64>(&grid).results().unwrap(), [0, 10, 20, 30]);
    let asked: Vec<_> = [0, 2, 4, 4].iter().map(|from| format!("follow Some({from}) None")).collect();
    assert_eq!(fake.log(), asked);
}

#[test]
fn calls_that_failed_are_told_the_first_in_order() {
    let script = || vec![open(), outcomes(0, vec![failed(2), done(0), failed(1)]), finished(3)];
    let (grid, _) = Fake::serve(&[], vec![script(), script()]);
    match handle::<u64>(&grid).results() {
        Err(Error::Call(error)) => assert_eq!((error.index, error.kind), (1, CallErrorKind::Failed)),
        other => panic!("{other:?}"),
    }
    let each = handle::<u64>(&grid).try_results().unwrap();
    let each: Vec<_> = each.into_iter().map(|result| result.map_err(|error| error.message)).collect();
    assert_eq!(each, [Ok(0), Err("no 1".to_owned()), Err("no 2".to_owned())]);
}

#[test]
fn a_job_that_did_not_run_to_its_end_has_no_results() {
    let mut failed = over(1, v1::job::State::Failed);
    failed.error = "its disk is full".to_owned();
    let canceled = || over(1, v1::job::State::Canceled);
    let (grid, _) = Fake::serve(
        &[],
        vec![
            vec![open(), outcomes(0, vec![done(0)]), tells(canceled())],
            vec![tells(failed)],
            vec![tells(v1::Job { expired: true, ..over(1, v1::job::State::Finished) })],
            vec![tells(v1::Job { detached: false, ..over(1, v1::job::State::Finished) })],
            vec![open(), outcomes(0, vec![done(0)]), finished(2)],
            vec![open(), outcomes(1, vec![done(0)]), finished(2)],
            vec![tells(canceled())],
        ],
    );
    let job = handle::<u64>(&grid);
    let mut ends = job.outcomes();
    assert_eq!(ends.next().unwrap().unwrap().result, Ok(0));
    assert!(matches!(ends.next(), Some(Err(Error::JobCanceled { by: CanceledBy::Operator, calls_ended: 1 }))));
    assert!(ends.next().is_none());
    assert_eq!(job.results().unwrap_err().to_string(), format!("job {} failed: its disk is full", job.id()));
    assert!(matches!(job.results(), Err(Error::ResultsExpired { .. })));
    assert!(matches!(job.results(), Err(Error::ResultsNotKept { .. })));
    assert!(matches!(job.results(), Err(Error::MissingResult { index: 1 })));
    assert!(matches!(job.results(), Err(Error::Protocol { .. })), "it left one out");
    assert_eq!(job.wait().unwrap().state, JobState::Canceled, "which is no error for who only waits");
    assert!(matches!(job.results(), Err(Error::Grid(GridError::UnknownJob(_)))));
}

#[test]
fn an_output_of_another_type_is_told_by_its_index() {
    let (grid, _) = Fake::serve(&[], vec![vec![open(), outcomes(0, vec![done(0), done(1)]), finished(2)]]);
    let error = handle::<String>(&grid).results().unwrap_err();
    assert!(matches!(error, Error::DecodeOutput { index: 0, .. }), "{error:?}");
}

#[test]
fn lines_come_once_however_often_it_breaks() {
    let (grid, fake) = Fake::serve(
        &[],
        vec![
            vec![open(), lines(0, &["a\n", "b\nc\n"])],
            vec![open(), lines(1, &["b\nc\n", "d\n"]), finished(1)],
            vec![finished(1), lines(0, &["a\n"]), finished(1)],
        ],
    );
    let shown = Arc::new(Mutex::new(Vec::new()));
    let to = || {
        let shown = Arc::clone(&shown);
        Stdout::to(move |index, _, line| shown.lock().unwrap().push(format!("{index}{line}")))
    };
    assert_eq!(handle::<u64>(&grid).lines(to()).unwrap().state, JobState::Finished);
    assert_eq!(*shown.lock().unwrap(), ["5a", "5b", "5c", "5d"]);
    assert_eq!(fake.log(), ["follow None Some(0)", "follow None Some(2)"]);
    handle::<u64>(&grid).lines_so_far(to()).unwrap();
    assert_eq!(shown.lock().unwrap().len(), 5);
}

#[test]
fn a_job_tells_what_it_was_opened_with() {
    let (grid, _) = Fake::serve(&[], Vec::new());
    let info = handle::<u64>(&grid).info().unwrap();
    assert_eq!((info.state, info.ended_seconds_ago, info.failures["panicked"]), (JobState::Finished, Some(1.5), 1));
    let options = info.options.unwrap();
    assert_eq!((options.func_cpu, options.retries, options.timeout_seconds, options.disk), (1.5, 3, Some(2.5), Some(0.5)));
    assert_eq!(options.env, ["A", "B"]);
}
