//! The line that a marked function adds to its component's `burla:functions` section, put together at compile time: only rustc
//! knows the path and the place of a function, and only as literals.

/// Joins the parts of a line of JSON. `place` is the one that may hold what JSON would escape, since it begins with the name of a
/// file; such characters become question marks.
pub const fn line<const LEN: usize>(before: &str, place: &str, after: &str) -> [u8; LEN] {
    let mut line = [0; LEN];
    let (head, rest) = line.split_at_mut(before.len());
    let (middle, tail) = rest.split_at_mut(place.len());
    head.copy_from_slice(before.as_bytes());
    middle.copy_from_slice(place.as_bytes());
    tail.copy_from_slice(after.as_bytes());
    let mut position = 0;
    while position < middle.len() {
        if matches!(middle[position], b'"' | b'\\' | 0..0x20) {
            middle[position] = b'?';
        }
        position += 1;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_does_not_break_the_json() {
        assert_eq!(&line::<10>("{\"", "a\"\\\n", "\"}\n\n"), b"{\"a???\"}\n\n");
    }
}
