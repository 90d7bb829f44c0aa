//! Bounds the names that all calls of a node look up at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// The longest that a name is looked up for. The system's resolver gives up after 5 to 30 seconds, and tries again before.
pub(super) const LOOKUP_TIME_MAX: Duration = Duration::from_secs(30);

/// Names that all calls may look up at a time. Each takes one of the runtime's 512 blocking threads until the system's resolver
/// answers, and cannot be stopped; the rest of them is for the node, and for lookups that take longer than they should.
const LOOKUPS_PER_NODE_MAX: usize = 64;

/// The lookups that all calls may have under way together.
#[derive(Debug)]
pub(crate) struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS_PER_NODE_MAX)))
    }
}

impl Lookups {
    /// One of them, as soon as there is one left.
    pub(super) async fn take(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.0).acquire_owned().await.expect("it is never closed")
    }

    /// One of them, if there is one left.
    pub(super) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// A lookup that wasmtime makes, which does not tell when it ends: it counts until somebody sees that it has, or for as long as any
/// may take. The latter is for those that are abandoned, by the guest or at the call's end, and for a guest that never looks.
#[derive(Default)]
pub(super) struct UnderWay(Option<AbortHandle>);

impl UnderWay {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        let holding = async move {
            tokio::time::sleep(LOOKUP_TIME_MAX).await;
            drop(permit);
        };
        Self(Handle::try_current().ok().map(|runtime| runtime.spawn(holding).abort_handle()))
    }

    /// Nothing is looked up any more.
    pub(super) fn ended(&mut self) {
        if let Some(holding) = self.0.take() {
            holding.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lookup_counts_until_it_is_seen_to_have_ended() {
        let lookups = Lookups::default();
        let mut under_way: Vec<_> = (0..LOOKUPS_PER_NODE_MAX).map(|_| UnderWay::new(lookups.try_take().unwrap())).collect();
        let wait = || tokio::time::sleep(Duration::from_millis(10));
        wait().await;
        assert!(lookups.try_take().is_none());
        // Abandoned, it may still have its thread.
        drop(under_way.pop());
        wait().await;
        assert!(lookups.try_take().is_none());
        under_way.pop().unwrap().ended();
        let taken = tokio::time::timeout(Duration::from_secs(5), lookups.take()).await;
        assert!(taken.is_ok() && lookups.try_take().is_none());
    }
}
