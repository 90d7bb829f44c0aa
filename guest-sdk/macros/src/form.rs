//! A function stays a `fn` wherever rustc can find its output's type by the type of the `fn` alone.
//!
//! That cannot be where it returns a `Result` that is itself a value which could travel, because its error type implements serde's
//! traits: is the `Result` the output, or what it holds? Such a function becomes a constant of a type that says so. The macro sees
//! the names of types only. It knows the common error types by name; for others, the expansion asks the compiler, and refuses the
//! function with the advice to write `#[burla::function(fallible)]`.

use syn::{GenericArgument, PathArguments, Type};

use crate::arguments::Arguments;
use crate::signature::Signature;

/// What the function's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A `fn`, as it was written.
    Item,
    /// A constant that can be called.
    Constant,
}

impl Form {
    pub(crate) fn of(arguments: &Arguments, signature: &Signature) -> Self {
        let serde_knows_it = error_type(&signature.returned).is_some_and(implements_serde);
        if arguments.fallible || serde_knows_it { Self::Constant } else { Self::Item }
    }
}

/// `E` of `Result<T, E>`.
fn error_type(returned: &Type) -> Option<&Type> {
    let Type::Path(path) = returned else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.iter().nth(1)? {
        GenericArgument::Type(error) => Some(error),
        _ => None,
    }
}

/// Types that can be shown and that serde implements its traits for.
const KNOWN: &[&str] = &[
    "String",
    "bool",
    "char",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
];

fn implements_serde(ty: &Type) -> bool {
    match ty {
        Type::Paren(inner) => implements_serde(&inner.elem),
        Type::Group(inner) => implements_serde(&inner.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| match &last.arguments {
            PathArguments::None => KNOWN.iter().any(|known| last.ident == known),
            // `Box<str>`.
            PathArguments::AngleBracketed(inside) if last.ident == "Box" => inside.args.iter().all(|inside| match inside {
                GenericArgument::Type(Type::Path(path)) if path.path.is_ident("str") => true,
                GenericArgument::Type(inside) => implements_serde(inside),
                _ => false,
            }),
            _ => false,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ambiguous_becomes_a_constant() {
        let form = |text: &str| {
            let item: syn::ItemFn = syn::parse_str(&format!("fn f() -> {text} {{ todo!() }}")).unwrap();
            Form::of(&Arguments::default(), &Signature::of(&item).unwrap())
        };
        for constant in ["Result<u64, String>", "std::result::Result<(), std::string::String>", "Result<u8, Box<str>>"] {
            assert_eq!(form(constant), Form::Constant, "{constant}");
        }
        for item in [
            "u64",
            "Option<String>",
            "anyhow::Result<String>",
            "io::Result<u8>",
            "Result<u8, io::Error>",
            "Result<u8, Box<dyn Error>>",
            "Result<String, Broken>",
        ] {
            assert_eq!(form(item), Form::Item, "{item}");
        }
    }
}
