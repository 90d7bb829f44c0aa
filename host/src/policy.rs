//! What the operator of a node allows a job to ask for.

use std::sync::Arc;

use burla_types::{DISK_BYTES_DEFAULT, Limits};

use crate::network::NetworkPolicy;

/// What jobs may ask of a node. One that asks for more is refused here, and may run on another node.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What calls may be granted to reach.
    pub network: Arc<NetworkPolicy>,
    /// Bytes that one call may be given to write.
    pub disk_bytes_max: u64,
}

impl Policy {
    /// Whether calls with these limits may run here. The error names the setting that says no.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), String> {
        if let Some(asked) = limits.disk_bytes_max.filter(|asked| *asked > self.disk_bytes_max) {
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            let (asked, allowed) = (gib(asked), gib(self.disk_bytes_max));
            return Err(format!("its policy `disk-per-call` is {allowed} GiB, and the job asks for {asked}"));
        }
        self.network.check(&limits.network)
    }

    /// Bytes that a call with these limits may write.
    pub(crate) fn disk_bytes(&self, limits: &Limits) -> u64 {
        limits.disk_bytes_max.unwrap_or(DISK_BYTES_DEFAULT.min(self.disk_bytes_max))
    }
}
