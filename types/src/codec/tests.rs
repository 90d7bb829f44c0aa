//! Values go in and come out equal, or are refused.

mod messages;
mod special_types;
mod whole_model;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

/// A value comes back equal.
#[track_caller]
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = encode(&value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    match decode::<T>(&bytes) {
        Ok(again) => assert_eq!(again, value, "{bytes:x?}"),
        Err(error) => panic!("{value:?}: {error}: {bytes:x?}"),
    }
}
