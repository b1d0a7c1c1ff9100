//! Receipts of version 1 verify for ever, and the page and the schema that describe them stay true.
//!
//! The files in `tests/golden/receipt-v1` never change. Code may.

use madmall::digest::Sha256;
use madmall::receipt::key::PublicKey;
use madmall::receipt::run_file::RunFile;
use serde_json::{Value, json};

use super::world::{World, key};

const RUN: &[u8] = include_bytes!("../golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");
const KEY: &str = include_str!("../golden/receipt-v1/public-key.pem");

fn payloads(file: &RunFile) -> Vec<Value> {
    let payloads = file.receipts().iter().map(|receipt| receipt.envelope.payload());
    payloads.map(|p| serde_json::from_slice(p).expect("JSON")).collect()
}

#[test]
fn the_frozen_receipts_parse_and_verify() {
    let expected = "480c4067f211ded3d6cfac45abfb54211c681d9896ec71018f5e67b3305f42af";
    assert_eq!(Sha256::of(RUN).to_hex(), expected, "a frozen file was changed");
    let file = RunFile::parse(RUN).expect("receipts of version 1");
    assert_eq!(file.to_bytes(), RUN);
    file.verify_signatures(&PublicKey::parse(KEY).expect("a public key"))
        .expect("their own key");
    let ids: Vec<String> = file
        .receipts()
        .iter()
        .map(|receipt| receipt.id.to_hex()[..8].to_owned())
        .collect();
    assert_eq!(ids, ["04ff7fb2", "42eafbf9", "0c1a1421", "512d9479"]);
    for receipt in file.receipts() {
        let again = receipt.statement.to_payload().expect("it holds together");
        assert_eq!(again, receipt.envelope.payload());
    }
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
    for payload in payloads(&frozen).iter().chain(&payloads(&fresh)) {
        let faults: Vec<String> = validator.iter_errors(payload).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
    let mut executable = payloads(&frozen)[0].clone();
    executable["subject"][0]["annotations"]["madmall"]["output"]["executable"] = json!(true);
    assert!(validator.is_valid(&executable), "an output may be a program");
    executable["subject"][0]["annotations"]["madmall"]["output"]["executable"] = json!(false);
    assert!(!validator.is_valid(&executable), "that it is none is not written");
    let definition = "/predicate/buildDefinition";
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
