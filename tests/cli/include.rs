//! Pipelines whose stages stand in several files.

use crate::space::Space;

const MAIN: &str = "include: [parts/a.yaml, parts/b.yaml]
params: {word: hello}
stages:
  last: {run: 'cat ${inputs.a} ${inputs.b} > ${outputs.o}', inputs: {a: first, b: deep.o}, outputs: {o: last}}";
const A: &str = "version: 1
stages:
  first: {run: 'echo ${params.word} > ${outputs.o}', outputs: {o: first}}
";
const B: &str = "version: 1
include: [parts/deep/c.yaml]
stages:
  second: {uses: stages/copy.yaml, inputs: {i: in}, outputs: {o: second}}
";
const C: &str = "version: 1
stages:
  deep:
    matrix: {n: [1, 2]}
    run: 'cat ${inputs.i} > ${outputs.o}'
    inputs: {i: second}
    outputs: {o: 'deep-${matrix.n}'}
";
const COPY: &str =
    "version: 1\nname: copy\nargv: [cp, '${inputs.i}', '${outputs.o}']\ninputs: {i: {}}\noutputs: {o: {}}\n";

fn space() -> Space {
    let space = Space::with(MAIN);
    for (path, text) in [
        ("parts/a.yaml", A),
        ("parts/b.yaml", B),
        ("parts/deep/c.yaml", C),
        ("stages/copy.yaml", COPY),
        ("in", "in\n"),
    ] {
        space.write(path, text);
    }
    space
}

/// The files that define each stage, by the receipts of the last run, and the run.
fn definitions(space: &Space) -> Vec<(String, Vec<String>)> {
    use base64::Engine as _;
    let name = space.receipt_files().pop().expect("a run");
    let text = space.read(&format!("runs/{name}"));
    let payload = |line: &str| -> serde_json::Value {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let payload = line["payload"].as_str().expect("a payload");
        let payload = base64::engine::general_purpose::STANDARD
            .decode(payload)
            .expect("base64");
        serde_json::from_slice(&payload).expect("JSON")
    };
    let of = |statement: serde_json::Value| {
        let build = &statement["predicate"]["buildDefinition"];
        let stage = build["externalParameters"]["stage"]["name"].as_str().unwrap_or("run");
        let all = build["resolvedDependencies"].as_array().expect("a list").iter();
        let files = all.filter(|d| d["annotations"]["madmall"].get("definition").is_some());
        let files = files.map(|d| d["name"].as_str().expect("a name").to_owned());
        (stage.to_owned(), files.collect())
    };
    let mut all: Vec<_> = text.lines().map(payload).map(of).collect();
    all.sort();
    all
}

#[test]
fn stages_of_several_files_are_one_pipeline() {
    let space = space();
    space.run(&[]).success();
    assert_eq!(space.read("last"), "hello\nin\nin\n");
    space.run(&[]).success().says("5 up to date");
    space.madmall(["verify"]).success();
    let wanted: [(&str, &[&str]); 6] = [
        ("deep[n=1]", &["parts/b.yaml", "parts/deep/c.yaml", "pipeline.yaml"]),
        ("deep[n=2]", &["parts/b.yaml", "parts/deep/c.yaml", "pipeline.yaml"]),
        ("first", &["parts/a.yaml", "pipeline.yaml"]),
        ("last", &["pipeline.yaml"]),
        (
            "run",
            &[
                "parts/a.yaml",
                "parts/b.yaml",
                "parts/deep/c.yaml",
                "pipeline.yaml",
                "stages/copy.yaml",
            ],
        ),
        ("second", &["parts/b.yaml", "pipeline.yaml", "stages/copy.yaml"]),
    ];
    let found = definitions(&space);
    let found: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|(stage, files)| (stage.as_str(), files.iter().map(String::as_str).collect()))
        .collect();
    let wanted: Vec<(&str, Vec<&str>)> = wanted.iter().map(|(stage, files)| (*stage, files.to_vec())).collect();
    assert_eq!(found, wanted);
}

#[test]
fn where_a_stage_is_written_is_no_part_of_it() {
    let space = space();
    space.run(&[]).success();
    let own = |text: &str| text.split_once("stages:\n").expect("stages").1.trim_end().to_owned();
    let stages = [own(A), own(B), own(C), own(MAIN)].join("\n");
    space.pipeline(&format!("params: {{word: hello}}\nstages:\n{stages}"));
    space.run(&[]).success().says("5 up to date");
}

#[test]
fn an_edit_of_an_included_file_is_noticed_by_a_remembered_run() {
    let space = space();
    space.run(&[]).success();
    Space::let_clock_tick();
    space.run(&[]).success();
    space.write("parts/a.yaml", A.replace("echo ", "echo -n "));
    space.run(&[]).success().says("2 ran, 3 up to date");
    assert_eq!(space.read("last"), "helloin\nin\n");
}

#[test]
fn the_commit_gives_the_same_pipeline_by_content() {
    let space = space();
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "first"]);
    space.run(&[]).success();
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.madmall(["verify", "--require-clean"]).success();
    space.write(
        "parts/deep/c.yaml",
        C.replace("cat ${inputs.i}", "cat ${inputs.i} ${inputs.i}"),
    );
    // As it is now it gives another pipeline; as the commit has it, the same.
    space.madmall(["verify"]).success().says("W-STALE");
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.git(&["commit", "-q", "-a", "-m", "second"]);
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");
    // What a stage was included through is what it is tied to; what it was not is not.
    space.write("parts/a.yaml", format!("{A}# more\n"));
    space.run(&[]).success();
    space.madmall(["verify", "deep-1"]).success();
    let clean = space.madmall(["verify", "deep-1", "--require-clean"]).success();
    assert!(!clean.out.contains("W-UNCOMMITTED"), "{}", clean.out);
    space.madmall(["verify", "--rerun", "deep-1"]).success();
}

#[test]
fn it_is_made_again_from_its_receipt() {
    let space = space();
    space.run(&[]).success();
    let name = space.receipt_files().pop().expect("a run");
    let run = name.strip_suffix(".intoto.jsonl").expect("a run's file");
    let ran = space.madmall(["rerun", run]).success();
    assert_eq!(ran.out.matches("identical").count(), 5, "{}", ran.out);
}

#[test]
fn mistakes_are_shown_in_the_file_that_has_them() {
    let space = space();
    space.write(
        "parts/deep/c.yaml",
        C.replace("{i: second}", "{i: secnod}")
            .replace("    run:", "    oops: 1\n    run:"),
    );
    space.write("parts/a.yaml", A.replace("${params.word}", "${params.wrod}"));
    let ran = space.run(&[]).code(2);
    for text in [
        "--> parts/deep/c.yaml:7:17",
        "inputs: {i: secnod}",
        "did you mean `second`?",
        "--> parts/deep/c.yaml:5:5",
        "--> parts/a.yaml:3:22",
        "did you mean `${params.word}`?",
    ] {
        assert!(ran.err.contains(text), "{text} is not in\n{}", ran.err);
    }
    assert_eq!(
        ran.err.matches("secnod`").count(),
        1,
        "said once, not for each value\n{}",
        ran.err
    );
    // In the words of `--json` too.
    let ran = space.madmall(["check", "pipeline.yaml", "--json"]).code(2);
    assert!(ran.out.contains("\"file\":\"parts/deep/c.yaml\""), "{}", ran.out);
}

#[track_caller]
fn refused(files: &[(&str, &str)], main: &str, says: &[&str]) {
    let space = Space::with(main);
    for (path, text) in files {
        space.write(path, format!("version: 1\n{text}\n"));
    }
    let ran = space.run(&[]).code(2);
    for text in says {
        assert!(ran.err.contains(text), "{text} is not in\n{}", ran.err);
    }
}

#[test]
fn what_cannot_be_included_is_refused() {
    let a = "stages: {a: {run: 'true > ${outputs.o}', outputs: {o: a}}}";
    let b = "stages: {b: {run: 'true > ${outputs.o}', outputs: {o: b}}}";
    refused(
        &[("p/a.yaml", a)],
        "include: [p/b.yaml]",
        &["there is no file `p/b.yaml` to include", "there is a file `p/a.yaml`"],
    );
    // A file that is being read is not what is meant.
    refused(
        &[("p/a.yaml", "include: [p/b.yaml]")],
        "include: [p/a.yaml]",
        &[
            "there is no file `p/b.yaml` to include",
            "write its path from the workspace on",
        ],
    );
    refused(
        &[("a.yaml", a)],
        &format!("include: [a.yaml]\n{a}"),
        &["two stages are called `a`", "--> pipeline.yaml:4:10", "a.yaml:2:10"],
    );
    refused(
        &[("a.yaml", a)],
        "include: [a.yaml, ./a.yaml]",
        &["`a.yaml` is included twice"],
    );
    refused(
        &[("a.yaml", a), ("b.yaml", &format!("include: [a.yaml]\n{b}"))],
        "include: [a.yaml, b.yaml]",
        &["`a.yaml` is included twice", "--> b.yaml:2:11"],
    );
    refused(
        &[
            ("a.yaml", &format!("include: [b.yaml]\n{a}")),
            ("b.yaml", &format!("include: [a.yaml]\n{b}")),
        ],
        "include: [a.yaml]",
        &["the files include each other: a.yaml → b.yaml → a.yaml"],
    );
    refused(
        &[],
        "include: [pipeline.yaml]",
        &["the files include each other: pipeline.yaml → pipeline.yaml"],
    );
    refused(&[], "include: [../x.yaml]", &["`..`"]);
    refused(&[], "include: [/etc/passwd]", &["absolute"]);
    refused(&[], "include: [runs/x.yaml]", &["cannot lie in `runs`"]);
    refused(&[], "include: []", &["`include` is empty"]);
    refused(&[], "include: x.yaml", &["`include`"]);
    refused(&[], "include: [1]", &["a file to include"]);
    refused(
        &[("a.yaml", "params: {x: 1}\nstages: {}")],
        "include: [a.yaml]",
        &["unknown field `params`", "`stages` is empty", "--> a.yaml:2:1"],
    );
    refused(&[("a.yaml", "name: x")], "include: [a.yaml]", &["stages: { … }"]);
    refused(&[("a.yaml", "stages: {a: [")], "include: [a.yaml]", &["--> a.yaml:"]);
    refused(
        &[("a.yaml", &format!("purpose: care\n{a}"))],
        "purpose: research\ninclude: [a.yaml]",
        &["the pipeline that includes this is for `research`"],
    );
    refused(
        &[("a.yaml", &format!("purpose: care\n{a}"))],
        "include: [a.yaml]",
        &["the pipeline that includes this has no purpose"],
    );
    refused(
        &[("parts/a.yaml", a)],
        "include: [parts/a.yaml]\nstages: {b: {run: 'true', outputs: {o: parts/a.yaml}}}",
        &["is a definition of this pipeline"],
    );
}

#[test]
fn depth_and_number_are_bounded() {
    let chain: Vec<(String, String)> = (0..20)
        .map(|n| (format!("{n}.yaml"), format!("include: [{}.yaml]", n + 1)))
        .collect();
    let files: Vec<(&str, &str)> = chain
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    refused(
        &files,
        "include: [0.yaml]",
        &["files include each other more than 16 deep"],
    );
    let many: Vec<(String, String)> = (0..201)
        .map(|n| {
            (
                format!("{n}.yaml"),
                format!("stages: {{s{n}: {{run: 'true', outputs: {{o: o{n}}}}}}}"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let names: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    refused(
        &files,
        &format!("include: [{}]", names.join(", ")),
        &["the pipeline includes more than 200 files"],
    );
}
