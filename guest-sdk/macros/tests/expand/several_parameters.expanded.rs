#[allow(non_camel_case_types, reason = "it stands for the function of this name")]
#[derive(Clone, Copy)]
struct joins;
const _: () = {
    #[inline(never)]
    fn joins(
        left: String,
        (a, b): (u8, u8),
        rest: std::collections::HashMap<String, Vec<u8>>,
    ) -> String {
        left
    }
    impl ::burla::Function for joins {
        type Input = (String, (u8, u8), std::collections::HashMap<String, Vec<u8>>);
        type Output = String;
        const NAME: &'static str = ::core::concat!(::core::module_path!(), "::joins");
        const INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
            name: ::burla::__private::Cow::Borrowed(Self::NAME),
            signature: ::burla::__private::Cow::Borrowed(
                "(left: String, (a, b): (u8, u8), rest: std::collections::HashMap<String, Vec<u8>>) -> String",
            ),
            doc: ::burla::__private::Cow::Borrowed(""),
            source: ::burla::__private::Cow::Borrowed("0a7a4eac9707a129"),
        };
        fn apply(
            (argument_0, argument_1, argument_2): Self::Input,
        ) -> ::core::result::Result<Self::Output, ::burla::__private::Failure> {
            ::core::result::Result::Ok(joins(argument_0, argument_1, argument_2))
        }
    }
    impl ::core::ops::Deref for joins {
        type Target = fn(
            String,
            (u8, u8),
            std::collections::HashMap<String, Vec<u8>>,
        ) -> String;
        fn deref(&self) -> &Self::Target {
            const FUNCTION: fn(
                String,
                (u8, u8),
                std::collections::HashMap<String, Vec<u8>>,
            ) -> String = joins;
            &FUNCTION
        }
    }
    #[cfg(target_family = "wasm")]
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of:: < joins > ()
    }
    #[cfg(target_family = "wasm")]
    const LINE: &::core::primitive::str = ::core::concat!(
        "{\"name\":\"", ::core::concat!(::core::module_path!(), "::joins"),
        "\",\"signature\":\"(left: String, (a, b): (u8, u8), rest: std::collections::HashMap<String, Vec<u8>>) -> String\",\"doc\":\"\",\"source\":\"0a7a4eac9707a129\"}\n"
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
