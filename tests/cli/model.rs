//! What can be done with a trained model: other forms of it. What other programs make of them is for `tests/foreign/run` to say.

use serde_json::json;

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
        (&["--sql", "none.json", "-o", "a.sql"], "`none.json`: "),
        (&["--sql", "absent.json"], "cannot read the model `absent.json`"),
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
