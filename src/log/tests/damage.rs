//! Files of a log that were changed, removed or added: those that count are missed, by their names.

use super::{World, files};
use crate::store::atomic;

#[test]
fn any_changed_bit_of_a_file_that_counts_is_found_and_the_file_is_named() {
    let (world, log) = World::grown_by(&[3, 250, 10]);
    let folder = world.folder(&log);
    let mut number = 7_usize;
    for path in files(&folder) {
        let whole = std::fs::read(&path).expect("read");
        for _ in 0..6 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mut bytes = whole.clone();
            let place = (number >> 20) % bytes.len();
            bytes[place] ^= 1 << ((number >> 17) % 8);
            atomic::write(&path, &bytes).expect("written");
            let reading = world.read(&log);
            let name = path.strip_prefix(&folder).expect("below");
            assert!(
                reading.faults.iter().any(|fault| fault.file == name),
                "{name} at {place}: {:?}",
                reading.faults
            );
        }
        for bytes in [&whole[..whole.len() - 1], &[]] {
            atomic::write(&path, bytes).expect("written");
            assert_ne!(world.read(&log).faults, vec![], "{path} cut");
        }
        atomic::write(&path, &whole).expect("written");
    }
    world.is_whole(263);
}

#[test]
fn tiles_that_are_needed_are_missed_and_those_that_are_not_are_not() {
    let (world, log) = World::grown_by(&[3, 250, 10]);
    let folder = world.folder(&log);
    for path in files(&folder) {
        let whole = std::fs::read(&path).expect("read");
        std::fs::remove_file(&path).expect("removed");
        let name = path.strip_prefix(&folder).expect("below").as_str().to_owned();
        let is_superseded = name.contains("/000.p/") && !name.starts_with("tile/1");
        let reading = world.read(&log);
        if name == "checkpoint-263" {
            assert_eq!(
                reading.entries.len(),
                253,
                "only what an earlier checkpoint is about counts"
            );
        } else if is_superseded || name.starts_with("checkpoint") {
            assert_eq!(reading.faults, vec![], "{name}");
        } else {
            assert!(
                reading.faults.iter().any(|fault| fault.file == name),
                "{name}: {:?}",
                reading.faults
            );
        }
        atomic::write(&path, &whole).expect("written");
    }
}

#[cfg(unix)]
#[test]
fn links_and_other_files_are_faults_and_are_not_followed() {
    let (world, log) = World::grown_by(&[1]);
    let folder = world.folder(&log);
    std::os::unix::fs::symlink("/etc", folder.join("tile/entries/001")).expect("a link");
    std::os::unix::fs::symlink("checkpoint-1", folder.join("checkpoint-2")).expect("a link");
    atomic::write(&folder.join("note.txt"), b"x").expect("written");
    atomic::write(&folder.join(".madmall-tmp-x"), b"x").expect("written");
    let mut named: Vec<_> = world.read(&log).faults.into_iter().map(|fault| fault.file).collect();
    named.sort();
    assert_eq!(named, ["checkpoint-2", "note.txt", "tile/entries/001"]);
}
