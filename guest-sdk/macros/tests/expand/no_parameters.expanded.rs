#[allow(non_camel_case_types, reason = "it stands for the function of this name")]
#[derive(Clone, Copy)]
struct nothing;
const _: () = {
    #[inline]
    fn nothing() {}
    impl ::burla::Function for nothing {
        type Input = ();
        type Output = ();
        const NAME: &'static str = ::core::concat!(::core::module_path!(), "::nothing");
        const INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
            name: ::burla::__private::Cow::Borrowed(Self::NAME),
            signature: ::burla::__private::Cow::Borrowed("()"),
            doc: ::burla::__private::Cow::Borrowed(""),
            source: ::burla::__private::Cow::Borrowed("3ff2f3f7c393cf0f"),
        };
        fn apply(
            (): Self::Input,
        ) -> ::core::result::Result<Self::Output, ::burla::__private::Failure> {
            ::core::result::Result::Ok(nothing())
        }
    }
    impl ::core::ops::Deref for nothing {
        type Target = fn() -> ();
        fn deref(&self) -> &Self::Target {
            const FUNCTION: fn() -> () = nothing;
            &FUNCTION
        }
    }
    #[cfg(target_family = "wasm")]
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of:: < nothing > ()
    }
    #[cfg(target_family = "wasm")]
    const LINE: &::core::primitive::str = ::core::concat!(
        "{\"name\":\"", ::core::concat!(::core::module_path!(), "::nothing"),
        "\",\"signature\":\"()\",\"doc\":\"\",\"source\":\"3ff2f3f7c393cf0f\"}\n"
    );
    #[cfg(target_family = "wasm")]
    #[used]
    #[unsafe(link_section = "burla:functions")]
    static SECTION: [::core::primitive::u8; LINE.len()] = {
        let mut bytes = [0; LINE.len()];
        bytes.copy_from_slice(LINE.as_bytes());
        bytes
    };
};
