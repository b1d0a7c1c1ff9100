//! Files, folders and repositories as nobody would wish them.

use std::time::{Duration, Instant};

use crate::space::{Space, files_below};

/// Waits until something is so.
#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_killed_run_leaves_is_tied_to_the_commit_by_all_its_definitions() {
    let space = Space::with(
        "stages:
  one: {run: 'echo 1 > ${outputs.o}', outputs: {o: out/one}}
  two: {uses: stages/two.yaml, inputs: {i: one}, outputs: {o: out/two}}
  three: {run: 'sleep 30; cp ${inputs.i} ${outputs.o}', inputs: {i: two}, outputs: {o: out/three}}",
    );
    let definition = "version: 1\nname: two\nrun: 'cp ${inputs.i} ${outputs.o}'\ninputs: {i: {}}\noutputs: {o: {}}\n";
    space.write("stages/two.yaml", definition);
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "x"]);
    space.write("stages/two.yaml", format!("{definition}# not committed\n"));
    let mut child = space.begin(["run", "pipeline.yaml"]);
    wait_for("two stages are done", || space.exists("out/two"));
    child.kill().expect("killed");
    child.wait().expect("it ended");

    space
        .run(&["two"])
        .success()
        .says("the stages that it finished are kept");
    let run = space.receipt_files().remove(0);
    space
        .madmall(["verify", &format!("runs/{run}")])
        .says_not("E-COMMIT")
        .success()
        .says("W-UNCOMMITTED");
    assert!(files_below(&space.path(".madmall/pending")).is_empty());
}

/// A workspace whose two stages have run.
fn finished() -> Space {
    let space = Space::with(
        "stages:
  a: {run: 'tr a-z A-Z < ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}",
    );
    space.write("in", "some bytes\n");
    space.run(&[]).success();
    space
}

/// Runs the real binary, which must end by itself.
#[track_caller]
fn ends(space: &Space, arguments: &[&str]) -> crate::space::Ran {
    let mut child = space.begin(arguments);
    let began = Instant::now();
    while child.try_wait().expect("it can be asked").is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().expect("killed");
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    crate::space::Ran::of(&child.wait_with_output().expect("its output"))
}

#[cfg(unix)]
fn pipe(space: &Space, path: &str) {
    let made = std::process::Command::new("mkfifo").arg(space.path(path)).status();
    assert!(made.expect("mkfifo runs").success());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_never_waited_for() {
    let space = finished();
    pipe(&space, "runs/x.intoto.jsonl");
    ends(&space, &["run", "pipeline.yaml"]).success();
    ends(&space, &["plan", "pipeline.yaml"]).success();
    ends(&space, &["verify"]).code(4).says("is no regular file");
    space.remove("runs/x.intoto.jsonl");
    space.remove("out/a");
    pipe(&space, "out/a");
    ends(&space, &["verify"]).code(4).says("E-FILE").says("out/a");
    ends(&space, &["verify", "out/a"]).code(4).says("E-FILE");
    ends(&space, &["run", "pipeline.yaml"])
        .code(2)
        .says("`out/a` is no file");
}

#[cfg(unix)]
#[test]
fn settings_that_are_a_pipe_are_not_waited_for() {
    let space = finished();
    space.remove("madmall.yaml");
    pipe(&space, "madmall.yaml");
    for command in ["run", "plan", "check", "status"] {
        ends(&space, &[command, "pipeline.yaml"])
            .code(2)
            .says("`madmall.yaml` is no file");
    }
    ends(&space, &["verify"]).success().says("W-STALE");
    ends(&space, &["verify", "--rerun"]).says("`madmall.yaml` is no file");
}

#[test]
fn a_huge_file_of_receipts_is_not_read() {
    let space = finished();
    let file = std::fs::File::create(space.path("runs/x.intoto.jsonl")).expect("made");
    file.set_len(1 << 40).expect("it has holes");
    ends(&space, &["run", "pipeline.yaml"]).success();
    ends(&space, &["verify"]).code(4).says("is longer than");
}

#[test]
fn a_file_in_the_place_of_the_store_is_said_and_kept() {
    let space = finished();
    std::fs::remove_dir_all(space.path(".madmall")).expect("removed");
    space.write(".madmall", "mine\n");
    space.run(&[]).code(7).says("move it away");
    assert_eq!(space.read(".madmall"), "mine\n");
    space.remove(".madmall");
    space.run(&[]).success();
}

#[test]
fn a_file_that_a_folder_gains_while_a_stage_reads_it_makes_the_stage_fail() {
    // Once the folder was made just before the run began, when a name more leaves no trace in its stamp.
    for (is_old, gained) in [(false, "2"), (true, "2"), (true, "old/2"), (true, "new/2")] {
        let space = Space::with(
            "stages:
  a: {run: 'until test -n \"$(find -H ${inputs.i} -name 2)\"; do sleep 0.01; done; find -H ${inputs.i} -type f -exec cat {} + | sort > ${outputs.o}', inputs: {i: d}, outputs: {o: out}}",
        );
        space.write("d/1", "1\n");
        space.write("d/old/1", "1\n");
        if is_old {
            Space::let_clock_tick();
        }
        let mut child = space.begin(["run", "pipeline.yaml"]);
        wait_for("the stage has begun", || {
            files_below(&space.path(".madmall/output"))
                .iter()
                .any(|log| log.ends_with("a.log"))
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().expect("it can be asked").is_none());
        space.write(&format!("d/{gained}"), "2\n");
        let ran = crate::space::Ran::of(&child.wait_with_output().expect("it ends"));
        ran.code(1).says("its input `d` changed while it ran");
        assert!(!space.exists("out"), "{gained}");
        space.run(&[]).success();
        assert_eq!(space.read("out"), "1\n1\n2\n");
    }
}

#[cfg(unix)]
#[test]
fn whether_an_output_may_be_executed_is_restored() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = Space::with(
        "stages:
  a: {run: 'printf \"echo hi\" > ${outputs.o}; chmod +x ${outputs.o}', outputs: {o: out/tool}}
  b: {run: 'echo b >> $TRACE; ${inputs.i} > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: a}, outputs: {o: out/b}}",
    );
    let mode = || {
        std::fs::metadata(space.path("out/tool"))
            .expect("there")
            .permissions()
            .mode()
            & 0o100
    };
    space.run(&[]).success();
    assert_eq!((mode(), space.trace().as_str()), (0o100, "b\n"));
    std::fs::set_permissions(space.path("out/tool"), std::fs::Permissions::from_mode(0o644)).expect("own file");
    space.madmall(["plan", "pipeline.yaml", "--check"]).code(3);
    space.run(&[]).success().says("restored");
    assert_eq!((mode(), space.trace().as_str()), (0o100, ""));
    space.run(&[]).success().says("2 up to date").says_not("restored");
}

/// A run whose receipts cannot be published: its last stage puts a file in the place of their folder.
fn unpublished() -> Space {
    let mut space = Space::with(
        "stages:
  a: {run: 'echo a >> $TRACE; echo a > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out/a}}
  b: {run: 'echo b >> $TRACE; cp ${inputs.i} ${outputs.o}; test -e \"$RUNS\" || : > \"$RUNS\"', env: [TRACE, RUNS], sandbox: off, inputs: {i: a}, outputs: {o: out/b}}",
    );
    let runs = space.path("runs").into_string();
    space.set("RUNS", &runs);
    space.run(&[]).code(7).says("runs");
    assert_eq!(space.trace(), "a\nb\n");
    assert!(
        files_below(&space.path(".madmall/scratch")).is_empty(),
        "nothing of ours fills the disk"
    );
    space.remove("runs");
    space
}

fn pending(space: &Space) -> String {
    let files = files_below(&space.path(".madmall/pending"));
    assert_eq!(files.len(), 1, "{files:?}");
    format!(".madmall/pending/{}", files[0])
}

#[test]
fn receipts_that_could_not_be_published_are_published_by_the_next_run() {
    let space = unpublished();
    space.run(&[]).success().says("2 up to date");
    assert_eq!(space.trace(), "");
    space.madmall(["verify"]).success();
}

#[test]
fn a_torn_line_takes_no_other_receipt_with_it() {
    let space = unpublished();
    let file = pending(&space);
    let text = space.read(&file);
    let lines: Vec<&str> = text.lines().collect();
    space.write(&file, format!("{}\n{}\n{}\n", lines[0], &lines[1][..100], lines[1]));
    space.run(&[]).success().says("2 up to date");
    space.madmall(["verify"]).success();

    let space = unpublished();
    let file = pending(&space);
    space.write(&file, "nothing that can be read\n");
    space.write("runs/.gitattributes", "* -text\n");
    space.run(&[]).success();
    let kept = pending(&space);
    assert!(kept.ends_with(".damaged"), "{kept}");
    assert_eq!(space.read(&kept), "nothing that can be read\n");
}

/// What is called anything in `.madmall/pending`.
fn aside(space: &Space) -> Vec<String> {
    let mut names: Vec<String> = space
        .path(".madmall/pending")
        .read_dir_utf8()
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn pending_receipts_that_are_copies_of_another_runs_are_not_published_as_those_of_a_run_of_their_name() {
    let space = finished();
    let published = space.read(&format!("runs/{}", space.receipt_files()[0]));
    let lines: Vec<&str> = published.lines().collect();
    let foreign = format!("{}\n{}\n", lines[0], lines[1]);
    let other = "2020-01-01T000000Z-test-ffffff";
    for time in ["", "-2"] {
        space.write(&format!(".madmall/pending/{other}.jsonl"), &foreign);
        let kept = format!("{other}.damaged{time}");
        space
            .run(&[])
            .success()
            .says(&format!("`.madmall/pending/{kept}` has receipts"));
        assert_eq!(space.receipt_files().len(), 1);
        assert_eq!(space.read(&format!(".madmall/pending/{kept}")), foreign);
        space.madmall(["verify"]).success();
    }
    // What was put aside is not spoken of again.
    space.run(&[]).success().says("2 up to date").says_not("pending");
}

#[test]
fn of_pending_receipts_those_of_the_run_are_published_each_once_and_all_else_is_put_aside() {
    let space = unpublished();
    let file = pending(&space);
    let text = space.read(&file);
    let other = finished();
    let key = |name: &str| space.path(&format!("../config/{name}"));
    for name in ["signing-key.pem", "policy.json"] {
        std::fs::copy(key(name), other.path(&format!("../config/{name}"))).expect("copied");
    }
    other.write("in", "other bytes\n");
    other.run(&[]).success();
    let published = other.read(&format!("runs/{}", other.receipt_files().pop().expect("a run")));
    // Those of another run by the same key, and its own, which says that it has ended.
    let all = format!("{published}{text}{text}");
    space.write(&file, &all);
    space
        .run(&[])
        .success()
        .says("2 up to date")
        .says("has receipts that were not");
    assert_eq!(space.trace(), "");
    let published = space.read(&format!("runs/{}", space.receipt_files()[0]));
    assert_eq!(published.lines().count(), 3, "two stages and the run");
    assert_eq!(space.read(&file.replace(".jsonl", ".damaged")), all);
    space.madmall(["verify"]).success();
}

#[cfg(unix)]
#[test]
fn what_no_run_leaves_pending_is_put_aside_unread() {
    let space = finished();
    space.write(".madmall/pending/no run.jsonl", "text\n");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, space.path(&format!(".madmall/pending/{name}.jsonl"))).expect("linked");
    };
    link("/dev/zero", "endless");
    link("nowhere", "dangling");
    pipe(&space, ".madmall/pending/pipe.jsonl");
    std::fs::create_dir(space.path(".madmall/pending/folder.jsonl")).expect("made");
    let long = std::fs::File::create(space.path(".madmall/pending/long.jsonl")).expect("made");
    long.set_len(1 << 40).expect("it has holes");
    ends(&space, &["run", "pipeline.yaml"]).success();
    let names = ["dangling", "endless", "folder", "long", "no run", "pipe"];
    assert_eq!(aside(&space), names.map(|name| format!("{name}.damaged")));
    assert_eq!(space.receipt_files().len(), 1);
    space.madmall(["verify"]).success();
}

#[cfg(unix)]
#[test]
fn a_file_of_the_log_that_has_no_end_is_not_read() {
    let space = finished();
    for (file, spoil) in [("head", "in"), ("runs", "runs/README.md")] {
        let path = format!(".madmall/log/{file}");
        let kept = space.bytes(&path);
        space.remove(&path);
        std::os::unix::fs::symlink("/dev/zero", space.path(&path)).expect("linked");
        // Else nothing would be appended, or it would be known which runs are in the log.
        space.write(spoil, "other bytes\n");
        ends(&space, &["run", "pipeline.yaml", "--force"])
            .code(7)
            .says(&path)
            .says("it is no regular file");
        space.remove(&path);
        space.write(&path, kept);
        space.run(&[]).success();
    }
    space.madmall(["verify"]).success();
}

#[test]
fn a_policy_that_cannot_be_used_is_named() {
    let space = finished();
    space.write("../config/policy.json", "garbage");
    space
        .madmall(["verify"])
        .code(2)
        .says("policy.json` names nobody to trust")
        .says("not JSON");
    space.write("../key", "garbage");
    space
        .madmall(["verify", "--trust", "../key"])
        .code(2)
        .says("`../key` names nobody to trust");
}

#[cfg(unix)]
#[test]
fn a_cache_that_is_a_pipe_or_has_no_end_is_dropped() {
    let space = finished();
    // Then the run is remembered.
    Space::let_clock_tick();
    space.run(&[]).success();
    let settled = files_below(&space.path(".madmall/settled")).remove(0);
    for cache in [
        format!("settled/{settled}"),
        "believed".to_owned(),
        "stat-cache".to_owned(),
    ] {
        let cache = format!(".madmall/{cache}");
        let run = |spoil: &dyn Fn()| {
            if !cache.contains("settled") {
                // A remembered run reads no other cache.
                std::fs::remove_dir_all(space.path(".madmall/settled")).expect("removed");
            }
            space.remove(&cache);
            spoil();
            ends(&space, &["run", "pipeline.yaml"]).success().says("up to date");
            assert!(space.path(&cache).metadata().expect("made again").is_file());
        };
        run(&|| pipe(&space, &cache));
        run(&|| {
            space.write(&cache, "");
            let file = std::fs::File::options().write(true).open(space.path(&cache));
            file.and_then(|file| file.set_len(1 << 40)).expect("made long");
        });
    }
}

#[test]
fn names_of_files_control_no_terminal_by_an_error() {
    let mut space = Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: out}}}");
    space.run(&[]).success();
    for name in ["\u{1b}[2J", "\u{202e}"] {
        space.write(&format!("runs/9999{name}.intoto.jsonl"), "");
    }
    // As if to a terminal: what is not is freed of such sequences by itself.
    space.set("CLICOLOR_FORCE", "1");
    for command in [&["verify"][..], &["show"], &["bundle"], &["rerun"], &["log", "prove"]] {
        let ran = space.madmall(command.iter().chain(&["9999"]));
        assert_eq!(ran.code, Some(2), "{command:?}: {ran:?}");
        assert!(
            ran.err.contains("may mean 2 runs: 9999\\u{202e}, 9999\\u{1b}[2J"),
            "{ran:?}"
        );
        assert!(
            !ran.err.contains("\u{1b}[2J") && !ran.err.contains('\u{202e}'),
            "{ran:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_a_stage_leaves_in_place_of_its_input_is_neither_waited_for_nor_read_without_end() {
    for left in ["mkfifo in", "ln -s /dev/zero in", "truncate -s 100G in", "mkdir in"] {
        let space = Space::with(&format!(
            "stages: {{a: {{run: 'rm in; {left}; echo > out', inputs: {{i: in}}, outputs: {{o: out}}}}}}"
        ));
        space.write("in", "1");
        ends(&space, &["run", "pipeline.yaml"])
            .code(1)
            .says("it modified its input `in`");
        assert!(!space.exists("out"), "{left}");
    }
}

/// A program that has left its group goes on after its stage, and puts a link where an output was looked at before.
#[cfg(target_os = "linux")]
#[test]
fn a_link_that_takes_an_outputs_place_after_it_was_looked_at_is_not_followed() {
    let in_folder = "mkdir -p out/c; echo > out/c/f";
    for (declared, make, swap, secret) in [
        ("out/c", "echo > out/c", "mv -f \"$HOME/link\" out/c", "secret/f"),
        ("out/c/", in_folder, "mv -f \"$HOME/link\" out/c/f", "secret/f"),
        (
            "out/c/",
            in_folder,
            "mv out/c \"$HOME/old\"; mv \"$HOME/link\" out/c",
            "secret",
        ),
    ] {
        let mut space = Space::with(&format!(
            "stages: {{a: {{argv: [sh, program], env: [SECRET], inputs: {{p: program}}, \
             outputs: {{a: out/a, b: out/b, c: {declared}}}}}}}"
        ));
        space.write("secret/f", "hunter2-hunter2");
        space.set("SECRET", space.path(secret).as_str());
        // The second output takes a while to hash, after the first has left its place.
        let program = format!(
            "{make}; echo > out/a; head -c 60000000 /dev/zero > out/b; ln -s \"$SECRET\" \"$HOME/link\"\n\
             setsid sh -c 'while [ -e out/a ]; do :; done; {swap}' > /dev/null 2>&1 &\nsleep 0.2\n"
        );
        space.write("program", &program);
        ends(&space, &["run", "pipeline.yaml"]);
        for (path, bytes) in space.snapshot() {
            let holds = bytes.windows(15).any(|window| window == b"hunter2-hunter2");
            assert!(
                !holds || path == "secret/f",
                "{path} holds what the stage could not read ({swap})"
            );
        }
    }
}
