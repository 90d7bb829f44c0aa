//! What a function has returned, sorted into an output or an error by its type. The macro sees the text of a type and not the type,
//! so method resolution decides: an inherent method, which only a `Result` has, goes before a trait's.

use std::convert::Infallible;

use crate::value::Value;

/// What a function has returned.
pub struct Returned<R>(pub R);

impl<T, E> Returned<Result<T, E>> {
    /// A `Result` is taken apart.
    pub fn into_result(self) -> Result<T, E> {
        self.0
    }
}

impl<T: Value, E: Value> Returned<Result<T, E>> {
    /// rustc cannot tell whether such a `Result` is the output or holds it.
    pub const AMBIGUOUS: bool = true;
}

/// Anything else is the output.
pub trait NoResult: Sized {
    type Output;

    const AMBIGUOUS: bool = false;

    fn into_result(self) -> Result<Self::Output, Infallible>;
}

impl<R> NoResult for Returned<R> {
    type Output = R;

    fn into_result(self) -> Result<R, Infallible> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_a_result_is_taken_apart() {
        let failed: Result<u8, io::ErrorKind> = Returned(Err(io::ErrorKind::NotFound)).into_result();
        assert_eq!(failed, Err(io::ErrorKind::NotFound));
        assert_eq!(Returned(Some(1)).into_result(), Ok(Some(1)));
    }

    #[test]
    fn a_result_is_ambiguous_when_it_could_travel_itself() {
        const {
            assert!(Returned::<Result<u8, String>>::AMBIGUOUS);
            assert!(!Returned::<Result<u8, io::Error>>::AMBIGUOUS);
            assert!(!Returned::<Option<u8>>::AMBIGUOUS);
        }
    }
}
