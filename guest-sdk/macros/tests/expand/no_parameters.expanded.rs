#[inline]
fn nothing() {}
const __burla_function_nothing: () = {
    const __BURLA_PLACE: &::core::primitive::str = ::core::concat!(
        ::core::file!(), ":", ::core::line!(), ":", ::core::column!()
    );
    static __BURLA_INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
        name: ::burla::__private::Cow::Borrowed(
            ::core::concat!(::core::module_path!(), "::nothing"),
        ),
        signature: ::burla::__private::Cow::Borrowed("()"),
        doc: ::burla::__private::Cow::Borrowed(""),
        source: ::burla::__private::Cow::Borrowed("3ff2f3f7c393cf0f"),
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
        let () = ::burla::__private::decode_0(&__BURLA_INFO, __burla_input)?;
        let __burla_function = nothing;
        let __burla_returned = ::burla::__private::Returned(__burla_function())
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
        ::burla::__private::Registration::of(nothing, & __BURLA_INFO, __burla_call)
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
        static SECTION: [::core::primitive::u8; BEFORE.len() + __BURLA_PLACE.len()
            + AFTER.len()] = ::burla::__private::line(BEFORE, __BURLA_PLACE, AFTER);
    };
};
