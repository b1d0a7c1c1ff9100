//! A log in a temporary folder, appended to and read back.

use camino::{Utf8Path, Utf8PathBuf};

use super::append::{Begin, catch_up};
use super::read::{Reading, read};
use super::{LOGS, LogId};
use crate::digest::Sha256;
use crate::receipt::key::{PublicKey, SigningKey};
use crate::store::{Store, atomic};
use crate::workspace::Workspace;

struct World {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
    key: SigningKey,
    runs: u32,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        atomic::create_folder(&root.join("runs")).expect("made");
        Self {
            _folder: folder,
            root,
            key: SigningKey::from_seed(&[3; 32]),
            runs: 0,
        }
    }

    fn runs(&self) -> Utf8PathBuf {
        self.root.join("runs")
    }

    /// Publishes the file of a run with so many receipts; what they say does not matter to a log.
    fn publish(&mut self, receipts: u32) -> Utf8PathBuf {
        self.runs += 1;
        let run = self.runs;
        let lines = (0..receipts).map(|n| line(&self.key, &format!("{run} {n}")));
        let path = self.runs().join(format!("{run:06}.intoto.jsonl"));
        atomic::write(&path, lines.collect::<String>().as_bytes()).expect("written");
        path
    }

    fn append(&self) -> super::Appended {
        catch_up(&Store::of(&self.root), &self.runs(), &self.key, Begin::IfNeeded).expect("appended")
    }

    fn logs(&self) -> Vec<LogId> {
        let entries = self.runs().join(LOGS).read_dir_utf8().expect("there");
        let mut logs: Vec<LogId> = entries
            .map(|entry| LogId::parse(entry.expect("read").file_name()).expect("a log"))
            .collect();
        logs.sort();
        logs
    }

    fn folder(&self, log: &LogId) -> Utf8PathBuf {
        self.runs().join(LOGS).join(log.to_string())
    }

    fn read(&self, log: &LogId) -> Reading {
        self.read_with(log, &self.key.public())
    }

    fn read_with(&self, log: &LogId, trusted: &PublicKey) -> Reading {
        let root = self.root.canonicalize_utf8().expect("it exists");
        let folder = Utf8Path::new("runs").join(LOGS).join(log.to_string());
        read(&Workspace::at(root), &folder, log, &[*trusted]).expect("read")
    }

    /// The one log must be whole and of that size.
    #[track_caller]
    fn is_whole(&self, size: u64) {
        let logs = self.logs();
        assert_eq!(logs.len(), 1);
        let reading = self.read(&logs[0]);
        assert_eq!(reading.faults, vec![]);
        assert_eq!(reading.head.expect("a head").0.head.size, size);
        assert_eq!(reading.entries.len() as u64, size);
    }
}

fn line(key: &SigningKey, payload: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let kind = crate::receipt::envelope::PAYLOAD_TYPE;
    let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = STANDARD.encode(key.sign(message.as_bytes()));
    let keyid = key.public().keyid();
    let payload = STANDARD.encode(payload);
    format!(
        r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{{"keyid":"{keyid}","sig":"{signature}"}}]}}"#
    ) + "\n"
}

fn files(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name();
    entries
        .into_iter()
        .map(|entry| entry.expect("listed"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| Utf8PathBuf::from_path_buf(entry.into_path()).expect("UTF-8"))
        .collect()
}

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
    assert_eq!(world.append(), super::Appended::default());
    let log = world.logs().remove(0);
    let reading = world.read(&log);
    for size in [1, 3, 254, 255, 256, 257, 512, 513, 813] {
        let bytes = std::fs::read(world.folder(&log).join(format!("checkpoint-{size}"))).expect("read");
        let signed = super::checkpoint::SignedCheckpoint::parse(&bytes).expect("a checkpoint");
        assert_eq!(reading.root_at(size), Some(signed.checkpoint.head.root), "{size}");
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
fn a_log_of_more_entries_than_two_levels_hold_reads_back() {
    let mut world = World::new();
    world.publish(65_530);
    world.append();
    world.publish(20);
    world.append();
    world.is_whole(65_550);
    let log = world.logs().remove(0);
    assert!(world.folder(&log).join("tile/2/000.p/1").exists());
}

#[test]
fn nothing_that_was_written_changes_when_more_is_appended() {
    let mut world = World::new();
    world.publish(3);
    world.append();
    let log = world.logs().remove(0);
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
    let mut world = World::new();
    world.publish(254);
    world.append();
    let log = world.logs().remove(0);
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
            let super::working::Found::Here(mut working) = super::working::Working::open(&store).expect("opened")
            else {
                panic!("the working copy is here");
            };
            let ids = (0..5).map(|n| Sha256::of(format!("2 {n}").as_bytes())).collect();
            let file = "000002.intoto.jsonl".to_owned();
            working.state.next = vec![super::working::LoggedRun { file, ids }];
            working.save().expect("saved");
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
fn any_changed_bit_of_a_file_that_counts_is_found_and_the_file_is_named() {
    let mut world = World::new();
    for receipts in [3, 250, 10] {
        world.publish(receipts);
        world.append();
    }
    let log = world.logs().remove(0);
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
    let mut world = World::new();
    for receipts in [3, 250, 10] {
        world.publish(receipts);
        world.append();
    }
    let log = world.logs().remove(0);
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
    assert_eq!(
        checkpoint.absent,
        vec![super::checkpoint::Absent { first: 0, count: 300 }]
    );
}

#[test]
fn a_copied_damaged_or_older_working_copy_begins_a_log_that_names_the_old_one() {
    for change in ["copied", "damaged", "older"] {
        let mut world = World::new();
        let working = world.root.join(".madmall/log");
        world.publish(3);
        world.append();
        let old = std::fs::read(working.join("head")).expect("read");
        let old_runs = std::fs::read(working.join("runs")).expect("read");
        world.publish(2);
        world.append();
        let first = world.logs().remove(0);
        match change {
            "copied" => {
                let copy = world.root.join("copy");
                atomic::create_folder(&copy).expect("made");
                for name in ["head", "runs"] {
                    std::fs::copy(working.join(name), copy.join(name)).expect("copied");
                }
                std::fs::rename(&working, world.root.join("away")).expect("moved");
                std::fs::rename(&copy, &working).expect("moved");
            }
            "damaged" => atomic::write(&working.join("head"), b"madmall log v1\nx").expect("written"),
            _ => {
                atomic::write(&working.join("head"), &old).expect("written");
                atomic::write(&working.join("runs"), &old_runs).expect("written");
            }
        }
        world.publish(1);
        let appended = world.append();
        let begun = appended.begun.expect("a new log is told of");
        assert_eq!(appended.receipts, 6, "{change}: the new log has everything");
        let second = world.read(&begun.log);
        assert_eq!(second.faults, vec![]);
        let path = world.folder(&begun.log).join("checkpoint-6");
        let bytes = std::fs::read(path).expect("read");
        let checkpoint = super::checkpoint::SignedCheckpoint::parse(&bytes)
            .expect("a checkpoint")
            .checkpoint;
        assert_eq!(
            checkpoint.continues.map(|head| head.log),
            (change != "damaged").then(|| first.clone()),
            "{change}"
        );
        assert_eq!(world.read(&first).faults, vec![], "{change}: the old log is as it was");
    }
}

#[test]
fn a_file_of_another_key_is_not_appended_and_a_key_that_is_not_trusted_counts_for_nothing() {
    let mut world = World::new();
    world.publish(1);
    world.append();
    let own = std::mem::replace(&mut world.key, SigningKey::from_seed(&[4; 32]));
    world.publish(2);
    world.key = own;
    assert_eq!(world.append().receipts, 0);
    world.is_whole(1);
    let log = world.logs().remove(0);
    let other = SigningKey::from_seed(&[5; 32]).public();
    let reading = world.read_with(&log, &other);
    assert!(reading.head.is_none() && reading.faults.is_empty() && reading.foreign.len() == 1);
}

#[cfg(unix)]
#[test]
fn links_and_other_files_are_faults_and_are_not_followed() {
    let mut world = World::new();
    world.publish(1);
    world.append();
    let log = world.logs().remove(0);
    let folder = world.folder(&log);
    std::os::unix::fs::symlink("/etc", folder.join("tile/entries/001")).expect("a link");
    std::os::unix::fs::symlink("checkpoint-1", folder.join("checkpoint-2")).expect("a link");
    atomic::write(&folder.join("note.txt"), b"x").expect("written");
    atomic::write(&folder.join(".madmall-tmp-x"), b"x").expect("written");
    let mut named: Vec<_> = world.read(&log).faults.into_iter().map(|fault| fault.file).collect();
    named.sort();
    assert_eq!(named, ["checkpoint-2", "note.txt", "tile/entries/001"]);
}
