//! What a function may look like. Everything that is refused is refused here, all of it at once, each at its own place and with
//! what to write instead.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Error, FnArg, ItemFn, PathArguments, ReturnType, Safety, Type};

/// Parameters that a function may have, as `burla_guest` has code for.
const PARAMETERS_MAX: usize = 12;

/// What the expansion needs to know of a function that may be one.
pub(crate) struct Signature {
    /// The types of the parameters, in order.
    pub(crate) parameters: Vec<Type>,
    /// The return type; `()` where there is none.
    pub(crate) returned: Type,
    /// The same as written, with a place for errors about it.
    pub(crate) returns: TokenStream,
    /// Where errors about the return type are shown.
    pub(crate) returns_span: Span,
    /// Whether the return type may be a `Result`, under whatever name.
    pub(crate) may_be_result: bool,
}

impl Signature {
    /// Reads a function's signature, or says all that is wrong with it.
    pub(crate) fn of(item: &ItemFn) -> Result<Self, Error> {
        let mut refusals = Refusals::default();
        refusals.check_qualifiers(item);
        let parameters: Vec<Type> = item.sig.inputs.iter().filter_map(|input| refusals.parameter(input)).collect();
        if parameters.len() > PARAMETERS_MAX {
            let instead = format!("a Burla function has at most {PARAMETERS_MAX} parameters: put them into a struct");
            refusals.refuse(&item.sig.inputs, &instead);
        }
        if let ReturnType::Type(_, ty) = &item.sig.output {
            refusals.returns(ty);
        }
        refusals.into_result()?;

        let (returned, returns_span) = match &item.sig.output {
            ReturnType::Default => (syn::parse_quote!(()), item.sig.ident.span()),
            ReturnType::Type(_, ty) => ((**ty).clone(), ty.span()),
        };
        let returns = returned.to_token_stream();
        let may_be_result = matches!(returned, Type::Path(_) | Type::Group(_) | Type::Paren(_) | Type::Macro(_));
        Ok(Self { parameters, returned, returns, returns_span, may_be_result })
    }
}

#[derive(Default)]
struct Refusals(Option<Error>);

impl Refusals {
    fn refuse(&mut self, place: impl ToTokens, instead: &str) {
        let error = Error::new_spanned(place, instead);
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    fn into_result(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }

    fn check_qualifiers(&mut self, item: &ItemFn) {
        let signature = &item.sig;
        if let Some(token) = &signature.asyncness {
            self.refuse(
                token,
                "a Burla function cannot be async: remove `async`; the calls run at the same time anyway, each in its own instance",
            );
        }
        if let Safety::Unsafe(token) = &signature.safety {
            self.refuse(
                token,
                "a Burla function cannot be unsafe: remove `unsafe`, and put the unsafe block inside the function",
            );
        }
        if let Some(abi) = &signature.abi {
            self.refuse(abi, "a Burla function cannot have a foreign ABI: remove `extern`");
        }
        if !signature.generics.params.is_empty() {
            self.refuse(
                &signature.generics,
                "a Burla function cannot be generic: write the concrete types, one function for each",
            );
        } else if let Some(clause) = &signature.generics.where_clause {
            self.refuse(
                clause,
                "a Burla function cannot have a where clause: its types are concrete, so there is nothing to bound",
            );
        }
        if let Some(variadic) = &signature.variadic {
            self.refuse(variadic, "a Burla function cannot be variadic: take a `Vec`");
        }
        if signature.ident == "main" {
            self.refuse(&signature.ident, "`main` starts the program: put the work into a function of another name");
        }
    }

    fn parameter(&mut self, input: &FnArg) -> Option<Type> {
        match input {
            FnArg::Receiver(receiver) => {
                self.refuse(
                    receiver,
                    "a Burla function cannot be a method: write a free `fn` that takes the value as a parameter",
                );
                None
            }
            FnArg::Typed(parameter) => {
                self.owned(&parameter.ty, "parameter");
                Some((*parameter.ty).clone())
            }
        }
    }

    fn returns(&mut self, ty: &Type) {
        if let Type::Never(never) = ty {
            self.refuse(never, "a Burla function must return: write the type of its output, or nothing");
        }
        self.owned(ty, "return value");
    }

    /// Refuses whatever cannot travel to another machine as a value of its own.
    fn owned(&mut self, ty: &Type, role: &'static str) {
        Borrowed { refusals: self, role }.visit_type(ty);
    }
}

struct Borrowed<'a> {
    refusals: &'a mut Refusals,
    role: &'static str,
}

impl<'ast> Visit<'ast> for Borrowed<'_> {
    fn visit_type_reference(&mut self, reference: &'ast syn::TypeReference) {
        let owned = owned_form(&reference.elem);
        let role = self.role;
        let instead = format!("a {role} of a Burla function travels to another machine and cannot be borrowed: write `{owned}`");
        self.refusals.refuse(reference, &instead);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        let role = self.role;
        self.refusals.refuse(
            ty,
            &format!("a {role} of a Burla function cannot be `impl Trait`: write the concrete type, such as `Vec<T>`"),
        );
    }

    fn visit_type_trait_object(&mut self, ty: &'ast syn::TypeTraitObject) {
        let role = self.role;
        self.refusals.refuse(
            ty,
            &format!("a {role} of a Burla function cannot be `dyn Trait`: write the concrete type, or an enum of them"),
        );
    }

    fn visit_type_ptr(&mut self, ty: &'ast syn::TypePtr) {
        let role = self.role;
        self.refusals.refuse(ty, &format!("a {role} of a Burla function cannot be a pointer: write the value's own type"));
    }

    fn visit_lifetime(&mut self, lifetime: &'ast syn::Lifetime) {
        let role = self.role;
        self.refusals.refuse(lifetime, &format!("a {role} of a Burla function cannot borrow: use a type without lifetimes"));
    }

    // What a `fn(&T)` type or the error of a `Result` names inside is not our business where it is not part of the value.
    fn visit_type_fn_ptr(&mut self, ty: &'ast syn::TypeFnPtr) {
        let role = self.role;
        self.refusals
            .refuse(ty, &format!("a {role} of a Burla function cannot be a function: send a value that says which one to call"));
    }

    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        // `Result<T, E>`: only the output travels, the error is displayed where it happens. `Box<dyn Error>` is the usual one.
        if segment.ident == "Result" && self.role == "return value" {
            if let PathArguments::AngleBracketed(arguments) = &segment.arguments
                && let Some(output) = arguments.args.first()
            {
                self.visit_generic_argument(output);
            }
            return;
        }
        syn::visit::visit_path_segment(self, segment);
    }
}

/// The owned type that people mean when they borrow this one.
fn owned_form(borrowed: &Type) -> String {
    match borrowed {
        Type::Slice(slice) => format!("Vec<{}>", crate::render::render(slice.elem.to_token_stream())),
        other => match crate::render::render(other.to_token_stream()).as_str() {
            "str" => "String".to_owned(),
            "Path" | "std::path::Path" => "PathBuf".to_owned(),
            // `OsString` has serde's traits on no target that calls run on.
            "OsStr" | "std::ffi::OsStr" | "ffi::OsStr" => "String` or `PathBuf".to_owned(),
            owned => owned.to_owned(),
        },
    }
}
