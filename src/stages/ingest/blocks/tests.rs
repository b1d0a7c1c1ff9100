use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> InputFile {
    let path = camino::Utf8Path::from_path(folder.path())
        .expect("a temporary folder is UTF-8")
        .join(name);
    crate::store::atomic::write(&path, bytes).expect("written");
    InputFile {
        absolute: path,
        name: name.into(),
        digest: None,
    }
}

/// Lines of all lengths around those that matter.
fn text() -> Vec<u8> {
    let mut bytes = Vec::new();
    for length in [
        0,
        1,
        100,
        MAX_LINE,
        MAX_LINE + 1,
        MAX_LINE + 2,
        BLOCK,
        3 * BLOCK + 17,
        5,
        0,
        BLOCK - 1,
        7,
    ] {
        bytes.extend(std::iter::repeat_n(b'x', length));
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn blocks_are_whole_lines_and_lie_where_they_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for end in ["", "no end"] {
        let bytes = [text(), end.as_bytes().to_vec()].concat();
        let files = [
            file(&folder, "a", &bytes),
            file(&folder, "empty", b""),
            file(&folder, "b", b"one\ntwo"),
        ];
        for threads in [1, 2, 3] {
            let mut lines = 0;
            let mut long = 0;
            let mut next = (0, 0);
            let whole = each_block(
                &files,
                threads,
                |block| block.bytes.len(),
                |block, length| {
                    assert_eq!(block.bytes.len(), length);
                    assert!((block.file, block.offset) >= next, "blocks come in order");
                    next = (block.file, block.offset + length as u64);
                    assert!(length <= BLOCK);
                    let from = usize::try_from(block.offset).expect("small");
                    let source: &[u8] = if block.file == 0 { &bytes } else { b"one\ntwo" };
                    if block.is_too_long {
                        assert!(source[from..].starts_with(&block.bytes[..MAX_LINE_WITH_END]));
                        long += 1;
                    } else {
                        assert_eq!(&source[from..from + length], &block.bytes[..]);
                        lines += block.bytes.split_inclusive(|byte| *byte == b'\n').count();
                    }
                    Ok(())
                },
            )
            .expect("read");
            let hashes: Vec<_> = whole.iter().map(|whole| whole.hash).collect();
            assert_eq!(
                hashes,
                [blake3::hash(&bytes), blake3::hash(b""), blake3::hash(b"one\ntwo")]
            );
            assert_eq!(
                (lines + long, long > 0),
                (12 + usize::from(!end.is_empty()) + 2, true),
                "{threads}"
            );
        }
    }
}

/// A file of many blocks.
fn long_file(folder: &tempfile::TempDir) -> [InputFile; 1] {
    let line = [vec![b'x'; BLOCK / 2], b"\n".to_vec()].concat();
    [file(folder, "long", &line.repeat(40))]
}

#[test]
fn what_ends_first_is_used_in_its_turn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = long_file(&folder);
    let work = |block: &Block| {
        // The first of those under way ends last.
        if block.offset == 0 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        block.offset
    };
    let mut used = Vec::new();
    let consume = |block: &Block, offset| {
        used.push((block.offset, offset));
        Ok(())
    };
    each_block(&files, 3, work, consume).expect("read");
    assert!(used.len() > 3 * BLOCKS_A_THREAD, "{}", used.len());
    assert!(used.is_sorted() && used.iter().all(|(of, made)| of == made), "{used:?}");
}

#[test]
fn an_error_and_a_panic_end_the_reading() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = long_file(&folder);
    let mut used = 0;
    let refused = each_block(
        &files,
        2,
        |block| block.offset,
        |_, offset| {
            used += 1;
            match offset {
                0 => Ok(()),
                _ => Err(StageError::Cancelled),
            }
        },
    );
    assert!(matches!(refused, Err(StageError::Cancelled)) && used == 2, "{used}");
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let work = |block: &Block| assert!(block.offset < 5 * BLOCK as u64, "no further");
        each_block(&files, 2, work, |_, ()| Ok(())).is_ok()
    }));
    assert!(panics.is_err());
}
