//! Lines for which there is no room in memory.

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::event::{Event, Reader};
use super::super::repeats::{Repeats, Sighting};
use super::super::verdicts::Verdict;
use super::*;
use crate::stages::room::Room;

/// A line of a file; what kind it is, and which id and which bytes it has.
type Line = (u8, u8, bool);

fn text((kind, id, mark): Line) -> String {
    match kind {
        0 => "\n".to_owned(),
        1 => "{}\n".to_owned(),
        _ => {
            event(&format!("evt-{id:06}"), "care").replace("2026-01-05", if mark { "2026-01-06" } else { "2026-01-05" })
        }
    }
}

/// What becomes of the lines that are not blank, worked out from their ids and bytes alone.
fn expected(lines: &[Line]) -> Vec<bool> {
    let mut first: HashMap<u8, (usize, bool)> = HashMap::new();
    let mut accepted = Vec::new();
    for (kind, id, mark) in lines.iter().filter(|(kind, ..)| *kind != 0) {
        let place = accepted.len();
        accepted.push(false);
        if *kind == 1 {
            continue;
        }
        match first.get(id) {
            None => {
                first.insert(*id, (place, *mark));
                accepted[place] = true;
            }
            Some((_, other)) if other == mark => {}
            Some((other, _)) => accepted[*other] = false,
        }
    }
    accepted
}

/// All that the first reading gives, with so much room in memory.
fn seen(space: &Space, held: usize) -> (Vec<Verdict>, Vec<String>, [u64; 2]) {
    let scratch = space.path("scratch");
    fs::create_dir_all(&scratch).expect("made");
    let files: Vec<InputFile> = space.events.iter().map(|name| space.input(name)).collect();
    let rules = Rules {
        schema: &EventSchema::byte_event(),
        purpose: None,
        revocations: &Revocations::default(),
        non_revocable: NonRevocable::Honour,
        tokens: None,
        ahead: None,
    };
    let checked = check(&files, rules, 1, &Room::with(&scratch, held), &mut |_| Ok(())).expect("read");
    let mut verdicts = Vec::new();
    let mut reader = checked.verdicts.reader().expect("read");
    while let Some(verdict) = reader.next_verdict().expect("read") {
        verdicts.push(verdict);
    }
    assert_eq!(fs::read_dir(scratch).expect("listed").count(), 0, "no file has a name");
    (verdicts, checked.faults.render(&files), [checked.lines, checked.blank])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn what_becomes_of_lines_does_not_depend_on_memory(
        lines in prop::collection::vec((0..8_u8, 0..6_u8, prop::bool::weighted(0.2)), 1..120),
        cut in 0..120_usize,
        packed: bool,
        many: bool,
    ) {
        let lines: Vec<Line> = match many {
            // Hardly an id stands twice.
            true => (0..).zip(&lines).map(|(n, (kind, id, mark))| (*kind, n ^ (id & 1), *mark)).collect(),
            false => lines,
        };
        let (first, second) = lines.split_at(cut.min(lines.len()));
        let files = [first, second].map(|lines| lines.iter().copied().map(text).collect::<String>());
        let mut space = Space::new(&files[0]);
        space.write("second", &match packed {
            true => ::zstd::encode_all(files[1].as_bytes(), 1).expect("a frame"),
            false => files[1].clone().into_bytes(),
        });
        space.events.push("second");
        let whole = seen(&space, 1 << 20);
        let accepted: Vec<bool> = whole.0.iter().map(|verdict| verdict.is_accepted()).collect();
        prop_assert_eq!(accepted, expected(&lines));
        for held in [0, 32, 100, 1000] {
            prop_assert_eq!(&seen(&space, held), &whole, "{} bytes held", held);
        }
    }
}

#[test]
fn a_line_that_is_another_by_the_time_it_is_read_again_is_refused() {
    let (line, other) = (event("evt-000001", "care"), event("evt-000002", "care"));
    let space = Space::new(&format!("{line}{other}"));
    let files = [space.input("in.ndjson")];
    let schema = EventSchema::byte_event();
    let id = |line: &str| {
        let mut reader = Reader::new(&schema, None);
        let told = |event: &Event<'_>| event.short();
        reader.read(line.trim_end().as_bytes(), told).expect("an event")
    };
    // What the second line was when it was first read: the same as the first, or what it is.
    for (was, is_refused) in [(&line, true), (&other, false)] {
        let mut seen = Repeats::new(Room::with(&space.path("absent"), 1 << 20));
        for (number, (id, offset)) in (0..).zip([(id(&line), 0), (id(was), line.len() as u64)]) {
            let sighting = Sighting {
                id,
                index: number,
                line: number,
                offset,
            };
            seen.add(sighting).expect("there is room");
        }
        let reader = Reader::new(&schema, None);
        match seen.find(&files, &|_| 0, reader, &mut |_, _| panic!("no id stands twice")) {
            Ok(()) => assert!(!is_refused),
            Err(error) => assert!(is_refused && matches!(error, StageError::InputChanged { .. })),
        }
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_said_and_nothing_is_let_in() {
    let space = Space::new(&three());
    let files = [space.input("in.ndjson")];
    let rules = Rules {
        schema: &EventSchema::byte_event(),
        purpose: None,
        revocations: &Revocations::default(),
        non_revocable: NonRevocable::Honour,
        tokens: None,
        ahead: None,
    };
    let absent = Room::with(&space.path("absent"), 0);
    match check(&files, rules, 1, &absent, &mut |_| Ok(())) {
        Err(StageError::Io {
            verb: "write", path, ..
        }) => assert!(path.ends_with("absent")),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[test]
fn lines_without_end_of_what_is_no_event_are_counted_all_and_listed_to_a_bound() {
    let mut text = "1\n".repeat(5000) + "{}\n";
    text.push_str(&three());
    let space = Space::new(&text);
    let refusal = space.refusal();
    assert_eq!(refusal.summary, "5,001 of 5,004 events are invalid");
    assert_eq!(refusal.details.len(), 1000);
    let rules: u64 = refusal.unlisted + 1000;
    // An object without anything has as many faults as it lacks fields.
    assert!(rules > 5001, "{rules}");
    let report = Space::new(&text).quarantine();
    report.run().result.expect("set aside");
    let by_rule = &report.report()["faults_by_rule"];
    let counted: u64 = by_rule
        .as_object()
        .expect("an object")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(counted, rules);
}
