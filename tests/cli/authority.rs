//! A policy says what a key may sign, and until when; what is beyond that counts for nothing.

use std::fs;

use serde_json::{Value, json};

use crate::space::{Ran, Space, files_below};

const TWO: &str = "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

fn finished() -> Space {
    let space = Space::with(TWO);
    space.write("in", "one");
    space.run(&[]).success();
    space
}

/// The user's own policy, with the fields of `limits` beside its one key's.
fn policy(space: &Space, limits: &Value) -> Value {
    let mut policy: Value = serde_json::from_str(&space.read("../config/policy.json")).expect("JSON");
    for (name, value) in limits.as_object().expect("fields") {
        policy["keys"][0][name] = value.clone();
    }
    policy
}

fn verify(space: &Space, policy: &Value) -> Ran {
    space.write("../policy.json", policy.to_string());
    space.madmall(["verify", "--trust", "../policy.json"])
}

/// The newest checkpoint of the one log, as a policy pins it.
fn head(space: &Space) -> Value {
    let files = files_below(&space.path("runs/log"));
    let checkpoints = files.iter().filter(|name| name.contains("/checkpoint-"));
    let newest = checkpoints.max_by_key(|name| name.rsplit_once('-').and_then(|(_, size)| size.parse::<u64>().ok()));
    let text = space.read(&format!("runs/log/{}", newest.expect("a checkpoint")));
    let mut lines = text.lines();
    let (origin, size, root) = (lines.next(), lines.next(), lines.next());
    let root = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, root.expect("a root"));
    let hex: String = root.expect("base64").iter().map(|byte| format!("{byte:02x}")).collect();
    let size: u64 = size.and_then(|size| size.parse().ok()).expect("a size");
    json!({ "origin": origin.expect("an origin"), "root": hex, "size": size })
}

#[test]
fn a_key_counts_only_for_what_the_policy_lets_it_sign() {
    let space = finished();
    let builder = "urn:madmall:builder:local";
    for (limits, why) in [
        (json!({ "pipelines": ["other"] }), "pipeline"),
        (json!({ "stages": ["a"] }), "stage"),
        (json!({ "builders": ["urn:madmall:builder:other"] }), "builder"),
        (json!({ "from": "2100-01-01T00:00:00Z" }), "2100-01-01T00:00:00Z on"),
        (
            json!({ "until": { "time": "2020-01-01T00:00:00Z", "logs": [head(&space)] } }),
            "until 2020",
        ),
    ] {
        verify(&space, &policy(&space, &limits)).code(4).says("E-KEY").says(why);
    }
    let all =
        json!({ "pipelines": ["test"], "stages": ["a", "b"], "builders": [builder], "from": "2020-01-01T00:00:00Z" });
    verify(&space, &policy(&space, &all)).success();
}

#[test]
fn after_its_end_a_key_counts_for_what_was_in_its_log_then_and_nothing_else() {
    let space = finished();
    let end = |head: Value| json!({ "until": { "time": "2100-01-01T00:00:00Z", "logs": [head] } });
    let then = head(&space);
    verify(&space, &policy(&space, &end(then.clone()))).success();
    // What the stolen key signs later says of itself that it is as old as one likes.
    space.write("in", "two");
    space.run(&[]).success();
    let ended = policy(&space, &end(then.clone()));
    verify(&space, &ended)
        .code(4)
        .says("E-DIGEST")
        .says("claims these bytes, by key")
        .says("has ended");
    space.write("in", "one");
    space.run(&[]).success();
    verify(&space, &ended).success().says("W-FOREIGN");
    // A pin of another history proves nothing.
    let mut forged = then.clone();
    forged["root"] = json!("0".repeat(64));
    verify(&space, &policy(&space, &end(forged))).code(4).says("has ended");
    fs::remove_dir_all(space.path("runs/log")).expect("removed");
    verify(&space, &ended).code(4).says("is not here as it was then");
}

#[test]
fn only_the_logs_that_the_policy_names_count() {
    let space = finished();
    let mut listed = policy(&space, &json!({}));
    let keyid = listed["keys"][0]["keyid"].clone();
    listed["logs"] = json!([{ "origin": head(&space)["origin"], "keyid": keyid }]);
    verify(&space, &listed)
        .success()
        .says("held:        signature, subject, chain, log");
    listed["logs"] = json!([{ "origin": "madmall/0123456789abcdef", "keyid": keyid }]);
    verify(&space, &listed)
        .success()
        .says("no log by a trusted key is here");
}
