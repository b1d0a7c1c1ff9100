//! `verify` of what rests on events that were withdrawn since.

use std::fs;

use serde_json::{Value, json};

use super::affected::{event, secret, withdraw};
use super::{MADE, PIPELINE, RAW, id_of, revoke};
use crate::baseline::baseline;
use crate::space::{Ran, Space};

/// By a policy that takes what was withdrawn for a failure.
fn strictly(space: &Space, what: &[&str]) -> Ran {
    let mut policy: Value = serde_json::from_str(&space.read("../config/policy.json")).expect("JSON");
    policy["withdrawn"] = json!("fail");
    space.write("../policy.json", policy.to_string());
    space.madmall(["verify", "--trust", "../policy.json"].iter().chain(what))
}

#[test]
fn a_model_that_rests_on_withdrawn_events_is_a_warning_and_a_failure_where_the_policy_says_so() {
    let space = baseline();
    space.madmall(["run", PIPELINE]).success();
    space.madmall(["verify"]).success().says_not("WITHDRAWN");
    strictly(&space, &[]).success();

    let never = space
        .read(RAW)
        .lines()
        .find(|line| line.contains(r#""scope":"care""#))
        .map(id_of)
        .expect("one");
    revoke(&space, [never.as_str()]);
    space.madmall(["verify"]).success().says_not("WITHDRAWN");
    strictly(&space, &[]).success().says_not("withdrawn:");

    let used: Vec<String> = space.read("data/events.ndjson").lines().take(2).map(id_of).collect();
    revoke(&space, used.iter().map(String::as_str));
    let before = space.snapshot();
    for what in [&[][..], &[MADE[2]]] {
        let ran = space.madmall(["verify"].iter().chain(what)).success();
        let ran = ran
            .says("W-WITHDRAWN")
            .says("rests on 2 events that are withdrawn now")
            .says("madmall run pipelines/baseline.yaml");
        assert!(!used.iter().any(|id| ran.out.contains(id.as_str())), "{}", ran.out);
        strictly(&space, what)
            .code(4)
            .says("E-WITHDRAWN")
            .says("failed:      consent");
    }
    space.is_as(&before);
    let report: Value = serde_json::from_str(&space.madmall(["verify", "--json"]).success().out).expect("JSON");
    assert_eq!(report["assurance"]["consent"], "not-checked");
    space
        .madmall(["explain", "W-WITHDRAWN"])
        .success()
        .says("madmall consent affected");

    space.madmall(["run", PIPELINE]).success();
    space.madmall(["verify"]).success().says_not("WITHDRAWN");
    strictly(&space, &[]).success();
}

/// An ingest whose revocations are a pattern, and a program that reads what it let in.
fn pattern() -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("schema.json", "{}");
    space.write(
        "raw",
        [event("evt-1", "p1", true), event("evt-2", "p2", false)].concat(),
    );
    space.write("revoked/a.ndjson", "\n");
    space.write(
        "pipelines/p.yaml",
        "version: 1\nname: p\npurpose: care\nstages:\n\
         \x20 ingest: { uses: madmall/ingest, params: { subject: /person, non_revocable: keep }, outputs: { events: out/events },\n\
         \x20   inputs: { events: raw, schema: schema.json, revocations: revoked/*.ndjson } }\n\
         \x20 size: { run: 'wc -c < ${inputs.e} > ${outputs.o}', inputs: { e: ingest.events }, outputs: { o: out/size } }\n",
    );
    space.madmall(["run", "pipelines/p.yaml"]).success();
    space
}

#[test]
fn revocations_are_looked_for_where_the_receipt_says_and_persons_as_the_ingest_was_told() {
    let space = pattern();
    withdraw(&space, "revoked/b.ndjson", "subject", &["p1"]);
    strictly(&space, &[])
        .code(4)
        .says("rests on 1 event that is withdrawn now");
    // It was told to keep what cannot be revoked.
    withdraw(&space, "revoked/b.ndjson", "event_id", &["evt-2"]);
    strictly(&space, &[]).success();
    withdraw(&space, "elsewhere.ndjson", "event_id", &["evt-1"]);
    strictly(&space, &[]).success();
}

#[test]
fn what_cannot_be_told_is_not_checked_and_inconclusive_where_the_policy_asks() {
    let space = pattern();
    withdraw(&space, "revoked/b.ndjson", "event_id", &["evt-1"]);
    let (place, objects) = (space.path("out/events"), space.path(".madmall/cas"));
    let events = space.bytes("out/events");
    let object = crate::space::files_below(&objects)
        .into_iter()
        .map(|file| objects.join(file));
    let object = object
        .into_iter()
        .find(|file| fs::read(file).expect("read") == events)
        .expect("it is stored");

    // From the store, if it is not in its place; only if it is what its name says.
    fs::remove_file(&place).expect("removed");
    space.madmall(["verify"]).success().says("W-WITHDRAWN");
    fs::remove_file(&object).expect("removed");
    fs::write(&object, event("evt-3", "p3", true)).expect("written");
    let note = "withdrawn: whether events were withdrawn since: `out/events`";
    space.madmall(["verify"]).success().says(note).says_not("W-WITHDRAWN");
    strictly(&space, &[]).code(6).says("E-WITHDRAWN").says("cannot be told");
    fs::remove_file(&object).expect("removed");
    strictly(&space, &[]).code(6).says("`out/events` is not here as it was");
    fs::write(&place, event("evt-3", "p3", true)).expect("written");
    strictly(&space, &["out/size"])
        .code(6)
        .says("`out/events` here has other bytes, and the store does not have those")
        .says_not("changed while");

    fs::write(&place, &events).expect("written");
    space.write("revoked/b.ndjson", "{}\n");
    strictly(&space, &[]).code(6).says("1 of 1 revocations are invalid");
    fs::remove_dir_all(space.path("revoked")).expect("removed");
    strictly(&space, &[]).code(6);
    space
        .madmall(["verify"])
        .success()
        .says("withdrawn: whether events were withdrawn since");
}

#[test]
fn an_ingest_that_knows_events_by_their_tokens_is_run_again_like_any_other() {
    let space = pattern();
    let (secret, tokens) = secret(&space);
    let token = tokens.token("evt-1").to_hex();
    let line = format!("{{\"event_token\":\"{token}\",\"secret\":\"{secret}\",\"time\":\"2026-02-01T00:00:00Z\"}}\n");
    space.write("revoked/a.ndjson", line);
    space.write(".gitignore", "out/\n.madmall/\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.madmall(["run", "pipelines/p.yaml"]).success();
    assert!(!space.read("out/events").contains("evt-1"));
    space
        .madmall(["verify", "--rerun"])
        .success()
        .says("run again, identical: ingest, size");
    fs::rename(space.path("../config/consent-secret"), space.path("../aside")).expect("renamed");
    space
        .madmall(["verify", "--rerun"])
        .code(6)
        .says("there is no consent secret at hand");
}

/// Two pipelines: one lets events in and goes on by their number alone; the other reads what that made.
fn with_a_reader() -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("schema.json", "{}");
    space.write("raw", ["evt-1", "evt-2"].map(|id| event(id, "p1", true)).concat());
    space.write("revocations", "");
    space.write(
        "pipelines/p.yaml",
        "version: 1\nname: p\npurpose: care\nstages:\n\
         \x20 ingest: { uses: madmall/ingest, outputs: { events: out/events },\n\
         \x20   inputs: { events: raw, schema: schema.json, revocations: revocations } }\n\
         \x20 first: { run: 'head -c 1 ${inputs.e} > ${outputs.o}', inputs: { e: ingest.events }, outputs: { o: out/first } }\n\
         \x20 again: { run: 'cat ${inputs.f} ${inputs.f} > ${outputs.o}', inputs: { f: first }, outputs: { o: out/again } }\n\
         \x20 size: { run: 'wc -c < ${inputs.e} > ${outputs.o}', inputs: { e: ingest.events }, outputs: { o: out/size } }\n",
    );
    space.write(
        "pipelines/q.yaml",
        "version: 1\nname: q\npurpose: care\nstages:\n\
         \x20 read: { run: 'cat ${inputs.s} > ${outputs.o}; echo >> ${outputs.o}', inputs: { s: out/size }, outputs: { o: out/read } }\n",
    );
    space
}

#[test]
fn what_came_out_the_same_without_withdrawn_events_does_not_rest_on_them() {
    let space = with_a_reader();
    space.madmall(["run", "pipelines/p.yaml"]).success();
    revoke_at(&space, "revocations", "evt-2");
    // Nothing was made anew.
    space.madmall(["verify"]).success().says("W-WITHDRAWN");
    strictly(&space, &["out/again"])
        .code(4)
        .says("madmall run pipelines/p.yaml");
    space.madmall(["run", "pipelines/p.yaml"]).success();
    // `again` still names the receipt of the `first` that had read them.
    space.madmall(["consent", "affected"]).success().says_not("to do");
    space.madmall(["verify"]).success().says_not("WITHDRAWN");
    strictly(&space, &[]).success();
    strictly(&space, &["out/again"]).success();
}

#[test]
fn what_came_out_the_same_without_them_is_told_whatever_made_it_last() {
    let space = with_a_reader();
    let run = || {
        // In a second of its own, so that runs are in their order.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        space.madmall(["run", "pipelines/p.yaml"]).success()
    };
    revoke_at(&space, "revocations", "evt-2");
    run();
    space.write("revocations", "");
    run();
    revoke_at(&space, "revocations", "evt-2");
    // All is here by the receipts of the first run; `first` is so by that of the second as well.
    run().says("2 restored, 2 up to date");
    strictly(&space, &[]).success();
    strictly(&space, &["out/first"]).success();
}

#[test]
fn the_log_of_a_stage_that_failed_or_was_refused_is_nothing_that_rests_on_them() {
    let space = with_a_reader();
    let good = space.read("pipelines/p.yaml");
    for bad in [
        "uses: madmall/train, inputs: { features: ingest.events }, outputs: { model: out/size }",
        "run: 'exit 3', inputs: { e: ingest.events }, outputs: { o: out/size }",
    ] {
        let stage = format!("  size: {{ {bad} }}\n");
        let before = good.split("  size:").next().expect("a text");
        space.write("pipelines/p.yaml", format!("{before}{stage}"));
        let ran = space.madmall(["run", "pipelines/p.yaml", "--keep-going"]);
        assert!(matches!(ran.code, Some(1 | 2)), "{}", ran.err);
    }
    space.write("pipelines/p.yaml", &good);
    revoke_at(&space, "revocations", "evt-2");
    strictly(&space, &[]).code(4).says("madmall run pipelines/p.yaml");
    space.madmall(["run", "pipelines/p.yaml"]).success();
    assert_eq!(
        crate::space::files_below(&space.path(".madmall/output"))
            .iter()
            .filter(|log| log.ends_with("size.log"))
            .count(),
        3
    );
    space.madmall(["consent", "affected"]).success().says_not("to do");
    space.madmall(["verify"]).success().says_not("WITHDRAWN");
    strictly(&space, &[]).success();
}

#[test]
fn what_another_pipeline_made_of_withdrawn_events_rests_on_them_until_that_is_run() {
    let space = with_a_reader();
    space.madmall(["run", "pipelines/p.yaml"]).success();
    space.madmall(["run", "pipelines/q.yaml"]).success();
    revoke_at(&space, "revocations", "evt-2");
    space.madmall(["run", "pipelines/p.yaml"]).success();
    space
        .madmall(["consent", "affected"])
        .code(3)
        .says("madmall run pipelines/q.yaml");
    for what in [&[][..], &["out/read"]] {
        strictly(&space, what)
            .code(4)
            .says("E-WITHDRAWN")
            .says("`madmall run pipelines/q.yaml` makes it without");
    }
    strictly(&space, &["out/size"]).success();
    space.madmall(["run", "pipelines/q.yaml"]).success();
    space.madmall(["consent", "affected"]).success();
    strictly(&space, &[]).success();
}

#[test]
fn what_another_pipeline_made_of_a_file_of_a_folder_rests_on_what_the_folder_does() {
    let space = with_a_reader();
    space.write(
        "pipelines/p.yaml",
        space.read("pipelines/p.yaml")
            + "  pages: { run: 'wc -c < ${inputs.e} > ${outputs.o}/size; cut -c 5- ${inputs.e} > ${outputs.o}/rows', inputs: { e: ingest.events }, outputs: { o: out/pages/ } }\n",
    );
    space.write(
        "pipelines/q.yaml",
        space.read("pipelines/q.yaml").replace("out/size", "out/pages/rows"),
    );
    space.madmall(["run", "pipelines/p.yaml"]).success();
    space.madmall(["run", "pipelines/q.yaml"]).success();
    revoke_at(&space, "revocations", "evt-2");
    space.madmall(["run", "pipelines/p.yaml"]).success();
    let affected = space.madmall(["consent", "affected"]).code(3);
    affected.says("out/read").says("madmall run pipelines/q.yaml");
    strictly(&space, &["out/read"])
        .code(4)
        .says("`madmall run pipelines/q.yaml` makes it without");
    space.madmall(["run", "pipelines/q.yaml"]).success();
    space.madmall(["consent", "affected"]).success();
    strictly(&space, &[]).success();
}

fn revoke_at(space: &Space, path: &str, id: &str) {
    let line = json!({"event_id": id, "time": "2026-02-01T09:30:00Z", "reason": "withdrawn"});
    space.write(path, space.read(path) + &line.to_string() + "\n");
}
