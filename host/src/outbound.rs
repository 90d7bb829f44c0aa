//! What this node has to tell its scheduler: lines that calls printed, and how calls ended, in the order in which slots tell it: what
//! one call printed before how it ended.
//!
//! Batches make themselves: while one message is being sent, more gathers for the next. Only printing is held back when too much
//! has gathered; how a call ended always fits, since a scheduler sends no more calls than it wants to hear of.
//!
//! What is said of calls is kept until the scheduler has acknowledged it, and said again in the next session where it has not: batches of
//! it have numbers, and keep them. What else is said is about the session itself, and ends with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burla_proto::convert::CallReport;
use burla_proto::{WireSize, batch_is_full};
use burla_types::{Attempt, JobId, Outcome};
use tokio::sync::Notify;

/// What may gather, and be kept until it is acknowledged, before guests wait in their `println!`. A second's worth of a fast terminal.
const GATHERED_BYTES_MAX: usize = 16 << 20;

/// One thing to tell.
#[derive(Debug)]
pub(crate) enum Report {
    /// About a call.
    Call(CallNews),
    /// The job's component cannot be made ready.
    Unusable { job: JobId, reason: String, blame: Blame },
    /// Calls of the job that the node gives back.
    Returned(JobId, Vec<(u64, Attempt)>, ReturnReason),
    /// The node is about to leave.
    Leaving,
}

/// Whose fault it is that a job cannot run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The component's: it is of no use anywhere.
    Component,
    /// The node's: another, or the same later, may do better.
    Node,
    /// Nobody's: the operator of this node does not allow what the job asks for.
    Policy,
}

/// Why the node gives calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnReason {
    /// They had not begun, or the node leaves before they end.
    GivenBack,
    /// They wanted more memory than was reserved for them, and the node had no more.
    MemoryShort,
    /// They were to be stopped.
    Stopped,
}

/// Something that happened to one attempt at a call.
#[derive(Debug)]
pub(crate) struct CallNews {
    pub(crate) job: JobId,
    pub(crate) index: u64,
    pub(crate) attempt: Attempt,
    pub(crate) report: CallReport,
}

/// A message's worth of reports.
#[derive(Debug)]
pub(crate) enum Batch {
    /// About calls of one job. Shared with the queue, which keeps it until its number is acknowledged.
    Calls { number: u64, job: JobId, calls: Arc<Vec<CallNews>> },
    /// See [`Report::Unusable`].
    Unusable { job: JobId, reason: String, blame: Blame },
    /// See [`Report::Returned`].
    Returned(JobId, Vec<(u64, Attempt)>, ReturnReason),
    /// See [`Report::Leaving`].
    Leaving,
}

/// The queue between the calls and the session.
#[derive(Default)]
pub(crate) struct Outbound {
    queue: Mutex<Queue>,
    arrived: Notify,
    room: Notify,
}

#[derive(Default)]
struct Queue {
    /// What has gathered.
    reports: VecDeque<Report>,
    /// What was sent and is not acknowledged, by number.
    kept: VecDeque<Kept>,
    /// How many of these, from the first, were sent in this session.
    kept_sent: usize,
    /// The number of the last batch about calls that was made; the first has 1.
    last_number: u64,
    /// Of what has gathered and of what is kept.
    bytes: usize,
    /// Nothing more is going to be told.
    closed: bool,
}

/// A batch about calls that the scheduler has not acknowledged.
struct Kept {
    number: u64,
    job: JobId,
    calls: Arc<Vec<CallNews>>,
    bytes: usize,
}

impl Kept {
    fn batch(&self) -> Batch {
        Batch::Calls { number: self.number, job: self.job, calls: Arc::clone(&self.calls) }
    }
}

impl Outbound {
    /// Adds a report. Never blocks.
    pub(crate) fn push(&self, report: Report) {
        self.push_all([report]);
    }

    /// Adds reports in their order. Never blocks.
    pub(crate) fn push_all(&self, reports: impl IntoIterator<Item = Report>) {
        let mut queue = self.lock();
        for report in reports {
            queue.bytes += report.wire_bytes();
            queue.reports.push_back(report);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// Whether printing may go on.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().bytes < GATHERED_BYTES_MAX
    }

    /// Waits until printing may go on.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Registered before looking, so that what changes in between is not missed.
            room.as_mut().enable();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// What the last session left unacknowledged, and then everything that gathered, up to a message's worth, as soon as there is
    /// anything. `None` when all has been told.
    pub(crate) async fn next_batch(&self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.take_batch() {
                return Some(batch);
            }
            if self.lock().closed {
                return None;
            }
            // `notify_one` leaves a permit when nobody waits, so a push in between is not missed.
            self.arrived.notified().await;
        }
    }

    /// Nothing more is going to be told, once what has gathered is.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Whether nothing more is going to be told.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether everything was told and is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        let queue = self.lock();
        queue.reports.is_empty() && queue.kept.is_empty()
    }

    /// The scheduler has taken in the batches up to this number: they are kept no longer. `false` when there is none of this number.
    pub(crate) fn acknowledge(&self, number: u64) -> bool {
        let mut queue = self.lock();
        if number > queue.last_number {
            return false;
        }
        let count = queue.kept.partition_point(|kept| kept.number <= number);
        let acknowledged: Vec<_> = queue.kept.drain(..count).collect();
        queue.kept_sent = queue.kept_sent.saturating_sub(count);
        queue.bytes -= acknowledged.iter().map(|kept| kept.bytes).sum::<usize>();
        // Up to a batch's worth of payloads each, which are freed while nobody waits for the queue.
        self.unlock(queue);
        true
    }

    /// A session begins: what the one before left unacknowledged goes first, and then what calls printed and how they ended. What
    /// else was to be said in the session before means nothing any more, and a call that was lost runs elsewhere in any case. Returns how
    /// many batches go again.
    pub(crate) fn begin_session(&self) -> usize {
        let mut queue = self.lock();
        let outlives = |report: &Report| match report {
            Report::Call(CallNews { report: CallReport::Ended { outcome: Outcome::Lost { .. }, .. }, .. }) => false,
            Report::Call(_) => true,
            Report::Unusable { .. } | Report::Returned(..) | Report::Leaving => false,
        };
        queue.retain_reports(outlives);
        queue.kept_sent = 0;
        let again = queue.kept.len();
        self.unlock(queue);
        again
    }

    /// Nobody wants to hear of the job any more. Its batches keep their numbers, so that no number is missing, and nothing else.
    pub(crate) fn forget(&self, job: JobId) {
        let mut queue = self.lock();
        queue.retain_reports(|report| !matches!(report, Report::Call(news) if news.job == job));
        let mut bytes = 0;
        for kept in queue.kept.iter_mut().filter(|kept| kept.job == job) {
            bytes += std::mem::take(&mut kept.bytes);
            kept.calls = Arc::default();
        }
        queue.bytes -= bytes;
        self.unlock(queue);
    }

    fn take_batch(&self) -> Option<Batch> {
        let mut queue = self.lock();
        if let Some(kept) = queue.kept.get(queue.kept_sent) {
            let batch = kept.batch();
            queue.kept_sent += 1;
            return Some(batch);
        }
        let first = queue.reports.pop_front()?;
        let first_bytes = first.wire_bytes();
        let batch = match first {
            Report::Unusable { job, reason, blame } => {
                queue.bytes -= first_bytes;
                Batch::Unusable { job, reason, blame }
            }
            Report::Returned(job, calls, reason) => {
                queue.bytes -= first_bytes;
                Batch::Returned(job, calls, reason)
            }
            Report::Leaving => {
                queue.bytes -= first_bytes;
                Batch::Leaving
            }
            Report::Call(first) => {
                let job = first.job;
                let mut bytes = first_bytes;
                let mut calls = vec![first];
                let fits = |report: &mut Report, bytes| match report {
                    Report::Call(news) => news.job == job && !batch_is_full(bytes, &news.report),
                    Report::Unusable { .. } | Report::Returned(..) | Report::Leaving => false,
                };
                while let Some(Report::Call(news)) = queue.reports.pop_front_if(|report| fits(report, bytes)) {
                    bytes += news.report.wire_bytes();
                    calls.push(news);
                }
                // Its bytes count on, since it is kept.
                queue.last_number += 1;
                let kept = Kept { number: queue.last_number, job, calls: Arc::new(calls), bytes };
                let batch = kept.batch();
                queue.kept.push_back(kept);
                queue.kept_sent += 1;
                batch
            }
        };
        self.unlock(queue);
        Some(batch)
    }

    /// Lets guests print if there is room now.
    fn unlock(&self, queue: MutexGuard<'_, Queue>) {
        let has_room = queue.bytes < GATHERED_BYTES_MAX;
        drop(queue);
        if has_room {
            self.room.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn retain_reports(&mut self, keep: impl Fn(&Report) -> bool) {
        let mut dropped_bytes = 0;
        self.reports.retain(|report| {
            let keep = keep(report);
            dropped_bytes += if keep { 0 } else { report.wire_bytes() };
            keep
        });
        self.bytes -= dropped_bytes;
    }
}

impl WireSize for Report {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Call(news) => news.report.payload_bytes(),
            Self::Unusable { reason, .. } => reason.len(),
            Self::Returned(_, calls, _) => calls.len() * size_of::<(u64, Attempt)>(),
            Self::Leaving => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use burla_types::{OutputStream, Usage};
    use bytes::Bytes;

    use super::*;

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    fn printed(job: JobId, index: u64, bytes: usize) -> Report {
        let report = CallReport::Printed { stream: OutputStream::Stdout, first_line: 0, lines: Bytes::from(vec![b'x'; bytes]) };
        Report::Call(CallNews { job, index, attempt: Attempt::FIRST, report })
    }

    fn ended(job: JobId, index: u64, outcome: Outcome) -> Report {
        let report = CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() };
        Report::Call(CallNews { job, index, attempt: Attempt::FIRST, report })
    }

    fn done(job: JobId, index: u64) -> Report {
        ended(job, index, Outcome::Done(Bytes::new()))
    }

    fn indices(batch: Option<Batch>) -> (JobId, Vec<u64>) {
        let (_, job, indices) = numbered(batch);
        (job, indices)
    }

    fn numbered(batch: Option<Batch>) -> (u64, JobId, Vec<u64>) {
        let Some(Batch::Calls { number, job, calls }) = batch else { panic!("not about calls: {batch:?}") };
        (number, job, calls.iter().map(|news| news.index).collect())
    }

    /// One batch of job 1 for each of these indices.
    async fn sent(outbound: &Outbound, indices: std::ops::Range<u64>) {
        for index in indices {
            outbound.push(printed(job(1), index, 10));
            outbound.next_batch().await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_gathered_leaves_in_order_job_by_job() {
        let outbound = Outbound::default();
        for (job_number, index) in [(1, 0), (1, 1), (2, 0), (1, 2)] {
            outbound.push(printed(job(job_number), index, 10));
        }
        assert_eq!(numbered(outbound.next_batch().await), (1, job(1), vec![0, 1]));
        assert_eq!(numbered(outbound.next_batch().await), (2, job(2), vec![0]));
        assert_eq!(numbered(outbound.next_batch().await), (3, job(1), vec![2]));
        assert!(outbound.acknowledge(3));
        assert_eq!(outbound.lock().bytes, 0);
    }

    #[tokio::test]
    async fn a_batch_is_bounded() {
        let outbound = Outbound::default();
        for index in 0..3 {
            outbound.push(printed(job(1), index, burla_proto::BATCH_BYTES / 2));
        }
        assert_eq!(indices(outbound.next_batch().await).1, [0]);
        assert_eq!(indices(outbound.next_batch().await).1, [1]);
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_goes_again_first_and_under_its_number() {
        let outbound = Outbound::default();
        sent(&outbound, 0..3).await;
        assert!(outbound.acknowledge(1));
        outbound.push(done(job(1), 3));
        assert_eq!(outbound.begin_session(), 2);
        for (number, index) in [(2, 1), (3, 2), (4, 3)] {
            assert_eq!(numbered(outbound.next_batch().await), (number, job(1), vec![index]));
        }
        // Acknowledged while it goes again: the place in the queue moves with it.
        assert_eq!(outbound.begin_session(), 3);
        assert_eq!(numbered(outbound.next_batch().await).0, 2);
        assert!(outbound.acknowledge(3));
        assert_eq!(numbered(outbound.next_batch().await).0, 4);
        assert!(outbound.acknowledge(4));
        assert_eq!(outbound.begin_session(), 0);
        assert_eq!(outbound.lock().bytes, 0);
    }

    #[tokio::test]
    async fn acknowledgements_may_come_twice_and_not_of_what_was_not_sent() {
        let outbound = Outbound::default();
        assert!(outbound.acknowledge(0));
        assert!(!outbound.acknowledge(1));
        sent(&outbound, 0..2).await;
        assert!(outbound.acknowledge(2) && outbound.acknowledge(2) && outbound.acknowledge(1));
        assert!(!outbound.acknowledge(3));
        assert_eq!(outbound.lock().bytes, 0);
    }

    #[tokio::test]
    async fn lines_and_outcomes_outlive_a_session_and_nothing_else_does() {
        let outbound = Outbound::default();
        outbound.push(printed(job(1), 0, 10));
        outbound.push(Report::Returned(job(1), vec![(5, Attempt::FIRST)], ReturnReason::GivenBack));
        outbound.push(ended(job(1), 1, Outcome::Lost { reason: "full".into() }));
        outbound.push(Report::Unusable { job: job(2), reason: "no".into(), blame: Blame::Node });
        outbound.push(done(job(1), 2));
        outbound.push(Report::Leaving);
        assert_eq!(outbound.begin_session(), 0);
        assert_eq!(numbered(outbound.next_batch().await), (1, job(1), vec![0, 2]));
        assert!(outbound.acknowledge(1));
        assert_eq!(outbound.lock().bytes, 0);
        outbound.close();
        assert!(outbound.next_batch().await.is_none());
    }

    #[tokio::test]
    async fn of_a_job_that_was_stopped_the_numbers_remain() {
        let outbound = Outbound::default();
        sent(&outbound, 0..1).await;
        outbound.push(printed(job(2), 7, 10));
        outbound.next_batch().await.unwrap();
        outbound.push(done(job(1), 1));
        outbound.push(done(job(2), 8));
        outbound.forget(job(1));
        outbound.begin_session();
        assert_eq!(numbered(outbound.next_batch().await), (1, job(1), vec![]));
        assert_eq!(numbered(outbound.next_batch().await), (2, job(2), vec![7]));
        assert_eq!(numbered(outbound.next_batch().await), (3, job(2), vec![8]));
        assert!(outbound.acknowledge(3));
        assert_eq!(outbound.lock().bytes, 0);
    }

    #[tokio::test]
    async fn printing_waits_for_an_acknowledgement_and_outcomes_do_not() {
        let outbound = Outbound::default();
        outbound.push(printed(job(1), 0, GATHERED_BYTES_MAX));
        assert!(!outbound.has_room());
        outbound.push(done(job(1), 0));
        assert_eq!(indices(outbound.next_batch().await).1, [0]);
        assert_eq!(indices(outbound.next_batch().await).1, [0], "how it ended goes on");
        outbound.begin_session();
        assert!(!outbound.has_room(), "a break makes no room");
        let (room, acknowledged) = tokio::join!(outbound.room(), async { outbound.acknowledge(1) });
        assert_eq!((room, acknowledged), ((), true));
        assert!(outbound.has_room());
    }
}
