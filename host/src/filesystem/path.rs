//! Paths as text: how long they may be, and where their last name begins.

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

/// The longest name, as nearly all file systems have it. Said here so that it is the same on every node.
const NAME_BYTES_MAX: usize = 255;

/// The longest path that Linux takes, with the zero at its end.
const PATH_BYTES_MAX: usize = 4096;

/// Refuses a path that is too long, or has a name that is.
pub(super) fn check(path: &str) -> Result<(), ErrorCode> {
    check_length(path)?;
    let fits = path.split('/').all(|name| name.len() <= NAME_BYTES_MAX);
    if fits { Ok(()) } else { Err(ErrorCode::NameTooLong) }
}

/// Refuses a path that is too long. What a symlink says need not be made of names.
pub(super) fn check_length(path: &str) -> Result<(), ErrorCode> {
    if path.len() < PATH_BYTES_MAX { Ok(()) } else { Err(ErrorCode::NameTooLong) }
}

/// The folder that a path leads to, and the one name in it that is never followed. An empty folder is where the path starts, and
/// `.` the folder itself, where no operation on a name succeeds.
pub(super) fn split(path: &str) -> (&str, &str) {
    let trimmed = path.trim_end_matches('/');
    let (folder, name) = match trimmed.rsplit_once('/') {
        // Outside of the directory, as wasmtime-wasi will say.
        Some(("", name)) => ("/", name),
        Some(both) => both,
        None => ("", trimmed),
    };
    match name {
        "" => (path, "."),
        ".." => (trimmed, "."),
        name => (folder, name),
    }
}

/// Whether a path may lead to the folder `name` at the top of the call's directory, or list it: unless its first name is another, and
/// nothing in it leads up. Symlinks are the caller's to think of.
pub(super) fn may_meet(path: &str, name: &str) -> bool {
    let mut names = path.split('/').filter(|part| !matches!(*part, "" | "."));
    names.next().is_none_or(|first| first == name || first == "..") || names.any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_meets_tmp_by_its_first_name_or_by_a_way_up() {
        for path in ["tmp", "/tmp", "./tmp/a", "tmp/", "", "/", ".", "..", "a/../tmp", "a/b/..", "//tmp"] {
            assert!(may_meet(path, "tmp"), "{path}");
        }
        for path in ["a", "/a", "a/tmp", "tmp2", "./a/./b", "..a/b"] {
            assert!(!may_meet(path, "tmp"), "{path}");
        }
    }

    #[test]
    fn the_last_name_stands_alone() {
        let cases = [
            ("a", ("", "a")),
            ("a/", ("", "a")),
            ("a/b", ("a", "b")),
            ("a//b//", ("a/", "b")),
            ("a/../b", ("a/..", "b")),
            ("./a", (".", "a")),
            ("/a", ("/", "a")),
            ("//a", ("/", "a")),
            ("..", ("..", ".")),
            ("a/..", ("a/..", ".")),
            ("a/../", ("a/..", ".")),
            ("a/.", ("a", ".")),
            (".", ("", ".")),
            ("/", ("/", ".")),
            ("", ("", ".")),
        ];
        for (path, expected) in cases {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn names_and_paths_have_a_length() {
        assert_eq!(check(&"n".repeat(255)), Ok(()));
        assert_eq!(check(&format!("a/{}", "n".repeat(256))), Err(ErrorCode::NameTooLong));
        assert_eq!(check(&"a/".repeat(2047)), Ok(()));
        assert_eq!(check(&"a/".repeat(2048)), Err(ErrorCode::NameTooLong));
        assert_eq!(check_length(&"n".repeat(4095)), Ok(()));
    }
}
