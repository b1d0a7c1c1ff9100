//! A log in a temporary folder, appended to and read back.

use camino::{Utf8Path, Utf8PathBuf};

use super::append::{News, Scan, catch_up, write};
use super::checkpoint::{Absent, Checkpoint, SignedCheckpoint};
use super::files::Files;
use super::read::{Reading, read};
use super::watch::Publication;
use super::working::{Found, LoggedRun, Working};
use super::{LOGS, LogId};
use crate::digest::Sha256;
use crate::receipt::envelope::Envelope;
use crate::receipt::key::{PublicKey, SigningKey};
use crate::receipt::run_file::split_lines;
use crate::receipt::statement::ReceiptId;
use crate::stamp::Stamp;
use crate::store::{Store, atomic};
use crate::workspace::Workspace;

/// The receipts in a run's file.
fn ids_in(path: &Utf8Path) -> Vec<ReceiptId> {
    let bytes = std::fs::read(path).expect("read");
    let lines = split_lines(&bytes).expect("lines");
    let envelopes = lines.into_iter().map(|line| Envelope::parse(line).expect("a receipt"));
    envelopes.map(|envelope| envelope.receipt_id()).collect()
}

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

    /// Publishes a run's file and appends it, as a run does.
    fn run(&mut self, receipts: u32) -> super::Appended {
        let publication = Publication::begin(&self.runs());
        let path = self.publish(receipts);
        let published = publication.end(&self.runs(), path.file_name().expect("a name"), ids_in(&path));
        let store = Store::of(&self.root);
        catch_up(&store, &self.runs(), &self.key, &News::Run(published)).expect("appended")
    }

    /// Appends so many entries of one run, whose file is not looked into.
    fn fill(&mut self, count: u32) {
        self.runs += 1;
        let file = format!("{:06}.intoto.jsonl", self.runs);
        atomic::write(&self.runs().join(&file), b"").expect("written");
        let files = Files::default();
        let folder = Store::of(&self.root).log_folder();
        let mut working = match Working::open(&folder).expect("opened") {
            Found::Here(working) => working,
            _ => Box::new(Working::begin(&folder, LogId::of([7; 8]), &self.key.public(), None).expect("begun")),
        };
        let run = self.runs;
        let ids = (0..count).map(|n| Sha256::of(format!("{run} {n}").as_bytes()));
        let scan = Scan {
            next: vec![LoggedRun {
                file,
                ids: ids.collect(),
            }],
            absent: Vec::new(),
            since: working.state.edge.size(),
            looked_at: Stamp::of_folder(&self.runs()).ok(),
        };
        write(&mut working, &self.runs(), scan, &self.key, &files).expect("written");
    }

    fn checkpoint(&self, log: &LogId, size: u64) -> Checkpoint {
        let bytes = std::fs::read(self.folder(log).join(format!("checkpoint-{size}"))).expect("read");
        SignedCheckpoint::parse(&bytes).expect("a checkpoint").checkpoint
    }

    fn append(&self) -> super::Appended {
        catch_up(&Store::of(&self.root), &self.runs(), &self.key, &News::Something).expect("appended")
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

/// Writes to the file that is there, so that its folder does not change.
fn overwrite(path: &Utf8Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).expect("opened");
    std::io::Write::write_all(&mut file, bytes).expect("written");
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
fn what_happens_to_the_folder_of_runs_between_two_appends_is_noticed() {
    let mut world = World::new();
    for _ in 0..3 {
        world.run(100);
    }
    let log = world.logs().remove(0);
    let quick = world.run(1).files;
    // One that was published and never appended, in the same tick of the clock in which the append before ended.
    world.publish(2);
    assert_eq!(world.run(1).receipts, 3);
    world.is_whole(304);
    // One that went away with another branch, and came back.
    let gone = world.runs().join("000002.intoto.jsonl");
    let bytes = std::fs::read(&gone).expect("read");
    std::fs::remove_file(&gone).expect("removed");
    world.run(1);
    let missing = vec![Absent { first: 100, count: 100 }];
    assert_eq!(world.checkpoint(&log, 305).absent, missing);
    assert!(world.run(1).files < quick + 10, "it is remembered what is missing");
    assert_eq!(world.checkpoint(&log, 306).absent, missing);
    atomic::write(&gone, &bytes).expect("written");
    world.run(1);
    assert_eq!(world.checkpoint(&log, 307).absent, []);
    // The files of the log, with a checkpoint that only the other branch has.
    for name in ["checkpoint-307", "tile/0/000", "tile/entries/000"] {
        std::fs::remove_file(world.folder(&log).join(name)).expect("removed");
    }
    world.run(1);
    world.is_whole(308);
    // A file that was changed where it lies is looked at until it is whole.
    let torn = world.publish(1);
    let bytes = std::fs::read(&torn).expect("read");
    overwrite(&torn, b"x");
    assert_eq!(world.run(1).receipts, 1);
    overwrite(&torn, &bytes);
    assert_eq!(world.run(1).receipts, 2);
    world.is_whole(311);
}

#[test]
fn a_change_of_the_folder_while_a_run_publishes_is_seen_by_the_next_append() {
    let mut world = World::new();
    world.run(1);
    world.run(1);
    // After the run's file was put in place, and before its append has ended.
    let publication = Publication::begin(&world.runs());
    let path = world.publish(1);
    let published = publication.end(&world.runs(), path.file_name().expect("a name"), ids_in(&path));
    std::thread::sleep(crate::stamp::settling_time());
    world.publish(1);
    let store = Store::of(&world.root);
    let news = News::Run(published);
    let appended = catch_up(&store, &world.runs(), &world.key, &news).expect("appended");
    assert_eq!(appended.receipts, 1);
    assert_eq!(world.run(1).receipts, 2, "the one that came meanwhile, too");
    world.is_whole(5);
}

#[test]
fn another_key_begins_a_log_of_its_own_that_names_the_old_one() {
    let mut world = World::new();
    world.run(3);
    let first = world.logs().remove(0);
    let old = std::mem::replace(&mut world.key, SigningKey::from_seed(&[4; 32]));
    let news = News::Nothing;
    let store = Store::of(&world.root);
    let nothing = catch_up(&store, &world.runs(), &world.key, &news).expect("nothing to do");
    assert_eq!(
        (nothing.begun, world.logs().len()),
        (None, 1),
        "not for a run that did nothing"
    );
    let appended = world.run(2);
    let begun = appended.begun.expect("a new log is told of");
    assert_eq!(
        (begun.why, appended.receipts),
        ("it is signed by another key, and a log has one key", 2)
    );
    let continues = world.checkpoint(&begun.log, 2).continues.expect("the old head");
    assert_eq!((continues.log, continues.size), (first.clone(), 3));
    let folder = Utf8Path::new("runs").join(LOGS).join(begun.log.to_string());
    let site = Workspace::at(world.root.canonicalize_utf8().expect("it exists"));
    let both = [old.public(), world.key.public()];
    let reading = read(&site, &folder, &begun.log, &both).expect("read");
    assert_eq!(
        (reading.faults, reading.head.map(|(_, signer)| signer)),
        (vec![], Some(1))
    );

    // The other key signs a checkpoint in the old log: same root, and one that goes on.
    let mut checkpoint = world.checkpoint(&first, 3);
    checkpoint.head.size = 4;
    let path = world.folder(&first).join("checkpoint-4");
    for signer in [&world.key, &SigningKey::from_seed(&[5; 32])] {
        atomic::write(&path, &checkpoint.clone().sign(signer).to_bytes()).expect("written");
        let folder = Utf8Path::new("runs").join(LOGS).join(first.to_string());
        let reading = read(&site, &folder, &first, &both).expect("read");
        assert_eq!(reading.faults.len(), 1);
        assert_eq!(reading.faults[0].file, "checkpoint-4");
        assert!(reading.faults[0].message.contains("a log has one key"));
        assert_eq!(reading.head.expect("a head").0.head.size, 3);
    }
}

#[test]
fn receipts_name_the_own_head_and_the_largest_of_every_other_log() {
    let mut world = World::new();
    let store = Store::of(&world.root);
    let heads = |world: &World| super::heads(&store, &world.runs()).expect("read");
    assert_eq!(heads(&world), []);
    world.run(3);
    let own = world.logs().remove(0);
    assert_eq!(heads(&world), [world.checkpoint(&own, 3).head.to_named()]);
    // Its files are another branch's now: the working copy knows.
    let own_head = world.checkpoint(&own, 3).head;
    std::fs::rename(world.folder(&own), world.root.join("elsewhere")).expect("moved");
    assert_eq!(heads(&world), [own_head.to_named()]);
    let others: Vec<Checkpoint> = (0..300_u64)
        .map(|number| {
            let mut checkpoint = Checkpoint {
                head: own_head.clone(),
                continues: None,
                absent: Vec::new(),
            };
            checkpoint.head.log = LogId::of(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            checkpoint
        })
        .collect();
    for other in &others {
        let folder = world.folder(&other.head.log);
        for (size, name) in [(1, "checkpoint-1"), (7, "checkpoint-7"), (8, "checkpoint-9")] {
            let mut other = other.clone();
            other.head.size = size;
            atomic::write(&folder.join(name), &other.sign(&world.key).to_bytes()).expect("written");
        }
    }
    let named = heads(&world);
    assert_eq!(named.len(), crate::receipt::statement::MAX_LOG_HEADS);
    assert!(named.windows(2).all(|pair| pair[0].origin < pair[1].origin));
    assert!(named.contains(&own_head.to_named()));
    assert_eq!(named.iter().filter(|head| head.size == 7).count(), named.len() - 1);
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
    assert_eq!(checkpoint.absent, vec![Absent { first: 0, count: 300 }]);
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
            "damaged" => atomic::write(&working.join("head"), b"madmall log v2\nx").expect("written"),
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
        let checkpoint = world.checkpoint(&begun.log, 6);
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
