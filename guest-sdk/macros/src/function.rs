//! The expansion: the function as it was written, and beside it what registers it.
//!
//! A function that returns a `Result` whose error type implements serde's traits becomes a constant of its name instead; `form.rs`
//! has the reason and says when.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Error, Expr, ExprLit, ItemFn, Lit, Meta};

use crate::arguments::Arguments;
use crate::conditions::conditions;
use crate::form::Form;
use crate::render::render;
use crate::signature::Signature;

/// Expands `#[burla::function]` on `item`, where the crate `burla` is at `burla`. What is wrong comes out as `compile_error!`,
/// beside the item as it was, so that its other uses still compile and one mistake gives one error.
pub(crate) fn expand(burla: &TokenStream, attribute: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(burla, attribute, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #item)
        }
    }
}

fn try_expand(burla: &TokenStream, attribute: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    let arguments: Arguments = syn::parse2(attribute)?;
    let item: ItemFn = syn::parse2(item.clone())
        .map_err(|_| Error::new_spanned(item, "`#[burla::function]` goes on a free `fn` with a body"))?;
    let signature = Signature::of(&item)?;
    let burla = arguments.burla.as_ref().map_or_else(|| burla.clone(), ToTokens::to_token_stream);
    let expansion = Expansion { burla, item: &item, signature: &signature };
    Ok(match Form::of(&arguments, &signature) {
        Form::Item => expansion.item(),
        Form::Constant => expansion.constant(),
    })
}

struct Expansion<'a> {
    /// The path of the crate `burla`.
    burla: TokenStream,
    item: &'a ItemFn,
    signature: &'a Signature,
}

impl Expansion<'_> {
    /// The function as it is, and a constant that registers it. The constant has a name because a method would have one message
    /// more otherwise, about constants.
    fn item(&self) -> TokenStream {
        let mut function = self.item.clone();
        keep_in_backtraces(&mut function.attrs);
        // What is not there cannot be registered.
        let conditions = conditions(&self.item.attrs);
        let unambiguous = self.unambiguous();
        let registration = self.registration();
        let constant = Ident::new(&format!("__burla_function_{}", self.item.sig.ident.unraw()), Span::call_site());
        // Only where it is needed: an `allow` is an error in a crate that forbids the lint.
        let is_deprecated = self.item.attrs.iter().any(|attribute| attribute.path().is_ident("deprecated"));
        let deprecated = is_deprecated.then(|| quote!(#[allow(deprecated)]));
        quote! {
            #function

            #(#conditions)*
            #deprecated
            const #constant: () = {
                #unambiguous
                #registration
            };
        }
    }

    /// A constant of the function's name. The function is inside it, under the same name: names in its body mean what they meant,
    /// and it can call itself.
    fn constant(&self) -> TokenStream {
        let Self { burla, item, signature } = self;
        let (name, visibility) = (&item.sig.ident, &item.vis);
        let (parameters, returns) = (&signature.parameters, &signature.returns);
        let is_outer = |attribute: &&Attribute| ["doc", "deprecated"].iter().any(|name| attribute.path().is_ident(name));
        let (outer, inner): (Vec<_>, Vec<_>) = item.attrs.iter().partition(is_outer);
        let mut function = (*item).clone();
        function.vis = syn::Visibility::Inherited;
        function.attrs = inner.into_iter().cloned().collect();
        keep_in_backtraces(&mut function.attrs);
        let conditions = conditions(&item.attrs);
        let registration = self.registration();
        // A name that the macro has made, so that no lint asks for capital letters.
        let mut constant = name.clone();
        constant.set_span(name.span().resolved_at(Span::call_site()));
        quote! {
            #(#outer)*
            #(#conditions)*
            #visibility const #constant: #burla::__private::Constant<fn(#(#parameters),*) -> #returns> = {
                #function
                #registration
                #burla::__private::Constant::new(#name, &__BURLA_INFO)
            };
        }
    }

    /// Refuses a `Result` that could itself be an output, at its own place. Without this, each use of the function would be an
    /// error about missing type annotations.
    fn unambiguous(&self) -> TokenStream {
        let (burla, returns) = (&self.burla, &self.signature.returns);
        if !self.signature.may_be_result {
            return TokenStream::new();
        }
        quote_spanned! {self.signature.returns_span=>
            {
                use #burla::__private::NoResult as _;
                if #burla::__private::Returned::<#returns>::AMBIGUOUS {
                    ::core::panic!("the error type of this `Result` implements serde's traits, so the `Result` could itself be the output: write `#[burla::function(fallible)]` if an `Err` is a failure of the call")
                }
            }
        }
    }

    /// An entry in the registry, and in a component a line of JSON in its `burla:functions` section.
    fn registration(&self) -> TokenStream {
        let Self { burla, item, .. } = self;
        let name = &item.sig.ident;
        let Description { signature, doc, source } = Description::of(item);
        let path = path(item);
        let call = self.call();
        // A path holds nothing that JSON would escape.
        let rest = format!(r#"","signature":{},"doc":{},"source":{}}}{}"#, json(&signature), json(&doc), json(&source), '\n');
        quote! {
            const __BURLA_PLACE: &::core::primitive::str =
                ::core::concat!(::core::file!(), ":", ::core::line!(), ":", ::core::column!());

            static __BURLA_INFO: #burla::__private::FunctionInfo = #burla::__private::FunctionInfo {
                name: #burla::__private::Cow::Borrowed(#path),
                signature: #burla::__private::Cow::Borrowed(#signature),
                doc: #burla::__private::Cow::Borrowed(#doc),
                source: #burla::__private::Cow::Borrowed(#source),
                place: #burla::__private::Cow::Borrowed(__BURLA_PLACE),
            };

            #call

            #burla::__private::inventory::submit! {
                #burla::__private::Registration::of(#name, &__BURLA_INFO, __burla_call)
            }

            #[cfg(target_family = "wasm")]
            const _: () = {
                const BEFORE: &::core::primitive::str = ::core::concat!("{\"name\":\"", #path, "\",\"place\":\"");
                const AFTER: &::core::primitive::str = #rest;

                #[used]
                #[unsafe(link_section = "burla:functions")]
                static SECTION: [::core::primitive::u8; BEFORE.len() + __BURLA_PLACE.len() + AFTER.len()] =
                    #burla::__private::line(BEFORE, __BURLA_PLACE, AFTER);
            };
        }
    }

    /// The function on bytes. Each error about a type is at that type, and there is one for each. The names are none that a user would
    /// give, because the types of the parameters and the function itself are named among them.
    fn call(&self) -> TokenStream {
        let Self { burla, item, signature } = self;
        let name = &item.sig.ident;
        let arguments: Vec<_> =
            (0..signature.parameters.len()).map(|position| format_ident!("__burla_argument_{position}")).collect();
        let binding = match arguments.as_slice() {
            [one] => quote!(#one),
            several => quote!((#(#several),*)),
        };
        let decode = format_ident!("decode_{}", signature.parameters.len());
        let span = signature.parameters.first().map_or_else(Span::call_site, syn::spanned::Spanned::span);
        let burla_there = respanned(burla, span);
        let parameters = &signature.parameters;
        let decode = quote_spanned!(span=> #burla_there::__private::#decode::<#(#parameters),*>);
        let span = signature.returns_span;
        let burla_there = respanned(burla, span);
        // rustc shows such errors at the argument.
        let (returned, output) = (Ident::new("__burla_returned", span), Ident::new("__burla_output", span));
        let check_error = quote_spanned!(span=> #burla_there::__private::check_error(#returned));
        let encode = quote_spanned!(span=> #burla_there::__private::encode(&__BURLA_INFO, &#output));
        quote! {
            fn __burla_call(
                __burla_input: &[::core::primitive::u8],
            ) -> ::core::result::Result<#burla::__private::Vec<::core::primitive::u8>, #burla::__private::CallError> {
                use #burla::__private::{
                    CausesOfDisplay as _, CausesOfDyn as _, CausesOfDynSendSync as _, CausesOfError as _, CausesOfNothing as _,
                    NoResult as _,
                };
                let #binding = #decode(&__BURLA_INFO, __burla_input)?;
                let __burla_function = #name;
                let #returned = #burla::__private::Returned(__burla_function(#(#arguments),*)).into_result();
                match #check_error {
                    ::core::result::Result::Ok(#output) => #encode,
                    ::core::result::Result::Err(__burla_error) => ::core::result::Result::Err(
                        #burla::__private::CallError::Failed((&&&&&#burla::__private::Probe(&__burla_error)).failure()),
                    ),
                }
            }
        }
    }
}

/// The same path for error messages at another place.
fn respanned(path: &TokenStream, span: Span) -> TokenStream {
    let at = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    path.clone().into_iter().map(at).collect()
}

/// Inlined, a function would be missing from backtraces.
fn keep_in_backtraces(attributes: &mut Vec<Attribute>) {
    if !attributes.iter().any(|attribute| attribute.path().is_ident("inline")) {
        attributes.push(syn::parse_quote!(#[inline(never)]));
    }
}

/// `crate::path::name` as an expression made of literals.
fn path(item: &ItemFn) -> TokenStream {
    let name = format!("::{}", item.sig.ident.unraw());
    quote!(::core::concat!(::core::module_path!(), #name))
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
