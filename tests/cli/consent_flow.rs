//! Consent along the DAG: a stage begins only if what it reads covers what it is for.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;

use crate::space::{Space, files_below};

const SCHEMA: &str = include_str!("../../schemas/byte_event.schema.json");
const EVENTS: &str = include_str!("../golden/small-events.ndjson");

/// A workspace with events whose persons agreed to care, and others who agreed to research.
fn space() -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("schema.json", SCHEMA);
    let lines: Vec<&str> = EVENTS.lines().take(20).collect();
    let (few, others) = lines.split_at(10);
    space.write("research.ndjson", others.join("\n") + "\n");
    space.write(
        "care.ndjson",
        few.join("\n").replace("\"scope\":\"research\"", "\"scope\":\"care\"") + "\n",
    );
    space
}

/// A pipeline for `purpose` with an ingest of `events` and these stages.
fn pipeline(purpose: &str, events: &str, stages: &str) -> String {
    format!(
        "version: 1\nname: {purpose}\npurpose: {purpose}\nstages:\n  \
         ingest: {{uses: madmall/ingest, inputs: {{events: {events}, schema: schema.json}}, \
         outputs: {{events: {purpose}/events, rejects: {purpose}/rejects, report: {purpose}/report}}}}\n{stages}"
    )
}

/// The consent that each output has by the newest receipt that claims it, by path.
fn consents(space: &Space) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for statement in statements(space) {
        for subject in statement["subject"].as_array().expect("a list") {
            let name = subject["name"].as_str().expect("a path").to_owned();
            let consent = subject["annotations"]["madmall"]["output"]["consent"].as_str();
            all.insert(name, consent.unwrap_or("").to_owned());
        }
    }
    all
}

/// The statements of all stages, oldest first.
fn statements(space: &Space) -> Vec<Value> {
    let mut all = Vec::new();
    for file in space.receipt_files() {
        for line in space.read(&format!("runs/{file}")).lines() {
            let envelope: Value = serde_json::from_str(line).expect("an envelope");
            let payload = envelope["payload"].as_str().expect("base64");
            let payload = base64::engine::general_purpose::STANDARD
                .decode(payload)
                .expect("base64");
            let statement: Value = serde_json::from_slice(&payload).expect("a statement");
            if statement["predicate"]["buildDefinition"]["buildType"] == "urn:madmall:stage:v1" {
                all.push(statement);
            }
        }
    }
    all
}

#[test]
fn outputs_carry_the_narrowest_consent_of_what_was_read() {
    let space = space();
    space.write(
        "both.ndjson",
        space.read("care.ndjson") + &space.read("research.ndjson"),
    );
    let stages = "  copy: {run: 'cat ${inputs.a} ${inputs.b} > ${outputs.o}', inputs: {a: ingest.events, b: schema.json}, outputs: {o: care/copy}}
  count: {run: 'wc -l < ${inputs.a} > ${outputs.o}; wc -c < ${inputs.a} > ${outputs.p}', inputs: {a: copy}, outputs: {o: care/count, p: care/size}, declassify: [o]}
  plain: {run: 'wc -l < ${inputs.a} > ${outputs.o}', inputs: {a: schema.json}, outputs: {o: care/plain}}
";
    space.write("care.yaml", pipeline("care", "both.ndjson", stages));
    space.madmall(["run", "care.yaml"]).success();
    let found = consents(&space);
    for (path, consent) in [
        ("care/events", "care"),
        ("care/rejects", "none"),
        ("care/copy", "care"),
        ("care/count", ""),
        ("care/size", "care"),
        ("care/plain", ""),
    ] {
        assert_eq!(found[path], consent, "{path}");
    }
    space.madmall(["verify"]).success();
    // Events of persons who all agreed to more carry more, whatever the pipeline is for.
    space.write("care.yaml", pipeline("care", "research.ndjson", stages));
    space.madmall(["run", "care.yaml"]).success();
    assert_eq!(consents(&space)["care/copy"], "research");
    // It is in the receipt that something was declassified, and by whom it was asked for.
    let is_count =
        |statement: &Value| statement["predicate"]["buildDefinition"]["externalParameters"]["stage"]["name"] == "count";
    let receipt = statements(&space).into_iter().rfind(is_count).expect("its receipt");
    let stage = &receipt["predicate"]["buildDefinition"]["externalParameters"]["stage"];
    assert_eq!(stage["declassify"], serde_json::json!(["o"]));
}

#[test]
fn what_was_let_in_for_care_stops_before_a_stage_that_is_for_research() {
    let space = space();
    let copy = "  copy: {run: 'cp ${inputs.a} ${outputs.o}', inputs: {a: ingest.events}, outputs: {o: care/copy}}\n";
    let wants = "  wants: {run: 'echo ran >> $TRACE; cp ${inputs.a} ${outputs.o}', env: [TRACE], sandbox: off, requires: research, inputs: {a: copy}, outputs: {o: care/wants}}\n";
    space.write("care.yaml", pipeline("care", "care.ndjson", copy));
    space.madmall(["run", "care.yaml"]).success();
    space.write("care.yaml", pipeline("care", "care.ndjson", &format!("{copy}{wants}")));
    let planned = space.madmall(["plan", "care.yaml"]).success();
    planned.says("would be refused: it requires consent to `research`, which what it reads does not cover");
    let ran = space.madmall(["run", "care.yaml"]).code(2);
    ran.says("care/copy of stage `copy` carries consent to `care` alone")
        .says("it requires consent to `research`");
    assert_eq!(space.trace(), "", "it never began");
    assert!(!space.exists("care/wants"));
    space.madmall(["verify"]).success();
    // The refusal has its receipt.
    let refused = statements(&space);
    let refused = refused.last().expect("a receipt");
    assert_eq!(
        refused["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["outcome"],
        "refused"
    );
    // A pipeline for research that reads the file, or a copy of it under another name.
    for (from, name) in [("care/copy", "file"), ("elsewhere", "copied"), ("care/*y", "pattern")] {
        space.write("elsewhere", space.read("care/copy"));
        let reads = format!(
            "  {name}: {{run: 'cat ${{inputs.a}} > ${{outputs.o}}', inputs: {{a: '{from}'}}, outputs: {{o: research/{name}}}}}\n"
        );
        space.write("research.yaml", pipeline("research", "research.ndjson", &reads));
        let ran = space.madmall(["run", "research.yaml"]).code(2);
        ran.says("carries consent to `care` alone").says("it is for `research`");
        assert!(!space.exists(&format!("research/{name}")));
    }
    // One without any purpose.
    space.write(
        "without.yaml",
        "version: 1\nname: without\nstages: {s: {run: 'cp ${inputs.a} ${outputs.o}', inputs: {a: care/copy}, outputs: {o: out/s}}}",
    );
    space.madmall(["run", "without.yaml"]).code(2).says("states no purpose");
    assert!(!space.exists("out/s"));
    // Raw events, after an ingest has read them as such.
    space.write(
        "raw.yaml",
        "version: 1\nname: raw\npurpose: care\nstages: {s: {run: 'cp ${inputs.a} ${outputs.o}', inputs: {a: care.ndjson}, outputs: {o: out/raw}}}",
    );
    space.write(
        "care.ndjson",
        space.read("care.ndjson")
            + &space
                .read("care.ndjson")
                .replace("evt-", "not-")
                .replace("care", "nothing"),
    );
    let quarantine =
        pipeline("care", "care.ndjson", "").replace("outputs:", "params: {on_reject: quarantine}, outputs:");
    space.write("care.yaml", quarantine);
    space.madmall(["run", "care.yaml"]).success();
    space
        .madmall(["run", "raw.yaml"])
        .code(2)
        .says("no ingest has let through");
    space.write(
        "raw.yaml",
        space.read("raw.yaml").replace("care.ndjson", "care/rejects"),
    );
    space
        .madmall(["run", "raw.yaml"])
        .code(2)
        .says("no ingest has let through");
}

#[test]
fn what_reads_from_a_stage_that_would_be_refused_would_not_run() {
    let space = space();
    let cat = |name: &str, reads: &str, more: &str| {
        format!(
            "  {name}: {{run: 'cat ${{inputs.a}} > ${{outputs.o}}', {more}inputs: {{a: {reads}}}, outputs: {{o: care/{name}}}}}\n"
        )
    };
    let stages = [
        cat("copy", "ingest.events", ""),
        cat("wants", "copy", "requires: research, "),
        cat("next", "wants", ""),
        cat("last", "next", ""),
    ];
    space.write("care.yaml", pipeline("care", "care.ndjson", &stages[0]));
    space.madmall(["run", "care.yaml"]).success();
    space.write("care.yaml", pipeline("care", "care.ndjson", &stages.concat()));
    let planned = space.madmall(["plan", "care.yaml", "--check"]).code(3);
    let planned = planned
        .says("wants   refused     would be refused: it requires consent to `research`")
        .says("next    blocked     `wants` would be refused")
        .says("last    blocked     `wants` would be refused")
        .says("3 stages would be refused, or wait for what would be");
    assert!(!planned.out.contains("have or may have work"), "{}", planned.out);
    let words = |output: &str| {
        let told: Value = serde_json::from_str(output).expect("JSON");
        let stages = told["stages"].as_array().expect("stages").iter();
        let words = stages.map(|stage| (stage["stage"].as_str(), stage["state"].as_str()));
        words
            .map(|(stage, state)| format!("{} {}", stage.unwrap_or("?"), state.unwrap_or("?")))
            .collect::<Vec<_>>()
    };
    let expected = [
        "ingest upToDate",
        "copy upToDate",
        "wants refused",
        "next blocked",
        "last blocked",
    ];
    for command in ["plan", "graph"] {
        let told = space.madmall([command, "care.yaml", "--json"]).success();
        assert_eq!(words(&told.out), expected, "{command}");
    }
    let stood = space.madmall(["status", "care.yaml"]).success();
    stood.says("blocked     `wants` would be refused");
    let why = space.madmall(["why", "care.yaml", "last"]).success();
    why.says("would not run, for what it reads would be refused")
        .says("it requires consent to `research`");
    // And so it is.
    let ran = space.madmall(["run", "care.yaml"]).code(2);
    assert!(!space.exists("care/next") && !space.exists("care/last"), "{}", ran.out);
}

#[test]
fn what_is_in_the_store_from_another_purpose_is_not_taken() {
    let space = space();
    let copy = "  copy: {run: 'cat ${inputs.a} > ${outputs.o}', inputs: {a: data/notes}, outputs: {o: out/copy}}\n";
    space.write("data/notes", "notes\n");
    let plain = format!("version: 1\nname: plain\npurpose: research\nstages:\n{copy}");
    space.write("plain.yaml", &plain);
    space.madmall(["run", "plain.yaml"]).success();
    // Somebody makes the same bytes of what is for care alone: from now on they carry that.
    let make = "  make: {run: 'head -c 0 ${inputs.a} > ${outputs.o}; echo notes >> ${outputs.o}', inputs: {a: ingest.events}, outputs: {o: care/notes}}\n";
    space.write("care.yaml", pipeline("care", "care.ndjson", make));
    space.madmall(["plan", "plain.yaml", "--check"]).success();
    space.madmall(["run", "care.yaml"]).success();
    // What it made is there; that it would not be made again is said before anything runs.
    let refused = "would be refused: it is for `research`, which the consent of what it reads does not cover";
    space.madmall(["plan", "plain.yaml", "--check"]).code(3).says(refused);
    space.madmall(["status", "plain.yaml"]).success().says(refused);
    space.madmall(["why", "plain.yaml", "copy"]).success().says(refused);
    space
        .madmall(["run", "plain.yaml"])
        .code(2)
        .says("carries consent to `care` alone");
    space.madmall(["verify"]).code(4).says("E-CONSENT");
    // For care it may be read, and then its output carries the same, though it is taken from the store.
    space.write("plain.yaml", plain.replace("research", "care") + "  more: {run: 'cat ${inputs.a} > ${outputs.o}', requires: research, inputs: {a: copy}, outputs: {o: out/more}}\n");
    let planned = space.madmall(["plan", "plain.yaml"]).success();
    planned.says("would be refused: it requires consent to `research`, which what it reads does not cover");
    space
        .madmall(["run", "plain.yaml"])
        .code(2)
        .says("out/copy of stage `copy` carries consent to `care` alone");
}

#[test]
fn a_project_may_have_purposes_of_its_own() {
    let space = Space::empty();
    space.write("madmall.yaml", "version: 1\npurposes: [care, research, commercial]\n");
    space.write(
        "schema.json",
        SCHEMA.replace("[\"care\", \"research\"]", "[\"care\", \"research\", \"commercial\"]"),
    );
    let scopes = ["care", "research", "commercial"];
    let events = EVENTS.lines().take(30).zip(scopes.into_iter().cycle());
    let events: String = events
        .map(|(line, scope)| line.replace("\"scope\":\"research\"", &format!("\"scope\":\"{scope}\"")) + "\n")
        .collect();
    space.write("events.ndjson", &events);
    let copy = |requires: &str| {
        format!(
            "  copy: {{run: 'cat ${{inputs.a}} > ${{outputs.o}}', {requires}inputs: {{a: ingest.events}}, outputs: {{o: out/copy}}}}\n"
        )
    };
    for (purpose, let_in, carries) in [
        ("care", 30, "care"),
        ("research", 20, "research"),
        ("commercial", 10, "commercial"),
    ] {
        space.write("p.yaml", pipeline(purpose, "events.ndjson", &copy("")));
        space.madmall(["run", "p.yaml"]).success();
        assert_eq!(space.read("out/copy").lines().count(), let_in, "{purpose}");
        let named =
            |statement: &Value| statement["predicate"]["buildDefinition"]["externalParameters"]["pipeline"] == purpose;
        let is_copy = |statement: &Value| named(statement) && statement["subject"][0]["name"] == "out/copy";
        let receipt = statements(&space).into_iter().rfind(is_copy).expect("its receipt");
        assert_eq!(
            receipt["subject"][0]["annotations"]["madmall"]["output"]["consent"],
            carries
        );
        let external = &receipt["predicate"]["buildDefinition"]["externalParameters"];
        assert_eq!(external["purposes"], serde_json::json!(scopes));
        let report = serde_json::from_str(&space.read(&format!("{purpose}/report"))).expect("JSON");
        let schema = serde_json::from_str(include_str!("../../schemas/ingest_report.schema.json")).expect("JSON");
        assert!(jsonschema::draft202012::is_valid(&schema, &report), "{report}");
    }
    space.madmall(["verify"]).success();
    space.write(
        "p.yaml",
        pipeline("research", "events.ndjson", &copy("requires: commercial, ")),
    );
    space
        .madmall(["run", "p.yaml"])
        .code(2)
        .says("carries consent to `research` alone");
    // What covers what is part of what `ingest` does.
    space.write("p.yaml", pipeline("research", "events.ndjson", &copy("")));
    space.write("madmall.yaml", "version: 1\npurposes: [care, commercial, research]\n");
    space.madmall(["run", "p.yaml"]).success();
    assert_eq!(
        space.read("out/copy").lines().count(),
        10,
        "consent to commercial no longer covers research"
    );
    space.madmall(["verify", "out/copy"]).success();
    // A word that the settings do not have, and settings that are no order.
    space.write("p.yaml", pipeline("marketing", "events.ndjson", &copy("")));
    space
        .madmall(["run", "p.yaml"])
        .code(2)
        .says("`purpose` cannot be `marketing`")
        .says("`purposes:` in `madmall.yaml`");
    space.write("p.yaml", pipeline("care", "events.ndjson", &copy("")));
    for (wrong, says) in [
        ("[care, care]", "twice"),
        ("[none]", "cannot be `none`"),
        ("[]", "names none, or too many"),
    ] {
        space.write("madmall.yaml", format!("version: 1\npurposes: {wrong}\n"));
        space.madmall(["run", "p.yaml"]).code(2).says(says);
    }
}

/// A stage of a random pipeline.
#[derive(Clone, Debug)]
struct Link {
    /// Which of the artifacts so far it reads, modulo their number.
    reads: Vec<usize>,
    requires_research: bool,
    declassifies: bool,
}

fn link() -> impl Strategy<Value = Link> {
    (
        prop::collection::vec(0..64_usize, 1..4),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(reads, requires_research, declassifies)| Link {
            reads,
            requires_research,
            declassifies,
        })
}

/// A stage as the model has it.
struct Modelled {
    path: String,
    reads: Vec<String>,
    needs_research: bool,
    declassifies: bool,
}

/// Something that stages may read: where it lies, and by which edge its own pipeline reads it.
struct Artifact {
    path: String,
    edge: String,
    is_research: bool,
}

fn artifact(path: &str, edge: &str, is_research: bool) -> Artifact {
    Artifact {
        path: path.to_owned(),
        edge: edge.to_owned(),
        is_research,
    }
}

/// Adds the `links` of a pipeline as stages, in YAML and modelled: what their own pipeline made they read by edges, all else as files.
fn add(links: &[Link], is_research: bool, artifacts: &mut Vec<Artifact>, modelled: &mut Vec<Modelled>) -> String {
    let mut yaml = String::new();
    for (number, link) in links.iter().enumerate() {
        let name = format!("{}{number}", if is_research { 'r' } else { 'c' });
        let places: BTreeSet<usize> = link.reads.iter().map(|at| at % artifacts.len()).collect();
        let read: Vec<&Artifact> = places.into_iter().map(|at| &artifacts[at]).collect();
        let from = |read: &&Artifact| match read.is_research == is_research {
            true => read.edge.clone(),
            false => read.path.clone(),
        };
        let inputs: Vec<String> = (0..)
            .zip(&read)
            .map(|(port, read)| format!("i{port}: {}", from(read)))
            .collect();
        let ports: Vec<String> = (0..read.len()).map(|port| format!("${{inputs.i{port}}}")).collect();
        let requires = if link.requires_research {
            "requires: research, "
        } else {
            ""
        };
        let declassify = if link.declassifies { "declassify: true, " } else { "" };
        yaml.push_str(&format!(
            "  {name}: {{run: 'cat {} > ${{outputs.o}}; echo {name} >> ${{outputs.o}}', {requires}{declassify}\
             inputs: {{{}}}, outputs: {{o: out/{name}}}}}\n",
            ports.join(" "),
            inputs.join(", ")
        ));
        modelled.push(Modelled {
            path: format!("out/{name}"),
            reads: read.iter().map(|read| read.path.clone()).collect(),
            needs_research: is_research || link.requires_research,
            declassifies: link.declassifies,
        });
        artifacts.push(artifact(&format!("out/{name}"), &name, is_research));
    }
    yaml
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// An independent model: a path is tainted if anything for care alone has gone into it and no stage on the way declassified it.
    #[test]
    fn no_dag_of_programs_lets_what_is_for_care_into_research(care in prop::collection::vec(link(), 1..5), research in prop::collection::vec(link(), 1..6)) {
        let space = space();
        let mut modelled = Vec::new();
        let mut artifacts = vec![artifact("care/events", "ingest.events", false)];
        let care = add(&care, false, &mut artifacts, &mut modelled);
        artifacts.push(artifact("research/events", "ingest.events", true));
        let research = add(&research, true, &mut artifacts, &mut modelled);
        space.write("care.yaml", pipeline("care", "care.ndjson", &care));
        space.write("research.yaml", pipeline("research", "research.ndjson", &research));
        // What a file is that a stage refused to make, the other pipeline cannot name.
        for artifact in artifacts.iter().filter(|artifact| artifact.path.starts_with("out/c")) {
            space.write(&artifact.path, "a place\n");
        }
        let first = space.madmall(["run", "care.yaml"]).code;
        let second = space.madmall(["run", "research.yaml"]).code;

        let mut tainted: BTreeSet<String> = BTreeSet::from(["care/events".to_owned()]);
        let mut made: BTreeSet<String> = BTreeSet::from(["care/events".to_owned(), "research/events".to_owned()]);
        let (mut refused_care, mut refused_research) = (false, false);
        for Modelled { path, reads, needs_research, declassifies } in modelled {
            let is_research = path.starts_with("out/r");
            // A stage whose maker was refused is blocked, but a file of another pipeline only lacks what carries consent.
            let is_blocked = reads.iter().any(|read| {
                let is_own = read.starts_with("out/") && read.starts_with("out/r") == is_research;
                is_own && !made.contains(read)
            });
            let is_refused = !is_blocked && needs_research && reads.iter().any(|read| tainted.contains(read));
            if is_refused {
                if is_research { refused_research = true } else { refused_care = true }
            }
            if is_blocked || is_refused {
                continue;
            }
            if !declassifies && reads.iter().any(|read| tainted.contains(read)) {
                tainted.insert(path.clone());
            }
            made.insert(path);
        }
        prop_assert_eq!(first, Some(if refused_care { 2 } else { 0 }));
        prop_assert_eq!(second, Some(if refused_research { 2 } else { 0 }));
        let found = consents(&space);
        for path in files_below(&space.path("out")) {
            let path = format!("out/{path}");
            // The place of one that was refused.
            if !made.contains(&path) {
                prop_assert_eq!(space.read(&path), "a place\n", "{} was made", path);
                continue;
            }
            prop_assert_eq!(found[&path] == "care", tainted.contains(&path), "{}", path);
        }
        // Only what is declassified by a receipt has left care.
        space.madmall(["verify"]).success();
    }
}
