//! What receipts show of consent.

use crate::forge::{self, Forger, canonical};
use crate::space::Space;

const INGEST: &str = "version: 1
name: taken-in
purpose: research
stages:
  ingest:
    uses: madmall/ingest
    inputs: { events: raw.ndjson, schema: schema.json }
    outputs: { events: data/events.ndjson, report: data/report.json }
";

const AROUND: &str = "version: 1
name: around
stages:
  count: {run: 'wc -l < ${inputs.e} > ${outputs.o}', inputs: {e: raw.ndjson}, outputs: {o: out/count}}
";

#[test]
fn a_stage_of_another_pipeline_that_reads_raw_events_is_found() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("raw.ndjson", include_str!("../golden/small-events.ndjson"));
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    space.write("ingest.yaml", INGEST);
    space.write("around.yaml", AROUND);
    space.madmall(["run", "around.yaml"]).success();
    // Nobody has said yet that these are events.
    space.madmall(["verify"]).success();
    space.madmall(["run", "ingest.yaml"]).success();
    space
        .madmall(["verify"])
        .code(4)
        .says("E-CONSENT")
        .says("raw.ndjson: a stage other than ingest has read it")
        .says("failed:      consent");
    space.madmall(["verify", "data/events.ndjson"]).success();
}

#[test]
fn a_copy_of_raw_events_under_another_name_is_no_other_thing() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    let events = include_str!("../golden/small-events.ndjson");
    let (first, rest) = events.split_once('\n').expect("several lines");
    // One that its consent does not let in.
    let raw = format!("{}\n{rest}", first.replace("\"research\"", "\"care\""));
    space.write("raw.ndjson", &raw);
    space.write("copied.ndjson", &raw);
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    space.write("ingest.yaml", INGEST);
    space.write("around.yaml", AROUND.replace("raw.ndjson", "copied.ndjson"));
    space.madmall(["run", "around.yaml"]).success();
    space.madmall(["run", "ingest.yaml"]).success();
    let verdict = space.madmall(["verify"]).code(4).says("E-CONSENT");
    verdict.says("copied.ndjson: a stage other than ingest has read it");
    // What ingest let through may be read, under any name, by what says what for.
    space.write("copied.ndjson", space.bytes("data/events.ndjson"));
    space.write(
        "around.yaml",
        space
            .read("around.yaml")
            .replace("around\n", "around\npurpose: research\n"),
    );
    space.madmall(["run", "around.yaml"]).success();
    space.madmall(["verify", "out/count"]).success();
}

#[test]
fn a_copy_of_raw_events_that_were_all_let_in_may_be_read() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    let events = include_str!("../golden/small-events.ndjson");
    space.write("raw.ndjson", events);
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    space.write("ingest.yaml", INGEST);
    space.madmall(["run", "ingest.yaml"]).success();
    // Once more, of what is the same in each byte when it comes out.
    space.write("raw.ndjson", space.bytes("data/events.ndjson"));
    space.madmall(["run", "ingest.yaml"]).success();
    assert_eq!(space.bytes("raw.ndjson"), space.bytes("data/events.ndjson"));
    space.write("copied.ndjson", space.bytes("raw.ndjson"));
    let around = AROUND.replace("raw.ndjson", "copied.ndjson");
    space.write("around.yaml", around.replace("around\n", "around\npurpose: care\n"));
    space.madmall(["run", "around.yaml"]).success();
    space.madmall(["verify", "out/count"]).success();
}

#[test]
fn rejected_events_that_a_program_reads_are_found() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    let events = include_str!("../golden/small-events.ndjson");
    let (first, rest) = events.split_once('\n').expect("several lines");
    space.write(
        "raw.ndjson",
        format!("{}\n{rest}", first.replace("\"research\"", "\"care\"")),
    );
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    let rejects = INGEST.replace("outputs: {", "outputs: { rejects: data/rejects.ndjson,");
    let rejects = rejects.replace("inputs: {", "params: { on_reject: quarantine }\n    inputs: {");
    space.write("ingest.yaml", rejects);
    space.write("raw.ndjson", format!("{}no event\n", space.read("raw.ndjson")));
    // Read when nobody had said yet what it is.
    space.write("data/rejects.ndjson", "no event\n");
    space.write("around.yaml", AROUND.replace("raw.ndjson", "data/rejects.ndjson"));
    space.madmall(["run", "around.yaml"]).success();
    space.madmall(["run", "ingest.yaml"]).success();
    let verdict = space.madmall(["verify"]).code(4).says("E-CONSENT");
    verdict.says("data/rejects.ndjson: a stage other than ingest has read it, and it holds events that were rejected");
}

#[test]
fn what_a_program_calls_events_is_none_of_an_ingest() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("raw.ndjson", "notes, not of a person\n");
    space.write(
        "around.yaml",
        AROUND
            .replace("{e: raw", "{events: raw")
            .replace("inputs.e}", "inputs.events}"),
    );
    space.write(
        "again.yaml",
        AROUND.replace("around", "again").replace("out/count", "out/again"),
    );
    space.madmall(["run", "around.yaml"]).success();
    space.madmall(["run", "again.yaml"]).success();
    space.madmall(["verify"]).success();
}

#[test]
fn events_that_were_let_in_for_one_purpose_are_not_used_for_another() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    let events = include_str!("../golden/small-events.ndjson");
    space.write("raw.ndjson", events.replacen("\"research\"", "\"care\"", 1));
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    let count =
        "  count: {run: 'wc -l < ${inputs.e} > ${outputs.o}', inputs: {e: ingest.events}, outputs: {o: out/count}}\n";
    space.write("ingest.yaml", format!("{}{count}", INGEST.replace("research", "care")));
    // Another run before it, which has nothing to do with it.
    space.write(
        "around.yaml",
        AROUND
            .replace("raw.ndjson", "schema.json")
            .replace("out/count", "out/other"),
    );
    space.madmall(["run", "around.yaml"]).success();
    space.madmall(["run", "ingest.yaml"]).success();
    space.madmall(["verify"]).success();
    // The operator signs that the same was done for another purpose, and forgets the history.
    let key = Forger::from_pem(&space.read("../config/signing-key.pem"));
    let files = space.receipt_files();
    let file = files.iter().find(|file| file.contains("taken-in")).expect("its run");
    let file = format!("runs/{file}");
    let mut lines: Vec<String> = space.read(&file).lines().map(str::to_owned).collect();
    let was = forge::id(&forge::payload(&lines[1]));
    let mut stage = forge::statement(&lines[1]);
    stage["predicate"]["buildDefinition"]["externalParameters"]["purpose"] = "research".into();
    let payload = canonical(&stage);
    lines[1] = key.line(&payload);
    let is = forge::id(&payload);
    let mut run = forge::statement(&lines[2]);
    let dependencies = run["predicate"]["buildDefinition"]["resolvedDependencies"].as_array_mut();
    let dependencies = dependencies.expect("a list");
    for dependency in dependencies.iter_mut().filter(|d| d["digest"]["sha256"] == was) {
        dependency["digest"]["sha256"] = is.clone().into();
    }
    lines[2] = key.line(&canonical(&run));
    space.write(&file, lines.join("\n") + "\n");
    std::fs::remove_dir_all(space.path("runs/log")).expect("removed");
    let verdict = space.madmall(["verify"]).code(4).says("E-CONSENT");
    verdict
        .says("data/events.ndjson: carries consent to `care`, and was read by a stage that is for `research`")
        .says_not("E-CHAIN")
        .says_not("E-JSON");
}
