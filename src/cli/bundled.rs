//! Verifying a bundle: how it is told from other files, and how much of it is taken.

use camino::Utf8Path;

use super::verify::is_marked;
use crate::bundle::{Bundle, Limits, Looks, looks};
use crate::verify::report::Report;
use crate::verify::{Request, Rested, VerifyError, refused_bundle};
use crate::workspace::Workspace;

/// Whether the file at `path` is to be read as a bundle. In a project something compressed may be what a stage made; elsewhere,
/// or beside the project, it can only be a bundle that somebody damaged.
pub(super) fn is_bundle(path: &Utf8Path, workspace: &Workspace) -> bool {
    // A pipe is not waited for.
    if !path.metadata().is_ok_and(|found| found.is_file()) {
        return false;
    }
    let is_outside = path
        .canonicalize_utf8()
        .is_ok_and(|real| !real.starts_with(workspace.root()));
    let is_no_output = is_outside || !is_marked(workspace);
    match looks(path) {
        Ok(Looks::Bundle) => true,
        Ok(Looks::Compressed) => is_no_output,
        Ok(Looks::Other) => path.as_str().ends_with(".tar.zst") && is_no_output,
        Err(_) => false,
    }
}

/// Verifies what is in the bundle `file`, as it was typed in `folder`.
pub(super) fn verify_bundle(
    folder: &Utf8Path,
    file: &Utf8Path,
    request: Request<'_>,
    max_size: Option<ByteSize>,
) -> Result<(Report, Vec<Rested>), VerifyError> {
    let mut limits = Limits::default();
    if let Some(ByteSize(bytes)) = max_size {
        // Whoever says how much may be unpacked expects it, however well it is compressed.
        (limits.unpacked, limits.ratio) = (bytes, None);
    }
    let bundle = match Bundle::open(&folder.join(file), &limits) {
        Ok(bundle) => bundle,
        Err(error) => return Ok((refused_bundle(file, &error, request.trust), Vec::new())),
    };
    let (mut report, receipts) = crate::verify::examine(&Request {
        site: &bundle,
        ..request
    })?;
    let left_out = bundle.left_out();
    for left in left_out.iter().take(MOST_LEFT_OUT) {
        report
            .not_checked
            .push(format!("`{}`: left out of the bundle: {}", left.name, left.why));
    }
    if left_out.len() > MOST_LEFT_OUT {
        let more = left_out.len() - MOST_LEFT_OUT;
        report.not_checked.push(format!(
            "{more} more were left out of the bundle; its `bundle.json` names them"
        ));
    }
    Ok((report, receipts))
}

/// So many things that were left out of a bundle are named.
const MOST_LEFT_OUT: usize = 20;

/// A number of bytes, as a user writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSize(u64);

impl std::str::FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err("give a number of bytes, or one with KiB, MiB, GiB or TiB after it"),
        };
        let number: u64 = digits.parse().map_err(|_| "give a number of bytes, such as 64GiB")?;
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or("that is more bytes than there are")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_users_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("2KiB", 2048),
            ("64GiB", 64 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        for text in [
            "",
            "GiB",
            "1.5GiB",
            "-1",
            "1 GiB",
            "1GB",
            "99999999999999999999",
            "99999999TiB",
            "+1",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
