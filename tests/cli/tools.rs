//! The programs of the machine that stages use: recorded, warned of when they change, part of the action when they are pinned.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::space::{Ran, Space};

const STAGE: &str = "a: {argv: [wordy, '${inputs.i}', '${outputs.o}'], inputs: {i: in}, outputs: {o: out/o}";

/// A workspace with a folder `bin` beside it, first in `PATH`, in which there is a program `wordy` that says `word` and copies a file.
fn space(stages: &str) -> Space {
    let mut space = Space::with(stages);
    let path = std::env::var("PATH").expect("a PATH");
    let own = space.base().join("tools/bin");
    let none = space.base().join("none/bin");
    space.set("PATH", &format!("{none}:{own}:{path}"));
    install(&space, "wordy", "a");
    space.write("in", "x\n");
    space
}

fn install(space: &Space, name: &str, word: &str) {
    program(
        space,
        name,
        &format!("--version) echo '{name} {word}';; *) {{ cat \"$1\"; echo {word}; }} > \"$2\";;"),
    );
}

fn program(space: &Space, name: &str, cases: &str) {
    write_program(
        space,
        &format!("../tools/bin/{name}"),
        &format!("#!/bin/sh\ncase $1 in {cases} esac\n"),
    );
}

fn write_program(space: &Space, path: &str, text: &str) {
    // A new file: one that is being executed cannot be written.
    let aside = format!("{path}.new");
    space.write(&aside, text);
    std::fs::set_permissions(space.path(&aside), std::fs::Permissions::from_mode(0o755)).expect("own file");
    std::fs::rename(space.path(&aside), space.path(path)).expect("moved");
}

/// The tools that the receipt of the newest run's first stage names: name and version.
fn recorded(space: &Space) -> Vec<(String, Option<String>)> {
    recorded_of(space, 0)
}

/// The same of the stage whose receipt is the `number`th, from 0.
fn recorded_of(space: &Space, number: usize) -> Vec<(String, Option<String>)> {
    let files = space.receipt_files();
    let lines = space.read(&format!("runs/{}", files.last().expect("a run")));
    let envelope: Value = serde_json::from_str(lines.lines().nth(number).expect("a stage")).expect("JSON");
    let payload = STANDARD.decode(envelope["payload"].as_str().expect("a text"));
    let statement: Value = serde_json::from_slice(&payload.expect("base64")).expect("JSON");
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let dependencies = dependencies.as_array().expect("a list").iter();
    let tools = dependencies.filter_map(|d| Some((d, d["annotations"]["madmall"].get("tool")?)));
    tools
        .map(|(d, tool)| {
            let version = tool.get("version").and_then(|version| version.as_str());
            (
                d["name"].as_str().expect("a name").to_owned(),
                version.map(str::to_owned),
            )
        })
        .collect()
}

/// A run that is remembered needs looks that are older than a tick of the clock.
fn settled_run(space: &Space) -> Ran {
    Space::let_clock_tick();
    space.run(&[]).success()
}

#[test]
fn receipts_name_the_programs_with_what_they_say_of_their_version() {
    let space = space(&format!("stages: {{{STAGE}, tools: [second, quiet, loud]}}}}"));
    install(&space, "second", "2.0");
    program(&space, "quiet", "--version) exit 3;;");
    program(&space, "loud", "--version) printf '\\033[31mred\\n';;");
    space.run(&[]).success();
    let version = |text: &str| Some(text.to_owned());
    let all = [
        ("loud", None),
        ("quiet", None),
        ("second", version("second 2.0")),
        ("wordy", version("wordy a")),
    ];
    assert_eq!(recorded(&space), all.map(|(name, version)| (name.to_owned(), version)));
    space.madmall(["verify"]).success();
}

#[test]
fn a_program_that_does_not_know_the_word_does_no_harm_and_is_not_waited_for() {
    let space = space(&format!("stages: {{{STAGE}, tools: [careless, endless]}}}}"));
    let file = space.path("written");
    program(&space, "careless", &format!("*) echo x > '{file}'; echo careless 1;;"));
    program(&space, "endless", "*) sleep 600;;");
    let began = Instant::now();
    space.run(&[]).success();
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(!space.exists("written"));
    let versions: Vec<_> = recorded(&space)
        .into_iter()
        .filter(|(_, version)| version.is_some())
        .collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
}

#[test]
fn another_tool_is_a_warning_until_the_stage_has_run_with_it() {
    let space = space(&format!(
        "stages: {{{STAGE}}}, b: {{run: 'cat ${{inputs.i}} > ${{outputs.o}}', inputs: {{i: a}}, outputs: {{o: out/b}}}}}}"
    ));
    space.run(&[]).success().says_not("W-TOOL");
    settled_run(&space).says("2 up to date");
    install(&space, "wordy", "b");
    for _ in 0..2 {
        // Though the run before was one that is remembered, and this one found nothing to do.
        let ran = settled_run(&space).says("2 up to date").says("W-TOOL");
        ran.says("the program `wordy` is another than when `a`, which is up to date, ran");
    }
    let ran = space.run(&["--json"]).success();
    ran.says(r#""code":"W-TOOL""#).says(r#""tool":"wordy""#);
    assert_eq!(space.read("out/o"), "x\na\n");
    space.madmall(["explain", "W-TOOL"]).success();
    // The one before, in every byte.
    install(&space, "wordy", "a");
    settled_run(&space).says_not("W-TOOL");
    install(&space, "wordy", "b");
    space.run(&["--force", "a"]).success();
    space.run(&[]).success().says("1 ran").says_not("W-TOOL");
    settled_run(&space).says("2 up to date").says_not("W-TOOL");
    assert_eq!(space.read("out/o"), "x\nb\n");
}

#[test]
fn of_a_text_that_is_one_program_that_is_named_and_the_shell_only_where_it_is_started() {
    let names = |text: &str, more: &str| {
        let space = space(&format!(
            "stages: {{a: {{run: {text}, inputs: {{i: in}}, outputs: {{o: out/o}}{more}}}}}"
        ));
        install(&space, "wordy", "a");
        space.run(&[]).success();
        let recorded = recorded(&space).into_iter().map(|(name, _)| name);
        (space, recorded.collect::<Vec<_>>())
    };
    let (space, named) = names("'wordy ${inputs.i} ${outputs.o}'", "");
    assert_eq!(named, ["wordy"]);
    install(&space, "wordy", "b");
    settled_run(&space)
        .says("1 up to date")
        .says("W-TOOL")
        .says("the program `wordy` is another");
    assert_eq!(names("'cat ${inputs.i} > ${outputs.o}'", "").1, ["cat"]);
    assert_eq!(names("'cat ${inputs.i} > ${outputs.o};'", "").1, ["sh"]);
    assert_eq!(names("'cat ${inputs.i} > ${outputs.o}'", ", pin: true").1, ["sh"]);
    assert_eq!(
        names("'cat ${inputs.i} > ${outputs.o}'", ", tools: [sh]").1,
        ["cat", "sh"]
    );
}

#[test]
fn a_program_that_comes_to_lie_before_another_is_another() {
    let space = space(&format!("stages: {{{STAGE}}}}}"));
    space.run(&[]).success();
    settled_run(&space);
    settled_run(&space).says("1 up to date").says_not("W-TOOL");
    write_program(&space, "../none/bin/wordy", "#!/bin/sh\necho other > \"$2\"\n");
    settled_run(&space).says("W-TOOL");
}

#[test]
fn with_pin_the_stage_runs_again_and_the_result_before_comes_back() {
    let space = space(&format!("stages: {{{STAGE}, pin: true}}}}"));
    space.run(&[]).success();
    settled_run(&space).says("1 up to date");
    install(&space, "wordy", "b");
    space
        .madmall(["plan", "pipeline.yaml"])
        .success()
        .says("tool `wordy` changed: ");
    space
        .run(&[])
        .success()
        .says("1 ran")
        .says("tool `wordy` changed: ")
        .says_not("W-TOOL");
    assert_eq!(space.read("out/o"), "x\nb\n");
    settled_run(&space).says("1 up to date");
    install(&space, "wordy", "a");
    space.run(&[]).success().says("1 restored");
    assert_eq!(space.read("out/o"), "x\na\n");
    space.madmall(["verify"]).success();
    // Which tools are pinned is part of what the stage is.
    space.pipeline(&format!("stages: {{{STAGE}, pin: true, tools: [cat]}}}}"));
    space
        .run(&[])
        .success()
        .says("1 ran")
        .says("tool `cat` changed: (none) → ");
    space.pipeline(&format!("stages: {{{STAGE}}}}}"));
    space.run(&[]).success().says("its tools are no longer pinned");
    space.pipeline(&format!("stages: {{{STAGE}, tools: [cat]}}}}"));
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn a_pinned_stage_is_made_again_with_its_own_tools_only() {
    let space = space(&format!("stages: {{{STAGE}, pin: true, tools: [cat]}}}}"));
    space.run(&[]).success();
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space
        .madmall(["verify", "--rerun", "out/o"])
        .success()
        .says("identical");
    space.madmall(["verify", "out/o", "--at", "HEAD"]).success();
    install(&space, "wordy", "b");
    let verdict = space.madmall(["verify", "--rerun", "out/o"]).code(6);
    verdict.says("E-NORERUN").says("tool `wordy` changed");
}

#[test]
fn a_tool_that_is_not_there_stops_the_stage_before_it_runs() {
    let space = space(&format!("stages: {{{STAGE}, tools: [no-such-program]}}}}"));
    let ran = space.run(&[]).code(7);
    ran.says("stage `a`: there is no program `no-such-program` in PATH");
    assert!(!space.exists("out/o"));
    let pinned = space.path("pipeline.yaml");
    space.pipeline(&format!("stages: {{{STAGE}, pin: true, tools: [no-such-program]}}}}"));
    assert!(pinned.exists());
    space
        .run(&[])
        .code(7)
        .says("there is no program `no-such-program` in PATH");
    space.madmall(["plan", "pipeline.yaml"]).success().says("never run");
}

#[test]
fn what_cannot_be_a_tool_is_said_with_its_place() {
    let space = space(&format!("stages: {{{STAGE}, tools: [bin/x, cat, cat, '']}}}}"));
    let ran = space.madmall(["check", "pipeline.yaml"]).code(2);
    let ran = ran
        .says("`bin/x` cannot name a program")
        .says("`tools` names `cat` twice");
    ran.says("`` cannot name a program");
    space.pipeline(
        "purpose: research\nstages: {i: {uses: madmall/ingest, tools: [cat], pin: true, inputs: {events: in, schema: in}, outputs: {events: o, report: r}}}",
    );
    let ran = space.madmall(["check", "pipeline.yaml"]).code(2);
    ran.says("a built-in stage uses no programs")
        .says("a built-in stage cannot be pinned");
}

#[test]
fn in_one_run_a_program_is_taken_where_it_was_found_and_as_it_is_now() {
    let space = space("");
    let base = space.base().to_owned();
    let change = |bin: String| format!("test ! -e {bin}/next || mv {bin}/next {bin}/wordy");
    let change = [format!("{base}/tools/bin"), format!("{base}/none/bin")]
        .map(change)
        .join("; ");
    space.pipeline(&format!(
        "stages: {{{STAGE}}}, \
         m: {{run: '{change}; cp ${{inputs.i}} ${{outputs.o}}', sandbox: off, inputs: {{i: a.o}}, outputs: {{o: out/m}}}}, \
         b: {{argv: [wordy, '${{inputs.i}}', '${{outputs.o}}'], inputs: {{i: m.o}}, outputs: {{o: out/b}}}}}}",
    ));
    for (place, word) in [("../tools/bin/next", "b"), ("../none/bin/next", "c")] {
        write_program(
            &space,
            place,
            &format!(
                "#!/bin/sh\ncase $1 in --version) echo 'wordy {word}';; *) {{ cat \"$1\"; echo {word}; }} > \"$2\";; esac\n"
            ),
        );
    }
    space.run(&[]).success();
    assert_eq!(space.read("out/b"), "x\na\nb\n");
    for (number, version) in [(0, "wordy a"), (2, "wordy b")] {
        let expected = ("wordy".to_owned(), Some(version.to_owned()));
        assert_eq!(recorded_of(&space, number), [expected]);
    }
    // The next run looks for it again.
    space.run(&[]).success().says("W-TOOL");
    space.run(&["--force"]).success();
    assert_eq!(space.read("out/b"), "x\nc\nc\n");
}
