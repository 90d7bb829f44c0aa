//! What a client of an attached job was told and may not have: kept until it says that it has, so that one whose connection breaks
//! goes on where it was.

use std::collections::VecDeque;

use burla_proto::WireSize;

use crate::grid::event::CallUpdate;

/// Bytes of updates that are kept for a client that does not say what it has. A client that lost its connection and more than this
/// has its open calls run again.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The updates of a job that its client may not have, numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    kept: VecDeque<CallUpdate>,
    bytes: usize,
    /// The number of the first that is kept.
    first: u64,
}

impl Attached {
    /// The client is told more.
    pub(crate) fn tell(&mut self, updates: &[CallUpdate]) {
        for update in updates {
            self.bytes += update.wire_bytes();
            self.kept.push_back(update.clone());
        }
        while self.bytes > KEPT_BYTES_MAX && self.kept.len() > 1 {
            self.forget_first();
        }
    }

    /// The client has all before this number.
    pub(crate) fn taken(&mut self, number: u64) {
        while self.first < number && !self.kept.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(update) = self.kept.pop_front() {
            self.bytes -= update.wire_bytes();
            self.first += 1;
        }
    }

    /// All from this number on, for a client that has what is before; `None` where some of it is not kept any more, or never was.
    pub(crate) fn resume(&mut self, number: u64) -> Option<Vec<CallUpdate>> {
        if number < self.first || number > self.first + self.kept.len() as u64 {
            return None;
        }
        self.taken(number);
        Some(self.kept.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use burla_proto::convert::CallReport;
    use burla_types::OutputStream;
    use bytes::Bytes;

    use super::*;

    fn update(index: u64, bytes: usize) -> CallUpdate {
        let lines = Bytes::from(vec![b'x'; bytes]);
        CallUpdate { index, report: CallReport::Printed { stream: OutputStream::Stdout, first_line: 0, lines } }
    }

    fn resumed(attached: &mut Attached, number: u64) -> Option<Vec<u64>> {
        Some(attached.resume(number)?.iter().map(|update| update.index).collect())
    }

    #[test]
    fn a_client_gets_what_it_does_not_have() {
        let mut attached = Attached::default();
        attached.tell(&[update(5, 1), update(6, 1), update(7, 1)]);
        assert_eq!(resumed(&mut attached, 1), Some(vec![6, 7]));
        assert_eq!(resumed(&mut attached, 1), Some(vec![6, 7]), "it may break again");
        attached.taken(2);
        assert_eq!(resumed(&mut attached, 1), None, "it said that it had more");
        assert_eq!(resumed(&mut attached, 3), Some(vec![]));
        assert_eq!(resumed(&mut attached, 4), None, "nobody told it that");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut attached = Attached::default();
        for index in 0..3 {
            attached.tell(&[update(index, KEPT_BYTES_MAX / 2)]);
        }
        assert_eq!(resumed(&mut attached, 0), None);
        assert_eq!(resumed(&mut attached, 2), Some(vec![2]));
        attached.tell(&[update(9, KEPT_BYTES_MAX * 2)]);
        assert_eq!(resumed(&mut attached, 3), Some(vec![9]), "one always is");
    }
}
