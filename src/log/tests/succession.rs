//! When a log ends and another begins, what that says of the one before, and which heads receipts name.

use camino::Utf8Path;

use super::World;
use crate::log::append::{News, catch_up};
use crate::log::checkpoint::Checkpoint;
use crate::log::read::read;
use crate::log::{LOGS, LogId};
use crate::receipt::key::SigningKey;
use crate::store::{Store, atomic};
use crate::workspace::Workspace;

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
fn receipts_name_the_own_head_and_the_largest_of_every_other_log() {
    let mut world = World::new();
    let store = Store::of(&world.root);
    let heads = |world: &World| crate::log::heads(&store, &world.runs()).expect("read");
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
