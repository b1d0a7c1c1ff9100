//! What an append takes from the folder of runs: each receipt of the own key, whenever and however its file came there.

use super::{World, ids_in, overwrite};
use crate::log::append::{News, catch_up};
use crate::log::checkpoint::Absent;
use crate::log::watch::Publication;
use crate::receipt::key::SigningKey;
use crate::store::{Store, atomic};

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
