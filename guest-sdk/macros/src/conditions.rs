//! The conditions under which an item is there: what stands beside it needs the same.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token, parse_quote};

/// The `#[cfg]` attributes of an item, and those that a `#[cfg_attr]` would add.
pub(crate) fn conditions(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter_map(|attribute| condition(&attribute.meta)).map(|meta| parse_quote!(#[#meta])).collect()
}

fn condition(meta: &Meta) -> Option<TokenStream> {
    if meta.path().is_ident("cfg") {
        return Some(quote!(#meta));
    }
    let Meta::List(list) = meta else { return None };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut parts = parts.iter();
    let predicate = parts.next()?;
    let added: Vec<_> = parts.filter_map(condition).collect();
    (!added.is_empty()).then(|| quote!(cfg_attr(#predicate, #(#added),*)))
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    #[test]
    fn only_conditions_are_taken() {
        let item: syn::ItemFn = parse_quote! {
            #[inline]
            #[cfg(unix)]
            #[cfg_attr(feature = "fast", inline(always), cfg(not(test)))]
            #[cfg_attr(test, must_use)]
            fn f() {}
        };
        let taken: Vec<_> = conditions(&item.attrs).iter().map(|attribute| attribute.to_token_stream().to_string()).collect();
        let expected = ["#[cfg(unix)]", "#[cfg_attr(feature = \"fast\", cfg(not(test)))]"];
        let expected = expected.map(|text| text.parse::<TokenStream>().unwrap().to_string());
        assert_eq!(taken, expected);
    }
}
