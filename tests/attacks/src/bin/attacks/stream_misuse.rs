//! Uses streams and files as std never does: writes without having asked how much it may write, and reads as much as can be asked
//! for. The first is trapped; the second gives what there is.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack(way: u32) -> Result<usize, String> {
    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

    match way {
        0 => wasip2::cli::stdout::get_stdout().write(&vec![b'x'; 1 << 20]).map(|()| 0).map_err(|error| error.to_string()),
        1 => wasip2::cli::stdout::get_stdout().write_zeroes(u64::MAX).map(|()| 0).map_err(|error| error.to_string()),
        _ => {
            let said = |error: wasip2::filesystem::types::ErrorCode| error.name().to_owned();
            let (directory, _) = get_directories().into_iter().next().ok_or("there is no directory")?;
            let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
            let file = directory.open_at(PathFlags::empty(), "file", OpenFlags::CREATE, flags).map_err(said)?;
            file.write(b"12345", 0).map_err(said)?;
            let (bytes, _) = file.read(u64::MAX, 0).map_err(said)?;
            Ok(bytes.len())
        }
    }
}
