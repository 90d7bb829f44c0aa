//! Batches of inputs and events as records: cut to size, encoded, and where they are large, in a blob that the record names.

use std::collections::{BTreeSet, HashMap};

use burla_ledger::BlobRef;
use burla_proto::convert;
use burla_proto::v1::{self, call_event::Event, failure::Kind, record::Record, segment::Place};
use burla_types::{JobId, Usage};
use bytes::Bytes;
use prost::Message;

use super::waiting::{Numbered, Outcome};

/// The content that stands in the record itself. What is larger would make the ledger slow for everyone who reads other records in
/// it, and a file of its own costs little beside its bytes.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// The content of a segment; one input or event on its own may be larger. A reader has it in memory as a whole.
const SEGMENT_BYTES_MAX: usize = 8 << 20;

/// Inputs or events in a segment, however small: of outcomes, their indices stand in the record, and must not fill it.
const SEGMENT_ITEMS_MAX: usize = 16_384;

/// What an item takes in its segment beside its bytes: its tag and its length.
const ITEM_FRAMING_BYTES: usize = 6;

/// Something that becomes one record.
#[derive(Debug)]
pub(super) struct Piece {
    job: JobId,
    content: Content,
    /// What no longer waits once it is written.
    pub(super) bytes_waited: usize,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "records are few beside what is in segments")]
enum Content {
    Record(Record),
    Inputs(Numbered<Bytes>),
    Lines(Numbered<v1::CallEvent>),
    Outcomes(Numbered<Outcome>),
}

/// A record whose content has no place yet.
#[derive(Debug)]
pub(super) struct Unplaced {
    pub(super) job: JobId,
    record: Record,
    content: Option<Bytes>,
    pub(super) bytes_waited: usize,
}

impl Piece {
    pub(super) fn record(job: JobId, record: Record) -> Self {
        Self { job, content: Content::Record(record), bytes_waited: 0 }
    }

    pub(super) fn inputs(job: JobId, inputs: Numbered<Bytes>) -> Self {
        Self { job, content: Content::Inputs(inputs), bytes_waited: 0 }
    }

    pub(super) fn lines(job: JobId, lines: Numbered<v1::CallEvent>) -> Self {
        Self { job, content: Content::Lines(lines), bytes_waited: 0 }
    }

    pub(super) fn outcomes(job: JobId, outcomes: Numbered<Outcome>) -> Self {
        Self { job, content: Content::Outcomes(outcomes), bytes_waited: 0 }
    }

    pub(super) fn encode(self) -> Unplaced {
        let Self { job, content, bytes_waited } = self;
        let job_id = convert::job_id_bytes(job);
        let (record, content) = match content {
            Content::Record(record) => (record, None),
            Content::Inputs(Numbered { first: first_index, items: inputs }) => {
                let record = v1::InputSegment { job_id, first_index, count: inputs.len() as u64, inputs: None };
                (Record::Inputs(record), Some(v1::Inputs { inputs }.encode_to_vec().into()))
            }
            Content::Lines(Numbered { first, items: events }) => {
                let record = v1::EventSegment { job_id, first, count: events.len() as u64, ..Default::default() };
                (Record::Lines(record), Some(v1::CallEvents { events }.encode_to_vec().into()))
            }
            Content::Outcomes(outcomes) => {
                let (record, events) = outcome_segment(job_id, outcomes);
                (Record::Outcomes(record), Some(events.encode_to_vec().into()))
            }
        };
        Unplaced { job, record, content, bytes_waited }
    }
}

impl Unplaced {
    /// The content, where it is too large to stand in the record.
    pub(super) fn large_content(&self) -> Option<&Bytes> {
        self.content.as_ref().filter(|content| content.len() > INLINE_BYTES_MAX)
    }

    /// The record, with its content in it or in `blob`.
    pub(super) fn placed(self, blob: Option<BlobRef>) -> Record {
        let Self { mut record, content, .. } = self;
        let place = match blob {
            Some(BlobRef { name, bytes, crc32c }) => Some(Place::Blob(v1::segment::Blob { name, bytes, crc32c })),
            None => content.map(Place::Inline),
        };
        let segment = place.map(|place| v1::Segment { place: Some(place) });
        match &mut record {
            Record::Inputs(it) => it.inputs = segment,
            Record::Outcomes(it) | Record::Lines(it) => it.events = segment,
            _ => {}
        }
        record
    }
}

/// Groups that are segments each.
pub(super) fn cut<T>(numbered: Numbered<T>, bytes_of: impl Fn(&T) -> usize) -> impl Iterator<Item = Numbered<T>> {
    let Numbered { mut first, items } = numbered;
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut group = Vec::new();
        let mut bytes = 0;
        while group.len() < SEGMENT_ITEMS_MAX
            && let Some(item) =
                items.next_if(|item| group.is_empty() || bytes + bytes_of(item) + ITEM_FRAMING_BYTES <= SEGMENT_BYTES_MAX)
        {
            bytes += bytes_of(&item) + ITEM_FRAMING_BYTES;
            group.push(item);
        }
        let group = Numbered { first, items: group };
        first += group.items.len() as u64;
        (!group.items.is_empty()).then_some(group)
    })
}

fn outcome_segment(job_id: Bytes, outcomes: Numbered<Outcome>) -> (v1::EventSegment, v1::CallEvents) {
    let Numbered { first, items } = outcomes;
    let mut usage = Usage::default();
    let mut failures: HashMap<String, u64> = HashMap::new();
    let mut nodes = BTreeSet::new();
    for (event, node) in &items {
        if let Some(taken) = event.usage {
            usage.add(&taken.into());
        }
        if let Some(kind) = failure_kind(event) {
            *failures.entry(kind.to_owned()).or_default() += 1;
        }
        nodes.extend(node.as_deref().map(str::to_owned));
    }
    let events: Vec<_> = items.into_iter().map(|(event, _)| event).collect();
    let segment = v1::EventSegment {
        job_id,
        first,
        count: events.len() as u64,
        indices: events.iter().map(|event| event.index).collect(),
        usage: Some(usage.into()),
        failures,
        nodes: nodes.into_iter().collect(),
        ..Default::default()
    };
    (segment, v1::CallEvents { events })
}

/// In which way a call was not done, as `Job` says it. An outcome that says nothing came from a newer node.
fn failure_kind(event: &v1::CallEvent) -> Option<&'static str> {
    let Some(Event::Failure(failure)) = &event.event else { return None };
    Some(match failure.kind {
        Some(Kind::Failed(_)) => "failed",
        Some(Kind::Panicked(_)) => "panicked",
        Some(Kind::Trapped(_)) => "trapped",
        Some(Kind::Exceeded(_)) => "exceeded",
        Some(Kind::Refused(_)) => "refused",
        Some(Kind::Lost(_)) | None => "lost",
    })
}
