//! `madmall diff`.

use serde_json::Value;

use crate::space::Space;

/// A stage whose metrics depend on its input and its parameter, and one that never changes.
const STAGES: &str = "params: {l2: 1}
stages:
  fit:
    run: |
      printf '{\"auc\": 0.%s, \"n\": {\"rows\": 7}}' $(cat ${inputs.i}) > ${outputs.metrics}
      echo ${params.l2} > ${outputs.model}
    inputs: {i: in}
    params: {l2: '${params.l2}'}
    outputs: {metrics: out/metrics.json, model: out/model}
  other: {run: 'echo same > ${outputs.o}', outputs: {o: out/other}}";

fn two_runs() -> Space {
    let space = Space::with(STAGES);
    space.write("in", "5");
    space.run(&[]).success();
    space.write("in", "75");
    space.pipeline(&STAGES.replace("l2: 1}", "l2: 2}"));
    space.run(&[]).success();
    space
}

fn rows(space: &Space, arguments: &[&str]) -> Vec<Value> {
    let ran = space.madmall(["diff", "--json"].iter().chain(arguments)).success();
    let found: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!(found["version"], 1);
    found["rows"].as_array().expect("a list").clone()
}

fn names(rows: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| format!("{} {}", text(&row["section"]), text(&row["name"])))
        .collect()
}

#[test]
fn only_what_differs_is_shown_each_thing_in_its_section() {
    let space = two_runs();
    let rows = rows(&space, &["latest~1", "latest"]);
    assert_eq!(
        names(&rows),
        [
            "commands command",
            "parameters l2",
            "inputs i: in",
            "metrics auc",
            "outputs out/metrics.json",
            "outputs out/model"
        ]
    );
    assert_eq!(
        (&rows[1]["first"], &rows[1]["second"]),
        (&Value::from("1"), &Value::from("2"))
    );
    assert_eq!(
        (&rows[3]["first"], &rows[3]["change"]),
        (&Value::from("0.5"), &Value::from("+0.25"))
    );
    let digest = rows[4]["first"].as_str().expect("a digest");
    assert_eq!(digest.len(), "blake3:".len() + 64);
    space
        .madmall(["diff", "latest~1", "latest"])
        .success()
        .says("parameters\n  fit  l2 ")
        .says("metrics\n  fit  out/metrics.json\n    auc ")
        .says("0.75")
        .says("+0.25\n")
        .says(" values are the same (--all)\n")
        .says_not("other");
}

#[test]
fn with_all_what_is_the_same_is_shown_too() {
    let space = two_runs();
    let all = rows(&space, &["latest~1", "latest", "--all"]);
    let names = names(&all);
    for name in ["tools sh", "metrics n.rows", "outputs out/other", "run pipeline"] {
        assert!(names.contains(&name.to_owned()), "{name} is not in {names:?}");
    }
    space
        .madmall(["diff", "latest", "latest"])
        .success()
        .says("no difference in ");
}

#[test]
fn a_run_is_named_by_a_beginning_that_only_it_has() {
    let space = two_runs();
    let files = space.receipt_files();
    let id = files[0].trim_end_matches(".intoto.jsonl");
    space.madmall(["diff", id, "latest"]).success();
    space
        .madmall(["diff", &format!("runs/{}", files[0]), "latest"])
        .success();
    space
        .madmall(["diff", "20", "latest"])
        .code(2)
        .says("no run here is called `20`");
    space
        .madmall(["diff", &id[..4], "latest"])
        .code(2)
        .says("may mean 2 runs: ")
        .says("help: give more of its id");
    space
        .madmall(["diff", "latest~2", "latest"])
        .code(2)
        .says("further than the 2 runs");
    let empty = Space::with(STAGES);
    empty
        .madmall(["diff", "latest", "latest"])
        .code(2)
        .says("there are no runs here yet");
}

#[test]
fn a_name_that_means_nothing_is_refused_and_a_receipt_that_is_not_here_is_missing() {
    let space = two_runs();
    let words = |line: &str, name: &str| {
        let words: Vec<String> = line.split(' ').map(|word| word.replace("RUN", name)).collect();
        space.madmall(words)
    };
    let lines = [
        "show RUN",
        "bundle RUN",
        "rerun RUN",
        "log prove RUN",
        "diff RUN latest",
        "consent report RUN",
    ];
    for line in lines {
        words(line, "latest~9")
            .code(2)
            .says("`latest~9` goes back further than the 2 runs that are here");
        words(line, "nope")
            .code(2)
            .says("`nope`")
            .says("`madmall log` lists runs");
    }
    // Digits name a receipt, which may be elsewhere.
    for line in &lines[..4] {
        words(line, "sha256:0123456789abcdef").code(6);
    }
}

#[test]
fn whatever_takes_a_run_takes_it_by_the_same_names() {
    let space = two_runs();
    let ids: Vec<String> = space
        .receipt_files()
        .iter()
        .map(|file| file.trim_end_matches(".intoto.jsonl").to_owned())
        .collect();
    // Two runs may be of one second: a beginning that is one's own ends where the digits do.
    for (name, id) in [
        ("latest", &ids[1]),
        ("latest~1", &ids[0]),
        (&ids[0][..ids[0].len() - 1], &ids[0]),
    ] {
        let shown = space
            .madmall(["show", name])
            .success()
            .says(&format!("run        {id}"));
        assert!(shown.out.starts_with("sha256:"), "{name}");
        let receipt = shown.out.lines().next().expect("its id").to_owned();
        space
            .madmall(["show", &receipt])
            .success()
            .says(&format!("run        {id}"));
        space
            .madmall(["show", &receipt[7..15]])
            .success()
            .says(&format!("run        {id}"));
        space.madmall(["bundle", name, "--force"]).success();
        let bundle = space.path(&format!("{id}.tar.zst"));
        std::fs::remove_file(bundle).expect("it is named after the run");
    }
    space.madmall(["verify", "latest"]).success();
    // What is there is meant before a run.
    space.write("latest", "x");
    space
        .madmall(["verify", "latest"])
        .code(6)
        .says("latest: no receipt is about it");
    space.remove("latest");
    for command in ["show", "verify", "bundle", "rerun"] {
        space
            .madmall([command, "latest~2"])
            .code(2)
            .says("`latest~2` goes back further than the 2 runs that are here");
        space.madmall([command, &ids[0][..4]]).code(2).says("may mean 2 runs: ");
    }
    let broken = "runs/2199-01-01T000000Z-test-000000.intoto.jsonl";
    space.write(broken, "{}");
    for command in ["show", "bundle"] {
        space
            .madmall([command, "latest"])
            .code(6)
            .says("000000.intoto.jsonl`: the last line has no line break")
            .says("`madmall verify` says more");
    }
}

#[test]
fn a_file_that_a_receipt_claims_is_meant_before_a_run_that_is_called_so() {
    let space =
        Space::with("stages:\n  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: latest}}");
    space.write("in", "1");
    space.run(&[]).success();
    space.madmall(["verify", "latest"]).success();
    std::fs::remove_file(space.path("latest")).expect("it was made");
    // The run's receipts hold, but that is not what was asked.
    space
        .madmall(["verify", "latest"])
        .code(6)
        .says("latest: is not here, so its bytes cannot be compared");
    space.madmall(["verify", "latest~0"]).says_not("latest: is not here");
    space.madmall(["show", "latest"]).success();
}

#[test]
fn receipts_and_bytes_that_are_gone_and_files_that_are_broken_are_said() {
    let space = two_runs();
    let files = space.receipt_files();
    // The first run's metrics are only in the store.
    std::fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    space
        .madmall(["diff", "latest~1", "latest"])
        .success()
        .says("its bytes are neither in the store nor in place");
    // `other` did not run the second time: its receipt is in the first file.
    let first = space.bytes(&format!("runs/{}", files[0]));
    let second = files[1].trim_end_matches(".intoto.jsonl").to_owned();
    space.remove(&format!("runs/{}", files[0]));
    space
        .madmall(["diff", &second, &second])
        .success()
        .says("the receipt of stage `other` of ");
    space.write(&format!("runs/{}", files[0]), &first[..first.len() / 2]);
    space
        .madmall(["diff", "latest~1", "latest"])
        .code(6)
        .says(&format!("`runs/{}`: ", files[0]))
        .says("git checkout -- runs/");
}

#[test]
fn hostile_metrics_are_refused_one_by_one() {
    let space = Space::with(
        "stages:
  a:
    inputs: {i: in}
    run: 'cp in out/a.json; cp in out/b.json; head -c 3000000 /dev/zero | tr \"\\0\" \"[\" > out/c.json'
    outputs: {a: out/a.json, b: out/b.json, c: out/c.json}",
    );
    space.write("in", "{\"x\": 1, \"x\": 2}");
    space.run(&[]).success();
    space.write("in", "not JSON \u{1b}[31m");
    space.run(&[]).success();
    let ran = space.madmall(["diff", "latest~1", "latest"]).success();
    let ran = ran
        .says("duplicate key \"x\"")
        .says("nested too deep")
        .says("expected ident");
    assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'));
}
