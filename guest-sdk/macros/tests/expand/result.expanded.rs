#[inline(never)]
pub(crate) fn parses(text: String) -> Result<i64, Box<dyn std::error::Error>> {
    Ok(text.parse()?)
}
const __burla_function_parses: () = {
    {
        use ::burla::__private::NoResult as _;
        if ::burla::__private::Returned::<
            Result<i64, Box<dyn std::error::Error>>,
        >::AMBIGUOUS {
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
            ::core::concat!(::core::module_path!(), "::parses"),
        ),
        signature: ::burla::__private::Cow::Borrowed(
            "(text: String) -> Result<i64, Box<dyn std::error::Error>>",
        ),
        doc: ::burla::__private::Cow::Borrowed(""),
        source: ::burla::__private::Cow::Borrowed("90fea904ccd7f301"),
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
            String,
        >(&__BURLA_INFO, __burla_input)?;
        let __burla_function = parses;
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
        ::burla::__private::Registration::of(parses, & __BURLA_INFO, __burla_call)
    }
    #[cfg(target_family = "wasm")]
    const _: () = {
        const BEFORE: &::core::primitive::str = ::core::concat!(
            "{\"name\":\"", ::core::concat!(::core::module_path!(), "::parses"),
            "\",\"place\":\""
        );
        const AFTER: &::core::primitive::str = "\",\"signature\":\"(text: String) -> Result<i64, Box<dyn std::error::Error>>\",\"doc\":\"\",\"source\":\"90fea904ccd7f301\"}\n";
        #[used]
        #[unsafe(link_section = "burla:functions")]
        static SECTION: [::core::primitive::u8; BEFORE.len() + __BURLA_PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, __BURLA_PLACE, AFTER);
    };
};
