//! How the bytes of a long file come to be in another one too, and what they are.

use std::fs::File;
use std::io;

use crate::digest::{Digest, blake3_of, copy_blake3};

/// Makes `copy`, which is empty, hold what `source` holds: it shares the blocks where the file system can. Gives the BLAKE3 of what is
/// in the copy then. `tell` is told how many bytes are copied.
///
/// # Errors
///
/// Whatever reading or writing gives.
pub(crate) fn copy_file(source: &File, copy: &File, tell: impl Fn(u64)) -> io::Result<Digest> {
    let (digest, _) = match shares_blocks(source, copy) {
        true => blake3_of(copy),
        false => copy_blake3(source, copy, tell),
    }?;
    Ok(digest)
}

/// Makes `copy`, which is empty, share the blocks of `source`, if the file system can.
#[cfg(target_os = "linux")]
fn shares_blocks(source: &File, copy: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn shares_blocks(_source: &File, _copy: &File) -> bool {
    false
}
