//! What can be done with a trained model: other forms of it, its card. What other programs make of the forms is for `tests/foreign/run` to say.

use madmall::digest::Digests;
use serde_json::{Value, json};

use crate::space::Space;

fn space() -> Space {
    let space = Space::empty();
    let model = json!({
        "format": "madmall-model/v1", "kind": "logreg", "labels": {"negative": "no", "positive": "yes"},
        "feature_keys": ["age", "bmi\u{1}"], "weights": [0.1, 5e-324], "bias": -1e-7, "standardisation": null,
    });
    space.write("control.json", model.to_string());
    space.write("model.json", model.to_string().replace("\\u0001", ""));
    space
}

#[test]
fn a_model_is_exported_whole_and_with_the_same_bytes_each_time() {
    let space = space();
    for (form, file, says) in [
        ("--js", "made/model.mjs", "\"weights\":[0.1,5e-324]"),
        (
            "--sql",
            "scores.sql",
            "(1e-1) * x0\n      + (5e-324) * x1 + (-1e-7) AS z",
        ),
        ("--pmml", "model.pmml", "coefficient=\"5e-324\""),
        ("--onnx", "model.onnx", "Sigmoid"),
    ] {
        let ran = space
            .madmall(["model", "export", form, "model.json", "--out", file])
            .success();
        assert_eq!(ran.out, "");
        let first = space.bytes(file);
        assert!(String::from_utf8_lossy(&first).contains(says), "{form}");
        let ran = space
            .command(["model", "export", "model.json", form])
            .output()
            .expect("it runs");
        assert!(ran.status.success() && ran.stdout == first, "{form}");
    }
    assert!(space.read("made/model.d.mts").contains("export declare function score"));
    space
        .madmall(["model", "export", "--js", "model.json", "--out", "model.js"])
        .success()
        .says("wrote model.js and model.d.ts");
    assert_eq!(space.read("model.d.ts"), space.read("made/model.d.mts"));
}

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_nothing() {
    let space = space();
    space.write("none.json", "{}");
    let before = space.snapshot();
    for (arguments, says) in [
        (
            ["--pmml", "control.json", "-o", "a.pmml"].as_slice(),
            "PMML cannot hold the character U+0001",
        ),
        (&["--js", "model.json", "-o", "a.txt"], "is not called as a module"),
        (&["--sql", "none.json", "-o", "a.sql"], "`none.json` is no model: "),
        (&["--sql", "absent.json"], "cannot read the model `absent.json`"),
        (&["--sql", "modle.json"], "did you mean `model.json`?"),
        (&["model.json"], "--js"),
        (&["--js", "--sql", "model.json"], "cannot be used"),
    ] {
        let ran = space
            .madmall(["model", "export"].iter().chain(arguments))
            .code(2)
            .says(says);
        assert_eq!(ran.out, "");
    }
    space.is_as(&before);
}

/// A workspace in which a model of the small events was trained.
fn trained() -> Space {
    trained_from("events.ndjson", "events.ndjson")
}

/// The same of the events in `file`, which the pipeline calls `events`.
fn trained_from(events: &str, file: &str) -> Space {
    trained_by(events, file, "out/features.arrow")
}

/// The same with `features` as the output that the features are.
fn trained_by(events: &str, file: &str, features: &str) -> Space {
    let space = Space::empty();
    space.write(file, include_bytes!("../golden/small-events.ndjson"));
    space.write("schema.json", include_bytes!("../../schemas/byte_event.schema.json"));
    space.write("madmall.yaml", "");
    space.pipeline(&format!(
        "purpose: care
stages:
  ingest: {{uses: madmall/ingest, inputs: {{events: {events}, schema: schema.json}}, outputs: {{events: out/events.ndjson, report: out/ingest.json}}}}
  featurize: {{uses: madmall/featurize, inputs: {{events: ingest.events}}, params: {{groups: [source.kind]}}, outputs: {{features: {features}}}}}
  train: {{uses: madmall/train, inputs: {{features: featurize.features}}, params: {{holdout: 0.3, l2: 1}}, outputs: {{model: out/model.json, metrics: out/metrics.json}}}}",
    ));
    space.run(&[]).success();
    space
}

#[test]
fn a_card_names_a_source_by_what_others_can_check_whatever_it_is() {
    let space = trained_from("data/", "data/events.ndjson");
    let card = space.madmall(["model", "card", "out/model.json"]).success().out;
    assert!(card.contains("| Source | data (dirHash:"), "{card}");
    assert!(card.contains("| Source | schema.json (sha256:"), "{card}");
}

#[test]
fn a_card_says_what_the_ledger_says_of_these_bytes_and_of_no_others() {
    let space = trained();
    let card = space.madmall(["model", "card", "out/model.json"]).success().out;
    let report: Value = serde_json::from_str(&space.read("out/ingest.json")).expect("JSON");
    let receipt = card
        .lines()
        .find_map(|line| line.strip_prefix("| Receipt | "))
        .expect("it names one")
        .trim_end_matches(" |");
    assert!(receipt.starts_with("sha256:"));
    space
        .madmall(["show", receipt])
        .success()
        .says("stage      train")
        .says("out/model.json  sha256:");
    for says in [
        "# Model card: model.json",
        "| Purpose | care |",
        "| Parameters |",
        "| Stands on | ingest: sha256:",
        "| Stands on | featurize: sha256:",
        "| Source | events.ndjson (sha256:",
        "## Intended use and limits",
        &format!("| let in | {} |", report["counts"]["accepted"]),
        "| rows held out |",
        "## By group",
        "## Coefficients",
    ] {
        assert!(card.contains(says), "{says} is not in\n{card}");
    }
    let html = space
        .madmall(["model", "card", "out/model.json", "--format", "html"])
        .success()
        .out;
    assert!(html.starts_with("<!doctype html>") && html.contains(receipt) && !html.contains("<script"));
    // The same model from elsewhere is the same model; one byte more, and nothing is known of it.
    space.write("copy.json", space.bytes("out/model.json"));
    let copied = space.madmall(["model", "card", "copy.json"]).success().out;
    assert!(copied.contains(receipt));
    space.write("copy.json", format!("{} ", space.read("out/model.json")));
    space
        .madmall(["model", "card", "copy.json"])
        .success()
        .says("No receipt found")
        .says("Use it for nothing until that is found out")
        .says_not(receipt);
    // Metrics that are not those of the receipt are not shown.
    space.write("out/metrics.json", "{}");
    std::fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    space
        .madmall(["model", "card", "out/model.json", "--out", "card.md"])
        .success()
        .says("wrote card.md");
    let card = space.read("card.md");
    assert!(card.contains("No metrics were found beside the model."));
    assert!(
        card.contains("out/metrics.json\\` is not shown: its bytes are neither in the store nor in place"),
        "{card}"
    );
}

#[test]
fn a_card_knows_the_projects_own_purposes_and_the_level_of_its_intervals() {
    for (purpose, says) in [
        (
            "commercial",
            "Trained for commercial. Every event that it was trained on came with consent to commercial;",
        ),
        (
            "research",
            "on events whose consent covers research and with it commercial, care.",
        ),
    ] {
        let space = trained();
        let usual = space.read("pipeline.yaml").replace("l2: 1", "l2: 1, confidence: 0.57");
        let wanted = usual.replace("purpose: care", &format!("purpose: {purpose}"));
        space.write("pipeline.yaml", wanted);
        space.write("madmall.yaml", "version: 1\npurposes: [commercial, care, research]\n");
        space.run(&["--force"]).success();
        let card = space.madmall(["model", "card", "out/model.json"]).success();
        card.says(&format!("| Purpose | {purpose} |"))
            .says(says)
            .says("| 57 % of it |")
            .says_not("95 %");
        let evaluate = [
            "evaluate",
            "--model",
            "out/model.json",
            "--features",
            "out/features.arrow",
        ];
        let ran = space.madmall(evaluate.iter().chain(&["--confidence", "0.57"]));
        ran.success().says("(57 %: ");
    }
}

#[test]
fn a_personal_model_has_a_card_for_who_has_the_secret_and_its_numbers_are_on_no_other_page() {
    let mut space = trained_by(
        "events.ndjson",
        "events.ndjson",
        "{path: out/features.arrow, personal: true}",
    );
    let card = space.madmall(["model", "card", "out/model.json"]).success();
    let card = card.says("The model is personal").says("| Receipt | sha256:");
    let card = card
        .says("| hmacSha256 | ")
        .says("| blake3Keyed | ")
        .says("| Stands on | featurize: ");
    let card = card.says("out/metrics.json\\` is not shown: it is personal");
    let plain = Digests::of(&space.bytes("out/model.json"));
    card.says_not(&plain.sha256.to_hex()).says_not(&plain.blake3.to_hex());
    space
        .madmall(["metrics"])
        .code(6)
        .says("`out/metrics.json` of")
        .says("it is personal; if it holds nothing of a person, its stage can say so");
    let diff = space.madmall(["diff", "latest", "latest"]).success();
    diff.says("`out/metrics.json` of").says("it is personal");
    // Whoever has another secret cannot compare, and is told that this may be why.
    let other = format!("madmall-consent-secret-v1 {}", "ab".repeat(32));
    space.set("MADMALL_CONSENT_SECRET", &other);
    let card = space.madmall(["model", "card", "out/model.json"]).success();
    card.says("by a consent secret that is not here")
        .says_not("No receipt found: ");
}

#[test]
fn nothing_that_a_model_names_becomes_markup_or_moves_the_terminal() {
    let space = Space::empty();
    let hostile = "<img src=x onerror=alert(1)>|*b*[l](http://x)\u{1b}[31m\u{202e}\n# h";
    let model = json!({
        "format": "madmall-model/v1", "kind": "logreg", "labels": {"negative": "no", "positive": hostile},
        "feature_keys": [hostile], "weights": [0.5], "bias": -1, "standardisation": null,
    });
    space.write("model.json", model.to_string());
    let html = space
        .madmall(["model", "card", "model.json", "--format", "html"])
        .success();
    let markdown = space.madmall(["model", "card", "model.json"]).success();
    let show = space.madmall(["model", "show", "model.json"]).success();
    for ran in [&html, &markdown, &show] {
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{}", ran.out);
        assert!(!ran.out.contains("\n# h"));
    }
    assert!(!html.out.contains("<img") && html.out.contains("&lt;img"));
    assert!(
        !markdown.out.contains(" <img")
            && markdown.out.contains("\\<img")
            && markdown.out.contains("\\|\\*b\\*\\[l\\]")
    );
    let shown = space.madmall(["model", "show", "model.json", "--json"]).success().out;
    let shown: Value = serde_json::from_str(&shown).expect("one object");
    assert_eq!(shown["columns"], json!([{"column": hostile, "weight": 0.5}]));
    assert_eq!((&shown["bias"], &shown["positive"]), (&json!(-1.0), &json!(hostile)));
}
