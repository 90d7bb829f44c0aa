//! Functions of every shape that a function may have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Doubles a number.
#[burla::function]
pub fn doubles(number: i64) -> i64 {
    number * 2
}

/// Takes nothing, returns nothing.
#[burla::function]
pub fn nothing() {}

/// Takes several parameters.
#[burla::function]
pub fn joins(left: String, right: String, times: usize) -> String {
    format!("{left}{right}").repeat(times)
}

/// Calls itself, as any function may.
#[burla::function]
pub fn factorial(number: u64) -> u64 {
    if number < 2 { 1 } else { number * factorial(number - 1) }
}

/// A shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// A point.
    Dot,
    /// A circle.
    Circle {
        /// In any unit.
        radius: f64,
    },
    /// Corners.
    Polygon(Vec<(i32, i32)>),
}

/// What became of shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// By kind.
    pub kinds: BTreeMap<String, usize>,
    /// The first, if there is one.
    pub first: Option<Shape>,
}

/// Takes and returns types of its own.
#[burla::function]
pub fn summarizes(shapes: Vec<Shape>) -> Summary {
    let mut kinds = BTreeMap::new();
    for shape in &shapes {
        let kind = match shape {
            Shape::Dot => "dot",
            Shape::Circle { .. } => "circle",
            Shape::Polygon(_) => "polygon",
        };
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    Summary { kinds, first: shapes.into_iter().next() }
}

/// Returns a text of this many characters.
#[burla::function]
pub fn repeats(number: u64, times: usize) -> String {
    char::from(b'a' + (number % 26) as u8).to_string().repeat(times)
}

/// Returns what it is given.
#[burla::function]
pub fn echoes(text: String) -> String {
    text
}
