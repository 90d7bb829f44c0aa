//! When what is kept of a job goes: its segments some time after it has ended, or sooner where all jobs together take too much;
//! what is known of it when nothing of it is kept any more and enough others like it have ended since.
//!
//! A record that says so comes first, and what it is about is removed after that. So a crash in between leaves nothing that the
//! next scheduler does not remove.

use std::time::{Duration, SystemTime};

use burla_types::JobId;

use super::{State, Store, StoreConfig, unix_ms};

/// How long what a job kept stays although there is too much: whoever waits for its end can come for it.
const KEPT_AT_LEAST: Duration = Duration::from_secs(60);

/// Jobs that have ended and of which everything is kept, at most: each takes up memory, however little it kept. The first to end
/// expire before their time.
const KEPT_ENDED_MAX: usize = 100_000;

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
        let now_ms = unix_ms(now);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = self.index.bytes() - self.leaving.iter().filter_map(|job| Some(self.index.job(*job)?.bytes)).sum::<u64>();
        let (kept, known) = self.index.ended_counts();

        let mut too_many = kept.saturating_sub(KEPT_ENDED_MAX);
        for (job, ended) in self.index.ended_jobs() {
            let is_old = |time| ended.ended_unix_ms.saturating_add(ms(time)) <= now_ms;
            if too_many == 0 && bytes <= config.bytes_max && !is_old(config.retention) {
                // Those that follow have ended later.
                break;
            }
            let Some(kept_bytes) = self.index.job(job).map(|kept| kept.bytes) else { continue };
            if self.leaving.contains(&job) {
                too_many = too_many.saturating_sub(1);
                continue;
            }
            let is_followed = || self.jobs.get(&job).is_some_and(|job| job.kept.receiver_count() > 0);
            let makes_room = (too_many > 0 || bytes > config.bytes_max) && is_old(KEPT_AT_LEAST) && !is_followed();
            if makes_room || is_old(config.retention) {
                expiring.push(job);
                bytes -= kept_bytes;
                too_many = too_many.saturating_sub(1);
            }
        }

        // One that was opened anew and has ended again, which waits to be written, is not of the oldest any more.
        let too_many = known.saturating_sub(config.history_jobs_max);
        let ids = self.index.ended_jobs().map(|(job, _)| job);
        let oldest = ids.filter(|job| self.index.job(*job).is_none() && !self.ending.contains_key(job)).take(too_many);
        forgetting.extend(oldest.filter(|job| !self.leaving.contains(job)));
        (expiring, forgetting)
    }
}
