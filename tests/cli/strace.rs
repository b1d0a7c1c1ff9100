//! What `verify` asks of the system, as `strace` sees it: no socket, nothing opened for writing, no other program, and
//! nothing of the store.

use std::process::Command;

use crate::space::{Space, files_below};

/// Calls that take a path or make a socket, and those that change a file which is open. A name that this system does not
/// have is passed over (`?`).
const TRACED: &str = "trace=%file,%network,?write,?writev,?pwrite64,?pwritev,?pwritev2,?ftruncate,?ftruncate64,?fallocate,\
                      ?fchmod,?fchown,?fsetxattr,?sendfile,?sendfile64,?copy_file_range,?splice,?io_uring_setup,?ioctl";

/// Calls that only look.
const LOOKING: [&str; 15] = [
    "access",
    "faccessat",
    "faccessat2",
    "fstatat64",
    "getcwd",
    "getxattr",
    "lgetxattr",
    "lstat",
    "newfstatat",
    "readlink",
    "readlinkat",
    "stat",
    "statfs",
    "statx",
    "uname",
];

/// How a file is opened in order to change it.
const WRITING: [&str; 6] = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"];

/// Runs the binary under `strace`. Returns how it ended, and a line for each call; none if nothing can be traced here.
pub(crate) fn trace(space: &Space, arguments: &[&str]) -> Option<(Option<i32>, Vec<String>)> {
    let record = space.root().join("../calls");
    let strace = |program: &mut Command| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-y", "-qq", "-s", "4096", "-e", TRACED, "-o", record.as_str()]);
        strace.arg(program.get_program()).args(program.get_args());
        strace.current_dir(space.root()).env_clear();
        strace.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        strace.output()
    };
    let mut nothing = Command::new("true");
    let probe = strace(nothing.env("PATH", "/usr/bin:/bin")).ok()?;
    if !probe.status.success() {
        // Some containers have the program, but forbid what it does. Whatever else is wrong with it, nothing would be tested by anybody.
        let why = String::from_utf8_lossy(&probe.stderr).to_lowercase();
        assert!(why.contains("ptrace") || why.contains("not permitted"), "{why}");
        return None;
    }
    let output = strace(&mut space.command(arguments)).expect("it ran a moment ago");
    let text = std::fs::read(record).expect("strace wrote it");
    let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    Some((output.status.code(), lines))
}

/// The calls that a program which only reads does not make.
fn forbidden(lines: &[String]) -> Vec<&String> {
    let mut programs = 0;
    let is_forbidden = |line: &&String| {
        // `PID  name(arguments) = result`; the second half of a call that was interrupted says nothing new.
        let Some((call, arguments)) = line.split_once('(').filter(|(call, _)| !call.contains("<... ")) else {
            return false;
        };
        let call = call.rsplit(' ').next().unwrap_or_default();
        let reads_store = line.contains("/.madmall");
        reads_store
            || match call {
                "open" | "openat" | "openat2" => WRITING.iter().any(|flag| arguments.contains(flag)),
                "write" | "writev" => !(arguments.starts_with("1<") || arguments.starts_with("2<")),
                // Whether an output is a terminal, and how wide.
                "ioctl" => !(arguments.contains("TCGETS") || arguments.contains("TIOCGWINSZ")),
                "execve" => {
                    programs += 1;
                    programs > 1
                }
                // A thread that ended with the process, before it was learnt what it asked for.
                "???" => false,
                looking => !LOOKING.contains(&looking),
            }
    };
    lines.iter().filter(is_forbidden).collect()
}

fn finished() -> Space {
    let space = Space::with(
        "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}",
    );
    space.write("in", "1\n");
    space.write(".gitignore", ".madmall\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "before"]);
    space.run(&[]).success();
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space
}

#[test]
#[expect(clippy::print_stderr, reason = "says that nothing was tested")]
fn verify_opens_no_socket_and_nothing_for_writing_and_reads_no_store() {
    let space = finished();
    let run = format!("runs/{}", space.receipt_files()[0]);
    let logs = files_below(&space.path("runs/log"));
    let pin = logs
        .iter()
        .find(|name| name.contains("/checkpoint-"))
        .expect("a checkpoint");
    let pin = format!("runs/log/{pin}");
    for arguments in [
        &["verify"][..],
        &["verify", "--json"],
        &["verify", "out/b"],
        &["verify", &run],
        &["verify", "--at", "HEAD"],
        &["verify", "--at", "HEAD", "--require-clean", "--json"],
        &["verify", "--pin", &pin],
    ] {
        let Some((code, lines)) = trace(&space, arguments) else {
            eprintln!("skipped: `strace` is not here, or may not trace");
            return;
        };
        assert_eq!(code, Some(0), "{arguments:?}");
        let reads_receipts = lines.iter().any(|line| line.contains("openat(") && line.contains(&run));
        assert!(reads_receipts, "the trace is not that of `verify`: {lines:#?}");
        let forbidden = forbidden(&lines);
        assert!(forbidden.is_empty(), "{arguments:?}: {forbidden:#?}");
    }
    // A changed file and a missing one are only looked at, too.
    space.write("out/b", "2\n");
    space.remove("out/a");
    let (code, lines) = trace(&space, &["verify"]).expect("it could be traced before");
    assert_eq!(code, Some(4));
    // When it has failed it looks whether a run goes on, or died, to say so: at nothing else.
    let (beside, mut forbidden): (Vec<_>, Vec<_>) = forbidden(&lines)
        .into_iter()
        .partition(|line| line.contains("/.madmall/lock") || line.contains("/.madmall/pending"));
    forbidden.extend(
        beside
            .into_iter()
            .filter(|line| WRITING.iter().any(|flag| line.contains(flag))),
    );
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "says that nothing was tested")]
fn of_a_bundle_nothing_is_unpacked_to_disk() {
    let space = finished();
    space
        .madmall(["bundle", "latest", "--artifacts", "--inputs", "-o", "../audit.tar.zst"])
        .success();
    // In the project it would be asked whether it lies in the place of an output.
    let Some((code, lines)) = trace(&space, &["verify", "../audit.tar.zst"]) else {
        eprintln!("skipped: `strace` is not here, or may not trace");
        return;
    };
    assert_eq!(code, Some(0));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("openat(") && line.contains("audit.tar.zst")),
        "{lines:#?}"
    );
    let reads_project = lines
        .iter()
        .any(|line| line.contains("openat(") && line.contains("/runs"));
    assert!(
        !reads_project,
        "what lies around the bundle is no part of it: {lines:#?}"
    );
    assert!(forbidden(&lines).is_empty(), "{:#?}", forbidden(&lines));
}

#[test]
#[expect(clippy::print_stderr, reason = "says that nothing was tested")]
fn what_a_run_writes_would_be_seen() {
    let space = finished();
    space.write("in", "2\n");
    let Some((code, lines)) = trace(&space, &["run", "pipeline.yaml"]) else {
        eprintln!("skipped: `strace` is not here, or may not trace");
        return;
    };
    assert_eq!(code, Some(0));
    let forbidden = forbidden(&lines);
    for part in ["O_CREAT", "/.madmall", "rename", "execve", "mkdir"] {
        assert!(
            forbidden.iter().any(|line| line.contains(part)),
            "no `{part}` in {forbidden:#?}"
        );
    }
}

#[test]
fn a_plan_with_nothing_to_do_reads_no_receipts_again() {
    let space = Space::with(
        "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}",
    );
    space.write("in", "1");
    space.run(&[]).success();
    // What is believed of them is remembered.
    space.run(&[]).success();
    let reads_receipts = || {
        let (code, calls) = trace(&space, &["plan", "pipeline.yaml"])?;
        assert_eq!(code, Some(0));
        let is_read = |call: &String| call.contains("open") && call.contains(".intoto.jsonl");
        Some(calls.iter().any(is_read))
    };
    let Some(with_nothing_to_do) = reads_receipts() else {
        // Nothing can be traced here.
        return;
    };
    assert!(!with_nothing_to_do);
    // Only of a stage that may run it is asked what it was.
    space.write("in", "2");
    assert_eq!(reads_receipts(), Some(true));
}
