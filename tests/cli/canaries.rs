//! Nothing of a person is in what may be committed, published or printed: ids, texts of events and secrets are planted, and searched for.

use std::io::Read as _;

use madmall::digest::Digests;

use crate::space::{Ran, Space, files_below};

const SCHEMA: &str = include_str!("../../schemas/byte_event.schema.json");
const EVENTS: &str = include_str!("../golden/small-events.ndjson");

/// What must not be found: an event's id, a text in it, an id of one that was rejected, one that was revoked, a secret of the
/// environment, the id of a person in a parameter.
const CANARIES: [&str; 6] = [
    "canary-id-5081",
    "Nightingale, of Canary Wharf",
    "canary-rejected-77",
    "canary-revoked-31",
    "canary-secret-value",
    "canary-person-12",
];

const STAGES: &str = "purpose: research
params: {person: ''}
personal: [person]
stages:
  ingest:
    uses: madmall/ingest
    params: {on_reject: quarantine}
    inputs: {events: raw.ndjson, schema: schema.json, revocations: revocations.ndjson}
    outputs: {events: data/events.ndjson, report: reports/ingest.json, rejects: data/rejects.ndjson}
  featurize:
    uses: madmall/featurize
    inputs: {events: ingest.events}
    outputs: {features: data/features.arrow, report: reports/features.json}
  train:
    uses: madmall/train
    inputs: {features: featurize.features}
    params: {holdout: 0.2}
    outputs: {model: models/model.json, metrics: models/metrics.json}
  prints:
    run: 'cat ${inputs.e}; echo $TOKEN; wc -l < ${inputs.e} > ${outputs.o}'
    secrets: [TOKEN]
    inputs: {e: ingest.events}
    outputs: {o: reports/lines.txt}
  person:
    run: 'echo ${params.person} > ${outputs.found}; echo ${params.person} >&2'
    outputs: {found: data/found.txt}
  guessed:
    run: 'cp ${inputs.answer} ${outputs.copy}'
    inputs: {answer: {path: answer.txt, personal: true}}
    outputs: {copy: data/answer.txt}";

/// What says who the person is.
const PERSON: [&str; 2] = ["--set", "person=canary-person-12"];

fn space() -> Space {
    let mut space = Space::with(STAGES);
    space.set("TOKEN", "canary-secret-value");
    space.write("answer.txt", "yes\n");
    space.write("schema.json", SCHEMA);
    let mut lines: Vec<String> = EVENTS.lines().map(str::to_owned).collect();
    lines[0] = lines[0].replace("evt-000000", "canary-id-5081").replace(
        "\"features\":{",
        "\"features\":{\"note\":\"Nightingale, of Canary Wharf\",",
    );
    lines[1] = lines[1].replace("evt-000001", "canary-revoked-31");
    let rejected = lines[2]
        .replace("evt-000002", "canary-rejected-77")
        .replace("\"timestamp\"", "\"when\"");
    lines.push(rejected);
    space.write("raw.ndjson", lines.join("\n") + "\n");
    space.write(
        "revocations.ndjson",
        "{\"event_id\":\"canary-revoked-31\",\"time\":\"2026-01-01T00:00:00Z\",\"reason\":\"withdrawn\"}\n",
    );
    space
}

#[track_caller]
fn is_clean(what: &str, bytes: &[u8]) {
    // Who sees the digest of a small file knows what it holds; a person is shown the beginning of it.
    let answer = Digests::of(b"yes\n");
    let guesses = [answer.blake3.to_hex(), answer.sha256.to_hex()].map(|hex| hex[..12].to_owned());
    for canary in CANARIES.iter().copied().chain(guesses.iter().map(String::as_str)) {
        assert!(
            memchr::memmem::find(bytes, canary.as_bytes()).is_none(),
            "{what} holds `{canary}`"
        );
    }
}

/// Runs it, looks at all that it printed, and gives it back.
#[track_caller]
fn printed(space: &Space, arguments: &[&str]) -> Ran {
    let ran = space.madmall(arguments);
    is_clean(
        &format!("what {arguments:?} prints"),
        format!("{}{}", ran.out, ran.err).as_bytes(),
    );
    ran
}

#[test]
fn nothing_of_a_person_is_committed_published_or_printed() {
    let space = space();
    printed(&space, &["run", "pipeline.yaml", PERSON[0], PERSON[1]]).success();
    // They are there, in what is nobody's business but the workspace's own.
    for (file, canary) in [
        ("data/events.ndjson", CANARIES[0]),
        ("data/rejects.ndjson", CANARIES[2]),
        ("data/found.txt", CANARIES[5]),
    ] {
        assert!(space.read(file).contains(canary), "{file}");
    }
    printed(&space, &["run", "pipeline.yaml", "--force", PERSON[0], PERSON[1]]).success();
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    for arguments in [
        &["status"][..],
        &["plan", "pipeline.yaml", PERSON[0], PERSON[1]],
        &["why", "pipeline.yaml", "train", PERSON[0], PERSON[1]],
        &["why", "pipeline.yaml", "person", PERSON[0], PERSON[1]],
        &["graph", "pipeline.yaml"],
        &["log"],
        &["log", "--json"],
        &["show", &run],
        &["verify"],
        &["verify", "--json"],
        &["verify", "models/model.json"],
        &["diff", "latest~1", "latest"],
        &["metrics"],
        &["model", "card", "models/model.json", "--format", "html"],
        &["model", "show", "models/model.json"],
        &["consent", "status"],
        &["consent", "status", "--json"],
        &["consent", "affected"],
        &["consent", "affected", "--event", CANARIES[0]],
        &["consent", "report"],
        &["erase", "--event", CANARIES[0], "--dry-run"],
        &["fsck"],
        &["gc"],
    ] {
        printed(&space, arguments);
    }
    space.madmall(["bundle", &run, "-o", "run.tar.zst"]).success();
    let bundle = std::fs::File::open(space.path("run.tar.zst")).expect("a bundle");
    let mut unpacked = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(bundle).expect("zstd");
    decoder.read_to_end(&mut unpacked).expect("unpacked");
    is_clean("the bundle", &unpacked);
    for folder in ["runs", "reports", "models"] {
        for file in files_below(&space.path(folder)) {
            is_clean(&file, &space.bytes(&format!("{folder}/{file}")));
        }
    }
}

#[test]
fn what_is_wrong_with_an_event_is_said_without_its_values() {
    let space = space();
    space.pipeline(
        &STAGES
            .replace("    params: {on_reject: quarantine}\n", "")
            .replace(", rejects: data/rejects.ndjson", ""),
    );
    printed(&space, &["run", "pipeline.yaml"])
        .code(2)
        .says("raw.ndjson:301: ");
    let other = space.read("raw.ndjson").replace("evt-000003", CANARIES[0]);
    space.write("raw.ndjson", other);
    printed(&space, &["run", "pipeline.yaml"])
        .code(2)
        .says("another line has the same id");
    for file in files_below(&space.path("runs")) {
        is_clean(&file, &space.bytes(&format!("runs/{file}")));
    }
}
