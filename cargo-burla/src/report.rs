//! Shows what is in a component: to people as a table, to scripts as JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use burla::Stdout;
use serde::Serialize;

use crate::package::Packaged;

/// Prints a component to stdout.
pub(crate) fn print(packaged: &Packaged, json: bool) -> io::Result<()> {
    let text = if json { as_json(packaged)? } else { as_table(packaged) };
    io::stdout().lock().write_all(crate::commands::for_stdout(&text).as_bytes())
}

/// What `--json` prints. Fields are only ever added.
#[derive(Serialize)]
struct Json<'a> {
    path: String,
    digest: String,
    size_bytes: usize,
    functions: &'a [burla_types::FunctionInfo],
    imports: &'a [String],
}

fn as_json(packaged: &Packaged) -> io::Result<String> {
    let json = Json {
        path: packaged.path.display().to_string(),
        digest: packaged.digest.to_string(),
        size_bytes: packaged.size_bytes,
        functions: &packaged.description.functions,
        imports: &packaged.description.imports,
    };
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}

fn as_table(packaged: &Packaged) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // A component may be anyone's, and each of its texts stays in its row.
        let value = Stdout::neutralized(value).replace('\n', "␊").replace('\t', "␉");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    };
    row("component", &packaged.path.display().to_string());
    row("digest", &packaged.digest.to_string());
    row("size", &format!("{:.1} KB", packaged.size_bytes as f64 / 1000.0));
    for (number, function) in packaged.description.functions.iter().enumerate() {
        row(if number == 0 { "functions" } else { "" }, &format!("{}{}", function.name, function.signature));
        for line in function.doc.lines().take(1).filter(|line| !line.is_empty()) {
            row("", &format!("    {line}"));
        }
    }
    for (number, import) in packaged.description.imports.iter().enumerate() {
        row(if number == 0 { "imports" } else { "" }, import);
    }
    text
}

#[cfg(test)]
mod tests {
    use burla_types::component::Description;
    use burla_types::{Digest, FunctionInfo};

    use super::*;

    #[test]
    fn what_a_component_says_of_itself_is_no_command_and_stays_in_its_row() {
        let function = FunctionInfo {
            name: "a::\x1b[2Jf".into(),
            signature: "()\n-> \u{9b}2J".into(),
            doc: "one\x07\ttwo\nthree".into(),
            source: "".into(),
            place: "".into(),
        };
        let description =
            Description { functions: vec![function], imports: vec!["wasi:\x1b[31m\nrow".to_owned()], exports: Vec::new() };
        let digest = Digest::of(b"x");
        let text = as_table(&Packaged { path: "a\nb\x1bc.wasm".into(), digest, size_bytes: 1500, description });
        let expected = [
            "component  a␊b␛c.wasm".to_owned(),
            format!("digest     {digest}"),
            "size       1.5 KB".to_owned(),
            "functions  a::␛[2Jf()␊-> \\u{9b}2J".to_owned(),
            "               one␇␉two".to_owned(),
            "imports    wasi:␛[31m␊row".to_owned(),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
