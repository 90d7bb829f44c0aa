//! The WebAssembly target, which functions are built for.

use std::path::Path;
use std::process::{Command, Stdio};

const WASM_TARGET: &str = "wasm32-wasip2";

/// Looks for the target, and adds it where it is missing. An error is what to tell, with what to do.
pub(crate) fn ensure(rustc: &Path, rustup: &Path, tell: impl Fn(&str)) -> Result<(), String> {
    if is_installed(rustc) {
        return Ok(());
    }
    tell(&format!("burla: adding the WebAssembly target: rustup target add {WASM_TARGET}"));
    let status = Command::new(rustup).args(["target", "add", WASM_TARGET]).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() && is_installed(rustc) => Ok(()),
        _ => Err(format!(
            "error: the WebAssembly target {WASM_TARGET} is not installed\n  hint: run `rustup target add {WASM_TARGET}`, or install \
             the target the way your Rust was installed"
        )),
    }
}

/// Asks rustc, not rustup, whether it has the target: Rust may have been installed in other ways. A rustc that cannot
/// be started is cargo's to report.
fn is_installed(rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).args(["--print", "target-libdir", "--target", WASM_TARGET]).output() else {
        return true;
    };
    output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A toolchain whose target is installed when there is the folder `libraries`, and what was told.
    fn ensure_with(rustup: &str) -> (tempfile::TempDir, Result<(), String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let libraries = folder.path().join("libraries");
        let script = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let rustc = script("rustc", &format!("echo {}", libraries.display()));
        let rustup = script(
            "rustup",
            &format!("[ \"$*\" = 'target add wasm32-wasip2' ] || exit 9\ncd {}\n{rustup}", folder.path().display()),
        );
        let told = RefCell::new(Vec::new());
        let ensured = ensure(&rustc, &rustup, |text| told.borrow_mut().push(text.to_owned()));
        (folder, ensured, told.into_inner())
    }

    #[test]
    fn a_missing_target_is_added_and_said() {
        let (_folder, ensured, told) = ensure_with("mkdir libraries");
        assert_eq!(ensured, Ok(()));
        assert_eq!(told, ["burla: adding the WebAssembly target: rustup target add wasm32-wasip2"]);
    }

    #[test]
    fn a_target_that_cannot_be_added_is_an_error_with_what_to_do() {
        for rustup in ["exit 1", "true"] {
            let (_folder, ensured, _) = ensure_with(rustup);
            assert!(ensured.unwrap_err().contains("run `rustup target add wasm32-wasip2`"), "{rustup}");
        }
        let folder = tempfile::tempdir().unwrap();
        let rustc = folder.path().join("rustc");
        fs::write(&rustc, "#!/bin/sh\necho /nowhere\n").unwrap();
        fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(ensure(&rustc, &folder.path().join("no-rustup"), |_| {}).is_err());
    }
}
