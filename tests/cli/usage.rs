//! What a newcomer meets: typos, missing files, no rights, no git.

use crate::space::Space;

const COPY: &str = "stages: {copy: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out}}}";

#[test]
fn a_typo_in_a_command_file_or_stage_is_answered_with_advice() {
    let space = Space::with(COPY);
    space.write("in", "1");
    space.madmall(["runn", "pipeline.yaml"]).code(2).says("'run'");
    space
        .madmall(["run", "pipelin.yaml"])
        .code(2)
        .says("pipelin.yaml")
        .says("help");
    space
        .run(&["cpoy"])
        .code(2)
        .says("no stage `cpoy`")
        .says("there is a stage `copy`");
    space.madmall(["run"]).code(2).says("<PIPELINE>");
}

#[test]
fn a_number_that_is_none_is_answered_with_what_would_be_one() {
    let space = Space::with(COPY);
    let jobs = "give a whole number from 1 to 65535";
    let whole = "give a whole number, such as 10";
    let some = "give a whole number from 1, such as 10";
    for (line, advice) in [
        ("run -j 0 pipeline.yaml", jobs),
        ("run -j many pipeline.yaml", jobs),
        ("run -j 65536 pipeline.yaml", jobs),
        ("verify --rerun -j 1.5", jobs),
        ("predict -j ++1", jobs),
        ("gc --keep-last many", whole),
        ("log -n -1", some),
        ("gc --keep-last -3", whole),
        ("run -j -2 pipeline.yaml", jobs),
        ("log -n few", some),
        ("metrics -n 1e3", some),
        ("evaluate --suppress-below 99999999999999999999", whole),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        space.madmall(words).code(2).says(advice);
    }
}

#[test]
fn check_reads_only_and_counts_the_stages() {
    let space = Space::with(COPY);
    space.write("in", "1");
    space
        .madmall(["check", "pipeline.yaml"])
        .success()
        .says("1 stage, no mistakes");
    space.pipeline("stages: {copy: {run: 'cp ${inputs.i} ${outputs.o}', inptus: {i: in}, outputs: {o: out}}}");
    space
        .madmall(["check", "pipeline.yaml"])
        .code(2)
        .says("pipeline.yaml:3:")
        .says("`inputs`");
    space
        .madmall(["check", "pipeline.yaml", "--json"])
        .code(2)
        .says("\"line\":3");
    assert!(!space.exists(".madmall") && !space.exists("runs"));
}

#[test]
fn plan_shows_what_would_be_done_and_writes_nothing() {
    let space = Space::with(COPY);
    space.write("in", "1");
    let before = space.snapshot();
    space.madmall(["plan", "pipeline.yaml"]).success().says("never run");
    space.madmall(["plan", "pipeline.yaml", "--check"]).code(3);
    space.run(&["--dry-run"]).success().says("never run");
    space.is_as(&before);

    space.run(&[]).success();
    space
        .madmall(["plan", "pipeline.yaml", "--check"])
        .success()
        .says("nothing to do");
    space.remove("out");
    space
        .madmall(["plan", "pipeline.yaml", "--check", "--json"])
        .code(3)
        .says("\"state\":\"restore\"");
}

#[test]
fn why_shows_the_chain_from_the_first_cause() {
    let two = "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";
    let space = Space::with(two);
    space.write("in", "1");
    space.madmall(["why", "pipeline.yaml", "b"]).success().says("never run");
    space.run(&[]).success();
    space.write("in", "2");
    let ran = space.madmall(["why", "pipeline.yaml", "b"]).success();
    let first = ran.out.find("a: input `i` changed: in ").expect("the first cause");
    let second = ran.out.find("b: `a` runs first").expect("what follows from it");
    assert!(first < second, "{}", ran.out);

    space.run(&[]).success();
    space
        .madmall(["why", "pipeline.yaml", "b"])
        .success()
        .says("up to date")
        .says("a: input `i` changed: in ")
        .says("b: input `i` changed: out/a ");
}

#[test]
fn the_first_run_makes_a_key_and_says_so_and_no_key_means_nothing_runs() {
    let mut space = Space::with(COPY);
    space.write("in", "1");
    space.run(&[]).success().says("made your signing key");
    space.run(&[]).success().says_not("made your signing key");

    let mut other = Space::with(COPY);
    other.write("in", "1");
    other.write("a file", "");
    let impossible = other.path("a file/config").into_string();
    other.set("MADMALL_CONFIG_DIR", &impossible);
    other.run(&[]).code(7);
    assert!(!other.exists("out"));
    space.unset("HOME");
    space.run(&[]).success();
}

#[test]
fn json_of_a_run_is_one_object_a_line() {
    let space = Space::with(COPY);
    space.write("in", "1");
    let ran = space.run(&["--json"]).success();
    let events: Vec<serde_json::Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object"))
        .collect();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["stageStarted", "noCommit", "stageFinished", "finished"]);
    assert_eq!(events[3]["exitCode"], 0);
}

#[test]
fn a_workspace_is_found_from_a_folder_inside_it() {
    let space = Space::with(COPY);
    space.write("in", "1");
    std::fs::create_dir_all(space.path("deep/er")).expect("made");
    let mut command = space.command(["run", "../../pipeline.yaml"]);
    command.current_dir(space.path("deep/er"));
    crate::space::Ran::of(&command.output().expect("runs")).success();
    assert!(space.exists("out"));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let space = Space::with(COPY);
    space.write("in", "1");
    let mut child = space
        .command(["--help"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    assert_ne!(child.wait().expect("ends").code(), Some(70));
}

#[test]
fn a_setting_that_nothing_reads_is_refused() {
    let space = Space::with(COPY);
    space.write("in", "1");
    space.write("madmall.yaml", "# only a comment\n");
    space.run(&[]).success();
    space.write("madmall.yaml", "version: 1\n");
    space.run(&[]).success();
    space.write("madmall.yaml", "version: 1\nsandbx: {}\n");
    space
        .run(&[])
        .code(2)
        .says("madmall.yaml:2:1")
        .says("unknown field `sandbx`");
}

#[test]
fn lines_have_no_spaces_at_their_ends_and_no_colour_in_a_pipe() {
    let space = Space::with(COPY);
    space.write("in", "1");
    for _ in 0..2 {
        let ran = space.run(&[]).success();
        for line in ran.out.lines().chain(ran.err.lines()) {
            assert_eq!(line, line.trim_end());
            assert!(!line.contains('\u{1b}'), "{line}");
        }
    }
}

#[test]
fn a_failed_stage_shows_its_command_as_it_was_written_and_what_it_left_undone() {
    let space = Space::with(
        "stages:
  a:
    run: |
      set -x
      false
    outputs: {o: out/a}
  b: {run: 'true', outputs: {o: out/b}}
  c: {argv: [sh, -c, 'exit 3'], outputs: {o: out/c}}",
    );
    space
        .run(&[])
        .code(1)
        .says("error: stage `a` ended with exit code 1\n  command: set -x\n           false\n  | + false\n")
        .says("error: stage `b`: it did not write its output `out/b`")
        .says("  command: sh -c 'exit 3'\n");
}

#[test]
fn a_long_list_of_stages_is_cut() {
    let stages: String = (0..50)
        .map(|n| format!("  stage-{n}: {{run: 'true', outputs: {{o: out/{n}}}}}\n"))
        .collect();
    let space = Space::with(&format!("stages:\n{stages}"));
    space
        .run(&["zzz"])
        .code(2)
        .says("stage-19, and 30 more")
        .says_not("stage-20");
}

#[test]
fn a_pipeline_that_is_not_there_is_said_in_two_lines() {
    let space = Space::with(COPY);
    space.write("pipelines/copy.yaml", "");
    let ran = space.madmall(["run", "pipelines/cpoy.yaml"]).code(2);
    assert_eq!(
        ran.err,
        "error: there is no pipeline file `pipelines/cpoy.yaml`\nhelp: did you mean `pipelines/copy.yaml`?\n"
    );
}

#[test]
fn a_pipeline_beside_it_is_meant_wherever_it_lies() {
    let space = Space::with(COPY);
    for (written, meant) in [("pipelin.yaml", "pipeline.yaml"), ("more/oen.yaml", "more/one.yaml")] {
        space.write("more/one.yaml", "");
        let ran = space.madmall(["run", written]).code(2);
        let expected = format!("error: there is no pipeline file `{written}`\nhelp: did you mean `{meant}`?\n");
        assert_eq!(ran.err, expected);
    }
}

#[test]
fn a_file_is_named_as_it_is_reached_from_here() {
    let space = Space::with(COPY);
    space.write("pipelines/base line.yaml", "version: 1\n");
    space.write("more/none.txt", "");
    let from = |folder: &str, arguments: &[&str]| {
        let mut command = space.command(arguments);
        command.current_dir(space.path(folder));
        crate::space::Ran::of(&command.output().expect("runs"))
    };
    for (folder, written, meant) in [
        ("pipelines", "pipelines/base line.yaml", "base line.yaml"),
        ("pipelines", "base lime.yaml", "base line.yaml"),
        ("pipelines", "../pipelin.yaml", "../pipeline.yaml"),
        ("more", "pipelines/base line.yaml", "../pipelines/base line.yaml"),
        (".", "pipelines/base-line.yaml", "pipelines/base line.yaml"),
    ] {
        let ran = from(folder, &["check", written]).code(2);
        let help = format!("help: did you mean `{meant}`?\n");
        assert!(ran.err.ends_with(&help), "{folder}, {written}: {}", ran.err);
    }
    from("more", &["status"])
        .code(2)
        .says("`madmall check '../pipelines/base line.yaml'` shows where");
    from("pipelines", &["clean", "--orphans"])
        .code(2)
        .says("`madmall check 'base line.yaml'` shows its mistakes");
}

#[test]
fn a_path_for_results_is_named_alike_everywhere() {
    let space = Space::with(COPY);
    for command in [
        "bundle",
        "rerun",
        "log prove",
        "key export",
        "consent prove",
        "consent report",
        "predict",
        "model card",
        "model export",
        "evaluate",
    ] {
        let words = command.split(' ').chain(["--help"]);
        let help = space.madmall(words).success();
        assert!(help.out.contains("-o, --output <"), "{command}: {}", help.out);
        for flag in ["--out", "--output", "-o"] {
            let words = command.split(' ').chain([flag]);
            space.madmall(words).code(2).says("a value is required for '--output <");
        }
    }
}

#[test]
fn no_runs_at_all_cannot_be_asked_for() {
    let space = Space::with(COPY);
    space.write("in", "1");
    space.run(&[]).success();
    for command in ["log", "metrics"] {
        let ran = space.madmall([command, "-n", "0"]).code(2);
        ran.says("give a whole number from 1, such as 10")
            .says_not("there are no");
    }
}

#[test]
fn where_there_is_no_pipeline_the_advice_is_one_that_runs() {
    let space = Space::with(COPY);
    let ran = space.madmall(["run", "pipelines/first.yaml"]).code(2);
    let advice = ran.err.rsplit('`').nth(1).expect("advice");
    space.write("pipelines/first.yaml", advice);
    space.madmall(["run", "pipelines/first.yaml"]).success();
    assert_eq!(space.read("out/hello.txt"), "hello\n");
}

#[test]
fn a_folder_for_keys_must_be_absolute_and_a_key_that_is_not_there_is_said() {
    let mut space = Space::with(COPY);
    space.write("in", "1");
    space.set("MADMALL_SIGNING_KEY", "no-key.pem");
    space
        .run(&[])
        .code(7)
        .says("`MADMALL_SIGNING_KEY` is neither a key in PEM form nor the path of a file with one");
    space.unset("MADMALL_SIGNING_KEY");
    space.set("MADMALL_CONFIG_DIR", "keys");
    space
        .run(&[])
        .code(2)
        .says("MADMALL_CONFIG_DIR is `keys`, and must be an absolute path");
    assert!(!space.exists("keys") && !space.exists("out"));
}

#[test]
fn an_auditor_verifies_a_file_from_outside_of_its_workspace() {
    let space = Space::with(COPY);
    space.write("in", "1");
    space.run(&[]).success();
    let verify = |what: &[&str]| {
        let mut command = space.command(["verify"].iter().chain(what));
        command.current_dir(space.path(".."));
        crate::space::Ran::of(&command.output().expect("runs"))
    };
    verify(&["work space/out"]).success().says("made by stage `copy`");
    verify(&[]).code(6).says("no receipts in `runs/`").says("help");
}

#[test]
fn a_pipeline_that_does_not_resolve_any_more_is_one_line_of_a_verdict() {
    let space = Space::with(COPY);
    space.write("in", "1");
    space.run(&[]).success();
    space.remove("in");
    space
        .madmall(["verify"])
        .says("warning[W-STALE]: pipeline.yaml: cannot be resolved as it is now: no stage produces `in`, and no such file exists\n")
        .says("`madmall check pipeline.yaml`")
        .says_not("\\n");
}

#[test]
fn a_command_that_is_nearly_one_is_named() {
    let space = Space::empty();
    for (typed, meant) in [("rnu", "run"), ("verfiy", "verify"), ("pln", "plan")] {
        let ran = space.madmall([typed]).code(2);
        ran.says(&format!("unrecognized subcommand '{typed}'"))
            .says(&format!("'{meant}'"));
    }
    space.madmall(["frobnicate"]).code(2).says_not("similar");
}

#[test]
fn verify_names_the_output_that_is_called_nearly_so() {
    let space = Space::with("stages: {a: {run: 'cat in > ${outputs.o}', inputs: {i: in}, outputs: {o: out/rows.csv}}}");
    space.write("in", "1\n");
    space.run(&[]).success();
    let asked = |what: &str| space.madmall(["verify", what]).code(6);
    asked("out/row.csv")
        .says("is not here")
        .says("did you mean `out/rows.csv`?");
    asked("somewhere/else").says("is not here").says_not("did you mean");
    // One that is known and gone is what was meant.
    space.remove("out/rows.csv");
    asked("out/rows.csv").says("is not here").says_not("did you mean");
}

#[test]
fn lines_stand_in_the_order_in_which_stages_were_done_with() {
    let space = Space::with(
        "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}
  c: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: b}, outputs: {o: out/c}}",
    );
    space.write("in", "1\n");
    space.run(&[]).success();
    // No program runs: what is written at each tick of the run's own clock would be in order whatever is done here.
    space.remove("out/b");
    let out = space.run(&[]).success().out;
    let firsts: Vec<&str> = out.lines().take(3).filter_map(|line| line.get(..11)).collect();
    assert_eq!(firsts, ["  a  up to ", "  b  restor", "  c  up to "], "{out}");
}

#[test]
fn a_shell_completes_commands_and_options() {
    let space = Space::empty();
    let script = space.madmall(["completions", "bash"]).success().out;
    space.write("madmall.bash", &script);
    let typed = |words: &str| {
        let asked = format!(
            "source madmall.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));
             _madmall madmall \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", &asked])
            .current_dir(space.path(""))
            .output();
        String::from_utf8(output.expect("bash").stdout).expect("UTF-8")
    };
    assert_eq!(typed("madmall veri"), "verify\n");
    assert_eq!(typed("madmall run --keep"), "--keep-going\n");
    assert_eq!(
        typed("madmall rerun-"),
        "\n",
        "what is hidden from users is not offered"
    );
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        space.madmall(["completions", shell]).success().says("verify");
    }
    space.madmall(["completions", "csh"]).code(2).says("bash");
}
