//! `docs/verify-by-hand.md`, typed by somebody who has only a shell, `jq`, `base64`, `sha256sum`, `openssl` and git.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use madmall::log::name::BUNDLED_LENGTH;

use crate::baseline::baseline;
use crate::space::{Space, files_below};

/// What stands between "```sh" and "```".
fn blocks() -> Vec<&'static str> {
    let page = include_str!("../../docs/verify-by-hand.md");
    page.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("an end"))
        .collect()
}

/// Types the blocks. Returns the number of the one that failed, from 1, and everything that was printed.
fn follow(space: &Space) -> (Option<usize>, String) {
    let marked = (1..)
        .zip(blocks())
        .map(|(number, block)| format!("echo '== block {number}'\n{block}\n"));
    let script: String = marked.collect();
    // The environment of the workspace, with the binary where a signer has it.
    let binary = camino::Utf8Path::new(env!("CARGO_BIN_EXE_madmall"));
    let mut own = space.command(["key"]);
    let path = own
        .get_envs()
        .find_map(|(name, value)| (name == "PATH").then_some(value?.to_str()?));
    let path = format!("{}:{}", binary.parent().expect("in a folder"), path.expect("a PATH"));
    own.env("PATH", path).env("TMPDIR", space.root().join(".."));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(space.root()).env_clear();
    shell.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().expect("there is a shell");
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let reached = printed[0].matches("== block ").count();
    ((!output.status.success()).then_some(reached), printed.concat())
}

#[expect(clippy::print_stderr, reason = "says that nothing was tested")]
fn has_the_programs() -> bool {
    let has = |program: &&str| Command::new(program).arg("--help").output().is_ok();
    let missing: Vec<&str> = ["jq", "base64", "sha256sum", "openssl"]
        .into_iter()
        .filter(|p| !has(p))
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} is not here");
    }
    missing.is_empty()
}

fn finished() -> Space {
    let space = baseline();
    space.write(".gitignore", ".madmall/\n");
    space.git(&["init", "-q"]);
    let run = || space.madmall(["run", "pipelines/baseline.yaml"]).success();
    run();
    // Only the last stage runs again: the receipts of the others are in the file of the first run.
    let pipeline = space.read("pipelines/baseline.yaml");
    space.write("pipelines/baseline.yaml", pipeline.replace("l2: 1.0", "l2: 2.0"));
    run().says("2 up to date");
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space
}

/// Something that somebody does to a finished project, and a text of the block that has to fail then.
struct Attack<'a> {
    what: &'a str,
    file: &'a str,
    change: &'a dyn Fn(&[u8]) -> Vec<u8>,
    fails: &'a str,
}

/// The last bit of the byte at which `text` begins is turned.
fn flip(bytes: &[u8], text: &str) -> Vec<u8> {
    let at = bytes.windows(text.len()).position(|part| part == text.as_bytes());
    let mut changed = bytes.to_vec();
    changed[at.expect("it is there")] ^= 1;
    changed
}

/// The same with the payload of the first line of a run's file, which stays an envelope.
fn flip_in_payload(bytes: &[u8], text: &str) -> Vec<u8> {
    let file = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let payload = file.split('"').nth(3).expect("a payload");
    let changed = STANDARD.encode(flip(&STANDARD.decode(payload).expect("base64"), text));
    file.replacen(payload, &changed, 1).into_bytes()
}

/// The first two bundled entries change places: both are there, in another history.
fn swap_entries(bytes: &[u8]) -> Vec<u8> {
    let (first, rest) = bytes.split_at(BUNDLED_LENGTH);
    let (second, rest) = rest.split_at(BUNDLED_LENGTH);
    [second, first, rest].concat()
}

fn without_last_line(bytes: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    lines[..lines.len() - 1].concat()
}

#[test]
fn the_page_is_followed_to_its_end_and_each_of_its_checks_fails_after_a_change() {
    if !has_the_programs() {
        return;
    }
    let mut space = finished();
    holds(&space);
    let runs: Vec<String> = space
        .receipt_files()
        .iter()
        .map(|name| format!("runs/{name}"))
        .collect();
    let [oldest, newest] = &runs[..] else {
        panic!("two runs, not {runs:?}")
    };
    let logs = files_below(&space.path("runs/log"));
    let in_log = |end: &str| {
        let found = logs.iter().find(|name| name.ends_with(end));
        format!("runs/log/{}", found.unwrap_or_else(|| panic!("no {end} in {logs:?}")))
    };
    let (first, second, entries) = (
        in_log("/checkpoint-4"),
        in_log("/checkpoint-6"),
        in_log("entries/000.p/6"),
    );
    let attack = |what, file, change, fails| Attack {
        what,
        file,
        change,
        fails,
    };
    for Attack {
        what,
        file,
        change,
        fails,
    } in [
        attack(
            "a changed model",
            "models/baseline.model.json",
            &|b| flip(b, "weights"),
            "maker=$(jq",
        ),
        attack(
            "changed metrics",
            "models/baseline.metrics.json",
            &|b| flip(b, "auc"),
            ".subject[] |",
        ),
        attack(
            "a changed raw input",
            "data/raw/thyroid.ndjson",
            &|b| flip(b, "source"),
            "sort -u \"$work/raw\" | sha256sum",
        ),
        attack(
            "a changed signature",
            newest,
            &|b| flip(b, "=\"}]}"),
            "check_signature()",
        ),
        attack(
            "a changed payload",
            newest,
            &|b| flip_in_payload(b, "invocationId"),
            "check_signature()",
        ),
        attack(
            "a changed receipt before it",
            oldest,
            &|b| flip_in_payload(b, "invocationId"),
            "queue=$maker",
        ),
        attack(
            "a receipt that was taken away",
            newest,
            &without_last_line,
            "grep -n -x",
        ),
        attack("a changed checkpoint", &second, &|b| flip(b, "\n6\n"), "log=$(find"),
        attack("entries in another order", &entries, &swap_entries, "root()"),
        attack("another history before", &first, &|b| flip(b, "=\n"), "kept="),
    ] {
        let before = space.bytes(file);
        space.write(file, change(&before));
        fails_at(&space, what, fails);
        space.write(file, before);
    }

    // A commit that has another input than the one in place.
    space.git(&["rm", "-q", "--cached", "data/revocations.ndjson"]);
    space.git(&["commit", "-q", "-m", "without"]);
    fails_at(&space, "an input that is not in the commit", "git show");
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "with"]);
    holds(&space);

    space.set("MADMALL_CONFIG_DIR", space.root().join("../another").as_str());
    fails_at(&space, "another key", "check_signature()");
}

#[test]
fn the_page_holds_for_a_log_of_more_entries_than_a_file_of_it_has() {
    if !has_the_programs() {
        return;
    }
    let space = finished();
    let more = |stages: usize| {
        let all: Vec<String> = (0..stages)
            .map(|n| format!("  s{n}: {{run: 'echo {stages} > ${{outputs.o}}', outputs: {{o: more/{n}}}}}\n"))
            .collect();
        space.write(
            "more.yaml",
            format!("version: 1\nname: more\nstages:\n{}", all.concat()),
        );
        space.madmall(["run", "more.yaml"]).success();
    };
    let logs = || files_below(&space.path("runs/log"));
    // Six entries are there, and the run's own receipt is one.
    more(249);
    assert!(
        logs().iter().any(|name| name.ends_with("/checkpoint-256")),
        "{:?}",
        logs()
    );
    holds(&space);
    more(2);
    assert!(
        logs().iter().any(|name| name.ends_with("entries/001.p/3")),
        "{:?}",
        logs()
    );
    holds(&space);
}

#[track_caller]
fn holds(space: &Space) {
    let (failed, printed) = follow(space);
    assert_eq!(failed, None, "{printed}");
    assert!(printed.contains("everything on this page holds\n"), "{printed}");
}

#[track_caller]
fn fails_at(space: &Space, what: &str, text: &str) {
    let (failed, printed) = follow(space);
    let block = failed.map(|number| blocks()[number - 1]);
    assert!(
        block.is_some_and(|block| block.contains(text)),
        "{what}: {block:?}\n{printed}"
    );
}
