//! What a good pipeline becomes.

mod common;

use common::Space;
use madmall::diagnostic::render;
use madmall::plan::action::definition_digest;
use madmall::plan::{Command, InputSource, ParamValue, Plan, SandboxMode, Stage};
use madmall::shared_path::SharedPath;

/// The plan of a pipeline whose stages are `stages`, in a workspace with some files.
fn plan(pipeline: &str) -> Plan {
    let space = space(pipeline);
    match space.resolve() {
        Ok(resolution) => resolution.plan,
        Err(faults) => panic!("{}", render(&faults.0, false)),
    }
}

fn space(pipeline: &str) -> Space {
    let space = Space::new();
    space.write("pipelines/p.yaml", pipeline);
    for file in [
        "data/b.csv",
        "data/a.csv",
        "data/sub/c.csv",
        "data/.hidden.csv",
        "raw/events.ndjson",
        "clean.rows",
        "-x",
    ] {
        space.write(file, "x\n");
    }
    space.write(
        "stages/copy.yaml",
        "version: 1\n\
         name: copy\n\
         argv: [cp, --mode, '${params.mode}', '${params.flags}', '${inputs.from}', '${inputs.also}', '${outputs.to}']\n\
         inputs: { from: {}, also: { optional: true } }\n\
         outputs: { to: {} }\n\
         env: [B]\n\
         sandbox: off\n\
         params:\n  mode: { type: string, default: fast }\n  flags: { type: list, default: [-v, 2] }\n",
    );
    space.write(
        "stages/mine.yaml",
        "version: 1\n\
         name: mine\n\
         builtin: ingest\n\
         inputs: { events: {} }\n\
         outputs: { events: {} }\n\
         params:\n  on_reject: { type: string, default: quarantine }\n",
    );
    space
}

fn stage<'p>(plan: &'p Plan, name: &str) -> &'p Stage {
    plan.stages
        .iter()
        .find(|stage| stage.name == name)
        .expect("a stage of that name")
}

fn argv(stage: &Stage) -> Vec<&str> {
    match &stage.command {
        Command::Argv(argv) => argv.iter().map(String::as_str).collect(),
        other => panic!("no argv: {other:?}"),
    }
}

fn shell(stage: &Stage) -> &str {
    match &stage.command {
        Command::Shell(text) => text,
        other => panic!("no text for the shell: {other:?}"),
    }
}

fn head(stages: &str) -> String {
    format!("version: 1\nname: p\nstages:\n{stages}")
}

#[test]
fn the_pipeline_of_the_design_becomes_a_plan() {
    let plan = plan(
        "version: 1\nname: baseline\npurpose: research\nparams: { l2: 1.0 }\nstages:\n\
         \x20 card:\n    argv: [python3, '${inputs.model}', '${outputs.card}']\n    inputs: { model: train }\n    outputs: { card: out/card.md }\n\
         \x20 train:\n    uses: madmall/train\n    inputs: { features: out/features }\n    params: { l2: '${params.l2}' }\n    outputs: { model: out/model.json }\n\
         \x20 features:\n    run: cp ${inputs.e} ${outputs.f}\n    inputs: { e: ingest.events }\n    outputs: { f: out/features }\n\
         \x20 ingest:\n    uses: stages/mine.yaml\n    inputs: { events: raw/events.ndjson }\n    outputs: { events: out/events, rejects: out/rejects }\n",
    );
    let names: Vec<&str> = plan.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["ingest", "features", "train", "card"]);
    assert_eq!(plan.purpose.as_deref(), Some("research"));
    let files: Vec<&str> = plan.definition_files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["pipelines/p.yaml", "stages/mine.yaml"]);

    let ingest = stage(&plan, "ingest");
    let wanted = Command::Builtin {
        name: "ingest".to_owned(),
        revision: 7,
        purpose: Some("research".to_owned()),
    };
    assert_eq!(ingest.command, wanted);
    assert_eq!(ingest.definition_file, Some(1));
    assert_eq!(ingest.params["on_reject"], ParamValue::String("quarantine".to_owned()));

    let train = stage(&plan, "train");
    assert_eq!(train.uses.as_deref(), Some("madmall/train"));
    assert!(matches!(&train.params["l2"], ParamValue::Number(number) if number.as_str() == "1"));
    assert_eq!(train.params["positive"], ParamValue::Null);
    assert!(matches!(&train.command, Command::Builtin { purpose: None, .. }));
    let made_by: Vec<&str> = train
        .reads_from()
        .iter()
        .map(|id| plan.stages[id.index()].name.as_str())
        .collect();
    assert_eq!(made_by, ["features"]);
    assert_eq!(argv(stage(&plan, "card")), ["python3", "out/model.json", "out/card.md"]);
    assert_eq!(shell(stage(&plan, "features")), "cp 'out/events' 'out/features'");
}

#[test]
fn stages_that_could_come_next_come_as_written() {
    let plan = plan(&head(
        "  z: { run: x, inputs: { i: m }, outputs: { o: out/z } }\n\
         \x20 y: { run: x, outputs: { o: out/y } }\n\
         \x20 m: { run: x, outputs: { o: out/m } }\n\
         \x20 a: { run: x, outputs: { o: out/a } }\n",
    ));
    let names: Vec<&str> = plan.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["y", "m", "z", "a"]);
}

#[test]
fn inputs_are_files_folders_patterns_and_outputs() {
    let plan = plan(&head(
        "  clean: { run: x, outputs: { rows: data/made.csv, more: out/more } }\n\
         \x20 all:\n    argv: [x, '${inputs.glob}', '${inputs.folder}']\n    inputs:\n      file: ./clean.rows\n      folder: data/sub/\n      glob: data/*.csv\n      deep: 'data/**/*.csv'\n      made: data/made.csv\n      named: clean.rows\n    outputs: { o: out/o }\n",
    ));
    let all = stage(&plan, "all");
    let source = |name: &str| {
        &all.inputs
            .iter()
            .find(|input| input.name == name)
            .expect("an input")
            .source
    };
    let files = |name: &str| -> Vec<String> {
        match source(name) {
            InputSource::Folder { files, .. } | InputSource::Glob { files, .. } => {
                files.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(source("file"), InputSource::File { path } if path == "clean.rows"));
    assert!(matches!(source("folder"), InputSource::Folder { path, .. } if path == "data/sub"));
    assert_eq!(files("folder"), ["data/sub/c.csv"]);
    assert_eq!(files("glob"), ["data/a.csv", "data/b.csv"]);
    assert_eq!(files("deep"), ["data/a.csv", "data/b.csv", "data/sub/c.csv"]);
    // Outputs are sorted by name: `more` before `rows`.
    for name in ["made", "named"] {
        assert!(matches!(source(name), InputSource::Output { output: 1, .. }), "{name}");
    }
    assert_eq!(argv(all), ["x", "data/a.csv", "data/b.csv", "data/sub"]);
    let names: Vec<&str> = all.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["deep", "file", "folder", "glob", "made", "named"]);
}

#[test]
fn a_pattern_does_not_see_what_a_stage_writes() {
    let space = space(&head(
        "  a: { run: x, outputs: { o: data/z.csv } }\n  b: { run: x, inputs: { i: 'data/*.csv' }, outputs: { o: out/b } }\n",
    ));
    space.write("data/z.csv", "of an earlier run\n");
    let plan = space.resolve().expect("a plan").plan;
    let InputSource::Glob { files, .. } = &stage(&plan, "b").inputs[0].source else {
        panic!("no pattern");
    };
    assert_eq!(files.len(), 2, "{files:?}");
}

#[test]
fn values_are_put_into_programs() {
    let plan = plan(
        "version: 1\nname: p\nparams: { n: 1.50, yes: true, zip: 010, list: [a, 2], text: \"it's $HOME\", own: outer }\nstages:\n\
         \x20 a:\n    argv: [x, '--n=${params.n}', '${params.list}', '${params.own}', '${params.zip}', '$${params.n}', '$x', 5]\n    params: { own: inner }\n    outputs: { o: out/a }\n\
         \x20 b:\n    run: |\n      echo ${params.text} ${params.list} ${HOME} $$ $${params.n} \"$(cat ${inputs.i})\" ${params.yes}\n    inputs: { i: -x }\n    outputs: { o: out/b }\n",
    );
    let a = stage(&plan, "a");
    assert_eq!(
        argv(a),
        ["x", "--n=1.5", "a", "2", "inner", "010", "${params.n}", "$x", "5"]
    );
    assert_eq!(a.params.len(), 1, "only its own: an edit of another one reruns nothing");
    assert_eq!(
        shell(stage(&plan, "b")),
        "echo 'it'\\''s $HOME' 'a' '2' ${HOME} $$ ${params.n} \"$(cat './-x')\" 'true'\n"
    );
}

#[test]
fn a_stage_definition_gives_what_the_pipeline_leaves_out() {
    let plan = plan(&head(
        "  a: { uses: stages/copy.yaml, inputs: { from: data/a.csv }, outputs: { to: out/a }, env: [A] }\n\
         \x20 b: { uses: stages/copy.yaml, inputs: { from: data/a.csv, also: a }, outputs: { to: out/b }, params: { mode: 010, flags: [] }, sandbox: auto }\n",
    ));
    let (a, b) = (stage(&plan, "a"), stage(&plan, "b"));
    assert_eq!(argv(a), ["cp", "--mode", "fast", "-v", "2", "data/a.csv", "out/a"]);
    assert_eq!(a.env, ["A", "B"]);
    assert_eq!(a.sandbox, SandboxMode::Off);
    assert_eq!(a.definition_file, Some(1));
    assert_eq!(argv(b), ["cp", "--mode", "010", "data/a.csv", "out/a", "out/b"]);
    assert_eq!(b.sandbox, SandboxMode::Auto);
    assert_eq!(plan.definition_files.len(), 2);
}

#[test]
fn layout_and_order_of_the_file_do_not_reach_a_definition() {
    let one = plan(&head(
        "  a: { run: x, inputs: { i: data/a.csv, j: data/b.csv }, outputs: { o: out/a, p: out/b } }\n",
    ));
    let other = plan(
        "# the same\nname: q\nversion: 1\nparams: { unused: 1 }\nstages:\n  other:\n    outputs:\n      p: ./out//b\n      o: out/a\n    inputs:\n      \"j\": data/b.csv\n      i: 'data/a.csv'\n    run: x\n",
    );
    assert_eq!(
        definition_digest(&one, &one.stages[0]),
        definition_digest(&other, &other.stages[0])
    );
}

#[test]
fn an_unused_parameter_is_a_warning() {
    let resolution = space(
        "version: 1\nname: p\nparams: { l2: 1 }\nstages: { a: { run: x, outputs: { o: out/a }, params: { z: 1 } } }",
    )
    .resolve()
    .expect("a plan");
    let messages: Vec<&str> = resolution
        .warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "nothing uses the parameter `l2`",
            "stage `a` does not use its parameter `z`"
        ]
    );
}

#[test]
fn a_fault_in_a_definition_is_said_once() {
    let space = space(&head(
        "  a: { uses: stages/bad.yaml, outputs: { o: out/a } }\n  b: { uses: ./stages/bad.yaml, outputs: { o: out/b } }\n",
    ));
    space.write(
        "stages/bad.yaml",
        "version: 1\nname: bad\nargv: [x, '${inputs.i}']\noutputs: { o: {} }\n",
    );
    let faults = space.resolve().expect_err("a fault").0;
    assert_eq!(faults.len(), 1, "{}", render(&faults, false));
}

#[test]
fn what_ingest_lets_through_may_be_read() {
    let text = "version: 1\nname: p\npurpose: care\nstages:\n\
                \x20 one: { uses: madmall/ingest, inputs: { events: raw/events.ndjson }, outputs: { events: out/one } }\n\
                \x20 two: { uses: madmall/ingest, inputs: { events: one.events }, outputs: { events: out/two } }\n\
                \x20 read: { run: x, inputs: { a: one, b: two }, outputs: { o: out/read } }\n";
    assert_eq!(plan(text).stages.len(), 3);
}

#[test]
fn raw_events_that_a_stage_makes_are_for_ingest_alone() {
    let text = "version: 1\nname: p\npurpose: care\nstages:\n\
                \x20 fetch: { run: x, outputs: { raw: out/raw } }\n\
                \x20 ingest: { uses: madmall/ingest, inputs: { events: fetch, revocations: data/a.csv }, outputs: { events: out/events } }\n\
                \x20 count: { run: x, inputs: { i: fetch.raw, r: data/a.csv }, outputs: { o: out/count } }\n";
    let faults = space(text).resolve().expect_err("refused").0;
    assert_eq!(faults.len(), 1, "revocations may be read: {}", render(&faults, false));
    assert!(
        faults[0].message.contains("only ingest may read `fetch.raw`"),
        "{}",
        faults[0].message
    );
}

#[test]
fn a_diagnostic_has_a_form_for_programs() {
    let faults = space(&head("  a: { run: x, outputs: { o: /x } }\n"))
        .resolve()
        .expect_err("refused")
        .0;
    let json = serde_json::to_value(faults[0].report()).expect("JSON");
    assert_eq!(json["severity"], "error");
    assert_eq!(json["file"], "pipelines/p.yaml");
    assert_eq!((&json["line"], &json["column"]), (&4.into(), &30.into()));
    assert_eq!(json["help"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_folder_does_not_see_what_a_stage_writes_where_case_makes_no_difference() {
    let space = space(&head(
        "  a: { run: x, outputs: { o: Data/made/ } }\n  b: { run: x, inputs: { i: data/ }, outputs: { o: out/b } }\n",
    ));
    space.write(
        "data/made/m.csv",
        "of an earlier run, on a disk for which both are one folder\n",
    );
    let plan = space.resolve().expect("a plan").plan;
    let InputSource::Folder { files, .. } = &stage(&plan, "b").inputs[0].source else {
        panic!("no folder");
    };
    let files: Vec<&str> = files.iter().map(|file| file.as_str()).collect();
    assert_eq!(
        files,
        ["data/.hidden.csv", "data/a.csv", "data/b.csv", "data/sub/c.csv"]
    );
}

#[test]
fn the_folders_of_git_and_of_madmall_are_never_seen() {
    let space = space(&head(
        "  a: { run: x, inputs: { i: '{**/*.csv,.madmall/*.csv,.git/*.csv}' }, outputs: { o: out/a } }\n",
    ));
    for file in [
        "runs/r.csv",
        ".madmall/m.csv",
        ".git/g.csv",
        "data/.git/g.csv",
        "data/sub/.GIT/g.csv",
    ] {
        space.write(file, "x\n");
    }
    let plan = space.resolve().expect("a plan").plan;
    let InputSource::Glob { files, .. } = &stage(&plan, "a").inputs[0].source else {
        panic!("no pattern");
    };
    assert_eq!(files.len(), 3, "{files:?}");
}

/// The only fault of a pipeline, as it is shown.
fn fault(space: &Space) -> String {
    let faults = space.resolve().expect_err("refused").0;
    assert_eq!(faults.len(), 1, "{}", render(&faults, false));
    render(&faults, false)
}

#[cfg(unix)]
#[test]
fn no_link_leads_around_consent() {
    let pipeline = |input: &str| {
        format!(
            "version: 1\nname: p\npurpose: care\nstages:\n\
             \x20 ingest: {{ uses: madmall/ingest, inputs: {{ events: raw/events.ndjson }}, outputs: {{ events: out/e, rejects: out/r }} }}\n\
             \x20 read: {{ run: x, inputs: {{ i: {input} }}, outputs: {{ o: out/read }} }}\n"
        )
    };
    for input in [
        "link.ndjson",
        "elsewhere/events.ndjson",
        "elsewhere",
        "'*.ndjson'",
        "chain",
    ] {
        let space = space(&pipeline(input));
        space.link("link.ndjson", "raw/events.ndjson");
        space.link("chain", "./link.ndjson");
        space.link("elsewhere", "raw");
        let fault = fault(&space);
        assert!(fault.contains("only ingest may read"), "{input}: {fault}");
    }
    // The other way round: the events are read through the link, and the file itself by its own name.
    let space = space(&pipeline("raw/real.ndjson"));
    space.write("raw/real.ndjson", "x\n");
    std::fs::remove_file(space.workspace().absolute("raw/events.ndjson".into())).expect("it was there");
    space.link("raw/events.ndjson", "real.ndjson");
    assert!(fault(&space).contains("only ingest may read"));
    // What was rejected is an output: a link to it is no way to it either.
    let space = self::space(&pipeline("rejected"));
    space.write("out/r", "of an earlier run\n");
    space.link("rejected", "out/r");
    let fault = fault(&space);
    assert!(
        fault.contains("`rejected` leads to `out/r`, an output of stage `ingest`"),
        "{fault}"
    );
    assert!(fault.contains("write `ingest.rejects`"), "{fault}");
}

#[cfg(unix)]
#[test]
fn an_input_that_is_a_link_is_what_it_leads_to() {
    let read = |input: &str| {
        head(&format!(
            "  a: {{ run: x, outputs: {{ o: out/a }} }}\n  b: {{ run: x, inputs: {{ i: {input} }}, outputs: {{ o: b }} }}\n"
        ))
    };
    for (input, wanted) in [
        ("config", "leads to `.git/config`, which lies in `.git`"),
        ("repository", "leads to `.git`, which lies in `.git`"),
        (
            "made",
            "the folder `made` is a link to `out`, where the output `out/a` lies",
        ),
        ("made.csv", "`made.csv` leads to `out/a`, an output of stage `a`"),
    ] {
        let space = space(&read(input));
        space.write(".git/config", "secret\n");
        space.write("out/a", "of an earlier run\n");
        space.link("config", ".git/config");
        space.link("repository", ".git");
        space.link("made", "out");
        space.link("made.csv", "out/a");
        let fault = fault(&space);
        assert!(fault.contains(wanted), "{input}: {fault}");
    }
    // A pattern sees no output, by whatever name; and a link to a source is as good as the source.
    let space = space(&read("'{data,linked}/*.csv'"));
    space.write("out/a", "of an earlier run\n");
    space.link("data/made.csv", "../out/a");
    space.link("linked", "data");
    let plan = space.resolve().expect("a plan").plan;
    let InputSource::Glob { files, .. } = &stage(&plan, "b").inputs[0].source else {
        panic!("no pattern");
    };
    assert_eq!(
        files,
        &["data/a.csv", "data/b.csv", "linked/a.csv", "linked/b.csv"].map(SharedPath::from)
    );
}

#[cfg(unix)]
#[test]
fn an_output_has_one_name() {
    let write = |one: &str, other: &str| {
        head(&format!(
            "  a: {{ run: x, outputs: {{ o: {one} }} }}\n  b: {{ run: x, outputs: {{ o: {other} }} }}\n"
        ))
    };
    let space = space(&write("linked/x", "data/x"));
    space.link("linked", "data");
    let shown = fault(&space);
    assert!(
        shown.contains("output `linked/x` goes through the link `linked`, which leads to `data`"),
        "{shown}"
    );
    assert!(shown.contains("write `data/x`"), "{shown}");
    let space = self::space(&write("linked/deep/x", "other"));
    space.write("data/deep/y", "x\n");
    space.link("linked", "data");
    assert!(fault(&space).contains("write `data/deep/x`"));
    let space = self::space(&write("one", "other"));
    space.write("other", "of an earlier run\n");
    space.link("one", "other");
    assert!(fault(&space).contains("output `one` is a link to `other`"));
}
