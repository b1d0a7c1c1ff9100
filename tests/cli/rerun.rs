//! `verify --rerun` and `madmall rerun`: the same bits, other bits, or nobody can tell.

use std::fs;

use serde_json::Value;

use crate::baseline::baseline;
use crate::forge::{self, Forger};
use crate::space::{Ran, Space};

const COPY: &str = "stages: {copy: {run: 'cp in.txt out.txt', inputs: {i: in.txt}, outputs: {o: out.txt}}}";

/// A committed workspace whose stages have run. Its folder for temporary files is its own, so that what is left there is seen.
fn ran(stages: &str) -> Space {
    let mut space = Space::with(stages);
    let temporary = space.root().with_file_name("temporary");
    fs::create_dir(&temporary).expect("made");
    space.set("TMPDIR", temporary.as_str());
    space.write("in.txt", "1\n");
    space.write(".gitignore", "out*\n.madmall/\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.run(&[]).success();
    space
}

/// Nothing may be left in the folder for temporary files.
#[track_caller]
fn nothing_is_left(space: &Space) {
    let folder = space.root().with_file_name("temporary");
    let left: Vec<_> = fs::read_dir(folder)
        .expect("read")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "left: {left:?}");
}

/// `verify --rerun` in JSON, which must end with this code, write nothing and leave nothing.
#[track_caller]
fn rerun(space: &Space, code: i32, arguments: &[&str]) -> Value {
    let before = space.snapshot();
    let ran = space
        .madmall(["verify", "--rerun", "--json"].iter().chain(arguments))
        .code(code);
    space.is_as(&before);
    nothing_is_left(space);
    serde_json::from_str(&ran.out).expect("one JSON object")
}

/// The finding with this code.
#[track_caller]
fn finding<'a>(report: &'a Value, code: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .find(|finding| finding["code"] == code)
        .unwrap_or_else(|| panic!("no {code} in {report:#}"))
}

#[test]
fn what_comes_out_the_same_is_said_to_be_identical() {
    let space = ran(COPY);
    let report = rerun(&space, 0, &[]);
    assert_eq!(report["assurance"]["rerun"], "held");
    assert_eq!(report["rerun"][0]["verdict"], "identical");
    let head = space.git(&["rev-parse", "HEAD"]);
    assert_eq!(report["rerun"][0]["commit"], head);
    space
        .madmall(["verify", "--rerun"])
        .success()
        .says("run again, identical: copy");
}

#[test]
fn what_no_program_may_see_is_varied_and_nothing_of_it_reaches_a_stage() {
    let stages = "stages: {look: {run: 'env | grep -v -e ^HOME= -e ^TMPDIR= -e ^PWD= -e ^OLDPWD= | sort > out.txt; date >> out.log.txt; rm out.log.txt',
                   inputs: {i: in.txt}, outputs: {o: out.txt}}}";
    let space = ran(stages);
    rerun(&space, 0, &[]);
}

#[test]
fn a_stage_that_sees_the_clock_chance_or_the_umask_differs() {
    for command in [
        "date +%N > out.txt",
        "od -An -N8 -tx1 /dev/urandom > out.txt",
        "umask > out.txt",
        "pwd > out.txt",
    ] {
        let stages = format!("stages: {{odd: {{run: '{command}', inputs: {{i: in.txt}}, outputs: {{o: out.txt}}}}}}");
        let space = ran(&stages);
        let report = rerun(&space, 5, &[]);
        assert_eq!(report["assurance"]["rerun"], "failed", "{command}");
        let found = finding(&report, "E-RERUN");
        assert_eq!(found["file"], "out.txt");
        let message = found["message"].as_str().expect("a text");
        assert!(
            message.contains("stage `odd` is the first that came out otherwise"),
            "{message}"
        );
    }
}

#[test]
fn a_stage_that_relies_on_the_order_of_a_folder_differs_where_that_can_be_varied() {
    // A file system that lists files in the order in which they were made.
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let mut space =
        Space::with("stages: {list: {run: 'ls -U many > out.txt', inputs: {d: many}, outputs: {o: out.txt}}}");
    for number in 0..20 {
        space.write(&format!("many/{number}"), "");
    }
    space.write(".gitignore", "out*\n.madmall/\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.run(&[]).success();
    space.set("TMPDIR", folder.path().to_str().expect("UTF-8"));
    space.madmall(["verify", "--rerun"]).code(5).says("E-RERUN");
}

#[test]
fn only_the_first_cause_is_blamed() {
    let stages = "stages: {
        odd: {run: 'date +%N > out.a', inputs: {i: in.txt}, outputs: {o: out.a}},
        next: {run: 'wc -c < out.a > out.b', inputs: {i: odd.o}, outputs: {o: out.b}},
        last: {run: 'cat out.b in.txt > out.c', inputs: {i: next.o, j: in.txt}, outputs: {o: out.c}}}";
    let space = ran(stages);
    let report = rerun(&space, 5, &[]);
    let verdicts: Vec<_> = report["rerun"].as_array().expect("stages").iter().collect();
    let of = |index: usize| (verdicts[index]["stage"].as_str(), verdicts[index]["verdict"].as_str());
    assert_eq!(of(0), (Some("odd"), Some("differs")));
    assert_eq!(
        of(1),
        (Some("next"), Some("identical")),
        "it was run on the recorded bytes"
    );
    assert_eq!(of(2), (Some("last"), Some("identical")));

    // Without the recorded bytes the stage after it cannot be compared.
    space.remove("out.a");
    fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    let report = rerun(&space, 5, &["out.b"]);
    assert_eq!(report["rerun"][1]["verdict"], "not-compared");
    let reason = report["rerun"][1]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("a stage before it came out otherwise"), "{reason}");
}

#[test]
fn the_baseline_comes_out_the_same() {
    let mut space = baseline();
    let temporary = space.root().with_file_name("temporary");
    fs::create_dir(&temporary).expect("made");
    space.set("TMPDIR", temporary.as_str());
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.madmall(["run", "pipelines/baseline.yaml"]).success();
    let report = rerun(&space, 0, &[]);
    let stages = report["rerun"].as_array().expect("stages").iter();
    let names: Vec<_> = stages.map(|stage| stage["stage"].as_str().expect("a name")).collect();
    assert_eq!(names, ["ingest", "featurize", "train"]);
    assert_eq!(report["assurance"]["rerun"], "held");
}

#[test]
fn the_first_place_is_named_in_the_words_of_the_format() {
    for (file, text, place) in [
        ("out.json", r#"{"a": {"b": [1, %s]}}"#, "/a/b/1"),
        ("out.ndjson", r#"{"a": 1}\n{"a": %s}\n"#, "line 2, /a"),
        ("out.csv", r"id,weight\n1,%s\n", "row 2, column 2 (`weight`)"),
        ("out.bin", "abc%s", "byte 3"),
    ] {
        let stages = format!(
            "stages:\n  odd:\n    run: |\n      printf '{text}' \"1$(date +%N)\" > {file}\n    inputs: {{i: in.txt}}\n    outputs: {{o: {file}}}"
        );
        let space = ran(&stages);
        let report = rerun(&space, 5, &[]);
        let message = finding(&report, "E-RERUN")["message"].as_str().expect("a text");
        // The digits of the clock may begin alike.
        let wanted = if file == "out.bin" { "first at byte " } else { place };
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn what_was_run_first_and_committed_after_is_found_in_the_history() {
    let space = ran(COPY);
    space.write("in.txt", "2\n");
    space.run(&[]).success();
    let report = rerun(&space, 6, &[]);
    let message = finding(&report, "E-NORERUN")["message"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(
        message.contains("no commit here has the files that its receipt names"),
        "{message}"
    );
    assert!(message.contains("`in.txt` has other bytes"), "{message}");

    space.git(&["add", "in.txt"]);
    space.git(&["commit", "-q", "-m", "two"]);
    let with_it = space.git(&["rev-parse", "HEAD"]);
    space.write("in.txt", "3\n");
    space.git(&["commit", "-q", "-am", "three"]);
    let report = rerun(&space, 0, &["out.txt"]);
    assert_eq!(report["rerun"][0]["commit"], with_it);
    // The file in the working tree is not what was used, and it is not asked.
    let report = rerun(&space, 4, &["out.txt", "--at", "HEAD"]);
    assert_eq!(
        report["rerun"][0]["verdict"], "identical",
        "what is wrong with that commit is another question"
    );
}

#[test]
fn an_input_that_is_not_in_git_comes_from_the_workspace_or_is_missed() {
    let stages = "stages: {join: {run: 'cat in.txt data/*.big > out.txt', inputs: {i: in.txt, d: 'data/*.big'}, outputs: {o: out.txt}}}";
    let space = Space::with(stages);
    space.write("in.txt", "1\n");
    space.write("data/a.big", "a\n");
    space.write("data/b.big", "b\n");
    space.write(".gitignore", "*.big\nout*\n.madmall/\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.run(&[]).success();
    space.madmall(["verify", "--rerun"]).success().says("identical: join");
    space.write("data/a.big", "changed\n");
    space
        .madmall(["verify", "--rerun", "out.txt"])
        .code(6)
        .says("E-NORERUN")
        .says("`data/a.big`")
        .says("is neither in the commit nor in the workspace nor in its store");
}

#[test]
fn what_a_stranger_signed_is_not_run() {
    let stages = "stages: {copy: {run: 'echo ran >> $TRACE; cp in.txt out.txt', env: [TRACE], sandbox: off, inputs: {i: in.txt}, outputs: {o: out.txt}}}";
    let space = ran(stages);
    assert_eq!(space.trace(), "ran\n");
    let stranger = "a".repeat(62) + "05";
    let trust = ["verify", "--rerun", "--trust", &stranger];
    let ended = space.madmall(trust);
    assert_ne!(ended.code, Some(0), "{}", ended.out);
    assert_eq!(space.trace(), "", "nothing ran");
    rerun(&space, 0, &[]);
    assert_eq!(
        space.trace(),
        "ran\n",
        "the trusted one does run, with the recorded variable"
    );
}

#[test]
fn a_program_that_is_not_there_any_more_is_named() {
    let mut space = ran("stages: {tool: {argv: [cp, in.txt, out.txt], inputs: {i: in.txt}, outputs: {o: out.txt}}}");
    let (tools, path) = (
        space.root().with_file_name("tools"),
        space.root().with_file_name("none"),
    );
    fs::create_dir(&tools).expect("made");
    fs::create_dir(&path).expect("made");
    space.set("PATH", path.as_str());
    let report = rerun(&space, 6, &[]);
    let message = finding(&report, "E-NORERUN")["message"].as_str().expect("a text");
    assert!(message.contains("there is no program `cp` in PATH"), "{message}");

    // Another program of that name is named where the output differs.
    let script = tools.join("cp");
    fs::write(&script, "#!/bin/sh\necho other > \"$2\"\n").expect("written");
    #[cfg(unix)]
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    space.set("PATH", &format!("{tools}:/usr/bin:/bin"));
    let report = rerun(&space, 5, &[]);
    let help = finding(&report, "E-RERUN")["help"].as_str().expect("a text");
    assert!(help.contains("tool `cp`: sha256:"), "{help}");
}

#[test]
fn a_temporary_folder_in_the_workspace_is_refused() {
    let mut space = ran(COPY);
    let inside = space.path("tmp");
    fs::create_dir(&inside).expect("made");
    space.set("TMPDIR", inside.as_str());
    let before = space.snapshot();
    space
        .madmall(["verify", "--rerun"])
        .code(2)
        .says("lies in the workspace");
    space.is_as(&before);
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let stages = "stages: {slow: {run: 'if [ -e $TRACE.slow ]; then echo began >> $TRACE; sleep 60; fi; cp in.txt out.txt', env: [TRACE], sandbox: off,
                   inputs: {i: in.txt}, outputs: {o: out.txt}}}";
    let space = ran(stages);
    fs::write(space.root().with_file_name("trace.slow"), "").expect("written");
    let before = space.snapshot();
    let child = space.command(["verify", "--rerun"]).spawn().expect("the binary runs");
    let began = std::time::Instant::now();
    while !space.root().with_file_name("trace").exists() {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(60),
            "the stage never began"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130));
    space.is_as(&before);
    nothing_is_left(&space);
}

#[test]
fn a_tolerance_makes_it_reproduced_and_never_identical() {
    let stages = |tolerance: &str, digits: &str| {
        format!(
            "stages:\n  fit:\n    run: |\n      printf '{{\"w\":[1.5,0.00%s],\"name\":\"x\"}}' \"$(date +%N{digits})\" > out.json\n    \
             inputs: {{i: in.txt}}\n    outputs: {{o: {{path: out.json, tolerance: {tolerance}}}}}"
        )
    };
    let space = ran(&stages("0.1", ""));
    let report = rerun(&space, 0, &[]);
    assert_eq!(report["assurance"]["rerun"], "not-checked");
    assert_eq!(report["rerun"][0]["verdict"], "within-tolerance");
    let message = finding(&report, "W-TOLERANCE")["message"].as_str().expect("a text");
    assert!(message.contains("reproduced within tolerance"), "{message}");
    space
        .madmall(["verify", "--rerun"])
        .success()
        .says("within tolerance: fit")
        .says_not("identical: fit");
    space
        .madmall(["rerun", "latest"])
        .success()
        .says("  `out.json`: no number is further off than the pipeline allows")
        .says_not("first at");
    std::fs::remove_dir_all(space.path("rerun-latest")).expect("removed");

    // Changing it runs nothing: it is no part of what the stage is.
    space.pipeline(&stages("1e-12", ""));
    space.run(&[]).success().says("1 up to date");
    let report = rerun(&space, 0, &[]);
    assert_eq!(
        report["rerun"][0]["verdict"], "within-tolerance",
        "the commit of the receipt declares it"
    );

    let space = ran(&stages("1e-12", ""));
    let report = rerun(&space, 5, &[]);
    let message = finding(&report, "E-RERUN")["message"].as_str().expect("a text");
    assert!(message.contains("/w/1: 0.00"), "{message}");
}

#[test]
fn receipts_of_older_runs_under_older_names_are_run_as_they_were() {
    let space = ran("stages: {
        first: {run: 'cp in.txt out.a', inputs: {i: in.txt}, outputs: {o: out.a}},
        second: {run: 'wc -c < out.a > out.b', inputs: {i: first.o}, outputs: {o: out.b}}}");
    space.pipeline(
        "stages: {
        renamed: {run: 'cp in.txt out.a', inputs: {i: in.txt}, outputs: {o: out.a}},
        second: {run: 'wc -l < out.a > out.b', inputs: {i: renamed.o}, outputs: {o: out.b}}}",
    );
    space.git(&["commit", "-q", "-am", "two"]);
    space.run(&[]).success().says("1 ran");
    let report = rerun(&space, 0, &[]);
    assert_eq!(report["rerun"][0]["stage"], "first");
    assert_ne!(report["rerun"][0]["commit"], report["rerun"][1]["commit"]);
}

#[test]
fn an_old_result_is_made_again_into_a_folder_of_its_own() {
    let space = ran(COPY);
    let run = space.receipt_files().remove(0).replace(".intoto.jsonl", "");
    space.write("in.txt", "2\n");
    space.git(&["commit", "-q", "-am", "two"]);
    space.run(&[]).success();
    space
        .madmall(["rerun", &run, "-o", "old"])
        .code(0)
        .says("identical")
        .says("copy");
    assert_eq!(space.read("old/out.txt"), "1\n");
    assert_eq!(space.read("out.txt"), "2\n", "what is in place stays");
    space
        .madmall(["rerun", &run, "-o", "old"])
        .code(2)
        .says("is there already");
    space
        .madmall(["rerun", "out.txt"])
        .code(2)
        .says("is no receipt and no run");
    space
        .madmall(["rerun", "0123456789abcdef"])
        .code(6)
        .says("no receipt here has an id");
    nothing_is_left(&space);

    let odd = ran("stages: {odd: {run: 'date +%N > out.txt', inputs: {i: in.txt}, outputs: {o: out.txt}}}");
    let run = odd.receipt_files().remove(0).replace(".intoto.jsonl", "");
    let json = odd.madmall(["rerun", &run, "--json"]).code(5).out;
    let json: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(json["stages"][0]["verdict"], "differs");
    assert!(
        odd.exists(&format!("rerun-{run}/out.txt")),
        "what came out is there to look at"
    );
}

#[test]
fn without_git_an_old_result_is_made_from_the_workspace_and_the_store() {
    let space = Space::with(
        "stages: {
        one: {run: 'cp in.txt out.a', inputs: {i: in.txt}, outputs: {o: out.a}},
        two: {argv: [./double, out.a, out.b], inputs: {tool: double, i: one.o}, outputs: {o: out.b}}}",
    );
    space.write("in.txt", "1\n");
    space.write("double", "#!/bin/sh\ncat \"$1\" \"$1\" > \"$2\"\n");
    #[cfg(unix)]
    fs::set_permissions(
        space.path("double"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("set");
    space.run(&[]).success();
    let run = space.receipt_files().remove(0).replace(".intoto.jsonl", "");
    space.remove("out.a");
    space.remove("out.b");
    space.madmall(["rerun", &run, "-o", "old"]).success();
    assert_eq!(space.read("old/out.b"), "1\n1\n");
    // `verify --rerun` wants a commit.
    space
        .madmall(["verify", "--rerun", &run])
        .code(6)
        .says("in no git repository");
}

/// Changes one character of the signature in this line of the newest file of receipts.
fn change_signature(space: &Space, line: usize) {
    let file = format!("runs/{}", space.receipt_files().pop().expect("a run"));
    let text = space.read(&file);
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let at = lines[line].find("\"sig\":\"").expect("a signature") + 12;
    let other = if &lines[line][at..=at] == "A" { "B" } else { "A" };
    lines[line].replace_range(at..=at, other);
    space.write(&file, lines.concat());
}

#[test]
fn a_signature_that_was_changed_is_said_and_ends_as_verify_ends() {
    let space = ran(COPY);
    change_signature(&space, 0);
    space.madmall(["verify", "latest"]).code(4).says("E-SIG");
    space
        .madmall(["rerun", "latest"])
        .code(4)
        .says("error[E-SIG]: runs/")
        .says("E-LOG")
        .says_not("of no stage that succeeded");
    assert!(!space.exists("rerun-latest"));
    let json = space.madmall(["rerun", "latest", "--json"]).code(4).out;
    let json: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!((&json["exitCode"], &json["folder"]), (&4.into(), &Value::Null));
    finding(&json, "E-SIG");

    // What is left is made again, and that is not all that is to be said.
    let space = ran(
        "stages: {copy: {run: 'cp in.txt out.txt', inputs: {i: in.txt}, outputs: {o: out.txt}},
             more: {run: 'cp in.txt out.more', inputs: {i: in.txt}, outputs: {o: out.more}}}",
    );
    change_signature(&space, 0);
    let ended = space.madmall(["rerun", "latest", "-o", "old"]).code(4);
    ended.says("E-SIG").says("identical");
    assert!(space.exists("old/out.txt") != space.exists("old/out.more"));
    // The run's own receipt counts for nothing: nothing is to be had.
    let space = ran(COPY);
    change_signature(&space, 1);
    space.madmall(["rerun", "latest"]).code(4).says("E-SIG");
}

#[test]
fn a_strangers_run_is_refused_as_verify_refuses_it() {
    let first = ran(COPY);
    let other = first.beside("other", "other config");
    fs::create_dir(other.root()).expect("made");
    other.madmall(["key"]).success();
    let stranger = public_key(&other, &first, "other.pem");
    for command in ["verify", "rerun"] {
        first
            .madmall([command, "latest", "--trust", &stranger])
            .code(4)
            .says("error[E-KEY]: out.txt: only receipts by keys that are not trusted claim it");
    }
    first.git(&["add", "runs"]);
    first.git(&["commit", "-q", "-m", "a run"]);
    let second = clone_of(&first);
    for command in ["verify", "rerun"] {
        second
            .madmall([command, "latest"])
            .code(6)
            .says("open[E-KEY]: runs/")
            .says("the receipt asked for is by a key that is not trusted");
    }
    // Who is named is believed.
    let trust = public_key(&first, &second, "first.pem");
    second.madmall(["rerun", "latest", "--trust", &trust]).success();
}

/// A second clone of `space`, with a key of its own.
fn clone_of(space: &Space) -> Space {
    let mut clone = Space::empty();
    let temporary = clone.root().with_file_name("temporary");
    fs::create_dir(&temporary).expect("made");
    clone.set("TMPDIR", temporary.as_str());
    clone.git(&["clone", "-q", space.root().as_str(), "."]);
    clone.madmall(["key"]).success();
    clone
}

/// The public key of `space`, in a file that no workspace holds.
fn public_key(space: &Space, at: &Space, name: &str) -> String {
    let path = at.root().with_file_name(name);
    fs::write(&path, space.madmall(["key", "--pem"]).success().out).expect("written");
    path.into_string()
}

#[test]
fn a_second_party_confirms_a_run_and_its_word_alone_is_enough() {
    let first = ran(COPY);
    let file = first.receipt_files().remove(0);
    let run = file.replace(".intoto.jsonl", "");
    first.git(&["add", "runs"]);
    first.git(&["commit", "-q", "-m", "a run"]);

    let second = clone_of(&first);
    let trust_first = public_key(&first, &second, "first.pem");
    second.madmall(["verify", "--rerun", "--attest"]).code(2);
    second
        .madmall(["verify", "--rerun", "--attest", &run])
        .says("is not countersigned");
    assert_eq!(
        second.receipt_files().len(),
        1,
        "who trusts nobody who ran it confirms nothing"
    );
    second
        .madmall(["verify", "--rerun", "--attest", &run, "--trust", &trust_first])
        .success()
        .says("countersigned by your key");
    nothing_is_left(&second);
    let files = second.receipt_files();
    assert_eq!(files.len(), 2, "{files:?}");
    let keyid = second.madmall(["key"]).success().out;
    let digits = &keyid.strip_prefix("keyid   ").expect("the keyid comes first")[..8];
    let countersigned = format!("{run}.{digits}.intoto.jsonl");
    assert!(files.contains(&countersigned), "{files:?}");
    let again = second.madmall(["verify", "--rerun", "--attest", &run, "--trust", &trust_first]);
    again.success().says("has signed run");
    for name in ["latest", &run[..run.len() - 1]] {
        let again = second.madmall(["verify", "--rerun", "--attest", name, "--trust", &trust_first]);
        again.success().says(&format!("has signed run `{run}`"));
    }

    // By a merge it comes to the first clone, where only the second party is trusted now.
    second.git(&["add", "runs"]);
    second.git(&["commit", "-q", "-m", "confirmed"]);
    first.git(&["pull", "-q", second.root().as_str(), "main"]);
    let trust_second = public_key(&second, &first, "second.pem");
    let report = first
        .madmall(["verify", "--json", "--trust", &trust_second])
        .success()
        .out;
    let report: Value = serde_json::from_str(&report).expect("one JSON object");
    for promise in ["signature", "subject", "chain", "commit", "log"] {
        assert_eq!(report["assurance"][promise], "held", "{promise}: {report:#}");
    }
    assert_eq!(report["artifacts"][0]["path"], "out.txt");
    first.madmall(["verify"]).success();
    let listed = first.madmall(["log"]).success().out;
    assert_eq!(listed.lines().count(), 2, "one run: {listed}");
    first.run(&[]).success().says("1 up to date");

    // Of another run, by another key, or with something else in it, it is none.
    let bytes = first.bytes(&format!("runs/{countersigned}"));
    for other in [
        format!("{run}.00000000.intoto.jsonl"),
        format!("{}x.{digits}.intoto.jsonl", run),
    ] {
        first.write(&format!("runs/{other}"), &bytes);
        first.madmall(["verify"]).code(4).says("E-CHAIN");
        first.remove(&format!("runs/{other}"));
    }
    let line = bytes.split_inclusive(|byte| *byte == b'\n').next().expect("a line");
    first.write(&format!("runs/{countersigned}"), [line, &bytes].concat());
    first.madmall(["verify"]).code(4).says("holds a receipt twice");
}

#[test]
fn what_came_out_otherwise_is_not_countersigned() {
    let first = ran("stages: {odd: {run: 'date +%N > out.txt', inputs: {i: in.txt}, outputs: {o: out.txt}}}");
    let run = first.receipt_files().remove(0).replace(".intoto.jsonl", "");
    first.git(&["add", "runs"]);
    first.git(&["commit", "-q", "-m", "a run"]);
    let second = clone_of(&first);
    let trust = public_key(&first, &second, "first.pem");
    second
        .madmall(["verify", "--rerun", "--attest", &run, "--trust", &trust])
        .code(5)
        .says("is not countersigned");
    assert_eq!(second.receipt_files().len(), 1);
}

#[test]
fn what_took_the_place_of_a_run_while_it_ran_again_is_not_countersigned() {
    let first = ran("stages: {slow: {run: 'sleep 1; cp in.txt out.txt', inputs: {i: in.txt}, outputs: {o: out.txt}}}");
    let file = format!("runs/{}", first.receipt_files().remove(0));
    let run = file.replace("runs/", "").replace(".intoto.jsonl", "");
    first.git(&["add", "runs"]);
    first.git(&["commit", "-q", "-m", "a run"]);
    let second = clone_of(&first);
    let trust = public_key(&first, &second, "first.pem");
    let arguments = ["verify", "--rerun", "--attest", &run, "--trust", &trust];
    let began = second.begin(arguments);
    // The checkout is there once the receipts have been read.
    let temporary = second.root().with_file_name("temporary");
    while temporary.read_dir_utf8().expect("read").next().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let text = second.read(&file);
    let mut lines: Vec<&str> = text.lines().collect();
    let own = lines.pop().expect("the run's own");
    let mut statement = forge::statement(own);
    statement["predicate"]["buildDefinition"]["externalParameters"]["purpose"] = "marketing".into();
    let forged = Forger::from_seed(66).line(&forge::canonical(&statement));
    second.write(&file, format!("{}\n{forged}\n", lines.join("\n")));
    let ended = Ran::of(&began.wait_with_output().expect("it ends"));
    ended.code(6).says("is none of those that were verified");
    assert_eq!(second.receipt_files().len(), 1, "nothing is signed");

    second.write(&file, text);
    second.madmall(arguments).success().says("countersigned by your key");
}

#[test]
fn a_folder_of_too_many_files_to_be_listed_is_taken_whole() {
    let stages = "stages: {count: {run: 'ls many | wc -l > out.txt', inputs: {d: many}, outputs: {o: out.txt}}}";
    let space = Space::with(stages);
    for number in 0..1001 {
        space.write(&format!("many/{number}"), number.to_string());
    }
    space.write(".gitignore", "out*\n.madmall/\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.run(&[]).success();
    space.madmall(["verify", "--rerun"]).success().says("identical: count");
    // A file more in the folder, and the commit alone has it as it was.
    space.write("many/more", "");
    space.madmall(["verify", "--rerun"]).success().says("identical: count");
}

/// A committed workspace whose one stage has run; its receipt, signed by the same key, says what `change` makes it say.
fn with_changed_receipt(change: impl Fn(&mut Value)) -> Space {
    let space = ran(COPY);
    let own = Forger::from_pem(&space.read("../config/signing-key.pem"));
    let file = format!("runs/{}", space.receipt_files().remove(0));
    let text = space.read(&file);
    let (stage, run) = text.trim_end().split_once('\n').expect("two lines");
    let mut statement = forge::statement(stage);
    change(&mut statement["predicate"]["buildDefinition"]["externalParameters"]["stage"]);
    let changed = forge::canonical(&statement);
    let ids = [forge::payload(stage), changed.clone()].map(|payload| forge::id(&payload));
    let run = String::from_utf8(forge::payload(run)).expect("JSON");
    let run = own.line(run.replace(&ids[0], &ids[1]).as_bytes());
    space.write(&file, format!("{}\n{run}\n", own.line(&changed)));
    fs::remove_dir_all(space.path("runs/log")).expect("removed");
    space
}

#[test]
fn a_receipt_that_takes_what_no_pipeline_may_name_is_not_run() {
    for name in ["MADMALL_CONSENT_SECRET", "MADMALL_SIGNING_KEY", "HOME"] {
        let named: [&dyn Fn(&mut Value); 2] = [&|stage| stage["secrets"] = serde_json::json!([name]), &|stage| {
            stage["environment"] = serde_json::json!({ name: "a value" })
        }];
        for change in named {
            let report = rerun(&with_changed_receipt(change), 6, &[]);
            let message = finding(&report, "E-NORERUN")["message"].as_str().expect("a text");
            assert!(message.contains(&format!("the variable `{name}`")), "{message}");
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn variables_of_a_receipt_do_nothing_to_the_process_that_runs_its_stage_again() {
    let mut space = ran(
        "stages: {copy: {run: 'cp in.txt out.txt', env: [LD_DEBUG, LD_DEBUG_OUTPUT], sandbox: off, inputs: {i: in.txt}, outputs: {o: out.txt}}}",
    );
    // Each program that is loaded with these writes a file that names it.
    let traces = space.base().join("traces");
    fs::create_dir(&traces).expect("made");
    let programs = || {
        let files = traces
            .read_dir_utf8()
            .expect("listed")
            .map(|entry| entry.expect("an entry").into_path());
        let texts = files.map(|file| {
            let text = fs::read_to_string(&file).expect("text");
            fs::remove_file(file).expect("removed");
            text
        });
        texts.collect::<String>()
    };
    space.set("LD_DEBUG", "files");
    space.set("LD_DEBUG_OUTPUT", traces.join("of").as_str());
    space.run(&[]).success();
    assert!(
        programs().contains("/madmall"),
        "it is loaded by these variables when they are its own"
    );
    space.unset("LD_DEBUG");
    space.unset("LD_DEBUG_OUTPUT");
    space.madmall(["verify", "--rerun"]).success();
    let programs = programs();
    assert!(programs.contains("cp"), "the stage's program has them");
    assert!(!programs.contains("/madmall"), "{programs}");
}
