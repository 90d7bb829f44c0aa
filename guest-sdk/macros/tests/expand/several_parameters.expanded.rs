#[inline(never)]
fn joins(
    left: String,
    (a, b): (u8, u8),
    rest: std::collections::HashMap<String, Vec<u8>>,
) -> String {
    left
}
const __burla_function_joins: () = {
    {
        use ::burla::__private::NoResult as _;
        if ::burla::__private::Returned::<String>::AMBIGUOUS {
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
            ::core::concat!(::core::module_path!(), "::joins"),
        ),
        signature: ::burla::__private::Cow::Borrowed(
            "(left: String, (a, b): (u8, u8), rest: std::collections::HashMap<String, Vec<u8>>) -> String",
        ),
        doc: ::burla::__private::Cow::Borrowed(""),
        source: ::burla::__private::Cow::Borrowed("0a7a4eac9707a129"),
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
        let (__burla_argument_0, __burla_argument_1, __burla_argument_2) = ::burla::__private::decode_3::<
            String,
            (u8, u8),
            std::collections::HashMap<String, Vec<u8>>,
        >(&__BURLA_INFO, __burla_input)?;
        let __burla_function = joins;
        let __burla_returned = ::burla::__private::Returned(
                __burla_function(
                    __burla_argument_0,
                    __burla_argument_1,
                    __burla_argument_2,
                ),
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
        ::burla::__private::Registration::of(joins, & __BURLA_INFO, __burla_call)
    }
    #[cfg(target_family = "wasm")]
    const _: () = {
        const BEFORE: &::core::primitive::str = ::core::concat!(
            "{\"name\":\"", ::core::concat!(::core::module_path!(), "::joins"),
            "\",\"place\":\""
        );
        const AFTER: &::core::primitive::str = "\",\"signature\":\"(left: String, (a, b): (u8, u8), rest: std::collections::HashMap<String, Vec<u8>>) -> String\",\"doc\":\"\",\"source\":\"0a7a4eac9707a129\"}\n";
        #[used]
        #[unsafe(link_section = "burla:functions")]
        static SECTION: [::core::primitive::u8; BEFORE.len() + __BURLA_PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, __BURLA_PLACE, AFTER);
    };
};
