//! Tries to leave its directory: by `..`, by absolute paths, by symbolic links, by slashes at the end, by second names and by
//! renaming. Nothing that it reaches is outside. It reads what any machine has, and writes nothing that would do harm where it
//! succeeded.

use std::fs;
use std::io;

/// A file in the directory itself: a listing with it is no escape, however it was reached.
const MARK: &str = "inside";

/// What would appear outside of the directory.
const ESCAPED: &str = "escaped-burla-sandbox";

/// Returns what worked.
#[burla::function]
fn attack() -> io::Result<Vec<String>> {
    fs::write(MARK, "x")?;
    fs::create_dir("folder")?;
    for (target, name) in [
        ("/etc/passwd", "to-file"),
        ("../../../../../../../../etc/passwd", "to-file-above"),
        ("..", "to-parent"),
        ("folder/../..", "to-parent-by-folder"),
        ("/", "to-root"),
        ("/proc/self/root", "to-process"),
        ("to-parent/..", "to-grandparent"),
    ] {
        // Making one may be allowed; following it is not.
        let _ = link(target, name);
    }
    Ok([reads(), lists(), writes(), moves()].concat())
}

fn reads() -> Vec<String> {
    let paths = [
        "/etc/passwd",
        "../etc/passwd",
        "../../../../../../../../etc/passwd",
        "/../../../../../../../../etc/passwd",
        "folder/../../../../../../../../../etc/passwd",
        ".//..//./..//../..//../../../../etc/passwd",
        "to-file",
        "to-file/",
        "to-file/.",
        "to-file-above",
        "to-parent/../../../../../../../etc/passwd",
        "to-grandparent/../../../../../../etc/passwd",
        "to-root/etc/passwd",
        "to-process/etc/passwd",
        "/proc/self/environ",
        "/proc/self/status",
        "/dev/null",
    ];
    paths.into_iter().filter(|path| fs::read(path).is_ok()).map(|path| format!("read {path}")).collect()
}

fn lists() -> Vec<String> {
    let paths = [
        "..",
        "../",
        "../.",
        "/..",
        "/../",
        "folder/../..",
        "folder/../../",
        "to-parent",
        "to-parent/",
        "to-parent/.",
        "to-parent-by-folder/",
        "to-grandparent/",
        "to-root",
        "to-root/",
        "to-process/",
        "/proc/self/fd",
    ];
    let escapes = |path: &&str| {
        fs::read_dir(path).is_ok_and(|entries| !entries.flatten().any(|entry| entry.file_name().to_str() == Some(MARK)))
    };
    paths.into_iter().filter(escapes).map(|path| format!("list {path}")).collect()
}

fn writes() -> Vec<String> {
    let above =
        ["..", "/..", "folder/../..", "to-parent", "to-parent-by-folder", "to-grandparent", "to-root/tmp", "to-process/tmp"];
    let escapes = |above: &&str| {
        forget();
        let path = format!("{above}/{ESCAPED}");
        let made = fs::write(&path, "x").is_ok() || fs::create_dir(&path).is_ok();
        made && !is_inside()
    };
    above.into_iter().filter(escapes).map(|above| format!("write in {above}")).collect()
}

fn moves() -> Vec<String> {
    forget();
    let _ = fs::write("mine", "x");
    let out = format!("../{ESCAPED}");
    let attempts = [
        ("second name outside", fs::hard_link("mine", &out).is_ok() && !is_inside()),
        ("second name of a file outside", fs::hard_link("/etc/passwd", "stolen-1").is_ok()),
        ("second name of a file above", fs::hard_link("../../../../../../../../etc/passwd", "stolen-2").is_ok()),
        ("second name by a link", fs::hard_link("to-file", "stolen-3").is_ok() && fs::read("stolen-3").is_ok()),
        ("rename to outside", fs::rename("mine", &out).is_ok() && !is_inside()),
        ("rename from outside", fs::rename("../trash", "stolen-4").is_ok()),
        ("remove the directory itself", fs::remove_dir("/").is_ok()),
        ("remove a directory outside", fs::remove_dir("../trash").is_ok()),
    ];
    attempts.into_iter().filter(|(_, worked)| *worked).map(|(what, _)| what.to_owned()).collect()
}

/// Where it would appear if nobody has escaped: the directory and its folder for temporary files.
fn inside() -> [String; 2] {
    [ESCAPED.to_owned(), format!("tmp/{ESCAPED}")]
}

fn is_inside() -> bool {
    inside().iter().any(|path| fs::exists(path).unwrap_or(false))
}

fn forget() {
    for path in inside() {
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
    }
}

#[expect(deprecated, reason = "WASI tells no links to files from links to directories, which std's other functions do")]
fn link(target: &str, name: &str) -> io::Result<()> {
    fs::soft_link(target, name)
}
