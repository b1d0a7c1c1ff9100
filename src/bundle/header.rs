//! What stands before a member's bytes in the archive: POSIX ustar, and pax where ustar ends. One spelling.

/// Everything in a tar archive begins at a multiple of this.
pub(super) const BLOCK: usize = 512;
/// The longest name that fits the header itself.
const SHORT_NAME: usize = 100;
/// The largest size that eleven octal digits can say.
const MAX_OCTAL: u64 = 0o777_7777_7777;
/// The name that Python and BSD give a pax header as well.
const PAX_NAME: &[u8] = b"././@PaxHeader";

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;

/// The blocks before the bytes of a regular file: owner and group 0, time 0, mode 0644 or 0755. A name of more than 100 bytes or a
/// size of 8 GiB or more stands in a pax header before it.
pub(super) fn spell(name: &str, size: u64, executable: bool) -> Vec<u8> {
    let mut records = Vec::new();
    if name.len() > SHORT_NAME {
        records.extend(record("path", name));
    }
    if size > MAX_OCTAL {
        records.extend(record("size", &size.to_string()));
    }
    let mut bytes = Vec::new();
    if !records.is_empty() {
        bytes.extend(block(PAX_NAME, 0o644, records.len() as u64, b'x'));
        let padding = padding(records.len() as u64);
        bytes.append(&mut records);
        bytes.resize(bytes.len() + padding, 0);
    }
    let mode = if executable { 0o755 } else { 0o644 };
    let size = if size > MAX_OCTAL { 0 } else { size };
    bytes.extend(block(&name.as_bytes()[..name.len().min(SHORT_NAME)], mode, size, b'0'));
    bytes
}

/// How many zeros follow `size` bytes.
pub(super) fn padding(size: u64) -> usize {
    let over = size % BLOCK as u64;
    (BLOCK - usize::try_from(over).expect("less than a block")) % BLOCK
}

/// A pax record: its own length, which counts its own digits.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

fn block(name: &[u8], mode: u32, size: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    let mut put =
        |place: std::ops::Range<usize>, text: &str| block[place.start..][..text.len()].copy_from_slice(text.as_bytes());
    put(MODE, &format!("{mode:07o}"));
    put(UID, "0000000");
    put(GID, "0000000");
    put(SIZE, &format!("{size:011o}"));
    put(MTIME, "00000000000");
    put(MAGIC, "ustar\x0000");
    block[KIND] = kind;
    seal(&mut block);
    block
}

/// Puts in the checksum of all else.
pub(super) fn seal(block: &mut [u8; BLOCK]) {
    let sum = checksum(block);
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The sum of all bytes, those of the checksum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let of = |(place, byte): (usize, &u8)| u32::from(if CHECKSUM.contains(&place) { b' ' } else { *byte });
    block.iter().enumerate().map(of).sum()
}

/// The checksum that a header says, as programs spell it in several ways.
fn said_checksum(block: &[u8; BLOCK]) -> Option<u32> {
    let text = std::str::from_utf8(&block[CHECKSUM]).ok()?;
    u32::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// The size that a header says, if it is spelled as [`spell`] spells it.
pub(super) fn size_of(block: &[u8; BLOCK]) -> Option<u64> {
    let (end, digits) = block[SIZE].split_last()?;
    let is_spelled = *end == 0 && digits.iter().all(|digit| matches!(digit, b'0'..=b'7'));
    let value = |sum: u64, digit: &u8| sum * 8 + u64::from(digit - b'0');
    is_spelled.then(|| digits.iter().fold(0, value))
}

/// The name that a header has, whatever else it is.
pub(super) fn name_of(block: &[u8; BLOCK]) -> String {
    let name = &block[NAME];
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..length]).escape_debug().to_string()
}

/// Why `found` is not the block `wanted`: what it is instead, for people.
pub(super) fn difference(found: &[u8; BLOCK], wanted: &[u8; BLOCK]) -> String {
    if found.iter().all(|byte| *byte == 0) {
        return "is not there: the archive ends before it".to_owned();
    }
    let name = name_of(found);
    if said_checksum(found) != Some(checksum(found)) {
        return "has no header, or one whose checksum is wrong".to_owned();
    }
    let kind = match found[KIND] {
        kind if kind == wanted[KIND] => "",
        b'1' => "a hard link",
        b'2' => "a symbolic link",
        b'3' | b'4' => "a device",
        b'5' => "a folder",
        b'6' => "a pipe",
        b'S' => "a sparse file",
        b'L' | b'K' => "a long name in GNU's form",
        b'x' | b'g' => "a pax header that says more than it may",
        _ => "no regular file",
    };
    if !kind.is_empty() {
        return format!("is not there: in its place stands {kind}, `{name}`");
    }
    if found[NAME] != wanted[NAME] {
        return format!("is not there: in its place stands `{name}`");
    }
    let part = match () {
        () if found[SIZE] != wanted[SIZE] => "size",
        () if found[MODE] != wanted[MODE] => "mode",
        () if found[MTIME] != wanted[MTIME] => "time",
        () if found[UID] != wanted[UID] || found[GID] != wanted[GID] => "owner",
        () => "spelling",
    };
    format!("has a header whose {part} is not that of a bundle")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the `tar` crate reads of it.
    fn read_back(name: &str, size: u64, executable: bool) -> (String, u64, u32) {
        let bytes = spell(name, size, executable);
        let mut archive = tar::Archive::new(&bytes[..]);
        let entry = archive
            .entries()
            .expect("an archive")
            .next()
            .expect("one member")
            .expect("readable");
        let path = entry.path().expect("a name").to_str().expect("UTF-8").to_owned();
        assert_eq!(entry.header().mtime().ok(), Some(0));
        (path, entry.size(), entry.header().mode().expect("a mode"))
    }

    #[test]
    fn another_implementation_reads_what_is_spelled() {
        let long = format!("workspace/{}/ü", "x".repeat(300));
        for (name, size, executable) in [
            ("bundle.json", 0, false),
            ("a/b", 511, true),
            (&long, 7, false),
            ("big", 9 << 30, false),
        ] {
            let mode = if executable { 0o755 } else { 0o644 };
            assert_eq!(read_back(name, size, executable), (name.to_owned(), size, mode));
        }
    }

    #[test]
    fn a_short_header_is_what_another_implementation_spells() {
        let mut theirs = tar::Header::new_ustar();
        theirs.set_path("a/b").expect("short");
        theirs.set_size(1234);
        theirs.set_mode(0o644);
        theirs.set_uid(0);
        theirs.set_gid(0);
        theirs.set_mtime(0);
        theirs.set_entry_type(tar::EntryType::Regular);
        theirs.set_cksum();
        let ours = spell("a/b", 1234, false);
        assert_eq!(ours.len(), BLOCK);
        let differing: Vec<usize> = (0..BLOCK)
            .filter(|place| !CHECKSUM.contains(place))
            .filter(|place| ours[*place] != theirs.as_bytes()[*place])
            .collect();
        assert_eq!(differing, Vec::<usize>::new());
        // Of which they write seven digits, and GNU and POSIX six.
        assert_eq!(
            said_checksum(theirs.as_bytes()),
            Some(checksum(&ours.try_into().expect("a block")))
        );
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        assert_eq!(record("path", "x"), b"9 path=x\n");
        for length in 80..110 {
            let record = record("path", &"x".repeat(length));
            let text = String::from_utf8(record).expect("ASCII");
            assert_eq!(text.split(' ').next().and_then(|n| n.parse().ok()), Some(text.len()));
        }
    }

    #[test]
    fn padding_ends_a_block() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
