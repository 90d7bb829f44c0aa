//! Where a scheduler keeps jobs: a folder, or nowhere.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use burla_ledger::{Blobs, FileLedger, Ledger, MemoryLedger};

use crate::store::{RestoredJob, Store, StoreConfig, Writer};

/// What a scheduler keeps, opened and read.
pub struct Storage {
    pub(crate) store: Arc<Store>,
    pub(crate) writer: Writer,
    pub(crate) restored: Vec<RestoredJob>,
    /// Whether what is kept outlives the process.
    pub(crate) is_durable: bool,
}

impl Storage {
    /// Opens what is kept in a folder, and makes it if it is not there. No other scheduler may have it.
    pub async fn in_folder(folder: &Path, config: StoreConfig) -> anyhow::Result<Self> {
        burla_blobs::make_private_dir(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let ledger = FileLedger::open(folder.join("jobs.redb"))?;
        let blobs = Blobs::files(&folder.join("jobs"))?;
        Self::open(Arc::new(ledger), blobs, config, true).await
    }

    /// For a grid that ends with its program: it takes no detached jobs.
    pub async fn in_memory(config: StoreConfig) -> anyhow::Result<Self> {
        Self::open(Arc::new(MemoryLedger::default()), Blobs::memory(), config, false).await
    }

    async fn open(ledger: Arc<dyn Ledger>, blobs: Blobs, config: StoreConfig, is_durable: bool) -> anyhow::Result<Self> {
        let (store, writer, restored) = Store::open(ledger, blobs, config).await?;
        Ok(Self { store, writer, restored, is_durable })
    }
}
