//! Compares the function of this program with the one of its name in a component. What it calls is compared elsewhere
//! (`component.rs`).

use burla_types::FunctionInfo;
use burla_types::component::Description;

/// Says how the component's function differs from this program's, if it does.
pub(crate) fn check(ours: &FunctionInfo, description: &Description) -> Result<(), String> {
    let name = &ours.name;
    let Some(packaged) = description.function(name) else {
        return Err(format!("it has no function `{name}`"));
    };
    if let Some(other) = description.namesake(packaged) {
        let (one, other) = (&packaged.place, &other.place);
        return Err(format!("it has two functions named `{name}`, at {one} and at {other}; rename one, or put it into a module"));
    }
    if packaged.signature != ours.signature {
        return Err(format!("its `{name}` is `{}`, this program's is `{}`", packaged.signature, ours.signature));
    }
    if packaged.source != ours.source {
        return Err(format!("the code of `{name}` has changed since it was built"));
    }
    if !same_place(&packaged.place, &ours.place) {
        return Err(format!("its `{name}` is at {}, this program's is at {}", packaged.place, ours.place));
    }
    Ok(())
}

/// Whether both are the same line of files of one name. The folders may differ: cargo names them from where it was started. The
/// component may be older than the field, and has `?` where a file's name has what JSON escapes.
fn same_place(packaged: &str, ours: &str) -> bool {
    let ours = ours.replace(|character: char| matches!(character, '"' | '\\' | '\0'..' '), "?");
    let file = |place: &str| place.rsplit('/').next().unwrap_or_default().to_owned();
    packaged.is_empty() || file(packaged) == file(&ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &'static str, signature: &'static str, source: &'static str, place: &'static str) -> FunctionInfo {
        FunctionInfo {
            name: name.into(),
            signature: signature.into(),
            doc: "".into(),
            source: source.into(),
            place: place.into(),
        }
    }

    fn step(place: &'static str) -> FunctionInfo {
        function("app::step", "(n: u8) -> u8", "0f", place)
    }

    fn checked(ours: &FunctionInfo, packaged: &[FunctionInfo]) -> Result<(), String> {
        check(ours, &Description { functions: packaged.to_vec(), imports: vec![], exports: vec![] })
    }

    #[test]
    fn a_function_that_was_edited_is_told_apart() {
        let ours = step("src/main.rs:3:1");
        for (packaged, part) in [
            (function("app::step", "(n: u16) -> u8", "0f", "src/main.rs:3:1"), "its `app::step` is `(n: u16) -> u8`"),
            (function("app::step", "(n: u8) -> u8", "1e", "src/main.rs:3:1"), "the code of `app::step` has changed"),
            (function("app::stop", "(n: u8) -> u8", "0f", "src/main.rs:3:1"), "it has no function `app::step`"),
        ] {
            let refusal = checked(&ours, &[packaged]).unwrap_err();
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn a_function_of_the_same_name_and_text_elsewhere_is_not_this_one() {
        let ours = step("src/main.rs:3:1");
        assert_eq!(checked(&ours, std::slice::from_ref(&ours)), Ok(()));
        assert_eq!(checked(&ours, &[step("/home/me/app/src/main.rs:3:1")]), Ok(()));
        assert_eq!(checked(&ours, &[step("")]), Ok(()));
        let elsewhere = "its `app::step` is at src/lib.rs:3:1, this program's is at src/main.rs:3:1";
        assert_eq!(checked(&ours, &[step("src/lib.rs:3:1")]), Err(elsewhere.to_owned()));
        assert!(same_place("src/a?b.rs:1:1", "src/a\"b.rs:1:1"));
    }

    #[test]
    fn two_functions_of_one_name_are_refused_with_both_places() {
        let ours = step("src/main.rs:3:1");
        let other = function("app::step", "(n: u8) -> u8", "1e", "src/main.rs:9:5");
        for packaged in [[ours.clone(), other.clone()], [other, ours.clone()]] {
            let refusal = checked(&ours, &packaged).unwrap_err();
            assert!(refusal.contains("src/main.rs:3:1") && refusal.contains("src/main.rs:9:5"), "{refusal}");
        }
    }
}
