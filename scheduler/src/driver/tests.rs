//! The driver as it is told things, without streams or time.

use burla_ledger::{Blobs, MemoryLedger};
use burla_proto::convert::CallReport;
use burla_proto::v1;
use burla_types::{Attempt, Digest, Outcome, Usage};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::grid::event::{CallNews, CallUpdate, JobSpec, NodeSpec};
use crate::store::StoreConfig;

const GRACE: Duration = Duration::from_secs(3600);

pub(super) async fn driver() -> Driver {
    let config = StoreConfig { retention: GRACE, bytes_max: 1 << 30, history_jobs_max: 10, skip_damaged: false };
    let (store, _, restored) = Store::open(Arc::new(MemoryLedger::default()), Blobs::memory(), config).await.unwrap();
    Driver::new(store, restored, 1, GRACE, Arc::default()).0
}

fn job(byte: u8) -> JobId {
    JobId::from_bytes([byte; 16])
}

fn node() -> NodeId {
    NodeId::from_bytes([9; 16])
}

fn options() -> v1::OpenJob {
    let work = v1::Work {
        digest: Bytes::copy_from_slice(Digest::of(b"x").as_bytes()),
        function: "a::f".to_owned(),
        limits: Some(v1::Limits { memory_bytes_max: 1 << 20, cpu_millis_max: 1000, ..v1::Limits::default() }),
        ..v1::Work::default()
    };
    v1::OpenJob { work: Some(work), cpu_millis: 1000, ..v1::OpenJob::default() }
}

fn spec() -> JobSpec {
    crate::service::job_spec(options()).unwrap()
}

/// A client's end of a stream.
struct Client {
    updates: mpsc::UnboundedReceiver<ClientUpdate>,
    opened: Option<oneshot::Receiver<Opened>>,
}

impl Client {
    fn told(&mut self) -> Vec<u64> {
        let mut told = Vec::new();
        while let Ok(update) = self.updates.try_recv() {
            if let ClientUpdate::Calls(calls) = update {
                told.extend(calls.iter().map(|call| call.index));
            }
        }
        told
    }

    fn opened(&mut self) -> Opened {
        self.opened.take().unwrap().try_recv().unwrap()
    }
}

impl Driver {
    fn hears(&mut self, message: Message) {
        if let Some(event) = self.take_in(message) {
            self.handle(event);
        }
        self.speaking = None;
    }

    fn opens(&mut self, id: JobId, stream: u64, resume: Option<Resume>) -> Client {
        let (outbox, updates) = mpsc::unbounded_channel();
        let (opened, answer) = resume.map(|_| oneshot::channel()).unzip();
        let client = ClientHandles { stream: SessionNumber(stream), outbox, inputs_paused: watch::Sender::new(false), opened };
        self.hears(Message::Open { id, spec: Box::new(spec()), options: Arc::new(options()), resume, client });
        Client { updates, opened: answer }
    }

    /// The same, for a client that waits for no other call once one has failed.
    fn opens_to_the_first_failure(&mut self, id: JobId) {
        let (outbox, inputs_paused) = (mpsc::unbounded_channel().0, watch::Sender::new(false));
        let client = ClientHandles { stream: SessionNumber(1), outbox, inputs_paused, opened: None };
        let options = Arc::new(v1::OpenJob { ends_with_failure: true, ..options() });
        self.hears(Message::Open { id, spec: Box::new(spec()), options, resume: None, client });
    }

    /// How a job ended that is over: its state, whether its program stopped it, and why.
    fn ended(&self, id: JobId) -> (v1::job::State, bool, String) {
        let ended = self.store.ended_job(id).unwrap();
        (ended.state(), ended.stopped, ended.error)
    }

    fn inputs(&mut self, id: JobId, stream: u64, count: usize) {
        let event = Event::InputsArrived(id, vec![Bytes::from_static(b"input"); count]);
        self.hears(Message::ClientSaid { job: id, stream: SessionNumber(stream), event });
    }

    /// A job with so many calls open.
    pub(super) fn has_job(&mut self, id: JobId, calls: u64) {
        self.opens(id, 1000, None);
        self.inputs(id, 1000, usize::try_from(calls).unwrap());
    }

    fn submits(&mut self, id: JobId, stream: u64) -> Result<Opened, GridError> {
        let (answer, mut opened) = oneshot::channel();
        let stream = SessionNumber(stream);
        self.hears(Message::Submit { id, stream, spec: Box::new(spec()), options: Arc::new(options()), answer });
        opened.try_recv().unwrap()
    }

    fn joins(&mut self, session: u64) -> mpsc::UnboundedReceiver<ToNode> {
        let (outbox, told) = mpsc::unbounded_channel();
        let capacity = Resources { cpu_millis: 8000, memory_bytes: 64 << 30 };
        let spec = NodeSpec { name: "node".into(), capacity, calls_max: 100, version: "1".into() };
        self.hears(Message::Join { id: node(), session: SessionNumber(session), spec, held: vec![], outbox });
        told
    }

    fn ends(&mut self, id: JobId, index: u64) {
        self.ends_with(id, index, Outcome::Done(Bytes::new()));
    }

    fn ends_with(&mut self, id: JobId, index: u64, outcome: Outcome) {
        let report = CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() };
        let event = Event::CallsReported(node(), id, vec![CallNews { index, attempt: Attempt::FIRST, report }]);
        self.hears(Message::NodeSaid { session: SessionNumber(1), number: index + 1, event });
    }
}

fn again(events_taken: u64) -> Option<Resume> {
    Some(Resume { events_taken, openings: 1 })
}

#[tokio::test]
async fn a_client_whose_connection_broke_goes_on_where_it_was() {
    let mut driver = driver().await;
    let _node = driver.joins(1);
    let mut client = driver.opens(job(1), 1, None);
    driver.inputs(job(1), 1, 4);
    driver.ends(job(1), 0);
    assert_eq!(client.told(), [0]);
    driver.hears(Message::ClientLost { job: job(1), stream: SessionNumber(1), is_broken: true });
    driver.ends(job(1), 1);
    // It has the first, and what was said meanwhile it has not.
    let mut back = driver.opens(job(1), 2, again(1));
    assert_eq!(back.opened(), Opened { resumed: true, next_index: 4 });
    assert_eq!(back.told(), [1]);
    driver.inputs(job(1), 1, 7);
    driver.hears(Message::ClientGone { job: job(1), stream: SessionNumber(1), why: Gone::Stopped });
    driver.ends(job(1), 2);
    assert_eq!(back.told(), [2], "what the old stream still said means nothing");
    // One that is taken for well, and is not.
    let mut third = driver.opens(job(1), 3, again(2));
    assert_eq!(third.told(), [2]);
}

#[tokio::test]
async fn the_end_of_a_job_is_kept_for_a_client_that_is_gone() {
    let mut driver = driver().await;
    let _node = driver.joins(1);
    driver.opens(job(1), 1, None);
    driver.inputs(job(1), 1, 1);
    let closed = Event::InputsClosed(job(1));
    driver.hears(Message::ClientSaid { job: job(1), stream: SessionNumber(1), event: closed });
    driver.hears(Message::ClientLost { job: job(1), stream: SessionNumber(1), is_broken: true });
    driver.ends(job(1), 0);
    let mut back = driver.opens(job(1), 2, again(0));
    assert_eq!(back.opened(), Opened { resumed: true, next_index: 1 });
    assert!(matches!(back.updates.try_recv(), Ok(ClientUpdate::Calls(calls)) if calls.len() == 1));
    assert!(matches!(back.updates.try_recv(), Ok(ClientUpdate::Progress(_))));
    assert!(matches!(back.updates.try_recv(), Ok(ClientUpdate::Ended(Ok(_)))));
    driver.hears(Message::ClientGone { job: job(1), stream: SessionNumber(2), why: Gone::Stopped });
    assert!(driver.jobs.is_empty());
}

#[tokio::test]
async fn a_job_that_is_not_there_is_opened_anew() {
    let mut driver = driver().await;
    let mut client = driver.opens(job(1), 1, again(5));
    assert_eq!(client.opened(), Opened { resumed: false, next_index: 0 });
    // As long as it has said nothing, it may not know, and counts by the opening before.
    assert_eq!(driver.opens(job(1), 2, again(0)).opened(), Opened::default());
    driver.inputs(job(1), 2, 1);
    assert_eq!(driver.opens(job(1), 3, again(0)).opened(), Opened { resumed: true, next_index: 1 });
    // It says that it has more than it was told: then it is not the job that this one is.
    assert_eq!(driver.opens(job(1), 4, again(5)).opened(), Opened::default());
    assert_eq!(driver.jobs.len(), 1);
}

#[tokio::test]
async fn a_job_that_an_operator_cancels_ends_once() {
    let mut driver = driver().await;
    driver.opens(job(1), 1, None);
    for expected in [true, false] {
        let (answer, mut was_open) = oneshot::channel();
        driver.hears(Message::Cancel { job: job(1), why: Gone::Canceled, answer });
        assert_eq!(was_open.try_recv(), Ok(expected));
    }
    let ended = driver.store.ended_job(job(1)).unwrap();
    assert_eq!(ended.state(), v1::job::State::Canceled);
}

#[tokio::test]
async fn a_job_that_ends_with_a_failed_call_has_failed_and_says_which() {
    use v1::job::State;
    let failed = || Outcome::Failed { message: "no such file".to_owned(), causes: vec![] };
    let why = "call 1 failed: no such file".to_owned();
    let mut driver = driver().await;
    let _node = driver.joins(1);
    // Its client has not said yet that it gives up when the last call ends.
    driver.opens_to_the_first_failure(job(1));
    driver.inputs(job(1), 1, 2);
    driver.hears(Message::ClientSaid { job: job(1), stream: SessionNumber(1), event: Event::InputsClosed(job(1)) });
    driver.ends(job(1), 0);
    driver.ends_with(job(1), 1, failed());
    assert_eq!(driver.ended(job(1)), (State::Failed, false, why.clone()));
    // It gives up while others run.
    driver.opens_to_the_first_failure(job(2));
    driver.inputs(job(2), 1, 5);
    driver.ends_with(job(2), 1, failed());
    driver.hears(Message::ClientGone { job: job(2), stream: SessionNumber(1), why: Gone::Stopped });
    assert_eq!(driver.ended(job(2)), (State::Failed, false, why));
    // One that goes on past failures has all its calls, and one that ends early was stopped.
    driver.opens(job(3), 1, None);
    driver.inputs(job(3), 1, 2);
    driver.ends_with(job(3), 0, failed());
    driver.hears(Message::ClientGone { job: job(3), stream: SessionNumber(1), why: Gone::Stopped });
    assert_eq!(driver.ended(job(3)), (State::Abandoned, true, "its program stopped it".to_owned()));
}

#[tokio::test]
async fn why_a_client_gave_its_job_up_is_kept() {
    use v1::job::State;
    let mut driver = driver().await;
    let gives_up = |driver: &mut Driver, number: u8, why: Gone| {
        driver.opens(job(number), 1, None);
        driver.hears(Message::ClientGone { job: job(number), stream: SessionNumber(1), why });
        driver.ended(job(number))
    };
    let said = |error: &str, canceled| Gone::from(v1::Abandon { error: error.to_owned(), canceled });
    let failed = gives_up(&mut driver, 1, said("cannot encode input 3", false));
    assert_eq!(failed, (State::Failed, false, "cannot encode input 3".to_owned()));
    let canceled = gives_up(&mut driver, 2, said("", true));
    assert_eq!(canceled, (State::Canceled, false, "its program was stopped with Ctrl-C".to_owned()));
    let stopped = gives_up(&mut driver, 3, said("", false));
    assert_eq!(stopped, (State::Abandoned, true, "its program stopped it".to_owned()));
    let (state, stopped, why) = gives_up(&mut driver, 4, Gone::Vanished);
    assert!(state == State::Abandoned && !stopped && why.starts_with("its program went away"), "{why}");
    // Behind inputs for which there is no room, a client says so by another way.
    driver.opens(job(5), 1, None);
    let (answer, mut was_open) = oneshot::channel();
    driver.hears(Message::Cancel { job: job(5), why: said("", false), answer });
    assert_eq!((was_open.try_recv(), driver.ended(job(5)).1), (Ok(true), true));
    assert!(driver.grid.jobs(Timestamp::default()).is_empty());
}

#[tokio::test]
async fn tries_that_were_made_again_are_told_of_a_job_that_is_over() {
    let mut driver = driver().await;
    let _node = driver.joins(1);
    driver.opens(job(1), 1, None);
    driver.inputs(job(1), 1, 3);
    driver.hears(Message::Left { node: node(), session: SessionNumber(1) });
    driver.hears(Message::ClientGone { job: job(1), stream: SessionNumber(1), why: Gone::Stopped });
    assert_eq!(driver.store.ended_job(job(1)).unwrap().requeued, 3);
}

#[tokio::test]
async fn a_component_is_needed_while_a_job_of_it_is_open() {
    let mut driver = driver().await;
    let needed = |driver: &mut Driver| {
        let (answer, mut components) = oneshot::channel();
        driver.hears(Message::Components(answer));
        components.try_recv().unwrap()
    };
    assert_eq!(needed(&mut driver), [].into());
    driver.opens(job(1), 1, None);
    assert_eq!(needed(&mut driver), [Digest::of(b"x")].into());
    driver.hears(Message::Event(Event::JobFailed(job(1), GridError::Canceled)));
    assert_eq!(needed(&mut driver), [].into());
    driver.submits(job(2), 1).unwrap();
    driver.hears(Message::Event(Event::JobFailed(job(2), GridError::Canceled)));
    assert_eq!(needed(&mut driver), [Digest::of(b"x")].into(), "nothing is written: after a crash, it is open");
}

#[tokio::test]
async fn what_a_node_said_in_an_earlier_session_does_not_end_the_next() {
    let mut driver = driver().await;
    let _first = driver.joins(1);
    let _second = driver.joins(2);
    driver.hears(Message::Left { node: node(), session: SessionNumber(1) });
    assert_eq!(driver.nodes.len(), 1);
    driver.hears(Message::NodeSaid { session: SessionNumber(1), number: 0, event: Event::NodeLeaving(node()) });
    assert!(!driver.grid.nodes(Timestamp::default())[0].leaving);
    driver.hears(Message::Left { node: node(), session: SessionNumber(2) });
    assert!(driver.nodes.is_empty() && driver.grid.nodes(Timestamp::default()).is_empty());
}

#[tokio::test]
async fn detached_jobs_are_known_by_their_ids() {
    let mut driver = driver().await;
    assert_eq!(driver.submits(job(1), 1), Ok(Opened::default()));
    let inputs = || vec![Bytes::from_static(b"input"); 3];
    driver.hears(Message::KeepInputs { job: job(1), first_index: 0, inputs: inputs() });
    driver.hears(Message::KeepInputs { job: job(1), first_index: 1, inputs: inputs() });
    driver.hears(Message::KeepInputs { job: job(1), first_index: 9, inputs: inputs() });
    assert_eq!(driver.submits(job(1), 1), Ok(Opened { resumed: true, next_index: 4 }), "those that follow on, once each");
    driver.opens(job(2), 1, None);
    assert!(driver.submits(job(2), 1).is_err(), "an attached one is another");
}

#[tokio::test]
async fn a_job_that_nobody_hands_the_rest_of_its_inputs_over_for_ends_after_a_while() {
    let mut driver = driver().await;
    let due = |driver: &mut Driver| {
        let detached = driver.jobs.get_mut(&job(1)).unwrap().detached().unwrap();
        detached.submitter_lost = detached.submitter_lost.and_then(|since| since.checked_sub(detached::SUBMITTER_GRACE));
        let mut messages = Vec::new();
        driver.end_grace(&mut messages);
        messages
    };
    driver.submits(job(1), 1).unwrap();
    assert!(due(&mut driver).is_empty());
    driver.submits(job(1), 2).unwrap();
    driver.hears(Message::SubmitterGone { job: job(1), stream: SessionNumber(1) });
    assert!(due(&mut driver).is_empty(), "another stream is there");
    driver.hears(Message::SubmitterGone { job: job(1), stream: SessionNumber(2) });
    let ends = due(&mut driver).remove(0);
    assert!(format!("{ends:?}").contains("handed over all inputs"), "{ends:?}");
    driver.hears(ends);
    assert!(driver.jobs.is_empty());
}

#[tokio::test]
async fn a_job_with_all_its_inputs_needs_nobody() {
    let mut driver = driver().await;
    driver.submits(job(1), 1).unwrap();
    driver.hears(Message::KeepInputs { job: job(1), first_index: 0, inputs: vec![Bytes::from_static(b"input")] });
    driver.hears(Message::CloseInputs(job(1)));
    driver.hears(Message::SubmitterGone { job: job(1), stream: SessionNumber(1) });
    let detached = driver.jobs.get_mut(&job(1)).unwrap().detached().unwrap();
    detached.submitter_lost = detached.submitter_lost.and_then(|since| since.checked_sub(detached::SUBMITTER_GRACE));
    let mut messages = Vec::new();
    driver.end_grace(&mut messages);
    assert!(messages.is_empty());
}

#[tokio::test]
async fn a_node_is_told_that_a_job_is_over_with_what_it_is_told_next() {
    let mut driver = driver().await;
    let mut commands = driver.joins(1);
    let [done, failed] = [job(1), job(2)];
    let ended =
        |job, result| vec![Action::ToNode(node(), NodeCommand::StopJob(job)), Action::ToClient(job, ClientUpdate::Ended(result))];
    let mut carry_out = |driver: &mut Driver, actions| {
        driver.keep_finished(actions).into_iter().for_each(|action| driver.carry_out(action));
        std::iter::from_fn(|| commands.try_recv().ok()).map(|command| format!("{command:?}")).collect::<Vec<_>>()
    };
    let stop = |job| format!("{:?}", ToNode::Command(NodeCommand::StopJob(job)));

    assert!(carry_out(&mut driver, ended(done, Ok(JobSummary::default()))).is_empty());
    assert!(driver.finished_since.is_some());
    assert_eq!(carry_out(&mut driver, ended(failed, Err(GridError::Canceled))), [stop(done), stop(failed)]);
    assert!(carry_out(&mut driver, ended(done, Ok(JobSummary::default()))).is_empty());
    driver.tell_finished();
    assert_eq!(carry_out(&mut driver, vec![]), [stop(done)]);
    assert!(driver.finished_since.is_none());
}

#[tokio::test]
async fn an_output_that_the_store_has_no_room_for_is_an_exceeded_limit() {
    let output = Bytes::from(vec![0; crate::store::PAYLOAD_BYTES_MAX + 1]);
    let report = CallReport::Ended { outcome: Outcome::Done(output), stderr_tail: String::new(), usage: Usage::default() };
    let mut call = CallUpdate { index: 0, report };
    detached::fit_store(&mut call.report);
    let CallReport::Ended { outcome, .. } = call.report else { panic!("an end") };
    assert!(matches!(outcome, Outcome::Exceeded(_)), "{outcome:?}");
}
