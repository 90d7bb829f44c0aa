//! A detached job's inputs on their way from the store to the grid. Those that arrive while the grid has room go straight on; the
//! others are read from the disk when it has.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use burla_types::JobId;
use bytes::Bytes;

use super::SessionNumber;
use crate::grid::event::{Event, ResentInput};
use crate::store::Indices;

/// Bytes of inputs that are read from the disk at a time.
pub(crate) const READ_BYTES_MAX: usize = 4 << 20;

/// How long a job is waited for whose inputs are not all here and nobody hands over more. A client tries for ten minutes of its own
/// to have its connection back, and may be suspended for as long before it does.
pub(super) const SUBMITTER_GRACE: Duration = Duration::from_secs(60 * 60);

/// How far the grid is with the inputs of a detached job.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    /// The index after the last input that the store was told of.
    pub(crate) inputs: u64,
    pub(crate) closed: bool,
    /// The index after the last input that the grid has, or that has an outcome.
    fed: u64,
    told_closed: bool,
    /// Inputs are being read.
    reading: bool,
    /// The grid has no room.
    paused: bool,
    /// Inputs whose calls had ended under an earlier scheduler.
    ended: Indices,
    /// Lines that its open calls had shown under an earlier scheduler.
    shown: HashMap<u64, [u64; 2]>,
    /// The stream by which its inputs come, and since when there is none.
    submitter: Option<SessionNumber>,
    pub(super) submitter_lost: Option<Instant>,
}

impl Detached {
    /// One whose inputs come by this stream.
    pub(super) fn submitted_by(submitter: SessionNumber) -> Self {
        Self { submitter: Some(submitter), ..Self::default() }
    }

    /// One that an earlier scheduler had.
    pub(crate) fn restored(inputs: u64, closed: bool, ended: Indices, shown: HashMap<u64, [u64; 2]>) -> Self {
        // What has ended is not read again, as far as nothing before it is open.
        let fed = ended.first_missing().min(inputs);
        Self { inputs, closed, ended, shown, fed, submitter_lost: Some(Instant::now()), ..Self::default() }
    }

    /// The index after the last input that the grid has, or that has an outcome.
    pub(super) fn fed(&self) -> u64 {
        self.fed
    }

    /// Its client goes on handing over inputs, by this stream.
    pub(super) fn submitter_is_back(&mut self, submitter: SessionNumber) {
        (self.submitter, self.submitter_lost) = (Some(submitter), None);
    }

    /// Nothing more comes by this stream.
    pub(super) fn submitter_is_gone(&mut self, submitter: SessionNumber) {
        if self.submitter == Some(submitter) {
            (self.submitter, self.submitter_lost) = (None, Some(Instant::now()));
        }
    }

    /// Whether nobody is going to hand over the inputs that are missing.
    pub(super) fn is_orphaned(&self) -> bool {
        !self.closed && self.submitter_lost.is_some_and(|since| since.elapsed() >= SUBMITTER_GRACE)
    }

    /// Inputs arrived behind those there are. Returns what the grid is to be told at once.
    pub(crate) fn arrived(&mut self, job: JobId, inputs: Vec<Bytes>) -> Option<Event> {
        let is_next = self.fed == self.inputs && !self.reading && !self.paused;
        self.inputs += inputs.len() as u64;
        is_next.then(|| {
            self.fed = self.inputs;
            Event::InputsArrived(job, inputs)
        })
    }

    /// The grid has room for more, or none.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// From which index on inputs are to be read now, if they are. From then on they are being read.
    pub(crate) fn begin_reading(&mut self) -> Option<u64> {
        let begins = self.fed < self.inputs && !self.reading && !self.paused;
        self.reading |= begins;
        begins.then_some(self.fed)
    }

    /// These were read, of which there may be none yet. Returns what the grid is to be told.
    pub(crate) fn read(&mut self, job: JobId, inputs: Vec<(u64, Bytes)>) -> Option<Event> {
        self.reading = false;
        let next_index = inputs.last()?.0 + 1;
        let open = inputs.into_iter().filter(|(index, _)| *index >= self.fed && !self.ended.contains(*index));
        let resent = |(index, input)| ResentInput { index, input, shown: self.shown.remove(&index).unwrap_or_default() };
        let inputs = open.map(resent).collect();
        self.fed = next_index;
        Some(Event::InputsResent(job, inputs, next_index))
    }

    /// Whether the grid is to be told now that these were all.
    pub(crate) fn closes(&mut self) -> bool {
        let closes = self.closed && self.fed == self.inputs && !self.told_closed;
        self.told_closed |= closes;
        closes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobId {
        JobId::from_bytes([1; 16])
    }

    fn bytes(count: usize) -> Vec<Bytes> {
        vec![Bytes::from_static(b"input"); count]
    }

    fn kept(indices: std::ops::Range<u64>) -> Vec<(u64, Bytes)> {
        indices.map(|index| (index, Bytes::from_static(b"input"))).collect()
    }

    fn indices(event: Option<Event>) -> (Vec<u64>, u64) {
        let Some(Event::InputsResent(_, inputs, next)) = event else { panic!("no inputs: {event:?}") };
        (inputs.iter().map(|input| input.index).collect(), next)
    }

    #[test]
    fn inputs_go_straight_on_while_there_is_room_and_by_the_disk_where_there_is_none() {
        let mut detached = Detached::default();
        assert!(matches!(detached.arrived(job(), bytes(3)), Some(Event::InputsArrived(_, inputs)) if inputs.len() == 3));
        detached.set_paused(true);
        assert!(detached.arrived(job(), bytes(2)).is_none());
        assert_eq!(detached.begin_reading(), None);
        detached.set_paused(false);
        assert!(detached.arrived(job(), bytes(1)).is_none(), "nothing overtakes those before");
        assert_eq!((detached.begin_reading(), detached.begin_reading()), (Some(3), None));
        detached.closed = true;
        assert!(!detached.closes());
        // So much is on the disk already.
        assert_eq!(indices(detached.read(job(), kept(3..5))), (vec![3, 4], 5));
        assert_eq!(detached.begin_reading(), Some(5));
        assert!(detached.read(job(), vec![]).is_none(), "the last is not");
        assert_eq!(detached.begin_reading(), Some(5));
        assert_eq!(indices(detached.read(job(), kept(5..6))), (vec![5], 6));
        assert_eq!((detached.closes(), detached.closes()), (true, false));
    }

    #[test]
    fn what_had_ended_is_not_run_again() {
        let mut ended = Indices::default();
        for index in [0, 2, 3] {
            ended.insert(index);
        }
        let mut detached = Detached::restored(5, true, ended, HashMap::from([(1, [2, 0])]));
        assert_eq!(detached.begin_reading(), Some(1), "the first has ended");
        let Some(Event::InputsResent(_, inputs, next)) = detached.read(job(), kept(1..4)) else { panic!("inputs") };
        assert_eq!(inputs.iter().map(|input| (input.index, input.shown)).collect::<Vec<_>>(), [(1, [2, 0])]);
        assert_eq!(next, 4);
        assert!(!detached.closes());
    }
}
