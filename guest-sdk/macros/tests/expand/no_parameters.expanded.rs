#[inline]
fn nothing() {}
#[allow(
    deprecated,
    dead_code,
    non_upper_case_globals,
    reason = "it registers the function, and has no use itself"
)]
const __burla_nothing: () = {
    const PLACE: &::core::primitive::str = ::core::concat!(
        ::core::file!(), ":", ::core::line!(), ":", ::core::column!()
    );
    static INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
        name: ::burla::__private::Cow::Borrowed(
            ::core::concat!(::core::module_path!(), "::nothing"),
        ),
        signature: ::burla::__private::Cow::Borrowed("()"),
        doc: ::burla::__private::Cow::Borrowed(""),
        source: ::burla::__private::Cow::Borrowed("3ff2f3f7c393cf0f"),
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
        let () = ::burla::__private::decode::<fn()>(&INFO, input)?;
        let function = nothing;
        let returned = ::burla::__private::Returned(function()).into_result();
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
        ::burla::__private::Registration::of(nothing, & INFO, __burla_call)
    }
    #[cfg(target_family = "wasm")]
    const _: () = {
        const BEFORE: &::core::primitive::str = ::core::concat!(
            "{\"name\":\"", ::core::concat!(::core::module_path!(), "::nothing"),
            "\",\"place\":\""
        );
        const AFTER: &::core::primitive::str = "\",\"signature\":\"()\",\"doc\":\"\",\"source\":\"3ff2f3f7c393cf0f\"}\n";
        #[used]
        #[unsafe(link_section = "burla:functions")]
        static SECTION: [::core::primitive::u8; BEFORE.len() + PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, PLACE, AFTER);
    };
};
