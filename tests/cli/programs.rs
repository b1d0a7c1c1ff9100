//! Program stages: what they see, what they may leave, how they fail.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::space::{Ran, Space};

#[test]
fn a_variable_that_is_not_utf_8_is_never_taken_for_one_that_is_not_set() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let space = Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}', env: [MODE], outputs: {o: out}}}");
    let with = |name: &str, arguments: &[&str]| {
        let mut command = space.command(arguments);
        command.env(name, OsStr::from_bytes(b"\xff"));
        Ran::of(&command.output().expect("the binary runs"))
    };
    let run = ["run", "pipeline.yaml"];
    with("MODE", &run)
        .code(2)
        .says("stage `a` takes the variable `MODE`, whose value is not UTF-8");
    assert!(!space.exists("out"));
    with("OTHER", &run).success();
    // It is remembered that there is nothing to do while it is not set.
    Space::let_clock_tick();
    space.run(&[]).success();
    Space::let_clock_tick();
    space.run(&[]).success();
    with("MODE", &run).code(2);
    with("MODE", &["plan", "pipeline.yaml"]).code(2);
    // Nor for one that looks the same where it is shown.
    let mut shown = Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}', env: [MODE], outputs: {o: out}}}");
    shown.set("MODE", "\u{fffd}");
    for _ in 0..2 {
        shown.run(&[]).success();
        Space::let_clock_tick();
    }
    let mut command = shown.command(run);
    command.env("MODE", OsStr::from_bytes(b"\xff"));
    Ran::of(&command.output().expect("the binary runs")).code(2);
    with("HOME", &run).success();
    // Nor is it given to a stage that runs again.
    space.pipeline("stages: {a: {run: 'echo \"$TOKEN\" | wc -c > ${outputs.o}', secrets: [TOKEN], outputs: {o: out}}}");
    space.run(&[]).success();
    with("TOKEN", &["rerun", "latest"])
        .code(2)
        .says("stage `a` takes the variable `TOKEN`");
    with("MADMALL_CONFIG_DIR", &run)
        .code(2)
        .says("the value of MADMALL_CONFIG_DIR is not UTF-8");
}

#[test]
fn a_program_sees_its_inputs_and_nothing_else_of_the_workspace() {
    let space = Space::with(
        "stages: {a: {run: ': > ${outputs.o}; find . -type f -o -type l | sort > ${outputs.o}', inputs: {i: data/in, d: tree}, outputs: {o: out/list}}}",
    );
    space.write("data/in", "1");
    space.write("data/secret", "2");
    space.write("tree/x", "3");
    space.run(&[]).success();
    assert_eq!(space.read("out/list"), "./data/in\n./out/list\n./tree\n");
}

#[test]
fn a_program_gets_only_the_environment_that_is_named() {
    let mut space = Space::with(
        "stages: {a: {argv: [sh, -c, 'env | sort > \"$0\"', '${outputs.o}'], env: [NAMED, UNSET], secrets: [TOKEN], outputs: {o: out}}}",
    );
    space.set("NAMED", "n");
    space.set("OTHER", "o");
    space.set("TOKEN", "t");
    space.run(&[]).success();
    let text = space.read("out");
    let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    // `PWD`, `OLDPWD`, `SHLVL` and `_` are the shell's own.
    let ours: Vec<&str> = names
        .into_iter()
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name))
        .collect();
    assert_eq!(ours, ["HOME", "LANG", "NAMED", "PATH", "TMPDIR", "TOKEN", "TZ"]);
    assert!(text.contains("LANG=C.UTF-8") && text.contains("TZ=UTC"));
}

#[test]
fn a_secret_reaches_neither_log_nor_receipt_and_is_no_part_of_the_action() {
    let mut space = Space::with(
        "stages: {a: {run: 'echo \"the token is $TOKEN\"; echo x > ${outputs.o}', secrets: [TOKEN], outputs: {o: out}}}",
    );
    space.set("TOKEN", "hunter2-hunter2");
    space.run(&[]).success();
    for (path, bytes) in space.snapshot() {
        let found = bytes.windows(15).any(|window| window == b"hunter2-hunter2");
        assert!(!found, "{path} holds the secret");
    }
    space.set("TOKEN", "another");
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn values_are_quoted_for_the_shell() {
    let space = Space::with(
        "stages: {a: {run: 'printf %s ${params.text} > ${outputs.o}', params: {text: \"it's $HOME `id` \\\\ *\"}, outputs: {o: 'out file'}}}",
    );
    space.run(&[]).success();
    assert_eq!(space.read("out file"), "it's $HOME `id` \\ *");
}

#[test]
fn a_failing_stage_shows_what_a_person_needs_and_stops_only_its_descendants() {
    let space = Space::with(
        "stages:
  bad: {run: 'seq 1 30; echo to stderr >&2; exit 3', outputs: {o: out/bad}}
  after: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: bad}, outputs: {o: out/after}}
  other: {run: 'echo x > ${outputs.o}', outputs: {o: out/other}}",
    );
    let ran = space
        .run(&[])
        .code(1)
        .says("stage `bad` ended with exit code 3")
        .says("| to stderr")
        .says("| 30");
    assert!(!ran.err.contains("| 5\n"), "only the last 20 lines are shown");
    assert!(ran.out.contains("blocked") && ran.err.contains("command: seq 1 30"));
    assert!(space.exists("out/other") && !space.exists("out/bad") && !space.exists("out/after"));
    let log = ran
        .err
        .split("all of it: ")
        .nth(1)
        .expect("named")
        .lines()
        .next()
        .expect("a line")
        .to_owned();
    assert!(space.read(&log).starts_with("1\n2\n"));
    assert_eq!(space.receipt_files().len(), 1, "a failure gets a receipt too");
    space.run(&[]).code(1).says("failed the last time");
}

#[test]
fn fail_fast_begins_nothing_after_a_failure() {
    let space = Space::with(
        "stages: {a: {run: 'exit 1', outputs: {o: out/a}}, b: {run: 'echo > ${outputs.o}', outputs: {o: out/b}}}",
    );
    space.run(&["-j", "1", "--fail-fast"]).code(1).says("not started");
    assert!(!space.exists("out/b"));
}

#[test]
fn what_breaks_the_declaration_fails_with_its_own_message() {
    for (run, message) in [
        ("true", "it did not write its output `out/o`"),
        (
            "echo > out/o; echo > extra",
            "it wrote `extra`, which it does not declare",
        ),
        (
            "ln -s /etc/hostname out/o",
            "its output `out/o` is a link (to `/etc/hostname`), not a file",
        ),
        ("mkdir out/o", "its output `out/o` is a folder, not a file"),
        ("echo > out/o; echo 2 > in", "it modified its input `in`"),
    ] {
        let space = Space::with(&format!(
            "stages: {{a: {{run: '{run}', inputs: {{i: in}}, outputs: {{o: out/o}}}}}}"
        ));
        space.write("in", "1");
        space.run(&[]).code(1).says(message);
        assert!(!space.exists("out/o"), "{run}");
        assert_eq!(space.read("in"), "1", "{run}");
    }
}

#[test]
fn a_program_that_is_not_there_is_said_and_is_the_machines_fault() {
    let space = Space::with("stages: {a: {argv: [no-such-program-anywhere], outputs: {o: out}}}");
    space
        .run(&[])
        .code(7)
        .says("there is no program `no-such-program-anywhere` in PATH");
    assert!(space.receipt_files().is_empty());
}

#[test]
fn a_script_that_is_an_input_can_be_the_program() {
    use std::os::unix::fs::PermissionsExt as _;
    let space =
        Space::with("stages: {a: {argv: [./tool.sh, '${outputs.o}'], inputs: {tool: tool.sh}, outputs: {o: out}}}");
    space.write("tool.sh", "#!/bin/sh\necho made > \"$1\"\n");
    std::fs::set_permissions(space.path("tool.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "made\n");
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn an_executable_output_stays_executable_when_it_is_put_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = Space::with("stages: {a: {run: 'echo x > ${outputs.o}; chmod +x ${outputs.o}', outputs: {o: tool}}}");
    space.run(&[]).success();
    space.remove("tool");
    space.run(&[]).success().says("tool from the store");
    let mode = std::fs::metadata(space.path("tool"))
        .expect("found")
        .permissions()
        .mode();
    assert_ne!(mode & 0o100, 0);
}

#[test]
fn folders_and_globs_are_known_by_their_files() {
    let space = Space::with(
        "stages: {a: {run: 'echo a >> $TRACE; cat ${inputs.g} ${inputs.d}/x > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {g: 'parts/*.txt', d: tree}, outputs: {o: parts/all}}}",
    );
    space.write("parts/2.txt", "2");
    space.write("parts/1.txt", "1");
    space.write("parts/.hidden.txt", "h");
    space.write("tree/x", "x");
    space.run(&[]).success();
    assert_eq!(space.read("parts/all"), "12x");
    space.run(&[]).success().says("1 up to date");
    space.trace();
    space.write("parts/3.txt", "3");
    space.run(&[]).success();
    assert_eq!(
        (space.read("parts/all").as_str(), space.trace().as_str()),
        ("123x", "a\n")
    );
    space.write("tree/deep/y", "y");
    space.run(&[]).success().says("input `d` changed");
}

#[test]
fn an_interrupt_ends_the_program_and_the_next_run_goes_on() {
    let space = Space::with(
        "stages:
  quick: {run: 'echo quick >> $TRACE; echo 1 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out/quick}}
  slow: {run: 'echo slow >> $TRACE; cp ${inputs.i} ${outputs.o}; sleep 30', env: [TRACE], sandbox: off, inputs: {i: quick}, outputs: {o: out/slow}}
  waits: {run: 'echo waits >> $TRACE; cp ${inputs.i} ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: quick}, outputs: {o: out/waits}}",
    );
    let child = space.begin(["run", "-j", "1", "pipeline.yaml"]);
    let began = Instant::now();
    while !space.path("../trace").exists()
        || !std::fs::read_to_string(space.path("../trace"))
            .expect("read")
            .contains("slow")
    {
        assert!(began.elapsed() < Duration::from_secs(20), "the slow stage never began");
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
    let ran = Ran::of(&child.wait_with_output().expect("ends"))
        .code(130)
        .says("interrupted");
    assert!(began.elapsed() < Duration::from_secs(20), "{}", ran.err);
    assert!(!space.exists("out/slow") && space.exists("out/quick"));
    assert_eq!(space.trace(), "quick\nslow\n");

    space.pipeline(
        "stages:
  quick: {run: 'echo quick >> $TRACE; echo 1 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out/quick}}
  slow: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: quick}, outputs: {o: out/slow}}",
    );
    space.run(&[]).success().says("1 ran, 1 up to date");
    assert_eq!(space.trace(), "");
}

#[test]
fn a_second_run_waits_for_the_first_and_finds_the_work_done() {
    let space = Space::with(
        "stages: {a: {run: 'echo a >> $TRACE; sleep 1; echo 1 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out}}}",
    );
    let spawn = || space.begin(["run", "pipeline.yaml"]);
    let children = [spawn(), spawn()];
    let ran: Vec<Ran> = children
        .into_iter()
        .map(|child| Ran::of(&child.wait_with_output().expect("ends")).success())
        .collect();
    assert_eq!(space.trace(), "a\n");
    assert_eq!(
        ran.iter()
            .filter(|ran| ran.err.contains("another run has this workspace"))
            .count(),
        1
    );
    assert_eq!(ran.iter().filter(|ran| ran.out.contains("1 up to date")).count(), 1);
}

#[test]
fn a_run_that_has_waited_signs_with_the_key_that_is_there_then() {
    let space = Space::with(
        "stages: {a: {run: 'until [ -e $TRACE ]; do sleep 0.01; done; echo 1 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out}}}",
    );
    let keyid_of = |space: &Space| {
        let shown = space.madmall(["key", "list", "--json"]).success().out;
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        shown["signing"]["keyid"].as_str().expect("a key")[..8].to_owned()
    };
    let make_key = |space: &Space| {
        space.write("madmall.yaml", "");
        space.pipeline("stages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: out}}}");
        space.run(&[]).success();
        keyid_of(space)
    };
    let new = make_key(&space.beside("other", "other config"));
    let old = make_key(&space.beside("own", "config"));
    assert_ne!(old, new);
    let spawn = || {
        let mut command = space.command(["run", "--force", "pipeline.yaml"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let told = BufReader::new(child.stderr.take().expect("a pipe"));
        (child, told, String::new())
    };
    let first = spawn();
    let began = Instant::now();
    while !space.path(".madmall/output").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "its stage runs");
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut second = spawn();
    second.1.read_line(&mut second.2).expect("read");
    assert!(second.2.contains("another run has this workspace"), "{}", second.2);
    for file in ["signing-key.pem", "policy.json"] {
        std::fs::copy(
            space.base().join("other config").join(file),
            space.base().join("config").join(file),
        )
        .expect("copied");
    }
    space.write("../trace", "");
    for ((mut child, mut told, mut line), keyid) in [(first, old), (second, new)] {
        told.read_to_string(&mut line).expect("read");
        assert!(child.wait().expect("ends").success(), "{line}");
        let mut out = child.stdout.take().expect("a pipe");
        out.read_to_string(&mut line).expect("read");
        assert!(line.contains(&format!("signed by your key {keyid}")), "{line}");
    }
}

/// Says of itself what it is started with, and ends by a signal if it is told to.
const WITNESS: &str = "#!/bin/sh\n[ \"$2\" = die ] && kill -9 $$\nenv | grep -v -e ^_= -e ^SHLVL= -e ^OLDPWD= | sort | sed \"s,$PWD,HERE,\"\ncat; printf '<%s>' \"$@\"\n";

fn witness(text: &str, more: &str) -> Space {
    let space = Space::with(&format!(
        "stages: {{a: {{run: {text}, inputs: {{tool: bin/witness, i: 'data/in 1'}}, outputs: {{o: out/o}}{more}}}}}"
    ));
    write_executable(&space, "bin/witness", WITNESS);
    space.write("data/in 1", "what it reads\n");
    space
}

fn write_executable(space: &Space, path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    space.write(path, text);
    std::fs::set_permissions(space.path(path), std::fs::Permissions::from_mode(0o755)).expect("set");
}

#[test]
fn a_text_that_is_one_program_gives_the_same_without_the_shell() {
    let text = |end: &str| format!(r#""bin/witness 'a  b' \"c d\" < ${{inputs.i}} > ${{outputs.o}}{end}""#);
    let plain = witness(&text(""), "");
    // A comment is the shell's to leave out.
    let by_shell = witness(&text(" # as written"), "");
    let mut made = Vec::new();
    for space in [&plain, &by_shell] {
        space.run(&[]).success();
        let out = space.read("out/o");
        made.push(
            out.lines()
                .filter(|line| !line.starts_with("HOME=") && !line.starts_with("TMPDIR="))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        space.run(&[]).success().says("1 up to date");
        space.madmall(["verify"]).success();
    }
    assert!(
        made[0].contains("PWD=HERE\n") && made[0].ends_with("what it reads\n<a  b><c d>"),
        "{}",
        made[0]
    );
    assert_eq!(made[0], made[1]);
}

#[test]
fn a_program_is_told_its_folder_as_a_shell_would_tell_it() {
    let variables = |text: &str| {
        let space = witness(text, "");
        space.run(&[]).success();
        let out = space.read("out/o");
        let named = out.lines().map(|line| line.split_once('=').expect("a variable"));
        let own = named.filter(|(name, _)| !["OLDPWD", "SHLVL", "_"].contains(name));
        let paths_end = |(name, value): (&str, &str)| match name {
            "PWD" => (name.to_owned(), value.rsplit('/').next().map(str::to_owned)),
            _ => (name.to_owned(), None),
        };
        own.map(paths_end).collect::<std::collections::BTreeMap<_, _>>()
    };
    let plain = variables("'env > ${outputs.o}'");
    assert_eq!(plain, variables("'env > ${outputs.o} # as written'"));
    assert!(plain["PWD"].is_some());
}

#[test]
fn how_a_text_that_is_one_program_ended_is_said_as_it_was() {
    let die = "'bin/witness x die > ${outputs.o}'";
    witness(die, "").run(&[]).code(1).says("was ended by signal 9");
    // There a shell waited for it, and told what came of that in its own way.
    witness(die, ", pin: true").run(&[]).code(1).says("exit code 137");
}

#[test]
fn what_cannot_be_started_is_left_to_the_shell() {
    // It is the stage that failed, and not the machine, as with any text.
    let space = witness("'no-such-program-anywhere > ${outputs.o}'", "");
    space
        .run(&[])
        .code(1)
        .says("no-such-program-anywhere: not found")
        .says("exit code 127");
    let space = witness("'bin/none > ${outputs.o}'", "");
    space.run(&[]).code(1).says("exit code 127");
    // A text without a line that names its interpreter is the shell's own.
    let space = witness("'bin/witness a > ${outputs.o}'", "");
    write_executable(&space, "bin/witness", "echo read by the shell: $1\n");
    space.run(&[]).success();
    assert_eq!(space.read("out/o"), "read by the shell: a\n");
    // What it writes itself must be an output: the shell's own words, from within the sandbox.
    let space = witness("'bin/witness a > ../outside'", "");
    space.run(&[]).code(1).says("cannot create ../outside");
    // Where the shell would find another program of that name in the folder that it is in, it is asked.
    let mut space = witness("'cat a > ${outputs.o}'", "");
    let pipeline = space.read("pipeline.yaml").replace("bin/witness", "bin/cat");
    space.write("pipeline.yaml", pipeline);
    write_executable(&space, "bin/cat", "#!/bin/sh\necho \"the one here: $1\"\n");
    let path = std::env::var("PATH").expect("a PATH");
    space.set("PATH", &format!("bin:{path}"));
    space.run(&[]).success();
    assert_eq!(space.read("out/o"), "the one here: a\n");
}
