//! What may stand in the attribute's parentheses: `crate = path` and `fallible`.

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, Path, Token};

/// The attribute's arguments.
#[derive(Default)]
pub(crate) struct Arguments {
    /// `crate = path`: where the crate `burla` is.
    pub(crate) burla: Option<Path>,
    /// `fallible`: the function returns a `Result`, and an `Err` is a failure of the call.
    pub(crate) fallible: bool,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            if input.peek(Token![crate]) {
                input.parse::<Token![crate]>()?;
                input.parse::<Token![=]>()?;
                arguments.burla = Some(input.call(Path::parse_mod_style)?);
            } else {
                let argument = input.fork();
                match input.parse::<Ident>() {
                    Ok(word) if word == "fallible" => arguments.fallible = true,
                    _ => return Err(unknown(&argument)),
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn unknown(argument: ParseStream<'_>) -> Error {
    argument.error(
        "`#[burla::function]` takes only `fallible` and `crate = path`: limits such as func_cpu are options of `remote_parallel_map`",
    )
}
