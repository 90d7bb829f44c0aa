//! Guesses, from source text, whether a program has functions for a grid. A guess is enough: it decides whether a
//! program that has a library beside it is built for WebAssembly, and what was built says what is in it.

use std::path::{Path, PathBuf};

/// The most files of one program that are looked at. What has more has its functions in a library.
const FILES_MAX: usize = 10_000;

/// Whether an attribute in the crate at this file, or in one of its modules, looks like `#[burla::function]`.
pub(super) fn has_marks(crate_root: &Path) -> bool {
    let mut files = vec![(crate_root.to_owned(), crate_root.parent().unwrap_or(Path::new("")).to_owned())];
    let mut looked_at = 0;
    while let Some((file, modules)) = files.pop() {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        looked_at += 1;
        if looked_at > FILES_MAX {
            return false;
        }
        if is_marked(&text) {
            return true;
        }
        files.extend(modules_in(&text).into_iter().flat_map(|module| files_of(&modules, module)));
    }
    false
}

/// The file that a module is in, of the two that it can be in, and the folder of its own modules.
fn files_of(folder: &Path, module: &str) -> [(PathBuf, PathBuf); 2] {
    let own = folder.join(module);
    [(folder.join(format!("{module}.rs")), own.clone()), (own.join("mod.rs"), own)]
}

fn modules_in(text: &str) -> Vec<&str> {
    let module = |line| -> Option<&str> {
        let (_, rest) = format_free(line).split_once("mod ")?;
        rest.split_once(';').map(|(name, _)| name.trim().trim_start_matches("r#"))
    };
    text.lines().filter_map(module).filter(|name| !name.is_empty() && !name.contains(' ')).collect()
}

fn is_marked(text: &str) -> bool {
    let text: String = text.lines().map(format_free).collect();
    text.split("#[").skip(1).any(|attribute| {
        let attribute = attribute.split(']').next().unwrap_or_default();
        // `function`, `burla::function` and `cfg_attr(x, grid::function)`, with arguments or without.
        attribute.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "function")
    })
}

/// A line without the comment at its end.
fn format_free(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_seen_and_comments_are_not() {
        for text in [
            "#[burla::function]\nfn f() {}",
            "use burla::function;\n#[function] fn f() {}",
            "#[ grid :: function ]",
            "#[cfg_attr(all(), burla::function)]",
            "#[burla::function(stack = 1)]",
            "#[\nburla::function\n]",
        ] {
            assert!(is_marked(text), "{text}");
        }
        for text in
            ["// #[burla::function]", "//! mark it with `#[burla::function]`", "fn function() {}", "#[test] fn function() {}"]
        {
            assert!(!is_marked(text), "{text}");
        }
    }

    #[test]
    fn modules_are_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("main.rs", "// mod c;\npub(crate) mod a;\nmod b;\nfn main() {}");
        write("a.rs", "mod inner;");
        write("b/mod.rs", "fn b() {}");
        write("c.rs", "#[burla::function] fn c() {}");
        assert!(!has_marks(&folder.path().join("main.rs")), "`c` is no module of it");
        write("a/inner.rs", "#[burla::function] fn f() {}");
        assert!(has_marks(&folder.path().join("main.rs")));
    }
}
