//! The scheduler's process: the real grid, and around it what its driver does for clients and nodes that come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use burla_proto::WireSize;
use burla_proto::convert::CallReport;
use burla_scheduler::grid::Grid;
use burla_scheduler::grid::event::{
    Action, Before, CallNews, CallUpdate, CallsReturned, ClientUpdate, Event, JobSpec, NodeCommand, ReturnReason, Timestamp,
};
use burla_types::{Attempt, GridError, JobId, NodeId};

use crate::faults::Planted;
use crate::kept::Kept;
use crate::messages::{Opening, Said, ToPeer, ToScheduler, Told};
use crate::world::{Happening, MILLISECOND, SECOND, Time, World};

/// How long a job stays open whose client is away.
const GRACE_TIME: Time = 60 * SECOND;

/// How often nodes are told what was taken in.
const ACKNOWLEDGE_EVERY: Time = 50 * MILLISECOND;

/// From one start of the scheduler's process to its end.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) number: u32,
    born: Time,
    pub(crate) grid: Grid,
    attached: BTreeMap<JobId, Attached>,
    pub(crate) kept: BTreeMap<JobId, Kept>,
    sessions: BTreeMap<NodeId, Session>,
    /// The last message of each node that was taken in, over all its sessions.
    heard: BTreeMap<NodeId, u64>,
    /// Calls that nodes were told to stop and have not said to have stopped.
    pub(crate) stopping: BTreeSet<(NodeId, JobId, u64, Attempt)>,
    /// Jobs whose calls nodes were asked to give back, and have not.
    pub(crate) recalling: BTreeSet<(NodeId, JobId)>,
    /// Outcomes that the grid told, and calls of these that were run again.
    pub(crate) told: BTreeMap<JobId, BTreeSet<u64>>,
    pub(crate) fuel: BTreeMap<JobId, u64>,
}

struct Session {
    connection: u64,
    /// Messages that are not acknowledged, and how much of the log each of them waits for.
    heard: VecDeque<(u64, usize)>,
}

/// An attached job.
struct Attached {
    connection: Option<u64>,
    next_index: u64,
    closed: bool,
    /// The client has said something since it was opened, and so knows from which opening on it counts.
    was_heard: bool,
    /// Events that the client has not taken, and the number of the first.
    events: VecDeque<Told>,
    first: u64,
    ended: Option<Result<u64, GridError>>,
    lost_at: Option<Time>,
}

impl World {
    pub(crate) fn scheduler_starts(&mut self) {
        let number = self.lives;
        self.lives += 1;
        self.trace(|| format!("scheduler starts, life {number}"));
        self.life = Some(Life { number, born: self.now, ..Life::default() });
        self.read_log();
        self.later(50 * MILLISECOND, Happening::Tick(number));
        self.later(ACKNOWLEDGE_EVERY, Happening::Acknowledge(number));
    }

    pub(crate) fn scheduler_crashes(&mut self, gone: Time) {
        if self.life.take().is_none() {
            return;
        }
        self.trace(|| format!("scheduler crashes, and is gone for {gone}"));
        self.lose_uncommitted();
        let open: Vec<_> = self.connections.keys().copied().collect();
        open.into_iter().for_each(|connection| self.scheduler_drops(connection));
        self.later(gone, Happening::SchedulerStarts);
    }

    pub(crate) fn scheduler_hears(&mut self, connection: u64, message: ToScheduler) {
        match message {
            ToScheduler::Hello(id, spec, held) => {
                let Some(life) = &mut self.life else { return };
                let session = Session { connection, heard: VecDeque::new() };
                if let Some(old) = life.sessions.insert(id, session) {
                    self.scheduler_drops(old.connection);
                }
                self.stopped_on(id);
                self.feed(Event::NodeJoined(id, spec, held));
            }
            ToScheduler::Said(number, said) => self.node_said(connection, number, said),
            ToScheduler::Open(job, spec, Opening::Detached) => self.open_kept(connection, job, spec),
            ToScheduler::Open(job, spec, Opening::Attached(taken, openings)) => {
                self.open_attached(connection, job, spec, taken, openings);
            }
            ToScheduler::Follow(job, outcomes, lines) => self.follow(connection, job, [outcomes, lines]),
            ToScheduler::Cancel(job) => self.feed(Event::JobFailed(job, GridError::Canceled)),
            ToScheduler::Inputs(..) | ToScheduler::InputsClosed | ToScheduler::Resent(_)
                if self.kept_of_stream(connection).is_some() =>
            {
                self.kept_inputs(connection, message);
            }
            ToScheduler::Abandon if self.attached_of(connection).is_some() => {
                let Some(job) = self.attached_of(connection) else { return };
                if let Some(life) = &mut self.life {
                    life.attached.remove(&job);
                }
                self.feed(Event::JobAbandoned(job));
            }
            ToScheduler::Abandon => {}
            message => self.attached_inputs(connection, message),
        }
    }

    fn node_said(&mut self, connection: u64, number: u64, said: Said) {
        let Some(life) = &mut self.life else { return };
        let Some(id) = life.sessions.iter().find(|(_, it)| it.connection == connection).map(|(id, _)| *id) else { return };
        let heard = life.heard.entry(id).or_default();
        let is_new = number > *heard || self.planted == Planted::HearsTwice;
        *heard = number.max(*heard);
        if is_new {
            match said {
                Said::News(job, news) => {
                    for (index, attempt, report) in &news {
                        if matches!(report, CallReport::Ended { .. }) {
                            life.stopping.remove(&(id, job, *index, *attempt));
                        }
                    }
                    let news = news.into_iter().map(|(index, attempt, report)| CallNews { index, attempt, report }).collect();
                    self.feed(Event::CallsReported(id, job, news));
                }
                Said::Returned(job, calls, reason) => {
                    calls.iter().for_each(|(index, attempt)| {
                        life.stopping.remove(&(id, job, *index, *attempt));
                    });
                    if reason == ReturnReason::GivenBack {
                        life.recalling.remove(&(id, job));
                    }
                    self.feed(Event::CallsReturned(id, job, CallsReturned { calls, reason }));
                }
                Said::Troubled(job) => {
                    self.troubles.insert(job);
                    self.feed(Event::NodeTroubled(id, job, "trouble".into()));
                }
                Said::Leaving => self.feed(Event::NodeLeaving(id)),
            }
        }
        let position = self.log.len();
        if let Some(session) = self.life.as_mut().and_then(|life| life.sessions.get_mut(&id)) {
            session.heard.push_back((number, position));
        }
    }

    /// Tells nodes what was taken in, and is on the disk where it has to be.
    pub(crate) fn acknowledge(&mut self, number: u32) {
        let committed = self.committed;
        let Some(life) = self.life.as_mut().filter(|life| life.number == number) else { return };
        let mut said = Vec::new();
        for (id, session) in &mut life.sessions {
            let mut last = None;
            while let Some((number, position)) = session.heard.front().copied() {
                if position > committed && self.planted != Planted::AcknowledgesBeforeCommit {
                    break;
                }
                last = Some((number, position));
                session.heard.pop_front();
            }
            if let Some((number, position)) = last {
                said.push((*id, session.connection, number, position));
            }
        }
        for (id, connection, number, position) in said {
            self.acknowledged.insert(id, position);
            self.send_to_peer(connection, ToPeer::Acknowledged(number));
        }
        self.later(ACKNOWLEDGE_EVERY, Happening::Acknowledge(number));
    }

    fn attached_of(&self, connection: u64) -> Option<JobId> {
        let attached = &self.life.as_ref()?.attached;
        attached.iter().find(|(_, it)| it.connection == Some(connection)).map(|(id, _)| *id)
    }

    fn open_attached(&mut self, connection: u64, job: JobId, spec: JobSpec, taken: u64, openings: u32) {
        let Some(life) = &mut self.life else { return };
        let resumes_unheard = self.planted == Planted::ResumesUnheard;
        let is_unheard = |it: &Attached| !it.was_heard && !resumes_unheard;
        if life.attached.get(&job).is_some_and(is_unheard) {
            // Its client may not know that this is another opening than the one whose events it has. There are none of this.
            if let Some(old) = life.attached.remove(&job).and_then(|it| it.connection) {
                self.scheduler_drops(old);
            }
            self.feed(Event::JobAbandoned(job));
        }
        let Some(life) = &mut self.life else { return };
        if openings > 0
            && let Some(it) = life.attached.get_mut(&job)
        {
            let old = it.connection.replace(connection);
            it.lost_at = None;
            let (next, has_taken) = (it.next_index, it.first + it.events.len() as u64 >= taken && taken >= it.first);
            if let Some(old) = old.filter(|old| *old != connection) {
                self.scheduler_drops(old);
            }
            if !has_taken {
                self.violated(|| format!("the client of {job} has {taken} events, which are not those that are kept"));
                return;
            }
            self.take_events(job, taken);
            self.send_to_peer(connection, ToPeer::Opened(true, next));
            self.send_events(job, taken);
            return;
        }
        let attached = Attached {
            connection: Some(connection),
            next_index: 0,
            closed: false,
            was_heard: openings == 0,
            events: VecDeque::new(),
            first: 0,
            ended: None,
            lost_at: None,
        };
        life.attached.insert(job, attached);
        life.told.remove(&job);
        life.fuel.remove(&job);
        self.send_to_peer(connection, ToPeer::Opened(false, 0));
        let before = Before { openings, ..Before::default() };
        self.feed(Event::JobOpened(job, JobSpec { before, ..spec }));
    }

    fn attached_inputs(&mut self, connection: u64, message: ToScheduler) {
        let Some(job) = self.attached_of(connection) else { return };
        let Some(it) = self.life.as_mut().and_then(|life| life.attached.get_mut(&job)) else { return };
        it.was_heard = true;
        match message {
            ToScheduler::Inputs(first, inputs) => {
                let gap = first > it.next_index;
                if first < it.next_index {
                    let next = it.next_index;
                    self.violated(|| format!("the client of {job} sent from {first} on, and {next} was next"));
                    return;
                }
                it.next_index = first + inputs.len() as u64;
                if gap {
                    self.feed(Event::InputsResent(job, vec![], first));
                }
                self.feed(Event::InputsArrived(job, inputs));
            }
            ToScheduler::Resent(inputs) => {
                it.next_index = inputs.last().map_or(it.next_index, |last| last.index + 1);
                let next = it.next_index;
                self.feed(Event::InputsResent(job, inputs, next));
            }
            ToScheduler::InputsClosed => {
                if !std::mem::replace(&mut it.closed, true) {
                    self.feed(Event::InputsClosed(job));
                }
            }
            ToScheduler::Taken(events) => self.take_events(job, events),
            other => self.violated(|| format!("the scheduler was told {other:?}")),
        }
    }

    /// The client has these events, and nobody needs them any more.
    fn take_events(&mut self, job: JobId, events: u64) {
        let Some(it) = self.life.as_mut().and_then(|life| life.attached.get_mut(&job)) else { return };
        let mut bytes = 0;
        while it.first < events {
            let Some((index, report)) = it.events.pop_front() else { break };
            bytes += CallUpdate { index, report }.held_bytes();
            it.first += 1;
        }
        self.feed(Event::ClientTook(job, bytes));
    }

    /// Sends the client what it has not been sent, from this event on, and how the job ended.
    fn send_events(&mut self, job: JobId, from: u64) {
        let Some(it) = self.life.as_mut().and_then(|life| life.attached.get_mut(&job)) else { return };
        let Some(connection) = it.connection else { return };
        let updates: Vec<_> = it.events.iter().skip((from - it.first) as usize).cloned().collect();
        let ended = it.ended.clone();
        if !updates.is_empty() {
            self.send_to_peer(connection, ToPeer::Calls(from, updates));
        }
        if let Some(result) = ended {
            self.send_to_peer(connection, ToPeer::Ended(result));
        }
    }

    /// A connection is broken, as far as the scheduler can see.
    pub(crate) fn scheduler_lost(&mut self, connection: u64) {
        let now = self.now;
        let Some(life) = &mut self.life else { return };
        if let Some(id) = life.sessions.iter().find(|(_, it)| it.connection == connection).map(|(id, _)| *id) {
            life.sessions.remove(&id);
            self.stopped_on(id);
            self.feed(Event::NodeLeft(id));
            return;
        }
        life.kept.values_mut().for_each(|kept| kept.lose_stream(connection));
        if let Some(job) = self.attached_of(connection) {
            let Some(it) = self.life.as_mut().and_then(|life| life.attached.get_mut(&job)) else { return };
            (it.connection, it.lost_at) = (None, Some(now));
            if self.planted == Planted::ForgetsUntaken {
                it.first += it.events.len() as u64;
                it.events.clear();
            }
        }
    }

    fn stopped_on(&mut self, node: NodeId) {
        if let Some(life) = &mut self.life {
            life.stopping.retain(|(on, ..)| *on != node);
            life.recalling.retain(|(on, _)| *on != node);
        }
    }

    pub(crate) fn tick(&mut self, number: u32) {
        let now = self.now;
        let Some(life) = self.life.as_mut().filter(|life| life.number == number) else { return };
        let is_over = |it: &Attached| it.lost_at.is_some_and(|at| now - at >= GRACE_TIME);
        let over: Vec<_> = life.attached.iter().filter(|(_, it)| is_over(it)).map(|(id, _)| *id).collect();
        life.attached.retain(|_, it| !is_over(it));
        over.into_iter().for_each(|job| self.feed(Event::JobAbandoned(job)));
        self.feed(Event::Tick);
        self.later(50 * MILLISECOND, Happening::Tick(number));
    }

    /// Tells the grid what happened, does what it says, and looks whether all is as it has to be.
    pub(crate) fn feed(&mut self, event: Event) {
        if !matches!(event, Event::Tick) {
            self.trace(|| format!("  grid: {event:?}"));
        }
        let now = self.now;
        let Some(life) = &mut self.life else { return };
        let actions = life.grid.handle(Timestamp(Duration::from_micros(now - life.born)), event);
        for action in actions {
            self.trace(|| format!("    {action:?}"));
            self.act(action);
        }
        self.check_step();
    }

    /// When it is, as the grid has it.
    pub(crate) fn grid_time(&self) -> Timestamp {
        Timestamp(Duration::from_micros(self.now - self.life.as_ref().map_or(0, |life| life.born)))
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ToNode(node, command) => {
                let Some(life) = &mut self.life else { return };
                let Some(session) = life.sessions.get(&node) else {
                    self.violated(|| format!("{node} is gone, and was told {command:?}"));
                    return;
                };
                let connection = session.connection;
                if let NodeCommand::StopCalls(job, calls) = &command {
                    life.stopping.extend(calls.iter().map(|(index, attempt)| (node, *job, *index, *attempt)));
                }
                if let NodeCommand::RecallCalls(job) = &command {
                    life.recalling.insert((node, *job));
                }
                self.check_command(&command);
                self.send_to_peer(connection, ToPeer::Command(command));
            }
            Action::ToClient(job, ClientUpdate::Calls(updates)) => {
                updates.iter().for_each(|update| self.check_told(job, update));
                let updates: Vec<Told> = updates.into_iter().map(|update| (update.index, update.report)).collect();
                let Some(life) = &mut self.life else { return };
                if life.kept.contains_key(&job) {
                    self.keep(job, updates);
                } else if let Some(it) = life.attached.get_mut(&job) {
                    let from = it.first + it.events.len() as u64;
                    it.events.extend(updates);
                    self.send_events(job, from);
                }
            }
            Action::ToClient(job, ClientUpdate::Ended(result)) => {
                self.check_summary(job, &result);
                let result = result.map(|summary| summary.calls);
                let Some(life) = &mut self.life else { return };
                if life.kept.contains_key(&job) {
                    self.keep_end(job, result);
                } else if let Some(it) = life.attached.get_mut(&job) {
                    it.ended = Some(result);
                    let from = it.first + it.events.len() as u64;
                    self.send_events(job, from);
                }
            }
            Action::ToClient(..) | Action::SetInputsPaused(..) => {}
        }
    }
}
