//! One log at the sizes where a tree changes its shape, read back by the library at each.
//!
//! Where `MADMALL_FOREIGN_LOGS` names a folder, the log as it was at each size is left there, as `<size>/<log id>`, with the
//! public key in `public-key`, so that other programs can judge the same files (`tests/foreign/run`).

use camino::{Utf8Path, Utf8PathBuf};
use madmall::digest::{Digest, Digests};
use madmall::log::{self, LOGS, LogId, News};
use madmall::receipt::envelope;
use madmall::receipt::statement::{Made, Repository};
use madmall::store::Store;
use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

use super::world::{Claimed, World, key, stage_statement};

/// One entry; a tile that is not full, is full, and has a neighbour; a full tile of the second level; an odd size above it.
const SIZES: [usize; 6] = [1, 255, 256, 257, 65_536, 70_000];
/// How many receipts a run's file has at most.
const A_RUN: usize = 2_000;

/// The line of a receipt that no other is like.
fn line(number: usize) -> String {
    let statement = stage_statement(Claimed {
        stage: "a",
        action: Digest::of(b"a"),
        definition: Digest::of(b"a"),
        inputs: Vec::new(),
        output: ("out.txt", Digests::of(&number.to_le_bytes())),
        definition_file: Digests::of(b"p"),
        made: Made {
            commit: None,
            differs: Vec::new(),
            repository: Repository::None,
        },
        run: format!("run-{number}"),
        finished_on: "2026-11-23T09:15:00Z".to_owned(),
    });
    envelope::sign(&statement, &key(1)).expect("a statement").line
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in from.read_dir_utf8().expect("a folder") {
        let (from, to) = entry
            .map(|e| (e.path().to_owned(), to.join(e.file_name())))
            .expect("read");
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(from, to).expect("copied")),
        }
    }
}

#[test]
fn a_log_of_any_shape_is_read_back_whole() {
    let kept = std::env::var_os("MADMALL_FOREIGN_LOGS");
    let kept = kept.map(|folder| Utf8PathBuf::try_from(std::path::PathBuf::from(folder)).expect("UTF-8"));
    let world = World::new();
    let store = Store::of(world.workspace.root());
    store.create().expect("a store");
    let runs = world.path("runs");
    let mut written = 0;
    for size in SIZES {
        while written < size {
            let end = size.min(written + A_RUN);
            let lines: Vec<String> = (written..end).into_par_iter().map(line).collect();
            world.write(&format!("runs/run-{written:06}.intoto.jsonl"), lines.concat());
            written = end;
        }
        log::catch_up(&store, &runs, &key(1), &News::Something).expect("appended");
        let folder = runs.join(LOGS);
        let logs: Vec<_> = folder.read_dir_utf8().expect("there is a log").flatten().collect();
        let [only] = &logs[..] else {
            panic!("one log, not {logs:?}")
        };
        let id = LogId::parse(only.file_name()).expect("a log's id");
        let place = Utf8Path::new("runs").join(LOGS).join(only.file_name());
        let reading = log::read(&world.workspace, &place, &id, &[key(1).public()]).expect("it can be read");
        assert_eq!(reading.faults, [], "at size {size}");
        let (head, _) = reading.head.expect("a checkpoint");
        assert_eq!((head.head.size, reading.entries.len()), (size as u64, size));
        if let Some(kept) = &kept {
            copy(only.path(), &kept.join(size.to_string()).join(only.file_name()));
        }
    }
    if let Some(kept) = &kept {
        std::fs::write(kept.join("public-key"), key(1).public().to_hex()).expect("written");
    }
}
