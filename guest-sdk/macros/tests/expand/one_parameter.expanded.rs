/// Doubles a number.
///
/// With a "quoted" second paragraph.
#[allow(non_camel_case_types, reason = "it stands for the function of this name")]
#[derive(Clone, Copy)]
pub struct doubles;
const _: () = {
    #[inline(never)]
    fn doubles(mut number: i64) -> i64 {
        number *= 2;
        number
    }
    impl ::burla::Function for doubles {
        type Input = i64;
        type Output = i64;
        const NAME: &'static str = ::core::concat!(::core::module_path!(), "::doubles");
        const INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
            name: ::burla::__private::Cow::Borrowed(Self::NAME),
            signature: ::burla::__private::Cow::Borrowed("(mut number: i64) -> i64"),
            doc: ::burla::__private::Cow::Borrowed(
                "Doubles a number.\n\nWith a \"quoted\" second paragraph.",
            ),
            source: ::burla::__private::Cow::Borrowed("7318a623e8335cb2"),
        };
        fn apply(
            argument_0: Self::Input,
        ) -> ::core::result::Result<Self::Output, ::burla::__private::Failure> {
            ::core::result::Result::Ok(doubles(argument_0))
        }
    }
    impl ::core::ops::Deref for doubles {
        type Target = fn(i64) -> i64;
        fn deref(&self) -> &Self::Target {
            const FUNCTION: fn(i64) -> i64 = doubles;
            &FUNCTION
        }
    }
    #[cfg(target_family = "wasm")]
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of:: < doubles > ()
    }
    #[cfg(target_family = "wasm")]
    const LINE: &::core::primitive::str = ::core::concat!(
        "{\"name\":\"", ::core::concat!(::core::module_path!(), "::doubles"),
        "\",\"signature\":\"(mut number: i64) -> i64\",\"doc\":\"Doubles a number.\\u000a\\u000aWith a \\\"quoted\\\" second paragraph.\",\"source\":\"7318a623e8335cb2\"}\n"
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
