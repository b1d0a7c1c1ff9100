//! The quick reader of events against the complete one: whatever it takes, the other takes, and finds the same in it.
//!
//! In CI on some ten thousand lines; `MADMALL_LINES=10000000 cargo test --release --test recognise` tries more.

#![expect(clippy::print_stderr, reason = "a long trial says how far it got")]

mod lines;
mod official;
mod schemas;

use madmall::recognise::{Member, Memory, Recogniser};
use madmall::stages::ingest::event::read_json;
use madmall::stages::ingest::schema::EventSchema;
use serde_json::Value;

use lines::Random;

/// What the quick reader says of a line, held against the complete reader: whether it took the line, and whether the other did.
#[track_caller]
fn compare(schema: &EventSchema, recogniser: &Recogniser, memory: &mut Memory, line: &[u8]) -> (bool, bool) {
    let complete = read_json(line).ok().filter(|value| schema.check(value).is_ok());
    let Some(found) = recogniser.recognise(line, memory) else {
        return (false, complete.is_some());
    };
    let shown = String::from_utf8_lossy(line);
    let event = complete.unwrap_or_else(|| panic!("taken, though it is not valid: {shown}"));
    for (member, pointer) in [
        (found.id, "/event_id"),
        (found.scope, "/consent/scope"),
        (found.revocable, "/consent/revocable"),
        (found.source, "/source"),
        (found.source_kind, "/source/kind"),
    ] {
        assert!(
            holds(member, event.pointer(pointer)),
            "{pointer} is {member:?} in {shown}"
        );
    }
    (true, true)
}

/// Whether `member` is what the tree has at its place.
fn holds(member: Member<'_>, value: Option<&Value>) -> bool {
    match (member, value) {
        (Member::Absent, None) | (Member::Null, Some(Value::Null)) => true,
        (Member::Text(text), Some(Value::String(value))) => text == value,
        (Member::Boolean(boolean), Some(Value::Bool(value))) => boolean == *value,
        (Member::Other, Some(Value::Number(_) | Value::Array(_) | Value::Object(_))) => true,
        _ => false,
    }
}

/// How many lines are tried.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a trial is to last is no matter of the tests"
)]
fn wanted(in_ci: u64) -> u64 {
    std::env::var("MADMALL_LINES")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(in_ci)
}

#[test]
fn good_events_are_taken_and_so_are_their_neighbours_that_are_valid() {
    let schema = EventSchema::byte_event();
    let recogniser = schema.recogniser().expect("it is in the subset");
    let mut memory = recogniser.memory();
    let mut random = Random::new(1);
    let lines = wanted(40_000);
    let (mut tried, mut taken, mut valid) = (0, 0, 0);
    while tried < lines {
        // How lines were made is remembered of few that differ in it, and of many no more: both are tried.
        if tried % 32 == 0 && tried > lines / 4 {
            memory = recogniser.memory();
        }
        let event = lines::event(&mut random, tried).into_bytes();
        assert_eq!(
            compare(&schema, recogniser, &mut memory, &event),
            (true, true),
            "{}",
            String::from_utf8_lossy(&event)
        );
        for _ in 0..4 {
            let mut line = event.clone();
            for _ in 0..=random.below(3) {
                lines::mutate(&mut random, &mut line);
            }
            let (quick, complete) = compare(&schema, recogniser, &mut memory, &line);
            (taken, valid) = (taken + u64::from(quick), valid + u64::from(complete));
            tried += 1;
            if tried % 1_000_000 == 0 {
                eprintln!("{tried} lines");
            }
        }
    }
    eprintln!("{lines} mutated lines: {valid} valid, {taken} of them taken");
    assert!(
        valid > lines / 20,
        "mutations leave {valid} of {lines} valid: too few to tell anything"
    );
    assert!(
        taken > valid / 2,
        "{taken} of {valid} valid lines are taken: the complete reader has too much to do"
    );
}

#[test]
fn every_schema_of_the_subset_means_the_same_to_both() {
    for (text, is_in_subset) in schemas::ALL {
        let schema = EventSchema::compile(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let Some(recogniser) = schema.recogniser() else {
            assert!(!is_in_subset, "{text} is not compiled");
            continue;
        };
        assert!(is_in_subset, "{text} is compiled");
        let mut memory = recogniser.memory();
        let mut random = Random::new(2);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..wanted(40_000) / 20 {
            let mut line = lines::value(&mut random, 0).into_bytes();
            if random.below(4) == 0 {
                lines::mutate(&mut random, &mut line);
            }
            let (quick, complete) = compare(&schema, recogniser, &mut memory, &line);
            taken += u64::from(quick);
            refused += u64::from(!complete);
        }
        assert!(
            taken > 0 && (refused > 0 || *text == "true"),
            "{text}: {taken} taken, {refused} refused: it tells nothing"
        );
    }
}
