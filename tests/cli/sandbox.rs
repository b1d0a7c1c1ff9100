//! What a confined program can reach, and what its receipt says of that.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::space::{Ran, Space};

/// What the newest receipt of the stage says of its sandbox.
fn enforced(space: &Space, stage: &str) -> Vec<String> {
    let mut words = None;
    for file in space.receipt_files() {
        for line in space.read(&format!("runs/{file}")).lines() {
            let envelope: Value = serde_json::from_str(line).expect("JSON");
            let payload = STANDARD
                .decode(envelope["payload"].as_str().expect("a text"))
                .expect("base64");
            let payload: Value = serde_json::from_slice(&payload).expect("JSON");
            let build = &payload["predicate"]["buildDefinition"];
            if build["externalParameters"]["stage"]["name"] == stage {
                let said = &build["internalParameters"]["madmall"]["stage"]["sandbox"];
                words = Some(serde_json::from_value(said.clone()).expect("words"));
            }
        }
    }
    words.expect("a receipt of the stage")
}

/// Whether this machine enforces these, by what a receipt says; says so if not.
#[expect(clippy::print_stderr, reason = "says that nothing was tested")]
fn enforces(words: &[&str]) -> bool {
    let space = Space::with("stages: {a: {run: ': > ${outputs.o}', outputs: {o: out}}}");
    space.run(&[]).success();
    let enforced = enforced(&space, "a");
    let holds = words.iter().all(|word| enforced.iter().any(|said| said == word));
    if !holds {
        eprintln!("skipped: this machine enforces {enforced:?}, and {words:?} is what is tested");
    }
    holds
}

/// Without the shims of version managers, which lie in somebody's home folder.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

#[expect(clippy::print_stderr, reason = "says that nothing was tested")]
fn has_python() -> bool {
    let found = SYSTEM_PATH
        .split(':')
        .any(|folder| std::path::Path::new(folder).join("python3").exists());
    if !found {
        eprintln!("skipped: there is no python3");
    }
    found
}

/// Tries each of `$PLACES`, and says which it could read, which it could write.
const TRY: &str = "printf \"%s\\\\n\" \"$PLACES\" | while read -r p; do
      if cat \"$p\" > /dev/null 2>&1; then echo \"read $p\"; fi
      if (: >> \"$p\") 2> /dev/null; then echo \"wrote $p\"; fi
    done > ${outputs.o}";

fn trying(more: &str) -> String {
    let script = TRY.replace('\n', "\n    ");
    format!("stages:\n  a:\n    run: |\n      {script}\n    env: [PLACES]\n    outputs: {{o: out}}\n{more}")
        .replace("\\\\", "\\")
}

#[test]
fn what_the_caller_has_open_is_closed_for_programs() {
    let script = "cat <&9 > ${outputs.o} || : > ${outputs.o}; (echo meddled >&8) || true";
    for more in ["", "sandbox: off, ", "secrets: [TOKEN], "] {
        let mut space = Space::with(&format!(
            "stages: {{a: {{run: '{script}', {more}outputs: {{o: out}}}}}}"
        ));
        space.write("secret", "1");
        space.write("log", "");
        space.set("TOKEN", "0123456789");
        let madmall = space.command(["run", "pipeline.yaml"]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$@\" 9< secret 8>> log", "sh"])
            .arg(madmall.get_program())
            .args(madmall.get_args())
            .current_dir(space.root())
            .env_clear()
            .envs(madmall.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(&shell.output().expect("a shell")).success();
        assert_eq!((&*space.read("out"), &*space.read("log")), ("", ""), "{more}");
    }
}

#[test]
fn keys_are_neither_input_nor_output_wherever_they_lie() {
    let mut space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("conf/a", "1");
    space.write("src", "1");
    std::os::unix::fs::symlink("conf/keys/signing-key.pem", space.path("link")).expect("made");
    space.set("MADMALL_CONFIG_DIR", space.path("conf/keys").as_str());
    let pipeline = |input: &str, output: &str| {
        let run = "find -H ${inputs.i} > ${outputs.o}";
        format!("stages: {{a: {{run: '{run}', inputs: {{i: '{input}'}}, outputs: {{o: '{output}'}}}}}}")
    };
    // The folder is refused before there is a key in it.
    space.pipeline(&pipeline("conf", "out"));
    assert_eq!(space.run(&[]).code, Some(2));
    assert!(!space.exists("conf/keys"));
    space.madmall(["key"]).success();
    let places = ["conf", "conf/keys", "conf/keys/signing-key.pem", "conf/**", "link"].map(|input| (input, "out"));
    for (input, output) in places
        .into_iter()
        .chain([("src", "conf/keys/new"), ("src", "conf/keys/policy.json")])
    {
        space.pipeline(&pipeline(input, output));
        for command in ["run", "plan", "check"] {
            let ran = space.madmall([command, "pipeline.yaml"]);
            assert_eq!(ran.code, Some(2), "{command} {input} {output}: {ran:?}");
            assert!(ran.err.contains("`MADMALL_CONFIG_DIR`"), "{ran:?}");
        }
        assert!(!space.exists("out") && !space.exists(".madmall/cas"));
    }
    space.pipeline(&pipeline("conf/a", "out"));
    space.run(&[]).success();

    // Nor is it run again.
    space.write("../own.pem", space.madmall(["key", "--pem"]).success().out);
    space.set("MADMALL_CONFIG_DIR", space.path("conf").as_str());
    let again = space.madmall(["rerun", "latest", "--trust", "../own.pem"]);
    again.code(2).says("`MADMALL_CONFIG_DIR`");

    // So is the file that a variable names.
    let config = space.base().join("config");
    space.set("MADMALL_CONFIG_DIR", config.as_str());
    space.madmall(["key"]).success();
    for (variable, file) in [
        ("MADMALL_SIGNING_KEY", "signing-key.pem"),
        ("MADMALL_CONSENT_SECRET", "consent-secret"),
    ] {
        std::fs::create_dir_all(space.path("own")).expect("made");
        space.write(&format!("own/{file}"), "1");
        space.set(variable, space.path(&format!("own/{file}")).as_str());
        space.pipeline(&pipeline("own", "out"));
        let ran = space.madmall(["check", "pipeline.yaml"]);
        assert_eq!(ran.code, Some(2), "{variable}: {ran:?}");
        space.unset(variable);
        space.madmall(["check", "pipeline.yaml"]).success();
    }
}

#[test]
fn what_is_not_declared_cannot_be_reached_by_any_path() {
    if !enforces(&["files"]) {
        return;
    }
    let mut space = Space::with(&trying(""));
    space.git(&["init", "-q"]);
    for path in ["secret", "../home/private", "runs/x"] {
        space.write(path, "1");
    }
    // The key, the store and git's folder are there only after a first run.
    space.set("PLACES", "/dev/null");
    space.run(&[]).success();
    let root = space.root();
    let places = [
        root.join("secret"),
        "../../../../secret".into(),
        root.join(".git/config"),
        root.join(".madmall/stat-cache"),
        root.join("pipeline.yaml"),
        root.join("runs").join(&space.receipt_files()[0]),
        space.base().join("home/private"),
        space.base().join("config/signing-key.pem"),
        space.base().join("config/policy.json"),
        "/proc/self/root/tmp".into(),
    ];
    let places: Vec<&str> = places.iter().map(|path| path.as_str()).collect();
    space.set("PLACES", &places.join("\n"));
    let before = space.read("secret");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "");
    assert_eq!(space.read("secret"), before);

    // The same without a sandbox: so the test could have failed.
    space.pipeline(&trying("    sandbox: off"));
    space.set("PLACES", &places[..9].join("\n"));
    space.run(&[]).success();
    let reached = space.read("out");
    for place in &places[..9] {
        assert!(reached.contains(&format!("read {place}\n")), "{place}: {reached}");
    }
    assert!(reached.contains(&format!("wrote {}\n", places[0])));
    assert_eq!(enforced(&space, "a"), ["off"]);
}

#[test]
fn an_undeclared_relative_path_is_not_there_and_the_program_says_so() {
    let space = Space::with("stages: {a: {argv: [cat, data/other], stdout: o, outputs: {o: out}}}");
    space.write("data/other", "1");
    space.run(&[]).code(1).says("No such file or directory");
    assert!(!space.exists("out"));
}

#[test]
fn a_stage_reaches_neither_the_scratch_of_another_nor_the_environment_of_madmall() {
    if !enforces(&["files"]) {
        return;
    }
    let stages = |sandbox: &str| {
        format!(
            "stages:
  a: {{run: 'echo secret > \"$TMPDIR/x\"; sleep 2; : > ${{outputs.o}}', outputs: {{o: out/a}}}}
  b:
    run: |
      for n in 1 2 3 4 5 6 7 8 9; do if test -s ../0.home/x; then break; fi; sleep 0.1; done
      test -s ../0.home/x
      {{ cat ../0.home/x || :; tr '\\0' '\\n' < /proc/$PPID/environ | grep MADMALL_SIGNING_KEY || :; }} > ${{outputs.o}} 2> /dev/null
    {sandbox}
    outputs: {{o: out/b}}"
        )
    };
    let mut space = Space::with(&stages("sandbox: off"));
    space.run(&[]).success();
    let key = space.base().join("config/signing-key.pem");
    space.set("MADMALL_SIGNING_KEY", key.as_str());
    space.run(&["-j", "2", "--force"]).success();
    let found = space.read("out/b");
    assert!(
        found.contains("secret\n") && found.contains("MADMALL_SIGNING_KEY="),
        "{found}"
    );
    space.pipeline(&stages(""));
    space.run(&["-j", "2", "--force"]).success();
    assert_eq!(space.read("out/b"), "");
}

#[test]
fn inputs_that_are_linked_to_can_be_read_and_not_written() {
    if !enforces(&["files", "truncation"]) {
        return;
    }
    let space = Space::with(
        "stages: {a: {run: 'wc -c < ${inputs.big} > ${outputs.o}; cat ${inputs.tree}/one ${inputs.tree}/link >> ${outputs.o}; for p in ${inputs.big} ${inputs.tree}/one ${inputs.tree}/new; do if (echo x >> $p) 2> /dev/null; then echo wrote $p >> ${outputs.o}; fi; done', inputs: {big: big, tree: tree}, outputs: {o: out}}}",
    );
    space.write("big", vec![b'x'; (1 << 20) + 1]);
    space.write("tree/one", "1\n");
    space.write("elsewhere", "2\n");
    std::os::unix::fs::symlink("../elsewhere", space.path("tree/link")).expect("made");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "1048577\n1\n2\n");
    assert_eq!(space.read("tree/one"), "1\n");
    assert!(!space.exists("tree/new"));
    // Now the pipeline is remembered, and with it which of the files are links; and by `--strict` it is not.
    for (text, more) in [("3\n", None), ("4\n", Some("--strict"))] {
        Space::let_clock_tick();
        space.write("tree/one", text);
        space.run(more.as_slice()).success();
        assert_eq!(space.read("out"), format!("1048577\n{text}2\n"));
    }
}

#[test]
fn the_network_is_closed_unless_the_stage_says_otherwise() {
    if !enforces(&["tcp"]) || !has_python() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            connection.expect("connected").write_all(b"hello").expect("written");
        }
    });
    let stages = |more: &str| {
        format!(
            "stages: {{a: {{argv: [python3, -c, 'import socket; print(socket.create_connection((\"127.0.0.1\", {port}), 9).recv(9))'], stdout: o, {more} outputs: {{o: out}}}}}}"
        )
    };
    let mut space = Space::with(&stages(""));
    space.set("PATH", SYSTEM_PATH);
    space.run(&[]).code(1).says("PermissionError");
    space.pipeline(&stages("network: true,"));
    space.run(&[]).success();
    assert_eq!(space.read("out"), "b'hello'\n");
    let words = enforced(&space, "a");
    assert!(words.contains(&"network-allowed".to_owned()) && words.contains(&"files".to_owned()));
    assert!(!words.contains(&"tcp".to_owned()));
    // It is no part of what the stage is.
    space.pipeline(&stages("network: false,"));
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn settings_make_more_readable_but_never_keys_and_stores() {
    if !enforces(&["files"]) {
        return;
    }
    let space = Space::with("stages: {a: {run: 'cat \"$SHARED\" > ${outputs.o}', env: [SHARED], outputs: {o: out}}}");
    let mut space = space;
    space.write("../shared/data", "1\n");
    space.write("../home/mine", "2\n");
    let shared = space.base().join("shared");
    space.set("SHARED", shared.join("data").as_str());
    space.run(&[]).code(1).says("Permission denied");
    space.write(
        "madmall.yaml",
        format!("version: 1\nsandbox: {{read: ['{shared}', '{shared}/not-there']}}\n"),
    );
    space.run(&[]).success();
    space.set("SHARED", space.base().join("home/mine").as_str());
    space.run(&[]).code(1);
    space.write("madmall.yaml", "version: 1\nsandbox: {read: [~/mine]}\n");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "2\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space.madmall(["verify", "--rerun", "out"]).success().says("identical");

    let base = space.base().to_owned();
    for path in [
        base.as_str(),
        base.join("config").as_str(),
        base.join("config/signing-key.pem").as_str(),
        space.path(".madmall/cas").as_str(),
        space.path(".git/config").as_str(),
        space.root().as_str(),
        "/",
    ] {
        space.write(
            "madmall.yaml",
            format!("version: 1\nsandbox:\n  read:\n    - '{path}'\n"),
        );
        space
            .run(&[])
            .code(2)
            .says("cannot be made readable")
            .says("madmall.yaml:4:");
    }
    space.write("madmall.yaml", "version: 1\nsandbox: {read: [data]}\n");
    space.run(&[]).code(2).says("`data` is not an absolute path");
    space.write("madmall.yaml", "version: 1\nsandbox: {reads: [/data]}\n");
    space.run(&[]).code(2).says("did you mean `read`?");
}

#[test]
fn python_works_confined() {
    if !enforces(&["files"]) || !has_python() {
        return;
    }
    let mut space = Space::with(
        "stages: {a: {argv: [python3, -B, script.py, '${outputs.o}'], sandbox: required, inputs: {s: script.py, h: helper.py}, outputs: {o: out}}}",
    );
    space.write("helper.py", "ANSWER = 42\n");
    space.write(
        "script.py",
        "import hashlib, json, os, random, sqlite3, subprocess, sys, tempfile, helper\n\
         with tempfile.TemporaryDirectory() as folder:\n    open(os.path.join(folder, 'x'), 'w').write('1')\n\
         os.urandom(4), random.random(), open(os.devnull, 'w').write('x')\n\
         print('to the log', file=open('/dev/stderr', 'a'))\n\
         text = subprocess.run(['sort'], input=b'b\\na\\n', stdout=subprocess.PIPE).stdout.decode()\n\
         json.dump([helper.ANSWER, text, hashlib.sha256(b'').hexdigest()[:4]], open(sys.argv[1], 'w'))\n",
    );
    space.set("PATH", SYSTEM_PATH);
    let ran: Ran = space.run(&[]);
    if ran.code == Some(2) {
        ran.says("`sandbox: required`, and this machine cannot enforce");
        return;
    }
    ran.success();
    assert_eq!(space.read("out"), r#"[42, "a\nb\n", "e3b0"]"#);
}

#[test]
fn what_was_enforced_is_recorded_verified_and_run_again() {
    let space = Space::with(
        "stages:
  a: {run: 'echo 1 > ${outputs.o}', outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', sandbox: off, inputs: {i: a}, outputs: {o: out/b}}
  c: {run: 'cp ${inputs.i} ${outputs.o}', network: true, inputs: {i: a}, outputs: {o: out/c}}",
    );
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space.run(&[]).success();
    let words = enforced(&space, "a");
    assert!(words.is_sorted() && !words.contains(&"network-allowed".to_owned()));
    assert_eq!(enforced(&space, "b"), ["off"]);
    assert!(enforced(&space, "c").contains(&"network-allowed".to_owned()));
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.madmall(["verify", "--rerun"]).success();
    // Another sandbox is no reason to run.
    space.pipeline(
        "stages:
  a: {run: 'echo 1 > ${outputs.o}', sandbox: off, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}
  c: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: a}, outputs: {o: out/c}}",
    );
    space.run(&[]).success().says("3 up to date");
}

/// Whether a process of that number still runs (one that nobody has reaped yet does not).
fn runs(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[test]
fn what_a_stage_leaves_running_ends_with_it() {
    let space = Space::with(
        "stages: {a: {run: 'sleep 300 & echo $! > ${outputs.o}; (trap \"\" TERM HUP INT; echo $$ > /dev/null; sleep 301) & echo $! >> ${outputs.o}', outputs: {o: out}}}",
    );
    space.run(&[]).success();
    for process in space.read("out").lines() {
        assert!(!runs(process), "{process} runs on");
    }
}

#[test]
fn a_program_cannot_signal_those_who_did_not_start_it() {
    if !enforces(&["signals"]) {
        return;
    }
    let mut child = Command::new("sleep").arg("300").spawn().expect("sleep runs");
    let mut space = Space::with(
        "stages: {a: {run: 'if kill -9 \"$VICTIM\" 2> /dev/null; then echo killed; else echo not; fi > ${outputs.o}', env: [VICTIM], outputs: {o: out}}}",
    );
    space.set("VICTIM", &child.id().to_string());
    space.run(&[]).success();
    assert_eq!(space.read("out"), "not\n");
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

#[test]
fn a_built_in_stage_has_no_network_to_use() {
    let space = Space::with(
        "purpose: research\nstages: {a: {uses: madmall/featurize, network: true, inputs: {events: in}, outputs: {features: out}}}",
    );
    space.write("in", "1");
    space.run(&[]).code(2).says("a built-in stage uses no network");
}

#[test]
fn a_tool_outside_of_the_system_runs_with_what_it_is_installed_with() {
    if !enforces(&["files"]) {
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mut space = Space::with("stages: {a: {argv: [tool], stdout: o, outputs: {o: out}}}");
    space.write("../tools/x/bin/tool", "#!/bin/sh\ncat \"${0%/bin/tool}/share/data\"\n");
    space.write("../tools/x/share/data", "1\n");
    let tool = space.base().join("tools/x/bin/tool");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("set");
    let path = std::env::vars().find(|(name, _)| name == "PATH").expect("a PATH").1;
    space.set("PATH", &format!("{}:{path}", tool.parent().expect("a folder")));
    space.run(&[]).success();
    assert_eq!(space.read("out"), "1\n");
    let mut text = String::new();
    std::fs::File::open(tool)
        .expect("opened")
        .read_to_string(&mut text)
        .expect("read");
    assert!(text.starts_with("#!"), "the tool is as it was");
}

#[test]
fn a_failing_program_is_told_what_it_could_read_and_what_it_may_have_wanted() {
    let mut space = Space::with(
        "stages: {a: {argv: [python3, scripts/card.py, '${outputs.o}'], inputs: {s: data/in}, outputs: {o: out}}}",
    );
    space.set("PATH", SYSTEM_PATH);
    space.write("data/in", "1");
    space.write("scripts/card.py", "import helper\n");
    space.write("scripts/helper.py", "");
    if !has_python() {
        return;
    }
    space
        .run(&[])
        .code(1)
        .says("it was allowed to read: `data/in`; and the system's own files")
        .says("`scripts/card.py` is there but not declared: add it under `inputs:`");
    space.pipeline(
        "stages: {a: {argv: [python3, scripts/card.py, '${outputs.o}'], inputs: {s: scripts/card.py}, outputs: {o: out}}}",
    );
    space
        .run(&[])
        .code(1)
        .says("No module named 'helper'")
        .says("`scripts/helper.py` is there but not declared: add it under `inputs:`");
    let ran = space.run(&["--json"]).code(1);
    assert!(
        ran.out.contains("\"wanted\":[\"`scripts/helper.py` is there"),
        "{}",
        ran.out
    );
    space.pipeline(
        "stages: {a: {argv: [python3, scripts/card.py, '${outputs.o}'], inputs: {s: scripts/card.py, h: scripts/helper.py}, outputs: {o: out}}}",
    );
    space.run(&[]).code(1).says("`python3 -B` writes no such file");

    space.pipeline("stages: {a: {run: 'cat < \"notes.txt\" > ${outputs.o}', outputs: {o: out}}}");
    space.write("notes.txt", "1");
    space.run(&[]).code(1).says("`notes.txt` is there but not declared");
    // What is nobody's business is not proposed.
    space.pipeline("stages: {a: {run: 'cat .madmall/lock .git/config no/such; exit 1', outputs: {o: out}}}");
    space.git(&["init", "-q"]);
    space
        .run(&[])
        .code(1)
        .says("no file of the workspace")
        .says_not("help:");
}

#[test]
fn a_closed_folder_of_a_tool_is_proposed_for_the_settings() {
    if !enforces(&["files"]) {
        return;
    }
    let mut space = Space::with("stages: {a: {run: 'cat \"$LIBRARY\"', env: [LIBRARY], outputs: {o: out}}}");
    space.write("../home/.pyenv/lib/x.py", "1");
    let library = space.base().join("home/.pyenv/lib/x.py");
    space.set("LIBRARY", library.as_str());
    space
        .run(&[])
        .code(1)
        .says("the sandbox closed")
        .says("write `sandbox: { read: ['~/.pyenv'] }` into `madmall.yaml`");
    // What opens one file opens the other: that is said once, of the one that could not be read.
    space.write("../home/.pyenv/shims/x", "1");
    space.pipeline(
        "stages: {a: {run: 'echo \"$SHIM: line 1: $LIBRARY: Permission denied\" >&2; exit 1', env: [LIBRARY, SHIM], outputs: {o: out}}}",
    );
    space.set("SHIM", space.base().join("home/.pyenv/shims/x").as_str());
    let said = space.run(&[]).code(1).says("read: ['~/.pyenv']");
    assert_eq!(said.err.matches("the sandbox closed").count(), 1, "{}", said.err);
    assert!(said.err.contains(&format!("closed `{library}`")), "{}", said.err);
    space.pipeline("stages: {a: {run: 'cat \"$LIBRARY\"', env: [LIBRARY], outputs: {o: out}}}");
    // The advice is good.
    space.write("madmall.yaml", "version: 1\nsandbox: { read: ['~/.pyenv'] }\n");
    space.run(&[]).code(1).says("it did not write its output");
    space.set("LIBRARY", space.base().join("config/signing-key.pem").as_str());
    space.run(&[]).code(1).says("Permission denied").says_not("read: [");
}
