//! When what is kept of a job goes: its segments some time after it has ended, or sooner where all jobs together take too much;
//! what is known of it when enough others have ended since.
//!
//! A record that says so comes first, and what it is about is removed after that. So a crash in between leaves nothing that the
//! next scheduler does not remove.

use std::time::SystemTime;

use burla_types::JobId;

use super::{State, Store, StoreConfig, unix_ms};

impl Store {
    /// Lets everything go that is due. The writer does that by itself now and then.
    pub(crate) fn expire_due(&self, now: SystemTime) {
        let mut state = self.state();
        if state.expire_due(now, &self.config) {
            self.wake.notify_one();
        }
    }
}

impl State {
    /// Whether there is anything new to write.
    pub(super) fn expire_due(&mut self, now: SystemTime, config: &StoreConfig) -> bool {
        let (expiring, forgetting) = self.due(now, config);
        let is_any = !expiring.is_empty() || !forgetting.is_empty();
        for job in forgetting {
            self.leaving.insert(job);
            self.bytes_waiting += self.waiting.forget(job);
            self.ticket.0 += 1;
        }
        for job in expiring {
            self.leaving.insert(job);
            self.bytes_waiting += self.waiting.expire(job);
            self.ticket.0 += 1;
        }
        is_any
    }

    fn due(&self, now: SystemTime, config: &StoreConfig) -> (Vec<JobId>, Vec<JobId>) {
        let (mut expiring, mut forgetting) = (Vec::new(), Vec::new());
        let leaving_bytes: u64 = self.leaving.iter().filter_map(|job| self.index.job(*job)).map(|kept| kept.bytes).sum();
        let mut bytes = self.index.bytes() - leaving_bytes;
        let mut too_many = self.index.ended_count().saturating_sub(config.history_jobs_max);
        let retention_ms = u64::try_from(config.retention.as_millis()).unwrap_or(u64::MAX);
        for (job, ended) in self.index.ended_jobs() {
            // It was opened anew and has ended again, which waits to be written: then it is not of the oldest any more, and what is
            // too many is looked at again.
            if self.ending.contains_key(&job) {
                continue;
            }
            let kept_bytes = self.index.job(job).map(|kept| kept.bytes);
            if too_many > 0 {
                too_many -= 1;
                // One whose expiry waits is forgotten when that is written.
                if !self.leaving.contains(&job) {
                    forgetting.push(job);
                    bytes -= kept_bytes.unwrap_or(0);
                }
                continue;
            }
            let Some(kept_bytes) = kept_bytes.filter(|_| !self.leaving.contains(&job)) else { continue };
            let is_over = ended.ended_unix_ms.saturating_add(retention_ms) <= unix_ms(now);
            if is_over || bytes > config.bytes_max {
                expiring.push(job);
                bytes -= kept_bytes;
            }
        }
        (expiring, forgetting)
    }
}
