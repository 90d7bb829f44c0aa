#[inline(never)]
fn reads(path: std::path::PathBuf) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}
#[allow(
    deprecated,
    dead_code,
    non_upper_case_globals,
    reason = "it registers the function, and has no use itself"
)]
const __burla_reads: () = {
    {
        #[allow(unused_imports, reason = "the type decides whether it applies")]
        use ::burla::__private::NoResult as _;
        if ::burla::__private::Returned::<std::io::Result<Vec<u8>>>::AMBIGUOUS {
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
            ::core::concat!(::core::module_path!(), "::reads"),
        ),
        signature: ::burla::__private::Cow::Borrowed(
            "(path: std::path::PathBuf) -> std::io::Result<Vec<u8>>",
        ),
        doc: ::burla::__private::Cow::Borrowed(""),
        source: ::burla::__private::Cow::Borrowed("5005f0be3a630932"),
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
        let argument_0 = ::burla::__private::decode::<
            fn(std::path::PathBuf),
        >(&INFO, input)?;
        let function = reads;
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
        ::burla::__private::Registration::of(reads, & INFO, __burla_call)
    }
    #[cfg(target_family = "wasm")]
    const _: () = {
        const BEFORE: &::core::primitive::str = ::core::concat!(
            "{\"name\":\"", ::core::concat!(::core::module_path!(), "::reads"),
            "\",\"place\":\""
        );
        const AFTER: &::core::primitive::str = "\",\"signature\":\"(path: std::path::PathBuf) -> std::io::Result<Vec<u8>>\",\"doc\":\"\",\"source\":\"5005f0be3a630932\"}\n";
        #[used]
        #[unsafe(link_section = "burla:functions")]
        static SECTION: [::core::primitive::u8; BEFORE.len() + PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, PLACE, AFTER);
    };
};
