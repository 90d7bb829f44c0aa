//! The expansion, as text: each `tests/expand/NAME.rs` beside what becomes of it, `NAME.expanded.rs`. Run with
//! `UPDATE_EXPANDED=1` to write the latter anew, and read the difference.

use std::path::{Path, PathBuf};

use quote::ToTokens;

#[test]
fn expansions_are_as_committed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expand");
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| !path.to_string_lossy().ends_with(".expanded.rs"));
    assert!(inputs.len() >= 5, "the inputs are in {}", folder.display());
    for input in inputs {
        let expected = input.with_extension("expanded.rs");
        let expanded = expand_file(&std::fs::read_to_string(&input).unwrap());
        if std::env::var_os("UPDATE_EXPANDED").is_some() {
            std::fs::write(&expected, &expanded).unwrap();
        }
        let committed = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(expanded, committed, "{} has changed; UPDATE_EXPANDED=1 writes it anew", expected.display());
    }
}

/// Expands the one item of a file, which has the attribute.
fn expand_file(source: &str) -> String {
    let mut file: syn::File = syn::parse_str(source).unwrap();
    let mut expanded = proc_macro2::TokenStream::new();
    for item in &mut file.items {
        if let syn::Item::Fn(function) = item
            && let Some(position) = function.attrs.iter().position(|attribute| attribute.path().segments.len() == 2)
        {
            function.attrs.remove(position);
            let burla = quote::quote!(::burla);
            expanded.extend(crate::function::expand(&burla, proc_macro2::TokenStream::new(), function.to_token_stream()));
        } else {
            expanded.extend(item.to_token_stream());
        }
    }
    prettyplease::unparse(&syn::parse2(expanded).unwrap())
}
