//! Consent of what no receipt lists: files in folders that a stage made or an ingest read, raw events that a stage made, and what was declassified
//! later.

use crate::space::Space;

const SCHEMA: &str = include_str!("../../schemas/byte_event.schema.json");
const EVENTS: &str = include_str!("../golden/small-events.ndjson");

/// Lets events in, and makes a folder of them with other bytes than any file that a receipt names.
const FOLDER: &str = "  pages: {run: 'cut -c 1-30 ${inputs.e} > ${outputs.o}/a.txt; cut -c 2-31 ${inputs.e} > ${outputs.o}/b.txt', inputs: {e: ingest.events}, outputs: {o: site/pages/}}\n";

/// A workspace with raw events, one of which research may not use.
fn space() -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("schema.json", SCHEMA);
    space.write("raw/events.ndjson", EVENTS.replacen("\"research\"", "\"care\"", 1));
    space
}

/// A pipeline with an ingest of `events` and these stages.
fn ingest(events: &str, stages: &str) -> String {
    format!(
        "version: 1\nname: ingest\npurpose: research\nstages:\n  ingest: {{uses: madmall/ingest, inputs: {{events: {events}, schema: schema.json}}, outputs: {{events: data/events}}}}\n{stages}"
    )
}

/// Another pipeline, with one stage that reads `input`.
fn reader(input: &str) -> String {
    format!(
        "version: 1\nname: reader\nstages:\n  copy: {{run: 'cat ${{inputs.i}} > ${{outputs.o}}', inputs: {{i: {input}}}, outputs: {{o: out/copy}}}}\n"
    )
}

/// The same, for a purpose.
fn reader_for(purpose: &str, input: &str) -> String {
    reader(input).replace("name: reader", &format!("name: reader\npurpose: {purpose}"))
}

/// A second pipeline with an ingest, of the first's or any other events.
fn second_ingest(events: &str) -> String {
    let again = ingest(events, "").replace("name: ingest", "name: again");
    again.replace("data/events}", "out/again}")
}

/// Receipts that follow each other in one second are in no order that a user could know.
fn let_a_second_pass() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn a_file_of_a_folder_carries_what_the_folder_carries() {
    let space = space();
    space.write("ingest.yaml", ingest("raw/events.ndjson", FOLDER));
    space.madmall(["run", "ingest.yaml"]).success();
    for input in [
        "site/pages/a.txt",
        "'site/**/a.*'",
        "[schema.json, site/pages/b.txt]",
        "site/",
    ] {
        space.write("reader.yaml", reader(input));
        let planned = space.madmall(["plan", "reader.yaml"]);
        planned.says("would be refused: it reads what holds events of persons");
        let ran = space.madmall(["run", "reader.yaml"]).code(2);
        ran.says("carries consent to `research` alone").says("`pages`");
        assert!(!space.exists("out/copy"), "{input}");
    }
    space.write("reader.yaml", reader_for("research", "site/pages/a.txt"));
    space.madmall(["run", "reader.yaml"]).success();
    space.madmall(["verify"]).success();
    // What lies beside the folder is nobody's.
    space.write("site/pages.txt", "x");
    space.write("reader.yaml", reader("site/pages.txt"));
    space.madmall(["run", "reader.yaml"]).success();
    space.madmall(["verify"]).success();
}

#[test]
fn who_read_a_file_of_a_folder_against_its_consent_is_found_by_the_receipts() {
    let space = space();
    space.write("ingest.yaml", ingest("raw/events.ndjson", FOLDER));
    space.write("reader.yaml", reader("site/pages/a.txt"));
    space.madmall(["run", "ingest.yaml"]).success();
    // Who believes nobody else cannot know what the file is.
    let other = space.beside("work space", "other config");
    other.madmall(["run", "reader.yaml"]).success();
    let key = other.madmall(["key", "--pem"]).success();
    space.write("other.pem", key.out);
    space
        .madmall(["key", "trust", "other.pem", "--name", "Other"])
        .success();
    let verdict = space.madmall(["verify"]).code(4).says("E-CONSENT");
    verdict
        .says("site/pages/a.txt")
        .says("carries consent to `research`, and was read by a stage that states no purpose");
    // What is made of a folder that holds nothing of a person any more is as good as any other.
    let_a_second_pass();
    space.write(
        "ingest.yaml",
        ingest(
            "raw/events.ndjson",
            &FOLDER.replace("outputs:", "declassify: [o], outputs:"),
        ),
    );
    space.madmall(["run", "ingest.yaml"]).success();
    space.madmall(["run", "reader.yaml"]).success();
    space.madmall(["verify", "out/copy"]).success();
}

#[test]
fn a_file_of_a_personal_folder_is_not_named_by_plain_digests() {
    let space = space();
    let personal = FOLDER.replace("o: site/pages/", "o: {path: site/pages/, personal: true}");
    space.write("ingest.yaml", ingest("raw/events.ndjson", &personal));
    space.madmall(["run", "ingest.yaml"]).success();
    let plain = reader_for("research", "site/pages/a.txt");
    space.write("reader.yaml", &plain);
    let ran = space.madmall(["run", "reader.yaml"]).code(2);
    ran.says("input `i` (site/pages/a.txt) lies in a folder that is personal");
    space.write(
        "reader.yaml",
        plain.replace("i: site/pages/a.txt", "i: {path: site/pages/a.txt, personal: true}"),
    );
    space.madmall(["run", "reader.yaml"]).success();
}

#[test]
fn raw_events_that_a_stage_made_are_for_an_ingest_alone() {
    for (output, events, inputs) in [
        ("prepared/events", "${outputs.o}", vec!["prepared/events", "prepared/"]),
        (
            "prepared/",
            "${outputs.o}/1",
            vec!["prepared/1", "prepared/", "'prepared/*'"],
        ),
    ] {
        let space = space();
        let prepare = format!(
            "  prepare: {{run: 'sort ${{inputs.i}} > {events}', inputs: {{i: raw/events.ndjson}}, outputs: {{o: {output}}}}}\n"
        );
        space.write("ingest.yaml", ingest("prepare.o", &prepare));
        space.madmall(["run", "ingest.yaml"]).success();
        for input in inputs {
            let around = reader_for("care", input);
            space.write("reader.yaml", around);
            let ran = space.madmall(["run", "reader.yaml"]).code(2);
            ran.says("holds events that no ingest has let through: consent `none`");
            assert!(!space.exists("out/copy"), "{input}");
        }
        // Whoever prepares them goes on, and what an ingest has let through another may read.
        space.madmall(["run", "ingest.yaml", "--force"]).success();
        space.write("reader.yaml", second_ingest("data/events"));
        space.madmall(["run", "reader.yaml"]).success();
        space.write("reader.yaml", reader_for("care", "data/events"));
        space.madmall(["run", "reader.yaml"]).success();
        space.madmall(["verify"]).success();
    }
}

#[test]
fn who_read_raw_events_that_a_stage_made_is_found_by_the_receipts() {
    for (output, events, input) in [
        ("prepared/events", "${outputs.o}", "prepared/events"),
        ("prepared/", "${outputs.o}/1", "prepared/1"),
    ] {
        let space = space();
        let prepare = format!(
            "  prepare: {{run: 'sort ${{inputs.i}} > {events}', inputs: {{i: raw/events.ndjson}}, outputs: {{o: {output}}}}}\n"
        );
        space.write("ingest.yaml", ingest("prepare.o", &prepare));
        space.madmall(["run", "ingest.yaml"]).success();
        space.write("reader.yaml", reader_for("care", input));
        let other = space.beside("work space", "other config");
        other.madmall(["run", "reader.yaml"]).success();
        space.write("other.pem", other.madmall(["key", "--pem"]).success().out);
        space
            .madmall(["key", "trust", "other.pem", "--name", "Other"])
            .success();
        let verdict = space.madmall(["verify"]).code(4).says("E-CONSENT");
        verdict.says(&format!("{input}: a stage other than ingest has read it"));
    }
}

#[test]
fn raw_events_in_more_files_than_a_receipt_lists_are_for_an_ingest_alone() {
    for events in ["many/", "'many/**/*.ndjson'"] {
        let space = space();
        for (number, line) in (0..1001).zip(EVENTS.lines().cycle()) {
            space.write(
                &format!("many/{number:04}.ndjson"),
                line.replace("\"event_id\":\"", &format!("\"event_id\":\"{number:04}-")),
            );
        }
        space.write("ingest.yaml", ingest(events, ""));
        space.madmall(["run", "ingest.yaml"]).success();
        for input in ["many/0007.ndjson", "'many/000*'"] {
            space.write("reader.yaml", reader_for("care", input));
            let ran = space.madmall(["run", "reader.yaml"]).code(2);
            ran.says("holds events that no ingest has let through: consent `none`");
        }
        let other = space.beside("work space", "other config");
        other.madmall(["run", "reader.yaml"]).success();
        space.write("other.pem", other.madmall(["key", "--pem"]).success().out);
        space
            .madmall(["key", "trust", "other.pem", "--name", "Other"])
            .success();
        space
            .madmall(["verify"])
            .code(4)
            .says("many/0000.ndjson: a stage other than ingest has read it");
        let_a_second_pass();
        // Where the ingest reads others now, these are no longer raw.
        space.write("ingest.yaml", ingest("raw/", ""));
        space.madmall(["run", "ingest.yaml"]).success();
        space.write("reader.yaml", reader("many/0007.ndjson"));
        space.madmall(["run", "reader.yaml"]).success();
    }
}

#[test]
fn raw_events_that_were_all_let_in_are_for_an_ingest_alone_where_they_lie() {
    let space = space();
    space.write("raw/events.ndjson", EVENTS);
    space.write("ingest.yaml", ingest("raw/events.ndjson", ""));
    space.madmall(["run", "ingest.yaml"]).success();
    assert_eq!(space.read("data/events"), EVENTS);
    space.write("reader.yaml", reader_for("research", "raw/events.ndjson"));
    let ran = space.madmall(["run", "reader.yaml"]).code(2);
    ran.says("holds events that no ingest has let through: consent `none`");
    space.write("copied.ndjson", EVENTS);
    space.write("reader.yaml", reader_for("research", "copied.ndjson"));
    space.madmall(["run", "reader.yaml"]).success();
    space.madmall(["verify"]).success();
}

#[test]
fn what_a_stage_declassifies_later_may_be_read_from_then_on() {
    let space = space();
    let count =
        "  count: {run: 'wc -l < ${inputs.e} > ${outputs.o}', inputs: {e: ingest.events}, outputs: {o: out/count}}\n";
    space.write("ingest.yaml", ingest("raw/events.ndjson", count));
    space.madmall(["run", "ingest.yaml"]).success();
    space.write("reader.yaml", reader("out/count"));
    space.madmall(["run", "reader.yaml"]).code(2).says("out/count");
    let_a_second_pass();
    space.write(
        "ingest.yaml",
        ingest(
            "raw/events.ndjson",
            &count.replace("outputs:", "declassify: [o], outputs:"),
        ),
    );
    space.madmall(["run", "ingest.yaml"]).success();
    space.madmall(["run", "reader.yaml"]).success();
    space.madmall(["verify"]).success();
    let_a_second_pass();
    // And no longer, when it says so no more.
    space.write("ingest.yaml", ingest("raw/events.ndjson", count));
    space.madmall(["run", "--force", "ingest.yaml"]).success();
    space
        .madmall(["run", "--force", "reader.yaml"])
        .code(2)
        .says("out/count");
}

#[test]
fn an_ingest_that_fails_does_not_open_the_folder_that_it_has_read_before() {
    let space = space();
    for (number, line) in (0..1001).zip(EVENTS.lines().cycle()) {
        space.write(
            &format!("many/{number:04}.ndjson"),
            line.replace("\"event_id\":\"", &format!("\"event_id\":\"{number:04}-")),
        );
    }
    space.write("ingest.yaml", ingest("many/", ""));
    space.madmall(["run", "ingest.yaml"]).success();
    let_a_second_pass();
    space.write("bad", "{}\n");
    space.write("failing.yaml", ingest("bad", ""));
    space.madmall(["run", "failing.yaml"]).code(2);
    space.write("reader.yaml", reader("many/0007.ndjson"));
    space
        .madmall(["run", "reader.yaml"])
        .code(2)
        .says("holds events that no ingest has let through");
}

#[test]
fn who_knew_less_of_the_inputs_does_not_free_what_came_out() {
    let space = space();
    let sum = |purpose: &str| {
        format!(
            "version: 1\nname: sum\n{purpose}stages:\n  sum: {{run: 'cut -c 1-30 ${{inputs.e}} > ${{outputs.o}}', inputs: {{e: data/events}}, outputs: {{o: out/sum}}}}\n"
        )
    };
    space.write("ingest.yaml", ingest("raw/events.ndjson", ""));
    space.write("sum.yaml", sum("purpose: research\n"));
    space.madmall(["run", "ingest.yaml"]).success();
    space.madmall(["run", "sum.yaml"]).success();
    let_a_second_pass();
    // Somebody else has the events, and no receipt of them.
    let other = space.beside("work space", "other config");
    std::fs::rename(space.path("runs"), space.path("kept")).expect("runs are moved");
    std::fs::remove_dir_all(space.path(".madmall")).expect("the store is gone");
    space.write("sum.yaml", sum(""));
    other.madmall(["run", "sum.yaml", "--force"]).success();
    for run in std::fs::read_dir(space.path("kept")).expect("there are runs") {
        let run = run.expect("it is one");
        let to = space.path("runs").as_std_path().join(run.file_name());
        if run.path().is_file() {
            std::fs::rename(run.path(), to).expect("it is moved back");
        }
    }
    space.write("other.pem", other.madmall(["key", "--pem"]).success().out);
    space
        .madmall(["key", "trust", "other.pem", "--name", "Other"])
        .success();
    space.write("reader.yaml", reader("out/sum"));
    space
        .madmall(["run", "reader.yaml"])
        .code(2)
        .says("out/sum")
        .says("carries consent to `research` alone");
}

#[test]
fn what_a_stage_makes_where_its_folder_was_is_what_it_says_now() {
    let space = space();
    space.write(
        "ingest.yaml",
        ingest("raw/events.ndjson", &FOLDER.replace("site/pages/", "site/")),
    );
    space.madmall(["run", "ingest.yaml"]).success();
    let_a_second_pass();
    let counts = "  pages: {run: 'wc -l < ${inputs.e} > ${outputs.o}/lines; wc -c < ${inputs.e} > ${outputs.c}', declassify: [c, o], inputs: {e: ingest.events}, outputs: {o: site/html/, c: site/count}}\n";
    space.write("ingest.yaml", ingest("raw/events.ndjson", counts));
    space.madmall(["run", "ingest.yaml"]).success();
    for input in ["site/html/lines", "site/count"] {
        space.write("reader.yaml", reader(input));
        space.madmall(["run", "reader.yaml"]).success();
        space.madmall(["verify"]).success();
    }
    // What it has left there is what it was.
    space.write("reader.yaml", reader("site/a.txt"));
    space
        .madmall(["run", "reader.yaml"])
        .code(2)
        .says("site/a.txt lies in a folder");
}

#[test]
fn a_folder_that_was_declassified_since_is_not_put_back_without_a_receipt() {
    let space = space();
    let counts = "  pages: {run: 'wc -l < ${inputs.e} > ${outputs.o}/a.txt', declassify: [o], inputs: {e: ingest.events}, outputs: {o: site/pages/}}\n";
    space.write("reader.yaml", reader("site/pages/a.txt"));
    for (stages, code) in [(FOLDER, 2), (counts, 0), (FOLDER, 2), (counts, 0), (counts, 0)] {
        space.write("ingest.yaml", ingest("raw/events.ndjson", stages));
        space.madmall(["run", "ingest.yaml"]).success();
        space.madmall(["run", "reader.yaml"]).code(code);
        let_a_second_pass();
    }
    space
        .madmall(["run", "ingest.yaml"])
        .success()
        .says("2 stages: 2 up to date");
}

#[test]
fn a_copy_that_an_ingest_has_read_makes_nothing_raw_that_was_let_through() {
    let space = space();
    let sorted = "  sort: {run: 'sort -r ${inputs.e} > ${outputs.o}', inputs: {e: ingest.events}, outputs: {o: shared/events}}\n";
    space.write("ingest.yaml", ingest("raw/events.ndjson", sorted));
    space.madmall(["run", "ingest.yaml"]).success();
    space.write("copied", space.read("shared/events"));
    let first = space.read("copied")["{\"event_id\":\"".len()..]
        .split('"')
        .next()
        .unwrap_or_default()
        .to_owned();
    space.write(
        "revocations",
        format!("{{\"event_id\":\"{first}\",\"time\":\"2026-02-01T09:30:00Z\",\"reason\":\"x\"}}\n"),
    );
    space.write(
        "again.yaml",
        second_ingest("copied").replace("schema.json}", "schema.json, revocations: revocations}"),
    );
    space.madmall(["run", "again.yaml"]).success();
    space.write("reader.yaml", reader_for("research", "shared/events"));
    space.madmall(["run", "reader.yaml"]).success();
    space.madmall(["verify"]).success();
}

#[test]
fn raw_events_that_were_put_into_the_folder_of_a_stage_are_raw() {
    let space = space();
    space.write("ingest.yaml", ingest("raw/events.ndjson", FOLDER));
    space.madmall(["run", "ingest.yaml"]).success();
    space.write("site/pages/raw.ndjson", space.read("raw/events.ndjson"));
    space.write("reader.yaml", reader_for("research", "site/pages/raw.ndjson"));
    space
        .madmall(["run", "reader.yaml"])
        .code(2)
        .says("holds events that no ingest has let through: consent `none`");
}
