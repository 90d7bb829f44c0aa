//! What the grid runs: parses one file and counts what is in it.

use serde::{Deserialize, Serialize};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// What is in one file, or in many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// Lines of text.
    pub lines: u64,
    /// Functions and methods that have a body.
    pub functions: u64,
    /// `unsafe` blocks.
    pub unsafe_blocks: u64,
    /// Functions, traits and impls that are `unsafe`.
    pub unsafe_items: u64,
    /// Structs, enums and unions.
    pub types: u64,
    /// The longest function.
    pub longest: Option<Function>,
}

/// A function and where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its first line.
    pub line: usize,
    /// How many lines it has, from its signature to its closing brace.
    pub lines: usize,
}

/// Counts what is in the text of one file. Fails where it is not Rust.
#[burla::function]
pub fn count(text: String) -> Result<Census, syn::Error> {
    let file = syn::parse_file(&text)?;
    let mut census = Census { lines: text.lines().count() as u64, ..Census::default() };
    census.visit_file(&file);
    Ok(census)
}

impl Census {
    /// Adds what another file has.
    pub fn add(&mut self, other: &Census) {
        self.lines += other.lines;
        self.functions += other.functions;
        self.unsafe_blocks += other.unsafe_blocks;
        self.unsafe_items += other.unsafe_items;
        self.types += other.types;
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        self.functions += 1;
        self.unsafe_items += u64::from(signature.unsafety.is_some());
        let (start, end) = (signature.span().start().line, body.span().end().line);
        let lines = end + 1 - start;
        if self.longest.as_ref().is_none_or(|longest| longest.lines < lines) {
            self.longest = Some(Function { name: signature.ident.to_string(), line: start, lines });
        }
    }
}

impl<'ast> Visit<'ast> for Census {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_blocks += 1;
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.unsafe_items += u64::from(item.unsafety.is_some());
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.unsafe_items += u64::from(item.unsafety.is_some());
        visit::visit_item_trait(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.types += 1;
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.types += 1;
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.types += 1;
        visit::visit_item_union(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_once() {
        let text = "
            unsafe trait A { fn a(); fn b() { fn inner() {} } }
            unsafe impl A for B { fn a() { unsafe { unsafe {} } } }
            struct B; enum C {} union D { e: u8 }
            unsafe fn long() {

            }
        ";
        let census = count(text.to_owned()).unwrap();
        assert_eq!((census.functions, census.unsafe_blocks, census.unsafe_items, census.types), (4, 2, 3, 3));
        assert_eq!(census.longest, Some(Function { name: "long".into(), line: 5, lines: 3 }));
        assert!(count("fn broken( {".to_owned()).is_err());
    }
}
