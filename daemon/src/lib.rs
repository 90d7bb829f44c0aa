//! What both daemons do for their operators, in the order in which a daemon does it:
//!
//! 1. it reads its settings and refuses what it does not understand, before it opens anything (`config.rs`);
//!    addresses are looked up (`listen.rs`), and folders that nobody named are chosen (`folders.rs`);
//! 2. it logs to stderr, for people or for machines (`logging.rs`);
//! 3. it listens for signals from then on, so that none ends it halfway (`signals.rs`);
//! 4. it answers whether it lives, whether it is ready, and how much it has done (`http.rs`).
//!
//! Which settings and which figures there are is each daemon's own affair. Nothing here knows jobs, nodes or calls.

pub mod config;
pub mod folders;
pub mod http;
pub mod listen;
pub mod logging;
pub mod signals;
