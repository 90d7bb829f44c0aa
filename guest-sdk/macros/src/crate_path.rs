//! Where the crate `burla` is, from where the attribute is used: a dependency may have been renamed (`grid = { package = "burla" }`).
//!
//! A procedural macro runs inside rustc, whose own command line says under which name cargo has given it each crate
//! (`--extern grid=…/libburla-0123.rlib`). No manifest says it as exactly: a rename may be inherited from the workspace.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

/// The path of the crate `burla`, as `::burla`.
pub(crate) fn crate_path(command_line: impl Iterator<Item = String>) -> TokenStream {
    let name = name(command_line).and_then(|name| syn::parse_str::<Ident>(&name).ok());
    // In rust-analyzer there is no such command line, nor is there one that is too long and was put into a file.
    let name = name.unwrap_or_else(|| Ident::new("burla", Span::call_site()));
    quote!(::#name)
}

/// The name that `--extern` gives to the crate. If the package has it twice, either will do.
fn name(command_line: impl Iterator<Item = String>) -> Option<String> {
    let mut renamed = None;
    let mut after_extern = false;
    for argument in command_line {
        let value = if std::mem::take(&mut after_extern) { Some(argument.as_str()) } else { argument.strip_prefix("--extern=") };
        after_extern = argument == "--extern";
        let Some((name, path)) = value.and_then(|value| value.split_once('=')) else { continue };
        // Options stand before the name: `priv,noprelude:NAME`.
        let name = name.rsplit(':').next().unwrap_or(name);
        if name == "burla" {
            return Some(name.to_owned());
        }
        let file = path.rsplit('/').next().unwrap_or(path);
        if file.starts_with("libburla-") {
            renamed = Some(name.to_owned());
        }
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_found_under_any_name() {
        let found = |line: &str| name(line.split(' ').map(str::to_owned));
        let cases = [
            ("rustc --extern serde=/t/deps/libserde-1.rlib --extern burla=/t/deps/libburla-2.rlib", Some("burla")),
            ("rustc --extern grid=/t/deps/libburla-2.rmeta --extern burla_types=/t/deps/libburla_types-3.rlib", Some("grid")),
            ("rustc --extern=priv:grid=/t/deps/libburla-2.rmeta", Some("grid")),
            ("rustc --extern grid=/t/deps/libburla-2.rlib --extern burla=/t/deps/libburla_guest-3.rlib", Some("burla")),
            ("rustc --extern burla_types=/t/deps/libburla_types-3.rlib --extern proc_macro", None),
            ("rust-analyzer-proc-macro-srv", None),
        ];
        for (line, expected) in cases {
            assert_eq!(found(line).as_deref(), expected, "{line}");
        }
    }
}
