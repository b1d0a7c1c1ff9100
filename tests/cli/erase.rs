//! Erasing: nothing of an event is left, and every receipt still verifies.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8Path;
use serde_json::Value;

use crate::space::{Space, files_below};

const SCHEMA: &str = include_str!("../../schemas/byte_event.schema.json");
const RAW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/raw/thyroid.ndjson");

/// Events go through programs that compress them, print them, and leave their ids out.
const STAGES: &str = "purpose: research
stages:
  ingest:
    uses: madmall/ingest
    inputs: {events: raw.ndjson, schema: schema.json, revocations: revocations.ndjson}
    outputs: {events: data/events.ndjson, report: reports/ingest.json}
  featurize: {uses: madmall/featurize, inputs: {events: ingest.events}, outputs: {features: data/features.arrow}}
  train:
    uses: madmall/train
    inputs: {features: featurize.features}
    params: {l2: 1, holdout: 0}
    outputs: {model: models/model.json, metrics: models/metrics.json}
  packed: {run: 'gzip -nc ${inputs.e} > ${outputs.o}; cat ${inputs.e}', inputs: {e: ingest.events}, outputs: {o: data/packed.gz}}
  nameless: {run: 'sed s/thyroid-[0-9]*// ${inputs.e} > ${outputs.o}', inputs: {e: ingest.events}, outputs: {o: data/nameless.ndjson}}
  parts: {run: 'split -l 50 ${inputs.e} ${outputs.o}/part-', inputs: {e: ingest.events}, outputs: {o: data/parts/}}
  count: {run: 'wc -l < ${inputs.e} > ${outputs.o}', inputs: {e: ingest.events}, outputs: {o: reports/count.txt}, declassify: true}";

/// What is made, but the events' own count.
const MADE: [&str; 5] = [
    "data/events.ndjson",
    "data/features.arrow",
    "models/model.json",
    "models/metrics.json",
    "data/nameless.ndjson",
];

/// Labelled events of the real data whose people agreed to research.
pub(super) fn lines() -> Vec<String> {
    let text = std::fs::read_to_string(RAW).expect("the data is in the repository");
    let wanted = |label: &str, count: usize| {
        let lines = text
            .lines()
            .filter(|line| line.contains(label) && line.contains("\"scope\":\"research\""));
        lines.take(count).map(str::to_owned).collect::<Vec<_>>()
    };
    [
        wanted("\"label\":\"hyperthyroid\"", 40),
        wanted("\"label\":\"negative\"", 110),
    ]
    .concat()
}

pub(super) fn id_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("an event");
    event["event_id"].as_str().expect("an id").to_owned()
}

pub(super) fn space(lines: &[String]) -> Space {
    let space = Space::with(STAGES);
    space.write("schema.json", SCHEMA);
    space.write("revocations.ndjson", "");
    space.write("raw.ndjson", lines.join("\n") + "\n");
    space
}

/// The files below `folder` that hold the text: in their names, their bytes, or what they unpack to.
pub(super) fn holding(space: &Space, folder: &str, text: &str) -> Vec<String> {
    let root = space.path(folder);
    let holds = |path: &Utf8Path| {
        let bytes = std::fs::read(path).expect("read");
        let mut unpacked = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut decoder = flate2::read::MultiGzDecoder::new(&bytes[..]);
            decoder.read_to_end(&mut unpacked).expect("unpacked");
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            unpacked = zstd::stream::decode_all(&bytes[..]).expect("unpacked");
        }
        let has = |bytes: &[u8]| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        path.as_str().contains(text) || has(&bytes) || has(&unpacked)
    };
    let files = files_below(&root).into_iter();
    files
        .filter(|name| holds(&root.join(name)))
        .map(|name| format!("{folder}/{name}"))
        .collect()
}

/// Nothing of the event may be in the store, under `runs`, or in the places of outputs.
#[track_caller]
fn no_trace(space: &Space, line: &str) {
    for text in [id_of(line).as_str(), line] {
        for folder in [".madmall", "runs", "data", "models", "reports"] {
            assert_eq!(holding(space, folder, text), Vec::<String>::new(), "{text}");
        }
    }
}

#[test]
fn an_erased_event_leaves_no_trace_and_every_earlier_receipt_verifies() {
    let lines = lines();
    let (gone, id) = (&lines[60], id_of(&lines[60]));
    let space = space(&lines);
    space.run(&[]).success();
    // Something that holds it lies where an output belongs, and is displaced.
    space.write("reports/count.txt", format!("{gone}\n"));
    space.run(&[]).success();
    let before = space.receipt_files();
    for folder in [".madmall/cas", ".madmall/output", ".madmall/displaced", "data"] {
        assert!(!holding(&space, folder, &id).is_empty(), "{folder} holds it");
    }
    // What would be done is only shown.
    let snapshot = space.snapshot();
    let shown = space.madmall(["erase", "--event", &id, "--dry-run"]).success();
    shown
        .says("would leave    1 line of raw.ndjson")
        .says("models/model.json");
    space.is_as(&snapshot);

    // What somebody has put beside the files of an output is not ours to remove.
    space.write("data/parts/own notes", "nothing of anybody\n");
    assert!(space.exists(".madmall/known"), "what files held is remembered");
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).success();
    assert!(!space.exists(".madmall/known"), "until what they held is erased");
    assert_eq!(space.read("data/parts/own notes"), "nothing of anybody\n");
    erased
        .says("taken out   1 line of raw.ndjson")
        .says("models/model.json")
        .says_not(&id);
    no_trace(&space, gone);
    let rest: Vec<&String> = lines.iter().filter(|line| *line != gone).collect();
    let rest: String = rest.into_iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(space.read("raw.ndjson"), rest, "every other line is as it was");
    // What was made without ids is gone too; an aggregate stays.
    assert!(!space.exists("data/nameless.ndjson") && !space.exists("models/model.json"));
    assert!(space.exists("reports/count.txt"));

    space.run(&[]).success();
    no_trace(&space, gone);
    space
        .madmall(["verify"])
        .success()
        .says("W-ERASED")
        .says("an event was erased");
    for file in &before {
        let run = file.strip_suffix(".intoto.jsonl").expect("a run's file");
        space
            .madmall(["verify", run])
            .says("W-ERASED")
            .says_not("E-SIG")
            .says_not("E-CHAIN")
            .says_not("E-LOG");
    }
    let fresh = self::space(&lines.iter().filter(|line| *line != gone).cloned().collect::<Vec<_>>());
    fresh.run(&[]).success();
    for output in MADE {
        assert_eq!(space.bytes(output), fresh.bytes(output), "{output}");
    }
    // The same once more finds nothing, and says nothing new.
    let tombstones = || {
        space
            .receipt_files()
            .into_iter()
            .filter(|name| name.contains(".erasure."))
            .count()
    };
    assert_eq!(tombstones(), 1);
    space.madmall(["erase", "--event", &id]).success().says("said before");
    assert_eq!(tombstones(), 1);
}

#[test]
fn an_erased_event_that_returns_is_known_and_left_out() {
    let lines = lines();
    let space = space(&lines);
    space.run(&[]).success();
    let id = id_of(&lines[3]);
    space.write(
        "revocations.ndjson",
        format!("{{\"event_id\":\"{id}\",\"time\":\"2026-01-01T00:00:00Z\"}}\n"),
    );
    let erased = space.madmall(["erase", "--event", &id]).code(3);
    erased.says("left: raw.ndjson: --rewrite-inputs takes its lines out");
    assert!(!space.read("revocations.ndjson").contains(&id));
    assert!(
        space.read("revocations.ndjson").contains("2026-01-01T00:00:00Z"),
        "when it was withdrawn stays known"
    );
    space.run(&[]).success();
    no_trace(&space, &lines[3]);
    let fresh = self::space(&[&lines[..3], &lines[4..]].concat());
    fresh.run(&[]).success();
    for output in MADE {
        assert_eq!(space.bytes(output), fresh.bytes(output), "{output}");
    }
}

#[test]
fn places_that_nobody_can_reach_are_named_and_left() {
    let lines = lines();
    let space = space(&lines);
    let id = id_of(&lines[5]);
    space.git(&["init", "-q"]);
    space.git(&["add", "raw.ndjson", "pipeline.yaml"]);
    space.git(&["commit", "-q", "-m", "raw"]);
    space.run(&[]).success();
    space.write("notes/about.txt", format!("ask about {id}\n"));
    space.write("notes/plain.txt", "nothing\n");
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).code(3);
    erased
        .says("left: notes/about.txt")
        .says("left: 1 object of git's history")
        .says_not("notes/plain.txt")
        .says_not(&id);
    assert!(
        space.read("notes/about.txt").contains(&id),
        "it is nobody's but the user's"
    );
    let tombstone = space
        .receipt_files()
        .into_iter()
        .find(|name| name.contains(".erasure."))
        .expect("it is there");
    let shown = space.madmall(["verify"]).says("W-ERASED");
    shown.says("it was left in 2 places");
    let line = space.read(&format!("runs/{tombstone}"));
    let envelope: Value = serde_json::from_str(&line).expect("an envelope");
    let payload = STANDARD
        .decode(envelope["payload"].as_str().expect("base64"))
        .expect("base64");
    let statement: Value = serde_json::from_slice(&payload).expect("a statement");
    let schema = serde_json::from_str(include_str!("../../schemas/receipt.schema.json")).expect("a schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator
        .iter_errors(&statement)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    let said = &statement["predicate"]["buildDefinition"];
    assert_eq!(
        said["internalParameters"]["madmall"]["erased"]["left"],
        serde_json::json!(["git", "notes/about.txt"])
    );
    assert_eq!(said["externalParameters"]["erasure"]["of"], "event");
    assert!(!String::from_utf8_lossy(&payload).contains(&id));
    let shown = space.madmall(["show", &format!("runs/{tombstone}")]).success();
    shown
        .says("left       notes/about.txt")
        .says("erased     an event, token ")
        .says_not(&id);
    space
        .madmall(["verify", &format!("runs/{tombstone}")])
        .says("W-ERASED")
        .says_not("E-");
    // Whoever changes a byte of it is found out, and so is who takes it away.
    let file = format!("runs/{tombstone}");
    space.write(&file, line.replacen('A', "B", 1));
    space.madmall(["verify"]).code(4);
    space.remove(&file);
    space.madmall(["verify"]).code(4).says("E-LOG");
}

#[test]
fn an_id_is_compared_as_json_and_not_as_bytes() {
    let mut lines = lines();
    let id = id_of(&lines[7]);
    // Spelled otherwise, it is the same; one that it is the beginning of is another.
    let escaped = format!("\\u0074{}", &id[1..]);
    lines[7] = lines[7].replace(&id, &escaped);
    lines[8] = lines[8].replace(&id_of(&lines[8]), &format!("{id}0"));
    let space = space(&lines);
    space.run(&[]).success();
    space
        .madmall(["erase", "--event", &id, "--rewrite-inputs"])
        .says("taken out   1 line of raw.ndjson");
    let left = space.read("raw.ndjson");
    assert!(!left.contains(&escaped) && left.contains(&format!("{id}0")));
    for folder in [".madmall", "runs"] {
        assert_eq!(holding(&space, folder, &escaped), Vec::<String>::new());
    }
}

#[test]
fn what_would_let_it_in_again_is_refused_before_anything_is_touched() {
    let lines = lines();
    let space = space(&lines);
    space.run(&[]).success();
    space
        .madmall(["erase", "--event", "ab"])
        .code(2)
        .says("at least three characters");
    let before = space.snapshot();
    space.pipeline(&STAGES.replace(", revocations: revocations.ndjson", ""));
    space
        .madmall(["erase", "--event", &id_of(&lines[0])])
        .code(2)
        .says("names no file of revocations");
    space.pipeline(&format!("{STAGES}\n  bad: nonsense"));
    space
        .madmall(["erase", "--event", &id_of(&lines[0])])
        .code(2)
        .says("madmall check");
    space
        .madmall(["erase", "--event", "ab"])
        .code(2)
        .says("at least three characters");
    space.madmall(["erase", "--dry-run"]).code(2);
    space.pipeline(STAGES);
    space.write("pipeline.yaml", before["pipeline.yaml"].clone());
    space
        .madmall(["erase", "--subject", "somebody"])
        .code(2)
        .says("no ingest here says");
    space.is_as(&before);
}

#[test]
fn an_erasure_that_is_killed_goes_on_and_claims_nothing_before_it_is_done() {
    let lines = lines();
    let (gone, id) = (&lines[60], id_of(&lines[60]));
    let whole = space(&lines);
    whole.run(&[]).success();
    // Where the secret is made is not what is looked at here.
    whole.madmall(["erase", "--event", &id, "--dry-run"]).success();
    let mut claimed = 0;
    for round in 0..25 {
        let space = whole.copied(&[]);
        let mut child = space
            .command(["erase", "--event", &id, "--rewrite-inputs"])
            .spawn()
            .expect("begun");
        std::thread::sleep(Duration::from_millis(4 * round));
        let _ = child.kill();
        let _ = child.wait();
        if space.receipt_files().iter().any(|name| name.contains(".erasure.")) {
            no_trace(&space, gone);
            claimed += 1;
        }
        space
            .madmall(["verify"])
            .says_not("E-SIG")
            .says_not("E-CHAIN")
            .says_not("E-LOG");
        space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).success();
        no_trace(&space, gone);
        assert!(!space.read("raw.ndjson").contains(&id));
    }
    assert!(claimed < 25, "some were killed before they were done");
}

#[test]
fn a_secret_is_destroyed_only_if_that_is_said_and_tokens_are_others_then() {
    let lines = lines();
    let space = space(&lines);
    space.run(&[]).success();
    let id = id_of(&lines[0]);
    space.madmall(["erase", "--event", &id]).code(3);
    let secret = space.base().join("config/consent-secret");
    let before = std::fs::read_to_string(&secret).expect("a secret");
    space
        .madmall(["consent", "destroy-secret"])
        .success()
        .says("nothing was destroyed yet");
    assert_eq!(std::fs::read_to_string(&secret).expect("it is there"), before);
    let destroyed = space.madmall(["consent", "destroy-secret", "--yes"]).success();
    destroyed.says("destroyed the consent secret").says_not(&before[27..90]);
    assert!(!secret.exists());
    space
        .madmall(["consent", "destroy-secret", "--yes"])
        .success()
        .says("there is no consent secret");
    // Of what was erased by another secret nobody can tell any more whether it returns: nothing is let in.
    space.madmall(["verify"]).says("W-ERASED");
    space.run(&[]).code(2);
}

#[test]
fn a_page_says_what_a_run_shows_of_consent() {
    let space = space(&lines());
    space.run(&[]).success();
    let page = space.madmall(["consent", "report"]).success();
    page.says("| data/nameless.ndjson | nameless | research |")
        .says("| reports/count.txt | count | nothing: declassified, by the word of the pipeline |")
        .says("GDPR 7(3)");
    space
        .madmall(["consent", "report", "latest", "--html", "-o", "page.html"])
        .success();
    let page = space.read("page.html");
    assert!(page.starts_with("<!doctype html>") && page.contains("<td>data/nameless.ndjson</td>"));
    space.madmall(["consent", "report", "nothing-like-it"]).code(2);
}
