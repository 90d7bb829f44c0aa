//! Which grid a job runs on.

use crate::{Error, JobInfo, NodeInfo, Result};

/// A grid, by the address of its scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    url: String,
}

impl Grid {
    /// The grid whose scheduler is at `url`, such as `http://127.0.0.1:8420`. Nothing is dialed before a job starts.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`](crate::Error::InvalidUrl) where `url` is not `http://HOST:PORT`.
    pub fn at(url: impl Into<String>) -> Result<Self> {
        let url = url.into();
        #[cfg(not(target_family = "wasm"))]
        check(&url)?;
        Ok(Self { url })
    }

    /// The grid that a job would run on that names none: the one at `BURLA_URL`, else the one that `cargo burla up` keeps on this
    /// machine.
    ///
    /// # Errors
    ///
    /// [`Error::NoGrid`](crate::Error::NoGrid) where there is neither.
    pub fn default_grid() -> Result<Self> {
        find(None).map(|url| Self { url })
    }

    /// The address of its scheduler.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The open jobs of the grid that a job would run on that names none. Blocks.
///
/// # Errors
///
/// [`Error::NoGrid`](crate::Error::NoGrid) where no grid is configured; others as [`Grid::jobs`].
pub fn jobs() -> Result<Vec<JobInfo>> {
    Grid::default_grid()?.jobs()
}

/// The nodes of the grid that a job would run on that names none. Blocks.
///
/// # Errors
///
/// [`Error::NoGrid`](crate::Error::NoGrid) where no grid is configured; others as [`Grid::nodes`].
pub fn nodes() -> Result<Vec<NodeInfo>> {
    Grid::default_grid()?.nodes()
}

/// The environment variable that names the grid's scheduler where the program does not.
#[cfg(not(target_family = "wasm"))]
const URL_VARIABLE: &str = "BURLA_URL";

/// The address to dial: the job's own grid, then `BURLA_URL`, then a grid that `cargo burla up` keeps on this machine.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn find(given: Option<&Grid>) -> Result<String> {
    if let Some(grid) = given {
        return Ok(grid.url.clone());
    }
    match std::env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => check(&url).map(|()| url),
        _ => crate::local_grid::find().ok_or(Error::NoGrid),
    }
}

/// A component has no grid.
#[cfg(target_family = "wasm")]
fn find(_: Option<&Grid>) -> Result<String> {
    Err(Error::InsideFunction)
}

#[cfg(not(target_family = "wasm"))]
fn check(url: &str) -> Result<()> {
    let invalid = |reason| Err(Error::InvalidUrl { url: url.to_owned(), reason });
    let Ok(uri) = url.parse::<tonic::transport::Uri>() else { return invalid("it is not a URL") };
    match (uri.scheme_str(), uri.port_u16()) {
        (Some("https"), _) => invalid("this version speaks plain HTTP/2 only, so it starts with http://"),
        (Some("http"), Some(_)) => Ok(()),
        (Some("http"), None) => invalid("the port is missing"),
        _ => invalid("it does not start with http://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_before_anything_is_dialed() {
        assert_eq!(Grid::at("http://127.0.0.1:8420").unwrap().url(), "http://127.0.0.1:8420");
        assert!(Grid::at("http://[::1]:8420").is_ok());
        for url in ["", "127.0.0.1:8420", "http://host", "https://host:1", "ftp://host:1", "http://ho st:1", "http://host:port"] {
            assert!(matches!(Grid::at(url), Err(Error::InvalidUrl { .. })), "{url}");
        }
    }
}
