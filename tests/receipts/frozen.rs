//! Receipts of released versions verify for ever, and the page and the schema that describe them stay true.
//!
//! The files in `tests/golden/receipt-v1` and `receipt-v2` never change. Code may.

use madmall::digest::Sha256;
use madmall::receipt::key::PublicKey;
use madmall::receipt::run_file::RunFile;
use serde_json::{Value, json};

use super::world::{World, key};

const RUN: &[u8] = include_bytes!("../golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");
const KEY: &str = include_str!("../golden/receipt-v1/public-key.pem");

/// Two runs of version 2: in the second one of two stages ran.
const RUNS: [&[u8]; 2] = [
    include_bytes!("../golden/receipt-v2/2026-11-28T194106Z-words-a93c4d.intoto.jsonl"),
    include_bytes!("../golden/receipt-v2/2026-11-28T194107Z-words-e10998.intoto.jsonl"),
];
const KEY_OF_RUNS: &str = include_str!("../golden/receipt-v2/public-key.pem");

fn payloads(file: &RunFile) -> Vec<Value> {
    let payloads = file.receipts().iter().map(|receipt| receipt.envelope.payload());
    payloads.map(|p| serde_json::from_slice(p).expect("JSON")).collect()
}

#[test]
fn the_frozen_receipts_parse_and_verify() {
    let digest = "480c4067f211ded3d6cfac45abfb54211c681d9896ec71018f5e67b3305f42af";
    holds(RUN, KEY, digest, &["04ff7fb2", "42eafbf9", "0c1a1421", "512d9479"]);
    let digests = [
        "aedffc7d60d727456d8c027a7b37264e2c970795d7fd40d025aec30bc1eb7a18",
        "e38d9991ff316786f60d088fa5b72255aa5d9202ba0bf817c0138c4371b72d33",
    ];
    holds(RUNS[0], KEY_OF_RUNS, digests[0], &["2d104176", "a76cd05a", "836576c7"]);
    holds(RUNS[1], KEY_OF_RUNS, digests[1], &["8590dc48", "3aded38c"]);
}

/// The file has the `digest`, is read back as it is, holds by its key, and has receipts whose ids begin with `ids`.
fn holds(run: &[u8], key: &str, digest: &str, ids: &[&str]) {
    assert_eq!(Sha256::of(run).to_hex(), digest, "a frozen file was changed");
    let file = RunFile::parse(run).expect("receipts");
    assert_eq!(file.to_bytes(), run);
    file.verify_signatures(&PublicKey::parse(key).expect("a public key"))
        .expect("their own key");
    let found = file.receipts().iter().map(|receipt| receipt.id.to_hex());
    assert_eq!(found.map(|id| id[..8].to_owned()).collect::<Vec<_>>(), ids);
    for receipt in file.receipts() {
        let again = receipt.statement.to_payload().expect("it holds together");
        assert_eq!(again, receipt.envelope.payload());
    }
}

#[test]
fn a_run_names_the_receipts_of_all_its_stages_in_either_version_and_outputs_of_all_in_the_first() {
    let own = |run: &[u8]| {
        RunFile::parse(run)
            .expect("receipts")
            .into_receipts()
            .pop()
            .expect("its own")
    };
    let named = |run| -> Vec<(String, String)> {
        let own = own(run);
        let receipts = own.statement.receipts();
        receipts
            .map(|(stage, id)| (stage.to_owned(), id.to_hex()[..8].to_owned()))
            .collect()
    };
    let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let first = [("ingest", "04ff7fb2"), ("check", "0c1a1421"), ("card", "42eafbf9")];
    assert_eq!(named(RUN), text(&first), "by their ids");
    assert_eq!(named(RUNS[0]), text(&[("count", "a76cd05a"), ("sorted", "2d104176")]));
    assert_eq!(named(RUNS[1]), text(&[("count", "a76cd05a"), ("sorted", "8590dc48")]));
    let outputs = |run| -> Vec<String> {
        own(run)
            .statement
            .subject
            .iter()
            .map(|made| made.name.clone())
            .collect()
    };
    assert_eq!(outputs(RUNS[0]), ["out/count.txt", "out/sorted.txt"]);
    assert_eq!(outputs(RUNS[1]), ["out/sorted.txt"], "of what ran");
}

#[test]
fn the_page_about_receipts_shows_the_first_frozen_one() {
    let page = include_str!("../../docs/receipt.md");
    let file = RunFile::parse(RUN).expect("receipts of version 1");
    let shown = serde_json::to_string_pretty(&payloads(&file)[0]).expect("a spelling");
    assert!(page.contains(&format!("```json\n{shown}\n```")), "{shown}");
    assert!(page.contains(&file.receipts()[0].id.to_hex()));
    assert!(page.contains(&PublicKey::parse(KEY).expect("a public key").keyid().to_string()));
}

#[test]
fn the_schema_takes_what_is_signed_and_nothing_else() {
    let schema: Value = serde_json::from_str(include_str!("../../schemas/receipt.schema.json")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let frozen = RunFile::parse(RUN).expect("receipts of version 1");
    let fresh = World::new().run("run-1", "2026-11-23T09:15:00Z", &key(1));
    let runs = RUNS.map(|run| payloads(&RunFile::parse(run).expect("receipts of version 2")));
    let runs = runs.concat();
    for payload in payloads(&frozen).iter().chain(&payloads(&fresh)).chain(&runs) {
        let faults: Vec<String> = validator.iter_errors(payload).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
    let mut executable = payloads(&frozen)[0].clone();
    executable["subject"][0]["annotations"]["madmall"]["output"]["executable"] = json!(true);
    assert!(validator.is_valid(&executable), "an output may be a program");
    executable["subject"][0]["annotations"]["madmall"]["output"]["executable"] = json!(false);
    assert!(!validator.is_valid(&executable), "that it is none is not written");
    let definition = "/predicate/buildDefinition";
    // Each version calls the receipts of stages in its own way.
    for run in [payloads(&frozen).pop(), runs.last().cloned()].map(|run| run.expect("its own")) {
        for version in ["urn:madmall:run:v1", "urn:madmall:run:v2"] {
            let mut run = run.clone();
            let is_its_own = run.pointer(&format!("{definition}/buildType")) == Some(&json!(version));
            run["predicate"]["buildDefinition"]["buildType"] = json!(version);
            assert_eq!(validator.is_valid(&run), is_its_own, "{version}");
        }
    }
    let logs = format!("{definition}/internalParameters/madmall/logs");
    let head = |origin: &str, size: u64| json!([{ "origin": origin, "root": "0".repeat(64), "size": size }]);
    let mut named = payloads(&frozen)[0].clone();
    *named.pointer_mut(&logs).expect("a field") = head("madmall/0123456789abcdef", 1);
    assert!(validator.is_valid(&named), "a head of a log");
    let changes: [(&str, Value); 14] = [
        (&logs, head("madmall/0123456789abcdef", 0)),
        (&logs, head("madmall/x", 1)),
        ("/_type", json!("https://in-toto.io/Statement/v0.1")),
        ("/subject", json!([])),
        ("/subject/0/name", json!("../x")),
        ("/subject/0/name", json!("/x")),
        ("/subject/0/digest", json!({"sha256": "0".repeat(64)})),
        ("/subject/0/annotations/madmall", json!({"tool": {}})),
        ("/predicate/runDetails/builder/id", json!("x")),
        ("/predicate/runDetails/metadata/finishedOn", json!("today")),
        (&format!("{definition}/buildType"), json!("urn:madmall:run:v1")),
        (&format!("{definition}/externalParameters/stage"), Value::Null),
        (
            &format!("{definition}/resolvedDependencies/0/digest"),
            json!({"gitCommit": "x"}),
        ),
        (
            &format!("{definition}/internalParameters/madmall/outcome"),
            json!("fine"),
        ),
    ];
    for (pointer, value) in changes {
        let mut payload = payloads(&frozen)[0].clone();
        *payload.pointer_mut(pointer).expect("a field") = value;
        assert!(!validator.is_valid(&payload), "{pointer}");
    }
}
