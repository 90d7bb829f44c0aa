#[inline(never)]
fn joins(
    left: String,
    (a, b): (u8, u8),
    rest: std::collections::HashMap<String, Vec<u8>>,
) -> String {
    left
}
#[allow(
    deprecated,
    dead_code,
    non_upper_case_globals,
    reason = "it registers the function, and has no use itself"
)]
const __burla_joins: () = {
    {
        #[allow(unused_imports, reason = "the type decides whether it applies")]
        use ::burla::__private::NoResult as _;
        if ::burla::__private::Returned::<String>::AMBIGUOUS {
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
            ::core::concat!(::core::module_path!(), "::joins"),
        ),
        signature: ::burla::__private::Cow::Borrowed(
            "(left: String, (a, b): (u8, u8), rest: std::collections::HashMap<String, Vec<u8>>) -> String",
        ),
        doc: ::burla::__private::Cow::Borrowed(""),
        source: ::burla::__private::Cow::Borrowed("0a7a4eac9707a129"),
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
        let (argument_0, argument_1, argument_2) = ::burla::__private::decode::<
            fn(String, (u8, u8), std::collections::HashMap<String, Vec<u8>>),
        >(&INFO, input)?;
        let function = joins;
        let returned = ::burla::__private::Returned(
                function(argument_0, argument_1, argument_2),
            )
            .into_result();
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
        ::burla::__private::Registration::of(joins, & INFO, __burla_call)
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
        static SECTION: [::core::primitive::u8; BEFORE.len() + PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, PLACE, AFTER);
    };
};
