/// Doubles a number.
///
/// With a "quoted" second paragraph.
#[inline(never)]
pub fn doubles(mut number: i64) -> i64 {
    number *= 2;
    number
}
#[allow(
    deprecated,
    dead_code,
    non_upper_case_globals,
    reason = "it registers the function, and has no use itself"
)]
const __burla_doubles: () = {
    {
        #[allow(unused_imports, reason = "the type decides whether it applies")]
        use ::burla::__private::NoResult as _;
        if ::burla::__private::Returned::<i64>::AMBIGUOUS {
            ::core::panic!(
                "the error type of this `Result` implements serde's traits, so the `Result` could itself be the output: write `#[burla::function(fallible)]` if an `Err` is a failure of the call"
            )
        }
    }
    const PLACE: &::core::primitive::str = ::core::concat!(
        ::core::file!(), ":", ::core::line!(), ":", ::core::column!()
    );
    static INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
        name: ::burla::__private::Cow::Borrowed(
            ::core::concat!(::core::module_path!(), "::doubles"),
        ),
        signature: ::burla::__private::Cow::Borrowed("(mut number: i64) -> i64"),
        doc: ::burla::__private::Cow::Borrowed(
            "Doubles a number.\n\nWith a \"quoted\" second paragraph.",
        ),
        source: ::burla::__private::Cow::Borrowed("7318a623e8335cb2"),
        place: ::burla::__private::Cow::Borrowed(PLACE),
    };
    fn __burla_call(
        input: &[::core::primitive::u8],
    ) -> ::core::result::Result<
        ::burla::__private::Vec<::core::primitive::u8>,
        ::burla::__private::CallError,
    > {
        #[allow(unused_imports, reason = "the types decide which ones apply")]
        use ::burla::__private::{
            CausesOfDisplay, CausesOfDyn, CausesOfDynSendSync, CausesOfError,
            CausesOfNothing, NoResult,
        };
        let argument_0 = ::burla::__private::decode::<fn(i64)>(&INFO, input)?;
        let function = doubles;
        let returned = ::burla::__private::Returned(function(argument_0)).into_result();
        match ::burla::__private::check_error(returned) {
            ::core::result::Result::Ok(output) => {
                ::burla::__private::encode(&INFO, &output)
            }
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(
                    ::burla::__private::CallError::Failed(
                        (&&&&&::burla::__private::Probe(&error)).failure(),
                    ),
                )
            }
        }
    }
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of(doubles, & INFO, __burla_call)
    }
    #[cfg(target_family = "wasm")]
    const _: () = {
        const BEFORE: &::core::primitive::str = ::core::concat!(
            "{\"name\":\"", ::core::concat!(::core::module_path!(), "::doubles"),
            "\",\"place\":\""
        );
        const AFTER: &::core::primitive::str = "\",\"signature\":\"(mut number: i64) -> i64\",\"doc\":\"Doubles a number.\\u000a\\u000aWith a \\\"quoted\\\" second paragraph.\",\"source\":\"7318a623e8335cb2\"}\n";
        #[used]
        #[unsafe(link_section = "burla:functions")]
        static SECTION: [::core::primitive::u8; BEFORE.len() + PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, PLACE, AFTER);
    };
};
