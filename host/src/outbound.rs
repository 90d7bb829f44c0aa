//! What this node has to tell its scheduler: lines that calls printed, and how calls ended, in the order in which slots tell it: what
//! one call printed before how it ended.
//!
//! Batches make themselves: while one message is being sent, more gathers for the next. Only printing is held back when too much
//! has gathered; how a call ended always fits, since a scheduler sends no more calls than it wants to hear of.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burla_proto::convert::CallReport;
use burla_proto::{WireSize, batch_is_full};
use burla_types::{Attempt, JobId, Outcome};
use tokio::sync::Notify;

/// What may gather before guests wait in their `println!`. A second's worth of a fast terminal.
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
    /// About calls of one job.
    Calls(JobId, Vec<CallNews>),
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
    reports: VecDeque<Report>,
    bytes: usize,
    /// Nothing more is going to be told.
    closed: bool,
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

    /// Everything that gathered, up to a message's worth, as soon as there is anything. `None` when all has been told.
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

    /// The session is over. How calls ended is kept for the next: nobody else may have run them yet. The rest means nothing any
    /// more.
    pub(crate) fn keep_outcomes(&self) {
        let mut queue = self.lock();
        queue.reports.retain(
            |report| matches!(report, Report::Call(CallNews { report: CallReport::Ended { outcome, .. }, .. }) if !is_lost(outcome)),
        );
        queue.bytes = queue.reports.iter().map(WireSize::wire_bytes).sum();
        drop(queue);
        self.room.notify_waiters();
    }

    fn take_batch(&self) -> Option<Batch> {
        let mut queue = self.lock();
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
                queue.bytes -= bytes;
                Batch::Calls(job, calls)
            }
        };
        let has_room = queue.bytes < GATHERED_BYTES_MAX;
        drop(queue);
        if has_room {
            self.room.notify_waiters();
        }
        Some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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

fn is_lost(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Lost { .. })
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
        let report = CallReport::Printed(OutputStream::Stdout, Bytes::from(vec![b'x'; bytes]));
        Report::Call(CallNews { job, index, attempt: Attempt::FIRST, report })
    }

    fn indices(batch: Option<Batch>) -> (JobId, Vec<u64>) {
        let Some(Batch::Calls(job, calls)) = batch else { panic!("not about calls: {batch:?}") };
        (job, calls.iter().map(|news| news.index).collect())
    }

    #[tokio::test]
    async fn what_gathered_leaves_in_order_job_by_job() {
        let outbound = Outbound::default();
        for (job_number, index) in [(1, 0), (1, 1), (2, 0), (1, 2)] {
            outbound.push(printed(job(job_number), index, 10));
        }
        assert_eq!(indices(outbound.next_batch().await), (job(1), vec![0, 1]));
        assert_eq!(indices(outbound.next_batch().await), (job(2), vec![0]));
        assert_eq!(indices(outbound.next_batch().await), (job(1), vec![2]));
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
    async fn outcomes_are_kept_for_the_next_session_and_nothing_else() {
        let outbound = Outbound::default();
        outbound.push(printed(job(1), 0, 10));
        outbound.push(Report::Returned(job(1), vec![(5, Attempt::FIRST)], ReturnReason::GivenBack));
        for (index, outcome) in [(1, Outcome::Lost { reason: "full".into() }), (2, Outcome::Done(Bytes::new()))] {
            let report = CallReport::Ended { outcome, stderr_tail: String::new(), usage: Usage::default() };
            outbound.push(Report::Call(CallNews { job: job(1), index, attempt: Attempt::FIRST, report }));
        }
        outbound.keep_outcomes();
        assert_eq!(indices(outbound.next_batch().await), (job(1), vec![2]));
        assert_eq!(outbound.lock().bytes, 0);
        outbound.close();
        assert!(outbound.next_batch().await.is_none());
    }

    #[tokio::test]
    async fn printing_waits_for_room_and_outcomes_do_not() {
        let outbound = Outbound::default();
        outbound.push(printed(job(1), 0, GATHERED_BYTES_MAX));
        assert!(!outbound.has_room());
        let (outcome, usage) = (Outcome::Done(Bytes::new()), Usage::default());
        let report = CallReport::Ended { outcome, stderr_tail: String::new(), usage };
        outbound.push(Report::Call(CallNews { job: job(1), index: 0, attempt: Attempt::FIRST, report }));
        let (room, batch) = tokio::join!(outbound.room(), outbound.next_batch());
        assert_eq!((room, indices(batch).1), ((), vec![0]));
        assert!(outbound.has_room());
    }
}
