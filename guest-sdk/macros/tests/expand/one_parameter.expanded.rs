/// Doubles a number.
///
/// With a "quoted" second paragraph.
#[inline(never)]
pub fn doubles(mut number: i64) -> i64 {
    number *= 2;
    number
}
const __burla_function_doubles: () = {
    {
        use ::burla::__private::NoResult as _;
        if ::burla::__private::Returned::<i64>::AMBIGUOUS {
            ::core::panic!(
                "the error type of this `Result` implements serde's traits, so the `Result` could itself be the output: write `#[burla::function(fallible)]` if an `Err` is a failure of the call"
            )
        }
    }
    const __BURLA_PLACE: &::core::primitive::str = ::core::concat!(
        ::core::file!(), ":", ::core::line!(), ":", ::core::column!()
    );
    static __BURLA_INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
        name: ::burla::__private::Cow::Borrowed(
            ::core::concat!(::core::module_path!(), "::doubles"),
        ),
        signature: ::burla::__private::Cow::Borrowed("(mut number: i64) -> i64"),
        doc: ::burla::__private::Cow::Borrowed(
            "Doubles a number.\n\nWith a \"quoted\" second paragraph.",
        ),
        source: ::burla::__private::Cow::Borrowed("7318a623e8335cb2"),
        place: ::burla::__private::Cow::Borrowed(__BURLA_PLACE),
    };
    fn __burla_call(
        __burla_input: &[::core::primitive::u8],
    ) -> ::core::result::Result<
        ::burla::__private::Vec<::core::primitive::u8>,
        ::burla::__private::CallError,
    > {
        use ::burla::__private::{
            CausesOfDisplay as _, CausesOfDyn as _, CausesOfDynSendSync as _,
            CausesOfError as _, CausesOfNothing as _, NoResult as _,
        };
        let __burla_argument_0 = ::burla::__private::decode_1::<
            i64,
        >(&__BURLA_INFO, __burla_input)?;
        let __burla_function = doubles;
        let __burla_returned = ::burla::__private::Returned(
                __burla_function(__burla_argument_0),
            )
            .into_result();
        match ::burla::__private::check_error(__burla_returned) {
            ::core::result::Result::Ok(__burla_output) => {
                ::burla::__private::encode(&__BURLA_INFO, &__burla_output)
            }
            ::core::result::Result::Err(__burla_error) => {
                ::core::result::Result::Err(
                    ::burla::__private::CallError::Failed(
                        (&&&&&::burla::__private::Probe(&__burla_error)).failure(),
                    ),
                )
            }
        }
    }
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of(doubles, & __BURLA_INFO, __burla_call)
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
        static SECTION: [::core::primitive::u8; BEFORE.len() + __BURLA_PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, __BURLA_PLACE, AFTER);
    };
};
