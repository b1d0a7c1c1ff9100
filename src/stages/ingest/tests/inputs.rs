//! Inputs that are passed on as they are, and inputs that are not what they were.

use super::*;

#[test]
fn one_file_of_which_every_line_is_accepted_is_passed_on_and_nothing_else_is() {
    let all = || event("evt-000001", "research");
    for (lines, outputs) in [
        (all(), &["events"][..]),
        (all().trim_end().to_owned(), &["events"]),
        (all() + "\n", &[]),
        (all().repeat(2), &[]),
        (three(), &[]),
    ] {
        let space = Space::new(&lines);
        assert_eq!(space.run().passed_on, outputs, "{lines}");
        assert!(
            space
                .output("events")
                .starts_with(event("evt-000001", "research").trim_end())
        );
    }
    let mut space = Space::new(&all());
    space.write("more.ndjson", b"");
    space.events.push("more.ndjson");
    assert!(space.run().passed_on.is_empty());
    let space = Space::new(&(all() + "{}\n")).quarantine();
    assert!(space.run().passed_on.is_empty());
}

#[test]
fn bytes_that_the_action_is_not_about_are_no_input() {
    let text = event("evt-000001", "research");
    let space = Space::new(&text).revoking("");
    let names = ["in.ndjson", "schema.json", "revocations.ndjson"];
    let right: Vec<Digest> = names
        .iter()
        .map(|name| Digest::of(space.output(name).as_bytes()))
        .collect();
    let run = |digests: Vec<Digest>| space.run_on(&AtomicBool::new(false), &digests).result;
    run(right.clone()).expect("they are as the action says");
    for (place, name) in names.iter().enumerate() {
        let mut wrong = right.clone();
        wrong[place] = Digest::of(b"what was there before");
        let ended = run(wrong);
        assert!(
            matches!(&ended, Err(StageError::InputChanged { path }) if *path == format!("data/{name}")),
            "{ended:?}"
        );
    }
}

#[test]
fn a_file_that_changes_between_the_two_readings_is_refused() {
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
    let checked =
        check(&files, rules, 2, &Room::in_folder(&space.path(".")), &mut |_| Ok(())).expect("the lines are valid");
    for changed in [three().replace("care", "cure"), three().repeat(2), String::new()] {
        space.write("in.ndjson", changed.as_bytes());
        let written = write(&files, &checked, Sink::new(&mut Vec::new()), None, &mut |_| Ok(()));
        assert!(
            matches!(&written, Err(WriteError::Stage(StageError::InputChanged { path })) if path == "data/in.ndjson"),
            "{written:?}"
        );
    }
}
