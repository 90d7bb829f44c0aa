//! The expansion: a unit struct of the function's name, which is a `burla::Function` and derefs to the function itself.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, ItemFn, Lit, Meta};

use crate::render::render;
use crate::signature::Signature;

/// Expands `#[burla::function]` on `item`. What is wrong comes out as `compile_error!`, beside the item as it was, so that its
/// other uses still compile and one mistake gives one error.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(attribute, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #item)
        }
    }
}

fn try_expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    if !attribute.is_empty() {
        let instead = "`#[burla::function]` takes no arguments: limits such as func_cpu are options of `remote_parallel_map`";
        return Err(Error::new_spanned(attribute, instead));
    }
    let item: ItemFn = syn::parse2(item.clone())
        .map_err(|_| Error::new_spanned(item, "`#[burla::function]` goes on a free `fn` with a body"))?;
    let signature = Signature::of(&item)?;
    Ok(expand_function(&item, &signature))
}

fn expand_function(item: &ItemFn, signature: &Signature) -> TokenStream {
    let name = &item.sig.ident;
    let visibility = &item.vis;
    let (docs, attributes): (Vec<_>, Vec<_>) = item.attrs.iter().partition(|attribute| attribute.path().is_ident("doc"));

    // The body stays a function of the same name, inside the anonymous constant: names in it mean what they meant, it can call
    // itself, and a backtrace shows it under its own path.
    let mut inner = item.clone();
    inner.vis = syn::Visibility::Inherited;
    inner.attrs = attributes.into_iter().cloned().collect();
    if !inner.attrs.iter().any(|attribute| attribute.path().is_ident("inline")) {
        // Inlined, it would be missing from backtraces.
        inner.attrs.push(syn::parse_quote!(#[inline(never)]));
    }

    let implementation = implementation(item, signature);
    let deref = deref(item, signature);
    let registration = registration(item);
    quote! {
        #(#docs)*
        #[allow(non_camel_case_types, reason = "it stands for the function of this name")]
        #[derive(Clone, Copy)]
        #visibility struct #name;

        const _: () = {
            #inner
            #implementation
            #deref
            #registration
        };
    }
}

/// `impl Function`: types, name, description, and the call with its types still there.
fn implementation(item: &ItemFn, signature: &Signature) -> TokenStream {
    let name = &item.sig.ident;
    let (parameters, returns) = (&signature.parameters, &signature.returns);
    let arguments: Vec<_> = (0..parameters.len()).map(|position| format_ident!("argument_{position}")).collect();
    let input = match parameters.as_slice() {
        [one] => quote!(#one),
        several => quote!((#(#several),*)),
    };
    let binding = match arguments.as_slice() {
        [one] => quote!(#one),
        several => quote!((#(#several),*)),
    };
    let span = signature.returns.span();
    let (output, call) = if signature.returns_result {
        let output = quote_spanned!(span=> <#returns as ::burla::__private::ResultOf>::Ok);
        let call = quote! {
            #name(#(#arguments),*).map_err(|error| {
                #[allow(unused_imports, reason = "the error's type decides which one applies")]
                use ::burla::__private::{CausesOfDisplay, CausesOfDyn, CausesOfDynSendSync, CausesOfError};
                (&&&&::burla::__private::Probe(&error)).failure()
            })
        };
        (output, call)
    } else {
        (returns.clone(), quote!(::core::result::Result::Ok(#name(#(#arguments),*))))
    };
    let (path, info) = (path(item), info(item));
    quote! {
        impl ::burla::Function for #name {
            type Input = #input;
            type Output = #output;
            const NAME: &'static str = #path;
            const INFO: ::burla::__private::FunctionInfo = #info;

            fn apply(#binding: Self::Input) -> ::core::result::Result<Self::Output, ::burla::__private::Failure> {
                #call
            }
        }
    }
}

/// What lets `my_function(21)` still call it: a value that derefs to a function pointer can be called.
fn deref(item: &ItemFn, signature: &Signature) -> TokenStream {
    let name = &item.sig.ident;
    let (parameters, returns) = (&signature.parameters, &signature.returns);
    quote! {
        impl ::core::ops::Deref for #name {
            type Target = fn(#(#parameters),*) -> #returns;

            fn deref(&self) -> &Self::Target {
                const FUNCTION: fn(#(#parameters),*) -> #returns = #name;
                &FUNCTION
            }
        }
    }
}

/// In a component: an entry in the registry, and a line of JSON in its `burla:functions` section.
fn registration(item: &ItemFn) -> TokenStream {
    let name = &item.sig.ident;
    let path = path(item);
    let Description { signature, doc, source } = Description::of(item);
    // The path is only known to the compiler, not to the macro, so the line is put together from literals. A path holds nothing
    // that JSON would escape.
    let rest = format!(r#"","signature":{},"doc":{},"source":{}}}{}"#, json(&signature), json(&doc), json(&source), '\n');
    quote! {
        #[cfg(target_family = "wasm")]
        ::burla::__private::inventory::submit! {
            ::burla::__private::Registration::of::<#name>()
        }

        #[cfg(target_family = "wasm")]
        const LINE: &::core::primitive::str = ::core::concat!("{\"name\":\"", #path, #rest);

        #[cfg(target_family = "wasm")]
        #[used]
        #[unsafe(link_section = "burla:functions")]
        static SECTION: [::core::primitive::u8; LINE.len()] = {
            let mut bytes = [0; LINE.len()];
            bytes.copy_from_slice(LINE.as_bytes());
            bytes
        };
    }
}

/// `crate::path::name` as an expression made of literals.
fn path(item: &ItemFn) -> TokenStream {
    let name = item.sig.ident.to_string();
    let name = format!("::{}", name.trim_start_matches("r#"));
    quote!(::core::concat!(::core::module_path!(), #name))
}

fn info(item: &ItemFn) -> TokenStream {
    let Description { signature, doc, source } = Description::of(item);
    quote! {
        ::burla::__private::FunctionInfo {
            name: ::burla::__private::Cow::Borrowed(Self::NAME),
            signature: ::burla::__private::Cow::Borrowed(#signature),
            doc: ::burla::__private::Cow::Borrowed(#doc),
            source: ::burla::__private::Cow::Borrowed(#source),
        }
    }
}

/// What a component says of the function, but for its path.
struct Description {
    signature: String,
    doc: String,
    source: String,
}

impl Description {
    fn of(item: &ItemFn) -> Self {
        let parameters = render(item.sig.inputs.to_token_stream());
        let parameters = parameters.trim_end().trim_end_matches(',');
        let returns = render(item.sig.output.to_token_stream());
        let tokens = [item.sig.to_token_stream(), item.block.to_token_stream()].map(|tokens| tokens.to_string());
        Self {
            signature: format!("({parameters}){returns}"),
            doc: item.attrs.iter().filter_map(doc_line).collect::<Vec<_>>().join("\n"),
            source: format!("{:016x}", fnv1a(tokens.concat().as_bytes())),
        }
    }
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value else { return None };
    meta.path.is_ident("doc").then(|| text.value().trim().to_owned())
}

/// FNV-1a, 64 bits (draft-eastlake-fnv). Tells versions of one function apart by mistake, not by malice: what runs is named by
/// the component's SHA-256.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn json(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}
