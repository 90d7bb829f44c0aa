//! Writes without std, past the calls that std makes: at offsets of a file, and through a stream of its own for each piece. All
//! of them count, and the last is told that there is no space.

#[cfg(target_family = "wasm")]
#[burla::function]
fn attack() -> Result<u64, String> {
    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

    // What is written where nothing stops it: four times what it is given.
    const BYTES_MAX: u64 = 256 << 20;

    let said = |error: ErrorCode| error.name().to_owned();
    let (directory, _) = get_directories().into_iter().next().ok_or("there is no directory")?;
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let file = directory.open_at(PathFlags::empty(), "raw", OpenFlags::CREATE, flags).map_err(said)?;
    let mebibyte = vec![7u8; 1 << 20];
    let mut written = 0;
    while written < BYTES_MAX {
        match file.write(&mebibyte, written) {
            Ok(bytes) => written += bytes,
            Err(ErrorCode::InsufficientSpace) => break,
            Err(error) => return Err(said(error)),
        }
        // A stream that begins at the end, as large a piece as it takes.
        let stream = file.write_via_stream(written).map_err(said)?;
        let permit = stream.check_write().unwrap_or(0).min(mebibyte.len() as u64);
        let piece = &mebibyte[..usize::try_from(permit).unwrap_or(0)];
        if stream.write(piece).and_then(|()| stream.blocking_flush()).is_err() {
            break;
        }
        written += permit;
    }
    Ok(written)
}
