#[allow(non_camel_case_types, reason = "it stands for the function of this name")]
#[derive(Clone, Copy)]
struct reads;
const _: () = {
    #[inline(never)]
    fn reads(path: std::path::PathBuf) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }
    impl ::burla::Function for reads {
        type Input = std::path::PathBuf;
        type Output = <std::io::Result<Vec<u8>> as ::burla::__private::ResultOf>::Ok;
        const NAME: &'static str = ::core::concat!(::core::module_path!(), "::reads");
        const INFO: ::burla::__private::FunctionInfo = ::burla::__private::FunctionInfo {
            name: ::burla::__private::Cow::Borrowed(Self::NAME),
            signature: ::burla::__private::Cow::Borrowed(
                "(path: std::path::PathBuf) -> std::io::Result<Vec<u8>>",
            ),
            doc: ::burla::__private::Cow::Borrowed(""),
            source: ::burla::__private::Cow::Borrowed("5005f0be3a630932"),
        };
        fn apply(
            argument_0: Self::Input,
        ) -> ::core::result::Result<Self::Output, ::burla::__private::Failure> {
            reads(argument_0)
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
    impl ::core::ops::Deref for reads {
        type Target = fn(std::path::PathBuf) -> std::io::Result<Vec<u8>>;
        fn deref(&self) -> &Self::Target {
            const FUNCTION: fn(std::path::PathBuf) -> std::io::Result<Vec<u8>> = reads;
            &FUNCTION
        }
    }
    #[cfg(target_family = "wasm")]
    ::burla::__private::inventory::submit! {
        ::burla::__private::Registration::of:: < reads > ()
    }
    #[cfg(target_family = "wasm")]
    const LINE: &::core::primitive::str = ::core::concat!(
        "{\"name\":\"", ::core::concat!(::core::module_path!(), "::reads"),
        "\",\"signature\":\"(path: std::path::PathBuf) -> std::io::Result<Vec<u8>>\",\"doc\":\"\",\"source\":\"5005f0be3a630932\"}\n"
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
