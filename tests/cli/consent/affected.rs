//! `consent affected`: exactly what was made with something withdrawn.

use std::fs;

use madmall::consent::secret::ConsentSecret;
use madmall::consent::token::Tokens;
use serde_json::Value;

use super::{MADE, PIPELINE, RAW, id_of, revoke};
use crate::baseline::baseline;
use crate::space::Space;

/// What `consent affected --json` says.
fn affected(space: &Space, arguments: &[&str], code: i32) -> Value {
    let before = space.snapshot();
    let ran = space
        .madmall(["consent", "affected", "--json"].iter().chain(arguments))
        .code(code);
    space.is_as(&before);
    serde_json::from_str(&ran.out).expect("one JSON object")
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|item| item[field].as_str().expect("a text").to_owned())
        .collect()
}

/// The ids of all runs, oldest first.
fn runs(space: &Space) -> Vec<String> {
    let files = space.receipt_files().into_iter();
    files
        .map(|file| file.trim_end_matches(".intoto.jsonl").to_owned())
        .collect()
}

/// Runs the baseline, in a second of its own so that runs are in their order by name.
fn run(space: &Space) {
    std::thread::sleep(std::time::Duration::from_millis(1100));
    space.madmall(["run", PIPELINE]).success();
}

#[test]
fn exactly_the_runs_that_used_an_event_are_named_and_what_to_do() {
    let space = baseline();
    run(&space);
    let used: Vec<String> = space.read("data/events.ndjson").lines().map(id_of).collect();
    let never = space
        .read(RAW)
        .lines()
        .find(|line| line.contains(r#""scope":"care""#))
        .map(id_of)
        .expect("one");
    let [first, second] = [used[0].as_str(), used[1].as_str()];
    // The revocations that the project has were there from the beginning.
    let nothing = affected(&space, &[], 0);
    assert_eq!(nothing["runs"].as_array().map(Vec::len), Some(0));
    space
        .madmall(["consent", "affected"])
        .success()
        .says("nothing was made with anything withdrawn");
    for id in [never.as_str(), "nobody"] {
        affected(&space, &["--event", id], 0);
    }

    // Not yet revoked: what would be affected.
    let asked = affected(&space, &["--event", first], 3);
    assert_eq!(texts(&asked["runs"], "run"), runs(&space));
    assert!(
        asked["toDo"][0]
            .as_str()
            .is_some_and(|step| step.contains("add a line"))
    );

    revoke(&space, [first, never.as_str()]);
    let found = affected(&space, &[], 3);
    assert_eq!(texts(&found["runs"], "run"), runs(&space));
    assert_eq!(texts(&found["receipts"], "stage"), ["ingest", "featurize", "train"]);
    assert_eq!(found["receipts"][0]["withdrawnEvents"], 1);
    assert_eq!(found["receipts"][2]["artifacts"][1]["path"], MADE[2]);
    assert_eq!(found["receipts"][2]["artifacts"][1]["model"], true);
    assert_eq!(found["receipts"][2]["artifacts"][1]["inPlace"], true);
    assert_eq!(
        found["toDo"],
        serde_json::json!(["madmall run pipelines/baseline.yaml"])
    );
    let said = space
        .madmall(["consent", "affected"])
        .code(3)
        .says("1 event that is withdrawn");
    let said = said
        .says("1 run, 3 receipts, 6 artifacts, 1 model of them")
        .says("in place, in the store, a model");
    assert!(!said.out.contains(first), "{}", said.out);

    run(&space);
    let found = affected(&space, &[], 0);
    assert_eq!(texts(&found["runs"], "run"), runs(&space)[..1]);
    assert_eq!(found["receipts"][0]["artifacts"][0]["inPlace"], false);
    assert_eq!(found["receipts"][0]["artifacts"][0]["stored"], true);

    // Of the second event both runs know.
    revoke(&space, [second]);
    assert_eq!(texts(&affected(&space, &[], 3)["runs"], "run"), runs(&space));
    assert_eq!(
        texts(&affected(&space, &["--event", first], 0)["runs"], "run"),
        runs(&space)[..1]
    );
    run(&space);
    assert_eq!(texts(&affected(&space, &[], 0)["runs"], "run"), runs(&space)[..2]);

    // The tokens that are kept tell as much as the events.
    fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    let by_tokens = affected(&space, &[], 0);
    assert_eq!(texts(&by_tokens["runs"], "run"), runs(&space)[..2]);
    assert_eq!(by_tokens["receipts"][0]["withdrawnEvents"], 2);
    assert_eq!(
        texts(&affected(&space, &["--event", first], 0)["runs"], "run"),
        runs(&space)[..1]
    );
    affected(&space, &["--event", never.as_str()], 0);
    // Of persons they say nothing where it was never told who that is; and nothing at all without the secret.
    affected(&space, &["--subject", "p1"], 6);
    let secret = space.path("../config/consent-secret");
    fs::rename(&secret, space.path("../aside")).expect("renamed");
    affected(&space, &[], 6);
    fs::rename(space.path("../aside"), &secret).expect("renamed");
    // A byte is another: it is not believed.
    let kept = crate::space::files_below(&space.path(".madmall/populations"));
    assert_eq!(kept.len(), 3);
    for file in &kept {
        let path = space.path(".madmall/populations").join(file);
        let mut bytes = fs::read(&path).expect("read");
        bytes[4000] ^= 1;
        fs::remove_file(&path).expect("removed");
        fs::write(&path, bytes).expect("written");
    }
    affected(&space, &[], 6);

    // What is nowhere any more cannot be looked into.
    fs::remove_dir_all(space.path(".madmall/populations")).expect("removed");
    let lost = affected(&space, &[], 6);
    assert_eq!(texts(&lost["runs"], "run"), Vec::<String>::new());
    let unknown = texts(&lost["notKnown"], "run");
    assert_eq!(
        (unknown.first(), unknown.last()),
        (runs(&space).first(), runs(&space).get(1))
    );
    assert!(
        unknown.iter().all(|run| *run != runs(&space)[2]),
        "the newest lies in its place"
    );
}

/// An event of a person.
pub(super) fn event(id: &str, person: &str, is_revocable: bool) -> String {
    format!(
        "{{\"event_id\":\"{id}\",\"person\":\"{person}\",\"consent\":{{\"scope\":\"care\",\"revocable\":{is_revocable}}}}}\n"
    )
}

/// Two ingests of the same events; programs that read of one of them, and one that reads its output by its path from another pipeline.
fn programs(more: &str) -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("schema.json", "{}");
    let events = [
        event("evt-1", "p1", true),
        event("evt-2", "p2", false),
        event("evt-3", "p1", true),
    ];
    space.write("raw.ndjson", events.concat());
    space.write("revoked.ndjson", "");
    let ingest = |name: &str| {
        format!(
            "  {name}: {{ uses: madmall/ingest, params: {{ subject: /person{more} }}, outputs: {{ events: out/{name} }},\n\
             \x20   inputs: {{ events: raw.ndjson, schema: schema.json, revocations: revoked.ndjson }} }}\n"
        )
    };
    let one = format!(
        "version: 1\nname: one\npurpose: care\nstages:\n{}\
         \x20 head: {{ run: 'head -n 1 ${{inputs.e}} > ${{outputs.o}}', inputs: {{ e: ingest.events }}, outputs: {{ o: out/head }} }}\n\
         \x20 last: {{ run: 'tail -n 1 ${{inputs.e}} > ${{outputs.o}}', inputs: {{ e: ingest.events }}, outputs: {{ o: out/last }}, declassify: true }}\n\
         \x20 size: {{ run: 'wc -c < ${{inputs.h}} > ${{outputs.o}}', inputs: {{ h: head.o }}, outputs: {{ o: out/size }} }}\n",
        ingest("ingest")
    );
    space.write("pipelines/one.yaml", one);
    space.write(
        "pipelines/two.yaml",
        "version: 1\nname: two\npurpose: care\nstages:\n\
         \x20 copy: { run: 'cat ${inputs.l} > ${outputs.o}', inputs: { l: out/last }, outputs: { o: out/copy } }\n\
         \x20 other: { run: 'cat ${inputs.l} > ${outputs.o}', inputs: { l: schema.json }, outputs: { o: out/other } }\n",
    );
    for pipeline in ["one", "two"] {
        space.madmall(["run", &format!("pipelines/{pipeline}.yaml")]).success();
    }
    space
}

pub(super) fn withdraw(space: &Space, file: &str, name: &str, ids: &[&str]) {
    let line = |id: &&str| format!("{{\"{name}\":\"{id}\",\"time\":\"2026-02-01T00:00:00Z\"}}\n");
    space.write(file, ids.iter().map(line).collect::<String>());
}

fn stages(found: &Value) -> Vec<String> {
    let mut stages = texts(&found["receipts"], "stage");
    stages.sort();
    stages
}

#[test]
fn it_goes_through_programs_other_pipelines_and_what_is_declassified_and_ends_where_the_bytes_are_the_same() {
    let space = programs("");
    withdraw(&space, "revoked.ndjson", "event_id", &["evt-3"]);
    let found = affected(&space, &[], 3);
    assert_eq!(stages(&found), ["copy", "head", "ingest", "last", "size"]);
    assert_eq!(
        found["toDo"],
        serde_json::json!(["madmall run pipelines/one.yaml", "madmall run pipelines/two.yaml"])
    );
    for pipeline in ["one", "two"] {
        space.madmall(["run", &format!("pipelines/{pipeline}.yaml")]).success();
    }
    // The first line came out the same: what is made of it alone is not made again, and is not affected.
    let found = affected(&space, &[], 0);
    assert_eq!(stages(&found), ["copy", "head", "ingest", "last"]);
    let head = found["receipts"]
        .as_array()
        .and_then(|all| all.iter().find(|receipt| receipt["stage"] == "head"));
    assert_eq!(head.expect("it is named")["artifacts"], serde_json::json!([]));
}

#[test]
fn a_person_is_looked_for_where_the_ingest_was_told_and_what_cannot_be_revoked_counts_as_it_was_told() {
    let space = programs("");
    let found = affected(&space, &["--subject", "p1"], 3);
    assert_eq!(found["receipts"][0]["withdrawnEvents"], 2);
    affected(&space, &["--subject", "p3"], 0);
    assert_eq!(
        affected(&space, &["--event", "evt-2"], 3)["receipts"][0]["withdrawnEvents"],
        1
    );

    let space = programs(", non_revocable: keep");
    affected(&space, &["--event", "evt-2"], 0);
    affected(&space, &["--event", "evt-1"], 3);

    // Where it was never told, nobody can say whose events they are.
    let space = baseline();
    run(&space);
    let found = affected(&space, &["--subject", "p1"], 6);
    let why = &found["notKnown"][0]["why"];
    assert!(
        why.as_str()
            .is_some_and(|why| why.contains("not told where events name one")),
        "{why}"
    );
}

#[test]
fn what_cannot_be_read_is_said_and_never_taken_for_nothing() {
    let space = programs("");
    let files = space.receipt_files();
    let whole = space.bytes(&format!("runs/{}", files[0]));
    space.write(&format!("runs/{}", files[0]), &whole[..whole.len() - 1]);
    let found = affected(&space, &["--event", "evt-1"], 6);
    assert!(
        found["notKnown"][0]["why"]
            .as_str()
            .is_some_and(|why| why.starts_with("its file")),
        "{found}"
    );
    space.write(&format!("runs/{}", files[0]), &whole);

    space.write("revoked.ndjson", "{}\n");
    space
        .madmall(["consent", "affected"])
        .code(2)
        .says("cannot tell what is withdrawn")
        .says("revoked.ndjson:1");
    withdraw(&space, "revoked.ndjson", "event_id", &["evt-1"]);

    // Without tokens. Other bytes under the name of an object are not believed; those in place are.
    fs::remove_dir_all(space.path(".madmall/populations")).expect("removed");
    let objects = space.path(".madmall/cas");
    let events = space.bytes("out/ingest");
    let mut spoilt = 0;
    for file in crate::space::files_below(&objects) {
        let path = objects.join(&file);
        if fs::read(&path).expect("read") == events {
            fs::remove_file(&path).expect("removed");
            fs::write(&path, event("evt-9", "p9", true)).expect("written");
            spoilt += 1;
        }
    }
    assert_eq!(spoilt, 1);
    assert_eq!(affected(&space, &[], 3)["receipts"][0]["withdrawnEvents"], 1);
    space.write("out/ingest", event("evt-8", "p8", true));
    let found = affected(&space, &[], 6);
    assert_eq!(texts(&found["notKnown"], "stage")[0], "ingest");
    assert_eq!(
        texts(&found["notKnown"], "why")[0],
        "the events that it let in: `out/ingest` here has other bytes, and the store does not have those"
    );
}

#[test]
fn what_is_withdrawn_by_its_token_is_affected_like_any_other() {
    let space = programs("");
    fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    let (secret, tokens) = secret(&space);
    let line = |name: &str, token: &str| {
        format!(
            "{{\"{name}\":\"{token}\",\"secret\":\"{secret}\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"erased\"}}\n"
        )
    };
    for is_kept in [true, false] {
        if !is_kept {
            // By the events, which lie in their place.
            fs::remove_dir_all(space.path(".madmall/populations")).expect("removed");
        }
        space.write("revoked.ndjson", line("event_token", &tokens.token("evt-3").to_hex()));
        assert_eq!(
            affected(&space, &[], 3)["receipts"][0]["withdrawnEvents"],
            1,
            "{is_kept}"
        );
        space.write("revoked.ndjson", line("subject_token", &tokens.subject("p1").to_hex()));
        assert_eq!(
            affected(&space, &[], 3)["receipts"][0]["withdrawnEvents"],
            2,
            "{is_kept}"
        );
        space
            .madmall(["verify"])
            .success()
            .says("2 events that are withdrawn now");
        // It is revoked already, by what stands for it.
        let asked = affected(&space, &["--subject", "p1"], 3);
        assert_eq!(asked["toDo"][0], "madmall run pipelines/one.yaml");
        space.write("revoked.ndjson", line("event_token", &tokens.token("evt-9").to_hex()));
        affected(&space, &[], 0);
        space.madmall(["verify"]).success().says_not("W-WITHDRAWN");
        space
            .madmall(["consent", "status", "pipelines/one.yaml"])
            .success()
            .says("1 revocation: 0 events left out by their own ids, 0 by their persons'")
            .says("1 revocation names no event");
    }
    space.write("revoked.ndjson", line("event_token", &tokens.token("evt-3").to_hex()));
    space
        .madmall(["consent", "status", "pipelines/one.yaml"])
        .success()
        .says("1 revocation: 1 event left out by its own id, 0 by their persons'")
        .says_not("no event that is here");
    space.madmall(["run", "pipelines/one.yaml"]).success();
    assert!(!space.read("out/ingest").contains("evt-3"));

    fs::rename(space.path("../config/consent-secret"), space.path("../aside")).expect("renamed");
    space
        .madmall(["consent", "affected"])
        .code(2)
        .says("cannot tell what is withdrawn");
    space
        .madmall(["consent", "status", "pipelines/one.yaml"])
        .code(2)
        .says("MADMALL_CONSENT_SECRET");
}

/// What the consent secret of a workspace is called, and what makes tokens by it.
pub(super) fn secret(space: &Space) -> (String, Tokens) {
    let secret = ConsentSecret::parse(&space.read("../config/consent-secret")).expect("a secret");
    (secret.id().to_hex(), Tokens::by(&secret))
}
