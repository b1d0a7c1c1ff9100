//! Proofs that leave the repository, and copies of logs that are compared.

use std::collections::BTreeMap;

use crate::space::{Space, files_below};

const ONE: &str = "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}";

/// A workspace in which two runs were made, each with a receipt of a stage and one of its own.
fn finished() -> Space {
    let space = Space::with(ONE);
    for text in ["1\n", "2\n"] {
        space.write("in", text);
        space.run(&[]).success();
    }
    space
}

/// The checkpoint of that size of the one log.
fn checkpoint(space: &Space, size: u64) -> String {
    let files = files_below(&space.path("runs/log"));
    let name = files
        .into_iter()
        .find(|name| name.ends_with(&format!("/checkpoint-{size}")));
    format!("runs/log/{}", name.expect("a checkpoint"))
}

/// The receipts of all runs, newest first.
fn receipts(space: &Space) -> Vec<String> {
    let listed = space.madmall(["log", "--json"]).success().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("one JSON object");
    let runs = listed["runs"].as_array().expect("a list").iter();
    runs.map(|run| run["receipt"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn a_proof_that_the_log_has_a_receipt_holds_without_the_repository_and_any_changed_byte_spoils_it() {
    let space = finished();
    let ids = receipts(&space);
    space
        .madmall(["log", "prove", &ids[0], "-o", "a.tlog-proof"])
        .success()
        .says("is entry 3 of 4");
    let proof = space.read("a.tlog-proof");
    let shown = space.madmall(["log", "prove", &ids[0]]).success().out;
    assert_eq!(shown, proof);
    let mut lines = proof.lines();
    assert_eq!(
        (lines.next(), lines.next()),
        (Some("c2sp.org/tlog-proof@v1"), Some("index 3"))
    );
    assert!(proof.ends_with(&space.read(&checkpoint(&space, 4))));
    // The digits that `log` shows, and a run, are enough; so is a receipt whose file is gone.
    let run = space.receipt_files()[1].replace(".intoto.jsonl", "");
    for name in [&ids[0]["sha256:".len()..][..12], &run] {
        assert_eq!(space.madmall(["log", "prove", name]).success().out, proof);
    }

    let key = space.madmall(["key", "--pem"]).success().out;
    let auditor = Space::empty();
    auditor.write("a.tlog-proof", &proof);
    auditor.write("key.pem", key);
    let check = |receipt: &str| {
        auditor.madmall([
            "log",
            "check",
            "a.tlog-proof",
            "--receipt",
            receipt,
            "--trust",
            "key.pem",
        ])
    };
    check(&ids[0]).success().says("holds").says("is entry 3 of madmall/");
    check(&ids[1]).code(4).says("is not entry 3");
    auditor
        .madmall(["log", "check", "a.tlog-proof", "--trust", "key.pem"])
        .code(6)
        .says("--receipt");
    auditor
        .madmall(["log", "check", "a.tlog-proof", "--receipt", &ids[0]])
        .code(6)
        .says("nobody is trusted");
    auditor.madmall(["key"]).success();
    auditor
        .madmall(["log", "check", "a.tlog-proof", "--receipt", &ids[0]])
        .code(6)
        .says("not trusted");
    for place in (0..proof.len()).step_by(7) {
        let mut bytes = proof.clone().into_bytes();
        bytes[place] ^= 1;
        auditor.write("a.tlog-proof", bytes);
        check(&ids[0]).code(4);
    }
    auditor.madmall(["log", "check", "none"]).code(2);
    auditor.madmall(["log", "check", "."]).code(2);
    let unknown = format!("sha256:{}", "0".repeat(64));
    space.madmall(["log", "prove", &unknown]).code(6).says("is in no log");
    space.madmall(["log", "prove"]).code(2);
}

#[test]
fn a_proof_that_the_log_extends_what_was_seen_holds_and_a_shorter_or_forked_log_gives_none() {
    let space = finished();
    let old = checkpoint(&space, 2);
    let kept = space.bytes(&old);
    space
        .madmall(["log", "prove", "--since", &old, "-o", "p"])
        .success()
        .says("from 2 to 4");
    let proof = space.read("p");
    assert!(proof.starts_with("old 2\n"), "{proof}");
    assert_eq!(space.madmall(["log", "prove", "--since", "2"]).success().out, proof);
    let check = |proof: &str, old: &str| space.madmall(["log", "check", proof, "--old", old]);
    check("p", &old)
        .success()
        .says("its 2 entries are the first of madmall/");
    check("p", &checkpoint(&space, 4)).code(4).says("are not the first of");
    space.madmall(["log", "check", "p"]).code(6).says("--old");
    let mut bytes = kept.clone();
    bytes[20] ^= 1;
    space.write("other", bytes);
    check("p", "other").code(4);
    for place in (0..proof.len()).step_by(7) {
        let mut bytes = proof.clone().into_bytes();
        bytes[place] ^= 1;
        space.write("q", bytes);
        check("q", &old).code(4);
    }
    space
        .madmall(["log", "prove", "--since", "5"])
        .code(4)
        .says("fewer than 5");
    space
        .madmall(["log", "prove", "--since", "p"])
        .code(2)
        .says("is no checkpoint");
    space
        .madmall(["log", "prove", "--since", "2", "--log", "0123456789abcdef"])
        .code(6);
    // The end is taken away: what was seen of the log is more than there is.
    let newest = checkpoint(&space, 4);
    space.write("kept", space.bytes(&newest));
    space.remove(&newest);
    space
        .madmall(["log", "prove", "--since", "kept"])
        .code(4)
        .says("has 2 entries here");
}

/// The files below `folders`, to be put back later.
fn state(space: &Space, folders: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let all = space.snapshot().into_iter();
    all.filter(|(name, _)| folders.iter().any(|folder| name.starts_with(folder)))
        .collect()
}

/// Makes the folders what they were. The working copy's own folder stays: to whoever does this it is no copy.
fn rewind(space: &Space, folders: &[&str], before: &BTreeMap<String, Vec<u8>>) {
    for name in state(space, folders).keys() {
        space.remove(name);
    }
    for (name, bytes) in before {
        space.write(name, bytes);
    }
}

#[test]
fn two_copies_are_equal_or_one_goes_on_or_they_are_forked_and_the_first_entry_that_differs_is_named() {
    let space = finished();
    let folders = ["runs/", ".madmall/log/"];
    let before = state(&space, &folders);
    let at = |name: &str| format!("../{name}/runs");
    let keep = |name: &str| {
        for (file, bytes) in state(&space, &["runs/"]) {
            space.write(&format!("../{name}/{file}"), bytes);
        }
    };
    keep("short");
    space.write("in", "3\n");
    space.run(&[]).success();
    keep("long");
    let compare = |a: &str, b: &str| space.madmall(["log", "compare", a, b]);
    compare(".", "../long")
        .success()
        .says("equal, 6 entries")
        .says("signed by own key");
    compare("runs", &at("short"))
        .success()
        .says("A goes on from B, 4 to 6 entries");
    compare(&at("short"), "runs/log")
        .success()
        .says("B goes on from A, 4 to 6 entries");
    let seen = checkpoint(&space, 6);
    compare(&seen, &at("long")).success().says("equal");
    compare(&seen, &at("short")).code(6).says("not compared");

    // Whoever has the key and the store can write another history under the same name.
    rewind(&space, &folders, &before);
    space.write("in", "another\n");
    space.run(&["--force"]).success().says_not("new log");
    space.write("in", "and more\n");
    space.run(&[]).success().says_not("new log");
    let first = space
        .madmall(["show", &space.receipt_files()[2].replace(".intoto.jsonl", "")])
        .success()
        .out;
    let out = compare("../long", ".")
        .code(4)
        .says("FORKED, 6 entries in A and 8 in B")
        .out;
    assert!(out.contains("the first entry that differs is 4:"), "{out}");
    let stage = first
        .lines()
        .find_map(|line| line.strip_prefix("receipt    ")?.split_once("  "))
        .expect("a stage's receipt")
        .1;
    assert!(out.contains(&format!("  B: {stage}")), "{out}");
}

#[test]
fn what_is_only_in_one_copy_is_listed_and_what_is_no_copy_is_refused() {
    let space = finished();
    let other = Space::with(ONE);
    other.write("in", "1\n");
    other.run(&[]).success();
    let theirs = other.root().into_string();
    space
        .madmall(["log", "compare", ".", &theirs])
        .code(6)
        .says("only in A, 4 entries")
        .says("only in B, 2 entries");
    let json = space.madmall(["log", "compare", "--json", ".", "."]).success().out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(
        (json["version"].as_u64(), json["logs"][0]["relation"].as_str()),
        (Some(1), Some("equal"))
    );
    assert_eq!(
        (
            json["logs"][0]["a"]["size"].as_u64(),
            json["logs"][0]["a"]["signer"].as_str()
        ),
        (Some(4), Some("own key"))
    );
    let json = space.madmall(["log", "compare", "--json", ".", &theirs]).code(6).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert!(
        json["logs"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|log| log["relation"] == "only-b" && log["b"]["signer"].is_null())
    );
    space
        .madmall(["log", "compare", ".", "in"])
        .code(6)
        .says("no checkpoint, and no folder with logs");
    space.madmall(["log", "compare", ".", "nothing"]).code(2);
    space.write("empty/x", "");
    space.madmall(["log", "compare", "empty", "."]).code(6);
}

#[test]
fn of_a_key_that_has_ended_only_proofs_of_what_its_log_was_then_hold() {
    let mut space = Space::with(ONE);
    let (own, theirs) = (
        space.path("../config").into_string(),
        space.path("../theirs").into_string(),
    );
    space.set("MADMALL_CONFIG_DIR", &theirs);
    space.write("in", "1\n");
    space.run(&[]).success();
    space.write("../theirs.pem", space.madmall(["key", "--pem"]).success().out);
    let before = receipts(&space).remove(0);
    space.madmall(["log", "prove", &before, "-o", "before"]).success();
    space.write("in", "2\n");
    space.run(&[]).success();
    let after = receipts(&space).remove(0);
    space.madmall(["log", "prove", &before, "-o", "longer"]).success();
    space.madmall(["log", "prove", &after, "-o", "after"]).success();
    space.madmall(["log", "prove", "--since", "2", "-o", "since"]).success();
    let (then, now) = (checkpoint(&space, 2), checkpoint(&space, 4));

    space.set("MADMALL_CONFIG_DIR", &own);
    space
        .madmall(["key", "trust", "../theirs.pem", "--name", "Ada"])
        .success();
    let check = |proof: &str, receipt: &str| space.madmall(["log", "check", proof, "--receipt", receipt]);
    for (proof, receipt) in [("before", &before), ("longer", &before), ("after", &after)] {
        check(proof, receipt).success().says("holds");
    }
    space.madmall(["key", "revoke", "Ada", "--at", &then]).success();
    check("before", &before).success().says("holds");
    // Whoever has the key can sign any longer history, and any other.
    let until = "the policy trusts `Ada` until ";
    for (proof, receipt) in [("longer", &before), ("after", &after)] {
        let came_after = "had 2 entries; this checkpoint of 4 came after it";
        check(proof, receipt)
            .code(6)
            .says("not checked")
            .says(until)
            .says(came_after);
    }
    let since = ["log", "check", "since", "--old", &then];
    space.madmall(since).code(6).says(until);
    space
        .madmall(since.into_iter().chain(["--trust", "../config/policy.json"]))
        .code(4)
        .says(until);

    let proof = space.madmall(["log", "prove", &before]).success().out;
    assert_eq!(proof, space.read("before"));
    space
        .madmall(["log", "prove", &after])
        .code(6)
        .says("is in no log by a key that is trusted; ")
        .says(until);
    space.madmall(["log", "prove", "--since", "2"]).success();
    for since in ["4", &now] {
        space.madmall(["log", "prove", "--since", since]).code(6).says(until);
    }
}
