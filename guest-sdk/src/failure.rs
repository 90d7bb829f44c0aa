//! A function's own error, on its way to the user: its text and the texts of its causes.
//!
//! An error type only has to be `Display`. Where it also is an `Error`, or leads to one as `anyhow::Error` and `Box<dyn Error>`
//! do, its chain of sources comes along. Rust has no stable specialization, but the macro knows the concrete type, and there
//! method resolution picks the first of the `CausesOf…` traits that applies to fewer references: the trick is known as autoref
//! specialization.

use std::error::Error;
use std::fmt::Display;

/// The texts of an error and of what caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error's text.
    pub message: String,
    /// The texts of its sources, nearest first.
    pub causes: Vec<String>,
}

/// How deep a chain of causes is followed. Real chains have a handful; one that is a circle would never end.
const CAUSES_MAX: usize = 64;

impl Failure {
    fn new(message: &dyn Display, source: Option<&(dyn Error + 'static)>) -> Self {
        let chain = std::iter::successors(source, |error: &&(dyn Error + 'static)| (*error).source());
        Self { message: message.to_string(), causes: chain.take(CAUSES_MAX).map(ToString::to_string).collect() }
    }
}

/// Carries a reference to the error through method resolution.
pub struct Probe<'a, E>(pub &'a E);

/// The error is an `Error` itself.
pub trait CausesOfError {
    fn failure(&self) -> Failure;
}

impl<E: Error + 'static> CausesOfError for &&&&Probe<'_, E> {
    fn failure(&self) -> Failure {
        Failure::new(self.0, self.0.source())
    }
}

/// The error leads to a thread-safe `Error`: `anyhow::Error`, `Box<dyn Error + Send + Sync>`.
pub trait CausesOfDynSendSync {
    fn failure(&self) -> Failure;
}

impl<E: Display + AsRef<dyn Error + Send + Sync + 'static>> CausesOfDynSendSync for &&&Probe<'_, E> {
    fn failure(&self) -> Failure {
        Failure::new(self.0, self.0.as_ref().source())
    }
}

/// The error leads to an `Error`: `Box<dyn Error>`.
pub trait CausesOfDyn {
    fn failure(&self) -> Failure;
}

impl<E: Display + AsRef<dyn Error + 'static>> CausesOfDyn for &&Probe<'_, E> {
    fn failure(&self) -> Failure {
        Failure::new(self.0, self.0.as_ref().source())
    }
}

/// The error can only be shown.
pub trait CausesOfDisplay {
    fn failure(&self) -> Failure;
}

impl<E: Display> CausesOfDisplay for &Probe<'_, E> {
    fn failure(&self) -> Failure {
        Failure::new(self.0, None)
    }
}

/// The error has no text. [`check_error`](crate::registry::check_error) has refused it with a sentence already; without this there
/// would be a second message, about the traits above.
pub trait CausesOfNothing {
    fn failure(&self) -> Failure;
}

impl<E> CausesOfNothing for Probe<'_, E> {
    fn failure(&self) -> Failure {
        Failure {
            message: format!("an error of the type `{}`, which has no text", std::any::type_name::<E>()),
            causes: Vec::new(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::needless_borrow, reason = "as the macro writes it, for every type alike")]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot read the map")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn outer() -> Outer {
        Outer(io::Error::other("disk on fire"))
    }

    fn expected() -> Failure {
        Failure { message: "cannot read the map".into(), causes: vec!["disk on fire".into()] }
    }

    #[test]
    fn an_error_brings_its_causes() {
        assert_eq!((&&&&&Probe(&outer())).failure(), expected());
    }

    #[test]
    fn a_boxed_error_brings_its_causes() {
        let plain: Box<dyn Error> = Box::new(outer());
        assert_eq!((&&&&&Probe(&plain)).failure(), expected());
        let send: Box<dyn Error + Send + Sync> = Box::new(outer());
        assert_eq!((&&&&&Probe(&send)).failure(), expected());
    }

    #[test]
    fn a_text_is_enough() {
        let failure = (&&&&&Probe(&"no")).failure();
        assert_eq!(failure, Failure { message: "no".into(), causes: vec![] });
    }
}
