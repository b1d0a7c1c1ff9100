//! What goes wrong on a machine: a full disk, folders that cannot be written, files that cannot be read, clocks that jump, programs that
//! shout or do not listen, names that nobody would choose.

use std::ffi::OsStr;
use std::fs::{Permissions, set_permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::space::{Ran, Space, files_below};

/// Runs a script of the shell that may mount what it likes, where the machine lets it; `$MADMALL` is the binary, `$ROOT` the workspace.
fn mounting(space: &Space, script: &str) -> Option<Ran> {
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        // This machine lets nobody mount.
        return None;
    }
    let own = space.command([""; 0]);
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-euc", script])
        .current_dir(space.base())
        .env_clear()
        .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("MADMALL", env!("CARGO_BIN_EXE_madmall"))
        .env("ROOT", space.root())
        .output();
    Some(Ran::of(&output.expect("unshare runs")))
}

const THREE: &str = "stages:
  a: {run: 'head -c 60000 /dev/zero > ${outputs.o}; cat ${inputs.i} >> ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'tr \"\\\\0\" x < ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}
  c: {run: 'tail -c 70000 ${inputs.i} > ${outputs.o}', inputs: {i: b}, outputs: {o: out/c}}";

#[test]
fn a_disk_that_is_full_at_any_moment_loses_nothing() {
    let space = Space::with(THREE);
    space.write("in", "x");
    let Some(ran) = mounting(
        &space,
        r#"
        cp -a "$ROOT" kept
        mount -t tmpfs -o size=4m none "$ROOT"
        cp -a kept/. "$ROOT"
        cd "$ROOT"
        "$MADMALL" run pipeline.yaml >/dev/null
        for free in 0 4 8 16 32 48 64 96 128 160 192 256 320 384 448 512; do
            echo "with $free" > in
            free_now=$(df -k --output=avail . | tail -1)
            dd if=/dev/zero of=filler bs=1k count=$((free_now - free)) 2>/dev/null || :
            code=0; "$MADMALL" run pipeline.yaml >../said 2>&1 || code=$?
            echo "with $free: $code" >> ../codes
            cat ../said >> ../all
            # Whatever it came to, nothing that is there is otherwise than its receipt says.
            "$MADMALL" verify >../verified 2>&1 || { echo "verify with $free:"; cat ../verified ../said; }
            ls -A out | grep -F .madmall-tmp && echo "with $free: a temporary file stays"
            rm filler
            "$MADMALL" run pipeline.yaml >../said 2>&1 || { echo "run after $free:"; cat ../said; }
            "$MADMALL" verify >../said 2>&1 || { echo "verify after $free:"; cat ../said; }
            grep -aq "with $free" out/a || echo "with $free: not made"
        done
        cp -a runs ../runs-kept
        "#,
    ) else {
        return;
    };
    let ran = ran.success();
    assert_eq!(ran.out, "", "{}", ran.err);
    let codes = std::fs::read_to_string(space.base().join("codes")).expect("written");
    let said = std::fs::read_to_string(space.base().join("all")).expect("written");
    assert!(codes.contains(": 7\n") && codes.contains(": 0\n"), "{codes}\n{said}");
    assert!(
        codes
            .lines()
            .all(|line| ["0", "1", "7"].iter().any(|code| line.ends_with(&format!(": {code}")))),
        "{codes}"
    );
    assert!(said.contains("No space left on device"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_workspace_that_cannot_be_written_is_said_and_can_be_verified() {
    let space = Space::with(THREE);
    space.write("in", "x");
    let Some(ran) = mounting(
        &space,
        r#"
        cd "$ROOT"
        "$MADMALL" run pipeline.yaml >/dev/null
        mount --bind "$ROOT" "$ROOT"
        mount -o remount,bind,ro "$ROOT"
        cd "$ROOT"
        "$MADMALL" verify >/dev/null || echo "verify: $?"
        "$MADMALL" plan pipeline.yaml >/dev/null || echo "plan: $?"
        "$MADMALL" status >/dev/null || echo "status: $?"
        code=0; "$MADMALL" run --force pipeline.yaml || code=$?
        echo "run: $code"
        "#,
    ) else {
        return;
    };
    let ran = ran.success();
    assert_eq!(ran.out, "run: 7\n", "{}", ran.err);
    ran.says("Read-only file system").says(".madmall/");
}

#[test]
fn output_folders_that_lie_in_a_lower_layer_are_replaced_removed_and_displaced() {
    let space = Space::with(
        "stages:
  a: {run: 'mkdir -p ${outputs.d}/sub; cp ${inputs.i} ${outputs.d}/sub/i; echo x > ${outputs.d}/x', inputs: {i: in}, outputs: {d: out/a/}}
  b: {run: 'mkdir -p ${outputs.d}; cat ${inputs.i} > ${outputs.d}/i', inputs: {i: in}, outputs: {d: out/b/}}
  c: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/c}}",
    );
    space.write("in", "1");
    // As an image is made, and then a container of it. Something of somebody lies in one output folder, and nothing else in another.
    let Some(ran) = mounting(
        &space,
        r#"
        cd "$ROOT"
        "$MADMALL" run pipeline.yaml >/dev/null
        echo mine > out/a/own
        rm -r out/b; mkdir -p out/b/deep; echo mine > out/b/deep/own
        mkdir ../upper
        mount -t tmpfs none ../upper || exit 0
        mkdir ../upper/new ../upper/work
        mount -t overlay -o "lowerdir=$ROOT,upperdir=../upper/new,workdir=../upper/work,userxattr" none "$ROOT" || exit 0
        cd "$ROOT"
        echo 2 > in
        "$MADMALL" run pipeline.yaml >../said 2>&1 || { echo "run: $?"; cat ../said; }
        "$MADMALL" verify >../said 2>&1 || { echo "verify: $?"; cat ../said; }
        [ "$(cat out/a/sub/i out/b/i out/c)" = "$(printf '2\n2\n2')" ] || { echo "not made"; find out -type f; }
        [ "$(cat .madmall/displaced/*/out/*/own .madmall/displaced/*/out/*/deep/own)" = "$(printf 'mine\nmine')" ] || { echo lost; find .madmall/displaced; }
        "$MADMALL" clean pipeline.yaml --yes >../said 2>&1 || { echo "clean: $?"; cat ../said; }
        [ ! -e out/a ] || { echo "not removed"; find out; }
        "$MADMALL" run pipeline.yaml >../said 2>&1 || { echo "put back: $?"; cat ../said; }
        "$MADMALL" verify >../said 2>&1 || { echo "verify: $?"; cat ../said; }
        "#,
    ) else {
        return;
    };
    let ran = ran.success();
    assert_eq!(ran.out, "", "{}", ran.err);
}

/// The binary as somebody who is not root and owns the workspace, whose rights are the ones that files say.
fn as_nobody(space: &Space, arguments: &[&str]) -> Option<Ran> {
    as_nobody_through(space, &[], arguments)
}

/// The same, started by the program `through`.
fn as_nobody_through(space: &Space, through: &[&str], arguments: &[&str]) -> Option<Ran> {
    let own = space.command(arguments);
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n");
    if let (false, [program, words @ ..]) = (is_root, through) {
        let mut command = Command::new(program);
        command.args(words).arg(env!("CARGO_BIN_EXE_madmall")).args(arguments);
        command.current_dir(space.root()).env_clear();
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        return Some(Ran::of(&command.output().expect("it runs")));
    }
    if !is_root {
        return Some(space.madmall(arguments));
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(env!("CARGO_BIN_EXE_madmall"));
    if !command
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        // Nobody but root can run the binary where it lies.
        return None;
    }
    let given = Command::new("chown")
        .args(["-R", "65534:65534", space.base().as_str()])
        .status();
    assert!(given.expect("chown runs").success());
    let output = Command::new("setpriv")
        .args(nobody)
        .args(through)
        .arg(env!("CARGO_BIN_EXE_madmall"))
        .args(arguments)
        .current_dir(space.root())
        .env_clear()
        .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output();
    Some(Ran::of(&output.expect("setpriv runs")))
}

#[test]
fn where_no_thread_can_be_started_that_is_said_and_is_no_bug() {
    let space = Space::with(THREE);
    space.write("in", "x");
    space.run(&[]).success();
    let prlimit = |count: u32| format!("--nproc={count}:{count}");
    let run = ["run", "--force", "pipeline.yaml"];
    for arguments in [
        &run[..],
        &["verify"],
        &["status"],
        &["log"],
        &["gc"],
        &["plan", "pipeline.yaml"],
    ] {
        let Some(ran) = as_nobody_through(&space, &["prlimit", &prlimit(1)], arguments) else {
            return;
        };
        ran.code(7)
            .says("cannot start threads")
            .says("ulimit -u")
            .says_not("panicked");
    }
    // Wherever they come to an end.
    for count in 2..16 {
        let Some(ran) = as_nobody_through(&space, &["prlimit", &prlimit(count)], &run) else {
            return;
        };
        ran.says_not("panicked");
        space.madmall(["verify"]).success();
    }
    space.run(&[]).success();
}

fn set_mode(space: &Space, path: &str, mode: u32) {
    set_permissions(space.path(path), Permissions::from_mode(mode)).expect("own file");
}

#[test]
fn without_a_right_it_is_said_which_file_and_nothing_is_lost() {
    let run = ["run", "pipeline.yaml"];
    let space = Space::with(THREE);
    space.write("in", "x");
    set_mode(&space, "in", 0o000);
    let Some(ran) = as_nobody(&space, &run) else { return };
    ran.code(7).says("`in`").says("Permission denied");
    set_mode(&space, "in", 0o600);
    as_nobody(&space, &run).expect("it can").success().says("3 ran");

    // An output's folder.
    space.write("in", "y");
    set_mode(&space, "out", 0o500);
    let ran = as_nobody(&space, &run).expect("it can").code(7);
    ran.says("out/a").says("Permission denied");
    set_mode(&space, "out", 0o700);
    as_nobody(&space, &run).expect("it can").success();
    assert!(space.bytes("out/a").ends_with(b"y"));

    // The folder of receipts.
    space.write("in", "z");
    set_mode(&space, "runs", 0o500);
    let ran = as_nobody(&space, &run).expect("it can").code(7);
    ran.says("runs").says("Permission denied");
    set_mode(&space, "runs", 0o700);
    as_nobody(&space, &run).expect("it can").success();
    as_nobody(&space, &["verify"]).expect("it can").success();
    assert!(space.bytes("out/a").ends_with(b"z"));

    // The store, of which nothing is there yet.
    let space = Space::with(THREE);
    space.write("in", "x");
    set_mode(&space, "", 0o500);
    let ran = as_nobody(&space, &run).expect("it can").code(7);
    ran.says(".madmall").says("Permission denied");
    set_mode(&space, "", 0o700);
}

fn set_time(space: &Space, path: &str, date: &str) {
    let touched = Command::new("touch").args(["-d", date]).arg(space.path(path)).status();
    assert!(touched.expect("touch runs").success());
}

#[test]
fn files_from_the_future_and_from_before_all_time_are_known_by_their_bytes() {
    let space = Space::with("stages: {a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out}}}");
    for date in ["2099-01-01T00:00:00Z", "1960-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
        space.write("in", format!("{date} x"));
        set_time(&space, "in", date);
        space.run(&[]).success().says("1 ran");
        Space::let_clock_tick();
        space.run(&[]).success().says("1 up to date");
        // The clock was set back, and somebody edits at the very same moment once more.
        space.write("in", format!("{date} y"));
        set_time(&space, "in", date);
        space.run(&[]).success().says("1 ran");
        assert_eq!(space.read("out"), format!("{date} y"));
        set_time(&space, "out", date);
        space.run(&[]).success().says("1 up to date");
        space.write("out", format!("{date} z"));
        set_time(&space, "out", date);
        space.run(&[]).success().says("1 restored");
        assert_eq!(space.read("out"), format!("{date} y"));
    }
}

#[test]
fn a_line_of_ten_megabytes_is_kept_and_not_shown() {
    for secrets in ["", "secrets: [TOKEN],"] {
        let mut space = Space::with(&format!(
            "stages: {{a: {{run: 'head -c 10000000 /dev/zero | tr \"\\\\0\" x >&2; echo >&2; echo last >&2; exit 4', {secrets} outputs: {{o: out}}}}}}"
        ));
        space.set("TOKEN", "secret");
        let ran = space.run(&[]).code(1).says("last");
        assert!(ran.err.len() + ran.out.len() < 20_000, "{}", ran.err.len());
        let log = ran.err.split_whitespace().find(|word| word.ends_with("a.log"));
        assert_eq!(space.bytes(log.expect("its log")).len(), 10_000_006);
    }
}

fn signal(child: &std::process::Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn a_program_that_does_not_listen_is_killed_at_once_when_it_is_said_twice() {
    let space = Space::with(
        "stages: {a: {run: 'trap \"\" TERM INT; echo a >> $TRACE; for i in 1 2 3; do sleep 10; done; echo x > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out}}}",
    );
    let child = space
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("runs");
    let began = Instant::now();
    while !space.path("../trace").exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    let said = Instant::now();
    Ran::of(&child.wait_with_output().expect("ends")).code(130);
    // A program that is asked only once has five seconds.
    assert!(said.elapsed() < Duration::from_secs(4), "{:?}", said.elapsed());
    assert!(!space.exists("out"));
    let left = Command::new("pgrep").args(["-f", space.root().as_str()]).output();
    assert!(left.is_ok_and(|left| left.stdout.is_empty()), "it still runs");
}

#[cfg(target_os = "linux")]
const MADMALL: &str = env!("CARGO_BIN_EXE_madmall");

/// Begins another program where `madmall` would be run.
#[cfg(target_os = "linux")]
fn begin(space: &Space, program: &[&str]) -> std::process::Child {
    let run = space.command([""; 0]);
    let mut command = Command::new(program[0]);
    command.args(&program[1..]);
    command.current_dir(space.root()).env_clear();
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Waits until the stages have left this in the trace.
#[cfg(target_os = "linux")]
fn wait_for_trace(space: &Space, text: &str) {
    let began = Instant::now();
    let has_come = || std::fs::read_to_string(space.path("../trace")).is_ok_and(|trace| trace.contains(text));
    while !has_come() {
        assert!(began.elapsed() < Duration::from_secs(20), "{text} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `slow` takes a moment to clean up when it is asked to end.
#[cfg(target_os = "linux")]
const SLOW: &str = "stages:
  quick: {run: 'echo 1 > ${outputs.o}', outputs: {o: out/quick}}
  slow:
    run: |
      trap 'echo asked >> $TRACE; sleep 0.5; echo cleaned >> $TRACE; exit 1' TERM
      echo begun >> $TRACE
      cat ${inputs.i} > ${outputs.o}
      for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done
      while [ ! -e $TRACE.go ]; do sleep 0.1; done
    env: [TRACE]
    sandbox: off
    inputs: {i: quick}
    outputs: {o: out/slow}";

#[cfg(target_os = "linux")]
#[test]
fn when_the_terminal_is_closed_programs_are_asked_to_end() {
    let space = Space::with(SLOW);
    // These tests themselves may run where it is ignored.
    let child = begin(
        &space,
        &["env", "--default-signal=HUP", MADMALL, "run", "pipeline.yaml"],
    );
    wait_for_trace(&space, "begun");
    signal(&child, "-HUP");
    wait_for_trace(&space, "asked");
    // The shell and the system each send it.
    signal(&child, "-HUP");
    let ran = Ran::of(&child.wait_with_output().expect("ends")).code(129);
    ran.says("1 ran, 1 not done").says("interrupted");
    assert_eq!(space.trace(), "begun\nasked\ncleaned\n");
    assert!(space.exists("out/quick") && !space.exists("out/slow"));
    space.madmall(["verify"]).success();
    std::fs::write(space.path("../trace.go"), "").expect("written");
    space.run(&[]).success().says("1 ran, 1 up to date");
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_gone_while_bars_are_drawn_is_no_fault() {
    let space = Space::with(SLOW);
    let typed = format!("'{MADMALL}' run pipeline.yaml");
    let script = ["env", "--default-signal=HUP", "script", "-qfc", &typed, "/dev/null"];
    let may = Command::new("script").arg("--version").output();
    if !may.is_ok_and(|output| output.status.success()) {
        // Here nothing makes a terminal.
        return;
    }
    let mut terminal = begin(&space, &script);
    wait_for_trace(&space, "begun");
    // A stage that runs for a second gets a bar.
    std::thread::sleep(Duration::from_millis(1500));
    terminal.kill().expect("it can be killed");
    terminal.wait().expect("it ends");
    wait_for_trace(&space, "cleaned");
    let began = Instant::now();
    while space.receipt_files().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is published");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(space.trace(), "begun\nasked\ncleaned\n");
    space.madmall(["verify"]).success();
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_should_outlive_the_terminal_does() {
    let space = Space::with(SLOW);
    let child = begin(&space, &["env", "--ignore-signal=HUP", MADMALL, "run", "pipeline.yaml"]);
    wait_for_trace(&space, "begun");
    signal(&child, "-HUP");
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(space.path("../trace.go"), "").expect("written");
    Ran::of(&child.wait_with_output().expect("ends"))
        .success()
        .says("2 ran");
    assert_eq!(space.trace(), "begun\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_left_the_group_holds_no_stage_whose_secrets_are_masked() {
    let mut space = Space::with(
        "stages:
  a:
    run: |
      setsid sleep 30 &
      for i in 1 2 3 4 5 6 7 8 9 10; do for j in 1 2 3 4 5 6 7 8 9 10; do seq 1 100; echo \"said: $TOKEN\"; done; done
      echo a > ${outputs.o}
      printf 'the end'
    sandbox: off
    timeout: 20s
    secrets: [TOKEN]
    outputs: {o: out}",
    );
    space.set("TOKEN", "hunter2-hunter2");
    let began = Instant::now();
    space.run(&[]).success().says("1 ran");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let logs = files_below(&space.path(".madmall/output"));
    let numbers: String = (1..=100).map(|number| format!("{number}\n")).collect();
    let all = format!("{numbers}said: ***\n").repeat(100) + "the end";
    assert!(space.read(&format!(".madmall/output/{}", logs[0])) == all);
}

#[cfg(target_os = "linux")]
#[test]
fn the_log_of_a_failure_stays_as_it_was_attested_though_a_process_that_left_goes_on_writing() {
    let space = Space::with(
        "stages:
  a:
    run: |
      echo failing
      setsid sh -c ': > \"$TRACE.begun\"
        for i in $(seq 1200); do [ -e \"$TRACE.go\" ] && break; sleep 0.05; done
        echo late; echo late >&2; : > \"$TRACE.gone\"' &
      while [ ! -e \"$TRACE.begun\" ]; do sleep 0.01; done
      exit 3
    sandbox: off
    env: [TRACE]
    outputs: {o: out}",
    );
    space.run(&[]).code(1);
    let log = format!(".madmall/output/{}", files_below(&space.path(".madmall/output"))[0]);
    assert_eq!(space.read(&log), "failing\n");
    std::fs::write(space.path("../trace.go"), "").expect("written");
    let began = std::time::Instant::now();
    while !space.path("../trace.gone").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(space.read(&log), "failing\n");
    space.madmall(["verify"]).says_not("E-DIGEST");
    assert_eq!(files_below(&space.path(".madmall/output")).len(), 1);
}

#[test]
fn names_that_nobody_would_choose_are_taken_as_they_are() {
    let odd = ["a b", "quo'te\"s", "$HOME", "*", "-rf", "ünïcödé", "\\", "%s", "#"];
    let space = Space::with(
        "stages:
  all: {run: 'for f in ${inputs.d}/*; do cat \"$f\"; done > ${outputs.o}', inputs: {d: d}, outputs: {o: 'out/a \"quoted\" name'}}
  some: {argv: [cat, --, '${inputs.f}'], stdout: o, inputs: {f: 'd/[a-u]*'}, outputs: {o: \"out/it's\"}}
  one: {run: 'cat ${inputs.f} > ${outputs.o}', inputs: {f: './d/$HOME'}, outputs: {o: 'out/ä \u{4e2d} $x'}}",
    );
    for (number, name) in odd.iter().enumerate() {
        space.write(&format!("d/{name}"), format!("{number}\n"));
    }
    space.run(&[]).success();
    assert_eq!(space.read("out/a \"quoted\" name").lines().count(), odd.len());
    assert_eq!(space.read("out/ä \u{4e2d} $x"), "2\n");
    space.run(&[]).success().says("3 up to date");
    space.madmall(["verify"]).success();
    space.remove("out/it's");
    space.run(&[]).success().says("1 restored");
    // What can stand in no listing is said before anything runs.
    for (name, shown) in [
        ("new\nline", "new\\nline"),
        ("tab\there", "tab\\there"),
        ("\u{85}", "\\u{85}"),
    ] {
        space.write(&format!("d/{name}"), "other\n");
        for command in ["check", "plan", "run"] {
            space
                .madmall([command, "pipeline.yaml"])
                .code(2)
                .says(&format!("the name `d/{shown}` holds a control character"))
                .says("inputs: {d: d}")
                .says("rename the file");
        }
        space.remove(&format!("d/{name}"));
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_refused_with_its_place() {
    let space = Space::with("stages: {a: {run: 'ls ${inputs.d} > ${outputs.o}', inputs: {d: d}, outputs: {o: out}}}");
    space.write("d/fine", "x");
    std::fs::write(
        space
            .path("d")
            .join("")
            .as_std_path()
            .join(OsStr::from_bytes(b"caf\xe9")),
        "x",
    )
    .expect("written");
    let ran = space.run(&[]).code(2);
    ran.says("a name in `d` is not UTF-8: `caf\u{fffd}`");
    // One that a program makes.
    let space =
        Space::with("stages: {a: {run: 'printf x > ${outputs.o}/$(printf \"caf\\\\351\")', outputs: {o: out/}}}");
    let ran = space.run(&[]).code(1);
    ran.says("caf\u{fffd}").says("UTF-8");
    assert!(!space.exists("out"));
}

#[test]
fn an_output_of_100_000_files_is_one_output() {
    let space = Space::with(
        "stages:
  make: {run: 'cd ${outputs.o} && seq 100000 | split -l 1 -a 5 -d -', outputs: {o: many/}}
  count: {run: 'ls ${inputs.m} | wc -l > ${outputs.o}', inputs: {m: make.o}, outputs: {o: count}}",
    );
    space.run(&[]).success().says("2 ran");
    assert_eq!(space.read("count").trim(), "100000");
    assert_eq!(space.read("many/x99999"), "100000\n");
    space.run(&[]).success().says("2 up to date");
    std::fs::remove_file(space.path("many/x77777")).expect("removed");
    space.madmall(["plan", "pipeline.yaml", "--check"]).code(3).says("make");
}

#[test]
fn a_disk_that_could_not_write_what_it_held_is_told_of_and_nothing_is_published() {
    let space = Space::with(
        "stages:
  big: {run: 'head -c 70000000 /dev/zero > ${outputs.o}', outputs: {o: out/big}}
  small: {run: 'tail -c 9 ${inputs.i} > ${outputs.o}', inputs: {i: big}, outputs: {o: out/small}}",
    );
    space.run(&[]).success();
    let store = space.path(".madmall/cas");
    let object = files_below(&store).into_iter().find(|path| {
        let found = store.join(path).metadata();
        found.is_ok_and(|found| found.len() == 70_000_000)
    });
    let object = store.join(object.expect("the store has the large output"));
    let afresh = || {
        for folder in [".madmall", "runs", "out"] {
            std::fs::remove_dir_all(space.path(folder)).expect("removed");
        }
    };
    // Once alone: whoever syncs the same file again is told that all is well.
    let strace = |fault: &str| {
        let own = space.command(["run", "pipeline.yaml"]);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-P", object.as_str(), "-e", fault]);
        strace.arg(own.get_program()).args(own.get_args());
        strace.current_dir(space.root()).env_clear();
        strace.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        strace.output().ok().map(|output| Ran::of(&output))
    };
    afresh();
    let Some(Ran { code: Some(0), .. }) = strace("inject=fsync:delay_enter=1") else {
        // Nothing can be traced here.
        return;
    };
    afresh();
    let ran = strace("inject=fsync:error=EIO:when=1").expect("it ran a moment ago");
    ran.code(7).says("Input/output error").says(object.as_str());
    assert!(!space.path("runs").join("log").exists() && files_below(&space.path("runs")).is_empty());
    // Elsewhere the bytes would be gone; here they are not, and the next run finds so.
    space.run(&[]).success().says("an earlier run ended halfway");
    space.madmall(["verify"]).success();
}
