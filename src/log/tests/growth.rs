//! A log that grows: it reads back at every size, nothing that was written changes, and an append does what an
//! earlier one left undone.

use camino::Utf8PathBuf;

use super::{World, files};
use crate::digest::Sha256;
use crate::log::checkpoint::Absent;
use crate::log::files::Files;
use crate::log::working::{Found, LoggedRun, Working};
use crate::store::atomic;

#[test]
fn a_log_around_the_width_of_a_tile_reads_back_at_every_size() {
    let mut world = World::new();
    let mut size = 0;
    for receipts in [1, 2, 251, 1, 1, 1, 255, 1, 300] {
        world.publish(receipts);
        assert_eq!(world.append().receipts, u64::from(receipts));
        size += u64::from(receipts);
        world.is_whole(size);
    }
    assert_eq!(world.append().receipts, 0);
    let log = world.logs().remove(0);
    let reading = world.read(&log);
    for size in [1, 3, 254, 255, 256, 257, 512, 513, 813] {
        let root = world.checkpoint(&log, size).head.root;
        assert_eq!(reading.root_at(size), Some(root), "{size}");
    }
    assert_eq!((reading.root_at(814), reading.root_at(u64::MAX)), (None, None));
    for file in [
        "tile/entries/002",
        "tile/0/001",
        "tile/1/000.p/3",
        "checkpoint-256",
        "checkpoint-257",
    ] {
        assert!(world.folder(&log).join(file).exists(), "{file}");
    }
}

#[test]
fn logs_of_two_and_of_three_tile_levels_read_back() {
    let mut world = World::new();
    world.fill(65_530);
    for receipts in [5, 1, 1, 10] {
        world.run(receipts);
    }
    world.is_whole(65_547);
    let log = world.logs().remove(0);
    let reading = world.read(&log);
    for size in [65_530, 65_535, 65_536, 65_537, 65_547] {
        let root = world.checkpoint(&log, size).head.root;
        assert_eq!(reading.root_at(size), Some(root), "{size}");
    }
    world.fill(70_000 - 65_547);
    world.is_whole(70_000);
    for file in ["tile/2/000.p/1", "tile/1/000", "tile/1/001.p/17", "tile/0/273.p/112"] {
        assert!(world.folder(&log).join(file).exists(), "{file}");
    }
}

#[test]
fn an_append_touches_as_many_files_in_a_long_log_as_in_a_short_one() {
    let mut world = World::new();
    world.fill(110);
    // This one looks through the folder of runs, in which the folder of logs is new.
    world.run(1);
    let short = world.run(1).files;
    world.fill(69_998 - 112);
    world.run(1);
    let long = world.run(1).files;
    world.is_whole(70_000);
    assert_eq!(
        long,
        short + 4,
        "of the two tile levels above one tile each, which is there and is compared"
    );
    // Whoever looks through the folder of runs touches more.
    world.publish(1);
    assert!(world.append().files > long + 500);
}

#[test]
fn nothing_that_was_written_changes_when_more_is_appended() {
    let (mut world, log) = World::grown_by(&[3]);
    let read = |path: &Utf8PathBuf| std::fs::read(path).expect("read");
    let before: Vec<_> = files(&world.folder(&log))
        .into_iter()
        .map(|path| (read(&path), path))
        .collect();
    world.publish(4);
    world.append();
    for (bytes, path) in before {
        assert_eq!(read(&path), bytes, "{path}");
    }
}

#[test]
fn an_append_that_was_cut_short_anywhere_is_done_by_the_next_one() {
    let (mut world, log) = World::grown_by(&[254]);
    let store = world.root.join(".madmall/log");
    let before: Vec<_> = files(&store)
        .into_iter()
        .map(|path| (std::fs::read(&path).expect("read"), path))
        .collect();
    let old = files(&world.folder(&log));
    world.publish(5);
    // Cut short before anything, then after each file that it writes; the checkpoint is the last.
    world.append();
    let mut new: Vec<_> = files(&world.folder(&log))
        .into_iter()
        .filter(|path| !old.contains(path))
        .collect();
    new.sort_by_key(|path| path.as_str().contains("checkpoint"));
    let whole: Vec<_> = new.iter().map(|path| std::fs::read(path).expect("read")).collect();
    for kept in 0..new.len() {
        // What was about to be done is in the working copy before any of these files is.
        for (bytes, path) in &before {
            atomic::write(path, bytes).expect("written");
        }
        if kept > 0 {
            let Found::Here(mut working) = Working::open(&store).expect("opened") else {
                panic!("the working copy is here");
            };
            let ids = (0..5).map(|n| Sha256::of(format!("2 {n}").as_bytes())).collect();
            let file = "000002.intoto.jsonl".to_owned();
            working.state.next = vec![LoggedRun { file, ids }];
            working.save(&Files::default()).expect("saved");
        }
        for (place, path) in new.iter().enumerate() {
            match place < kept {
                true => atomic::write(path, &whole[place]).expect("written"),
                false => std::fs::remove_file(path).unwrap_or_default(),
            }
        }
        let reading = world.read(&log);
        assert_eq!(reading.faults, vec![], "cut short after {kept}");
        assert_eq!(world.append().begun, None, "cut short after {kept}");
        world.is_whole(259);
        for (path, bytes) in new.iter().zip(&whole) {
            assert_eq!(
                &std::fs::read(path).expect("read"),
                bytes,
                "cut short after {kept}: {path}"
            );
        }
    }
}

#[test]
fn full_tiles_that_another_branch_has_are_put_in_place_again() {
    let mut world = World::new();
    let first = world.publish(300);
    world.append();
    let log = world.logs().remove(0);
    std::fs::remove_dir_all(world.folder(&log)).expect("removed");
    std::fs::remove_file(&first).expect("removed");
    world.publish(2);
    world.append();
    world.is_whole(302);
    let (checkpoint, _) = world.read(&log).head.expect("a head");
    assert_eq!(checkpoint.absent, vec![Absent { first: 0, count: 300 }]);
}
