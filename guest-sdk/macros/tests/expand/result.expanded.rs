#[allow(non_camel_case_types, reason = "it stands for the function of this name")]
#[derive(Clone, Copy)]
pub(crate) struct parses;
const _: () = {
    #[inline(never)]
    fn parses(text: String) -> Result<i64, Box<dyn std::error::Error>> {
        Ok(text.parse()?)
    }
    impl ::burla::Function for parses {
        type Input = String;
        type Output = <Result<
            i64,
            Box<dyn std::error::Error>,
        > as ::burla::__private::ResultOf>::Ok;
        const NAME: &'static str = ::core::concat!(::core::module_path!(), "::parses");
        const INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
            name: ::burla::__private::Cow::Borrowed(Self::NAME),
            signature: ::burla::__private::Cow::Borrowed(
                "(text: String) -> Result<i64, Box<dyn std::error::Error>>",
            ),
            doc: ::burla::__private::Cow::Borrowed(""),
            source: ::burla::__private::Cow::Borrowed("90fea904ccd7f301"),
        };
        fn apply(
            argument_0: Self::Input,
        ) -> ::core::result::Result<Self::Output, ::burla::__private::Failure> {
            parses(argument_0)
                .map_err(|error| {
                    #[allow(
                        unused_imports,
                        reason = "the error's type decides which one applies"
                    )]
                    use ::burla::__private::{
                        CausesOfDisplay, CausesOfDyn, CausesOfDynSendSync, CausesOfError,
                    };
                    (&&&&::burla::__private::Probe(&error)).failure()
                })
        }
    }
    impl ::core::ops::Deref for parses {
        type Target = fn(String) -> Result<i64, Box<dyn std::error::Error>>;
        fn deref(&self) -> &Self::Target {
            const FUNCTION: fn(String) -> Result<i64, Box<dyn std::error::Error>> = parses;
            &FUNCTION
        }
    }
    #[cfg(target_family = "wasm")]
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of:: < parses > ()
    }
    #[cfg(target_family = "wasm")]
    const LINE: &::core::primitive::str = ::core::concat!(
        "{\"name\":\"", ::core::concat!(::core::module_path!(), "::parses"),
        "\",\"signature\":\"(text: String) -> Result<i64, Box<dyn std::error::Error>>\",\"doc\":\"\",\"source\":\"90fea904ccd7f301\"}\n"
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
