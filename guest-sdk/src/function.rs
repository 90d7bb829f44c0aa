//! How `remote_parallel_map` knows a function: its types from the type of the `fn` itself, its name from the registry.
//!
//! A marked `fn` stays a plain `fn`, because no other item leaves its name free for variables, modules and crates. Its own type has
//! no name, so nothing can be implemented for it alone: [`IntoFunction`] is implemented for whatever can be called, and its type
//! parameter, which rustc infers, tells apart a function that returns a value from one that returns a `Result`.
//!
//! The two can only be told apart where the `Result` itself is not a [`Value`], that is, where its error type does not implement
//! serde's traits. For the others, such as `Result<u64, String>`, the macro makes a [`Constant`]. See decision 017.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use burla_types::FunctionInfo;

use crate::registry;
use crate::value::Value;

/// A function that `remote_parallel_map` takes: the name of a `fn` that is marked with `#[burla::function]`.
///
/// `Kind` is inferred. A function of your own that passes one on has the bound `F: burla::IntoFunction<Kind>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on a grid",
    label = "this is not a marked function whose types can travel",
    note = "mark a `fn` with `#[burla::function]` and pass it by name, without calling it",
    note = "it takes up to twelve parameters of owned types that implement serde's traits, and returns such a type, or a `Result` of one"
)]
pub trait IntoFunction<Kind> {
    /// The type of the one parameter; of several, their tuple; of none, `()`.
    type Input: Value;

    /// What the function returns; of a `Result<T, E>`, `T`.
    type Output: Value;

    #[doc(hidden)]
    type Function: Function<Input = Self::Input, Output = Self::Output>;

    #[doc(hidden)]
    fn into_function(self) -> Self::Function;
}

/// A function with its types, and what is known of it at run time.
pub trait Function: Copy + 'static {
    /// The type of the one parameter; of several, their tuple; of none, `()`.
    type Input: Value;

    /// What the function returns; of a `Result<T, E>`, `T`.
    type Output: Value;

    /// Its name and description, or what is wrong with it if it is not marked with `#[burla::function]`.
    ///
    /// # Errors
    ///
    /// [`NotMarked`].
    fn info(&self) -> Result<&'static FunctionInfo, NotMarked>;
}

/// Something that can be called and is not marked with `#[burla::function]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMarked {
    /// Its path or its type.
    pub function: &'static str,
}

impl fmt::Display for NotMarked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function } = self;
        if let Some(around) = function.strip_suffix("::{{closure}}") {
            write!(
                f,
                "a closure in `{around}` cannot run on a grid: write a `fn`, mark it with `#[burla::function]`, and pass it by name"
            )
        } else if function.contains("fn(") {
            write!(f, "a pointer `{function}` does not say which function runs on the grid: pass the function by its own name")
        } else {
            write!(f, "`{function}` cannot run on a grid: mark the `fn` with `#[burla::function]`")
        }
    }
}

impl std::error::Error for NotMarked {}

/// The kind of a function that returns a value.
pub struct Returns<Signature>(PhantomData<fn() -> Signature>);

/// The kind of a function that returns a `Result`.
pub struct ReturnsResult<Signature>(PhantomData<fn() -> Signature>);

/// The kind of what is a [`Function`] itself.
pub struct Itself;

impl<F: Function> IntoFunction<Itself> for F {
    type Input = F::Input;
    type Output = F::Output;
    type Function = F;

    fn into_function(self) -> F {
        self
    }
}

/// A `fn` by its own type.
pub struct Item<F, I, O> {
    item: PhantomData<F>,
    types: PhantomData<fn(I) -> O>,
}

impl<F, I, O> Clone for Item<F, I, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F, I, O> Copy for Item<F, I, O> {}

impl<F, I, O> fmt::Debug for Item<F, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(type_name::<F>())
    }
}

impl<F: 'static, I: Value, O: Value> Function for Item<F, I, O> {
    type Input = I;
    type Output = O;

    fn info(&self) -> Result<&'static FunctionInfo, NotMarked> {
        registry::info_of::<F>().ok_or(NotMarked { function: type_name::<F>() })
    }
}

/// What the macro makes of a function that returns a `Result` whose error type implements serde's traits: a constant of the
/// function's name, which can be called and passed to `remote_parallel_map`.
pub struct Constant<P> {
    function: P,
    info: &'static FunctionInfo,
}

impl<P> Constant<P> {
    /// The macro calls this.
    pub const fn new(function: P, info: &'static FunctionInfo) -> Self {
        Self { function, info }
    }
}

impl<P: Copy> Clone for Constant<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Copy> Copy for Constant<P> {}

impl<P> fmt::Debug for Constant<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.info.name)
    }
}

/// A value that derefs to a function pointer can be called.
impl<P> Deref for Constant<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.function
    }
}

/// A list of parameters, as the type of a function that has them.
pub trait Parameters {
    /// How they travel: the one parameter; several as a tuple; none as `()`.
    type Input: Value;
}

macro_rules! functions_of {
    ($(($($parameter:ident)*) as $input:ty;)*) => {$(
        impl<$($parameter: Value),*> Parameters for fn($($parameter),*) {
            type Input = $input;
        }

        impl<Callable, Output, $($parameter),*> IntoFunction<Returns<fn($($parameter),*) -> Output>> for Callable
        where
            Callable: Fn($($parameter),*) -> Output + Copy + 'static,
            fn($($parameter),*): Parameters,
            Output: Value,
        {
            type Input = <fn($($parameter),*) as Parameters>::Input;
            type Output = Output;
            type Function = Item<Callable, Self::Input, Output>;

            fn into_function(self) -> Self::Function {
                Item { item: PhantomData, types: PhantomData }
            }
        }

        impl<Callable, Output, Error, $($parameter),*> IntoFunction<ReturnsResult<fn($($parameter),*) -> Result<Output, Error>>>
            for Callable
        where
            Callable: Fn($($parameter),*) -> Result<Output, Error> + Copy + 'static,
            fn($($parameter),*): Parameters,
            Output: Value,
        {
            type Input = <fn($($parameter),*) as Parameters>::Input;
            type Output = Output;
            type Function = Item<Callable, Self::Input, Output>;

            fn into_function(self) -> Self::Function {
                Item { item: PhantomData, types: PhantomData }
            }
        }

        impl<Output, Error, $($parameter),*> Function for Constant<fn($($parameter),*) -> Result<Output, Error>>
        where
            fn($($parameter),*): Parameters,
            Output: Value,
            Error: 'static,
            $($parameter: 'static,)*
        {
            type Input = <fn($($parameter),*) as Parameters>::Input;
            type Output = Output;

            fn info(&self) -> Result<&'static FunctionInfo, NotMarked> {
                Ok(self.info)
            }
        }
    )*};
}

functions_of! {
    () as ();
    (A) as A;
    (A B) as (A, B);
    (A B C) as (A, B, C);
    (A B C D) as (A, B, C, D);
    (A B C D E) as (A, B, C, D, E);
    (A B C D E F) as (A, B, C, D, E, F);
    (A B C D E F G) as (A, B, C, D, E, F, G);
    (A B C D E F G H) as (A, B, C, D, E, F, G, H);
    (A B C D E F G H I) as (A, B, C, D, E, F, G, H, I);
    (A B C D E F G H I J) as (A, B, C, D, E, F, G, H, I, J);
    (A B C D E F G H I J K) as (A, B, C, D, E, F, G, H, I, J, K);
    (A B C D E F G H I J K L) as (A, B, C, D, E, F, G, H, I, J, K, L);
}
