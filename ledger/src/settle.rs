//! An append whose answer never came is asked for again, and not waited out.

use std::time::Duration;

use bytes::Bytes;
use tokio::time;

use crate::{AppendError, Cause, Ledger, Position, ReadError, Shard};

/// With the delays between them, some twelve seconds: a replicated log is without a leader for four to seven.
const TRIES_MAX: u32 = 9;

/// Doubles with each try.
const DELAY_MIN: Duration = Duration::from_millis(50);

/// A log that answers again is not left waiting for longer.
const DELAY_MAX: Duration = Duration::from_secs(4);

/// [`Ledger::append`] that is [`AppendError::Ambiguous`] only where the ledger cannot be reached for long.
///
/// What is appended has to tell who appends it, since an entry that is found to be there already is taken for one's own: two
/// schedulers that append the same bytes would both believe that they did.
pub async fn append_settled(
    ledger: &dyn Ledger,
    shard: Shard,
    expected: Position,
    entries: Vec<Bytes>,
) -> Result<Position, AppendError> {
    let mut delay = DELAY_MIN;
    // Why the last try left it open. From then on nothing but a refusal or a success tells what has become of the first.
    let mut open: Option<Cause> = None;
    for _ in 0..TRIES_MAX {
        if open.is_some() {
            time::sleep(delay).await;
            delay = DELAY_MAX.min(delay * 2);
        }
        let cause = match ledger.append(shard, expected, entries.clone()).await {
            Err(AppendError::Ambiguous(cause)) => cause,
            Err(AppendError::Full(cause) | AppendError::Failed(cause)) if open.is_some() => cause,
            Err(AppendError::Refused { end }) if open.is_some() => match are_there(ledger, shard, expected, &entries).await {
                Ok(true) => return Ok(expected.after(entries.len())),
                Ok(false) => return Err(AppendError::Refused { end }),
                Err(error) => error.into(),
            },
            settled => return settled,
        };
        open = Some(cause);
    }
    Err(AppendError::Ambiguous(open.unwrap_or_else(|| "the ledger was not asked".into())))
}

/// Whether the log holds exactly these entries at this position. No entries are nowhere: whether they were appended changes nothing,
/// and who is refused shall know it.
async fn are_there(ledger: &dyn Ledger, shard: Shard, first: Position, entries: &[Bytes]) -> Result<bool, ReadError> {
    for (nth, bytes) in entries.iter().enumerate() {
        if ledger.entry(shard, first.after(nth)).await?.as_ref() != Some(bytes) {
            return Ok(false);
        }
    }
    Ok(!entries.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Fault, FaultyLedger, MemoryLedger};

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_never_answers_leaves_it_open() {
        let ledger = FaultyLedger::new(Arc::new(MemoryLedger::new()));
        ledger.inject(vec![Fault::AmbiguousLost; TRIES_MAX as usize]);
        let began = time::Instant::now();
        let open = append_settled(&ledger, Shard(0), Position(0), vec![Bytes::from_static(b"a")]).await;
        assert!(matches!(open, Err(AppendError::Ambiguous(_))), "{open:?}");
        assert_eq!(ledger.faults_left(), 0);
        let waited = began.elapsed();
        assert!((Duration::from_secs(10)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    }

    #[tokio::test]
    async fn a_first_try_that_failed_is_the_answer() {
        let ledger = FaultyLedger::new(Arc::new(MemoryLedger::new()));
        ledger.inject([Fault::Full, Fault::Failed]);
        let append = || append_settled(&ledger, Shard(0), Position(0), vec![Bytes::from_static(b"a")]);
        assert!(matches!(append().await, Err(AppendError::Full(_))));
        assert!(matches!(append().await, Err(AppendError::Failed(_))));
        assert_eq!(append().await.unwrap(), Position(1));
    }
}
