//! The first place in which two files differ, in the words of their format.
//!
//! | format | place | largest file |
//! | --- | --- | --- |
//! | JSON (`.json`) | JSON pointer; keys are compared in the order of their names | 16 MiB |
//! | NDJSON (`.ndjson`, `.jsonl`) | line, then JSON pointer | lines of 16 MiB |
//! | CSV, TSV | row and column | rows of 16 MiB |
//! | Arrow IPC (`.arrow`, `.feather`) with texts and doubles | column and row | 64 MiB |
//! | all else, and what is not what its name says | the offset of the first byte | none |
//!
//! Rows speak of persons, so their values are not named; those of a JSON document are, if they are numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use camino::Utf8Path;

mod arrow;
mod json;
mod lines;

/// Documents, lines and rows up to this size are read whole.
const LARGEST: u64 = 16 << 20;

/// What comparing two files, whose bytes are not the same, gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The first place that differs; with a tolerance, the first one that is beyond it.
    pub(super) place: String,
    /// Whether only numbers differ, and none by more than the tolerance.
    pub(super) is_within: bool,
}

/// How far a number may be off: `|a − b| ≤ tolerance · max(1, |a|, |b|)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance(pub(super) f64);

impl Tolerance {
    /// Whether `a` and `b` are close enough.
    fn allows(self, a: f64, b: f64) -> bool {
        a.is_finite() && b.is_finite() && (a - b).abs() <= self.0 * 1_f64.max(a.abs()).max(b.abs())
    }
}

/// What a reader of a format says.
enum Found {
    /// The first place that differs.
    At(String),
    /// No value differs (or none by more than is allowed).
    Nothing,
    /// The files are not of the format, or beyond its limits.
    Unreadable,
}

/// Where `now` first differs from `before`; `name` is what the file is called.
pub(super) fn compare(before: &Utf8Path, now: &Utf8Path, name: &Utf8Path, tolerance: Option<Tolerance>) -> Difference {
    let compared = match name.extension().map(str::to_ascii_lowercase).as_deref() {
        Some("json") => json::compare(before, now, tolerance),
        Some("ndjson" | "jsonl") => lines::compare_json_lines(before, now, tolerance),
        Some("csv") => lines::compare_table(before, now, b',', tolerance),
        Some("tsv") => lines::compare_table(before, now, b'\t', tolerance),
        Some("arrow" | "feather") => arrow::compare(before, now, tolerance),
        _ => Ok(Found::Unreadable),
    };
    match compared {
        Ok(Found::At(place)) => {
            return Difference {
                place,
                is_within: false,
            };
        }
        Ok(Found::Nothing) if tolerance.is_some() => {
            let place = "no number is further off than the pipeline allows".to_owned();
            return Difference { place, is_within: true };
        }
        Ok(Found::Nothing | Found::Unreadable) | Err(_) => {}
    }
    let same_values = matches!(compared, Ok(Found::Nothing));
    let place = match first_byte(before, now) {
        Ok(Some(place)) if same_values => format!("{place} (the values are the same, and spelled otherwise)"),
        Ok(Some(place)) => place.to_string(),
        Ok(None) => "no byte: it changed back meanwhile".to_owned(),
        Err(error) => format!("a place that cannot be named: {error}"),
    };
    Difference {
        place,
        is_within: false,
    }
}

/// The first byte that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BytePlace {
    /// At this offset.
    At(u64),
    /// The old one ends at this offset, the new one goes on.
    Longer(u64),
    /// The new one ends at this offset, the old one goes on.
    Shorter(u64),
}

impl std::fmt::Display for BytePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(offset) => write!(f, "byte {offset}"),
            Self::Longer(offset) => write!(f, "byte {offset}, where it ended before"),
            Self::Shorter(offset) => write!(f, "byte {offset}, where it ends now"),
        }
    }
}

fn first_byte(before: &Utf8Path, now: &Utf8Path) -> io::Result<Option<BytePlace>> {
    let (mut before, mut now) = (open(before)?, open(now)?);
    let mut offset = 0;
    loop {
        let (one, other) = (before.fill_buf()?, now.fill_buf()?);
        match (one.is_empty(), other.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => return Ok(Some(BytePlace::Longer(offset))),
            (false, true) => return Ok(Some(BytePlace::Shorter(offset))),
            (false, false) => {}
        }
        let length = one.len().min(other.len());
        if let Some(index) = one[..length].iter().zip(&other[..length]).position(|(a, b)| a != b) {
            return Ok(Some(BytePlace::At(offset + index as u64)));
        }
        before.consume(length);
        now.consume(length);
        offset += length as u64;
    }
}

fn open(path: &Utf8Path) -> io::Result<BufReader<File>> {
    const BUFFER: usize = 256 * 1024;
    Ok(BufReader::with_capacity(BUFFER, File::open(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The difference of two texts in a file of that name.
    fn difference(name: &str, before: &[u8], now: &[u8], tolerance: Option<f64>) -> Difference {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let (one, other) = (folder.join("before"), folder.join("now"));
        crate::store::atomic::write(&one, before).expect("written");
        crate::store::atomic::write(&other, now).expect("written");
        compare(&one, &other, Utf8Path::new(name), tolerance.map(Tolerance))
    }

    fn place(name: &str, before: &str, now: &str) -> String {
        difference(name, before.as_bytes(), now.as_bytes(), None).place
    }

    #[test]
    fn bytes_differ_at_an_offset_or_end_there() {
        assert_eq!(place("x", "abc", "abd"), "byte 2");
        assert_eq!(place("x", "abc", "ab"), "byte 2, where it ends now");
        assert_eq!(place("x", "ab", "abc"), "byte 2, where it ended before");
        let (long, mut other) = (vec![b'x'; 3_000_000], vec![b'x'; 3_000_000]);
        other[2_999_999] = b'y';
        assert_eq!(difference("x", &long, &other, None).place, "byte 2999999");
    }

    #[test]
    fn json_differs_at_a_pointer() {
        let before = r#"{"b": 1, "a": {"x/y": [1, 2, {"z": 0.5}], "t": "secret"}}"#;
        assert_eq!(
            place("x.json", before, &before.replace("0.5", "0.25")),
            "/a/x~1y/2/z: 0.5 → 0.25"
        );
        assert_eq!(place("x.json", before, &before.replace("secret", "other")), "/a/t");
        assert_eq!(
            place("x.json", before, &before.replace(r#""b""#, r#""c""#)),
            "/b, which is not there now"
        );
        assert_eq!(place("x.json", "[1]", "[1,2]"), "/1, which was not there");
        assert_eq!(place("x.json", "1", "[]"), "the root");
        let spelled = place("x.json", "[1,2]", "[1, 2]");
        assert_eq!(spelled, "byte 3 (the values are the same, and spelled otherwise)");
        assert_eq!(place("x.json", "{", "}"), "byte 0");
    }

    #[test]
    fn lines_and_cells_are_counted_and_their_values_not_named() {
        let before = "{\"a\":1}\n{\"a\":2,\"b\":\"x\"}\n";
        assert_eq!(place("x.ndjson", before, &before.replace('2', "3")), "line 2, /a");
        assert_eq!(
            place("x.jsonl", before, "{\"a\":1}\n"),
            "line 2, which is not there now"
        );
        assert_eq!(place("x.ndjson", "no\n", "on\n"), "line 1");
        let before = "id,weight\n\"a,\n\"\"b\",60\nc,70\n";
        assert_eq!(
            place("x.csv", before, &before.replace("70", "71")),
            "row 3, column 2 (`weight`); the first line is row 1"
        );
        assert_eq!(
            place("x.csv", before, &before.replace("\"\"b", "b")),
            "row 2, column 1 (`id`); the first line is row 1"
        );
        assert_eq!(
            place("x.tsv", "1\t2\n", "1\t3\n"),
            "row 1, column 2; the first line is row 1"
        );
        assert_eq!(
            place("x.csv", "a\n1\n", "a\n1\n2\n"),
            "row 3, which was not there; the first line is row 1"
        );
        assert_eq!(
            place("x.csv", "a,b\n1\n", "a,b\n1,2\n"),
            "row 2, column 2 (`b`); the first line is row 1"
        );
        let spelled = place("x.csv", "a\n1\n", "a\r\n1\r\n");
        assert!(
            spelled.ends_with("(the values are the same, and spelled otherwise)"),
            "{spelled}"
        );
    }

    #[test]
    fn only_numbers_may_be_off_and_only_by_the_tolerance() {
        let within = |name: &str, before: &str, now: &str, tolerance: f64| {
            difference(name, before.as_bytes(), now.as_bytes(), Some(tolerance)).is_within
        };
        for (name, before, now) in [
            ("x.json", r#"{"a":[1.5,"t"]}"#, r#"{"a":[1.5000001,"t"]}"#),
            ("x.ndjson", "{\"a\":1.5}\n", "{\"a\":1.5000001}\n"),
            ("x.csv", "a,b\n1.5,t\n", "a,b\n1.5000001,t\n"),
        ] {
            assert!(within(name, before, now, 1e-6), "{name}");
            assert!(!within(name, before, now, 1e-9), "{name}");
            assert!(
                !within(name, before, &now.replace('t', "u"), 1e-6) || name == "x.ndjson",
                "{name}"
            );
        }
        // Relative to the larger one, absolute below 1.
        assert!(within("x.json", "1000000", "1000000.5", 1e-6));
        assert!(!within("x.json", "0.000001", "0.000003", 1e-6));
        assert!(!within("x.json", "1", "null", 1.0));
        assert!(!within("x.json", "[1]", "[1,1]", 1.0));
        assert!(!within("x.txt", "1.5", "1.5000001", 1.0), "a text has no numbers");
        let beyond = difference("x.json", b"[1,2,3]", b"[1.1,2,4]", Some(0.2)).place;
        assert_eq!(beyond, "/2: 3 → 4", "what is within the tolerance is passed over");
    }

    proptest::proptest! {
        #[test]
        fn any_two_files_differ_somewhere_without_panic(before: Vec<u8>, now: Vec<u8>, name in "[xy]\\.(json|ndjson|csv|tsv|arrow|bin)") {
            for tolerance in [None, Some(0.1)] {
                let found = difference(&name, &before, &now, tolerance);
                proptest::prop_assert!(!found.place.is_empty());
            }
        }
    }
}
