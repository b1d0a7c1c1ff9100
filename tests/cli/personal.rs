//! What is personal is named by keyed digests alone, is compared by whoever has the secret, and is not checked by others.

use std::collections::BTreeSet;

use madmall::digest::Digests;
use madmall::receipt::run_file::RunFile;
use madmall::receipt::statement::{Resource, Role, Statement};

use crate::space::{Space, files_below};

/// A source, several files, a folder that is made of them, an output that is declassified, and one that is made from both.
const STAGES: &str = "stages:
  louder:
    run: tr a-z A-Z < ${inputs.answer} > ${outputs.loud}
    inputs: { answer: { path: data/answer.txt, personal: true } }
    outputs: { loud: out/loud.txt }
  gather:
    run: |
      mkdir -p ${outputs.all}
      cat ${inputs.loud} data/many/* > ${outputs.all}/x
      wc -l < ${outputs.all}/x > ${outputs.lines}
    inputs: { loud: louder.loud, many: { path: data/many/, personal: true } }
    outputs: { all: out/all/, lines: out/lines.txt }
    declassify: [lines]
  both:
    run: cat ${inputs.all}/x ${inputs.lines} > ${outputs.end}
    inputs: { all: gather.all, lines: gather.lines }
    outputs: { end: out/end.txt }";

fn space() -> Space {
    let space = Space::with(STAGES);
    space.write("data/answer.txt", "yes\n");
    space.write("data/many/a", "first\n");
    space.write("data/many/b", "second\n");
    space
}

/// All statements, in the order of the files of runs.
fn statements(space: &Space) -> Vec<Statement> {
    let files = space.receipt_files().into_iter();
    files
        .flat_map(|file| {
            let run = RunFile::parse(&space.bytes(&format!("runs/{file}"))).expect("receipts");
            run.receipts()
                .iter()
                .map(|receipt| receipt.statement.clone())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn artifacts(statement: &Statement) -> impl Iterator<Item = &Resource> {
    let all = statement.subject.iter().chain(statement.dependencies());
    all.filter(|resource| {
        matches!(
            resource.role(),
            Role::Input { .. } | Role::Member { .. } | Role::Output { .. } | Role::Log { .. }
        )
    })
}

/// The plain digests of these files, as anybody would guess them.
fn guesses(space: &Space, files: &[&str]) -> Vec<String> {
    let digests = files.iter().map(|file| Digests::of(&space.bytes(file)));
    digests
        .flat_map(|digests| [digests.blake3.to_hex(), digests.sha256.to_hex()])
        .collect()
}

const PERSONAL: [&str; 6] = [
    "data/answer.txt",
    "data/many/a",
    "data/many/b",
    "out/loud.txt",
    "out/all/x",
    "out/end.txt",
];

#[test]
fn receipts_name_what_is_personal_and_what_is_made_of_it_by_keyed_digests_alone() {
    let space = space();
    space.run(&[]).success();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for statement in statements(&space) {
        for resource in artifacts(&statement) {
            let is_plain = resource.name == "out/lines.txt";
            assert_eq!(resource.is_keyed(), !is_plain, "{}", resource.name);
            assert_eq!(resource.digest.names("blake3Keyed"), !is_plain);
            assert_eq!(resource.digest.names("blake3"), is_plain);
            named.insert(resource.name.clone());
        }
    }
    assert_eq!(named.len(), 8, "{named:?}");
    // Nothing that is committed has a digest that could be guessed; nor has the name of an object.
    let guesses = guesses(&space, &PERSONAL);
    for file in files_below(&space.path("runs")) {
        let text = String::from_utf8_lossy(&space.bytes(&format!("runs/{file}"))).into_owned();
        let payloads: Vec<u8> = match RunFile::parse(text.as_bytes()) {
            Ok(run) => run
                .receipts()
                .iter()
                .flat_map(|r| r.envelope.payload().to_vec())
                .collect(),
            Err(_) => text.clone().into_bytes(),
        };
        let payloads = String::from_utf8_lossy(&payloads).into_owned();
        for guess in &guesses {
            assert!(!text.contains(guess) && !payloads.contains(guess), "{file}");
        }
    }
    assert!(!space.exists(&format!(".madmall/cas/{}/{}", &guesses[6][..2], &guesses[6][2..])));
}

#[test]
fn nothing_that_is_printed_has_a_digest_that_could_be_guessed() {
    let space = space();
    space.run(&[]).success();
    space.write("data/answer.txt", "no\n");
    space.run(&[]).success();
    let mut guesses = guesses(&space, &PERSONAL);
    // A person is shown the beginning of a digest.
    guesses.iter_mut().for_each(|guess| guess.truncate(8));
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    for arguments in [
        &["verify"][..],
        &["verify", "--json"],
        &["verify", "out/end.txt"],
        &["verify", "out/all", "--json"],
        &["show", &run],
        &["log", "--json"],
        &["diff", "latest~1", "latest"],
        &["diff", "latest~1", "latest", "--json"],
        &["plan", "pipeline.yaml", "--json"],
        &["why", "both", "--json"],
        &["status", "--json"],
        &["graph", "pipeline.yaml"],
        &["fsck", "--json"],
        &["gc", "--json"],
        &["bundle", &run, "-o", "run.tar.zst"],
    ] {
        let ran = space.madmall(arguments);
        for guess in &guesses {
            assert!(
                !ran.out.contains(guess) && !ran.err.contains(guess),
                "{arguments:?}: {}{}",
                ran.out,
                ran.err
            );
        }
    }
}

#[test]
fn a_run_finds_it_up_to_date_puts_it_back_and_sees_that_it_was_edited() {
    let space = space();
    space.run(&[]).success().says("3 stages: 3 ran");
    Space::let_clock_tick();
    space.run(&[]).success().says("3 stages: 3 up to date");
    space.run(&["--strict"]).success().says("3 stages: 3 up to date");
    for output in ["out/loud.txt", "out/all/x", "out/end.txt"] {
        let before = space.bytes(output);
        space.remove(output);
        space.run(&[]).success().says("restored");
        assert_eq!(space.bytes(output), before, "{output}");
        space.write(output, "edited\n");
        space.run(&[]).success();
        assert_eq!(space.bytes(output), before, "{output}");
    }
    space.write("data/many/b", "other\n");
    space.run(&[]).success().says("1 up to date").says("2 ran");
    space.madmall(["plan", "pipeline.yaml"]).success();
    space.madmall(["fsck"]).success().says("are whole");
    space.madmall(["gc", "--apply"]);
    space.run(&["--strict"]).success().says("3 up to date");
}

#[test]
fn verify_compares_with_the_secret_and_says_what_it_cannot_without() {
    let mut space = space();
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-qm", "begin"]);
    space.run(&[]).success();
    space
        .madmall(["verify", "--at", "HEAD", "--require-clean"])
        .success()
        .says("held");
    let secret = std::fs::read_to_string(space.base().join("config/consent-secret")).expect("a secret");
    let key = space.base().join("config/policy.json");

    // An auditor: trusts the policy, has no secret.
    space.set("MADMALL_CONFIG_DIR", space.base().join("auditor").as_str());
    let trust = ["--trust", key.as_str()];
    let auditor = |arguments: &[&str]| space.madmall(["verify"].iter().chain(arguments).chain(&trust));
    auditor(&[])
        .success()
        .says("`out/end.txt` is personal")
        .says("out/lines.txt");
    auditor(&["out/lines.txt"]).success();
    auditor(&["out/end.txt"])
        .code(6)
        .says("keyed by a consent secret that is not here");
    auditor(&["--at", "HEAD"])
        .code(6)
        .says("keyed by a consent secret that is not here");
    // With it, everything is compared.
    std::fs::write(space.base().join("kept"), &secret).expect("written");
    only_for_the_owner(&space.base().join("kept"));
    let kept = space.base().join("kept");
    auditor(&["--secret", kept.as_str(), "--at", "HEAD"])
        .success()
        .says_not("is personal");
    // Another secret is none.
    let other = format!("madmall-consent-secret-v1 {}\n", "ab".repeat(32));
    std::fs::write(space.base().join("other"), other).expect("written");
    only_for_the_owner(&space.base().join("other"));
    let other = space.base().join("other");
    auditor(&["--secret", other.as_str(), "out/end.txt"]).code(6);
    // What was changed is found, and is not shown by a digest that could be guessed.
    space.write("out/end.txt", "no\n");
    let found = auditor(&["--secret", kept.as_str()])
        .code(4)
        .says("E-DIGEST")
        .says("hmacSha256");
    let plain = Digests::of(b"no\n").sha256.to_hex();
    assert!(
        !found.out.contains(&plain[..8]) && !found.err.contains(&plain[..8]),
        "{}",
        found.err
    );
    auditor(&[]).success().says("`out/end.txt` is personal");
}

fn only_for_the_owner(file: &camino::Utf8Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("changed");
}

#[test]
fn what_is_personal_can_be_made_again_by_whoever_has_the_secret() {
    let space = space();
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-qm", "begin"]);
    space.run(&[]).success();
    space
        .madmall(["verify", "--rerun"])
        .success()
        .says("run again, identical: louder, gather, both");
    // From the store, where its objects are named by keyed digests.
    space.remove("out/end.txt");
    space.remove("out/loud.txt");
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    space.madmall(["rerun", &run]).success();
}

#[test]
fn with_another_secret_all_of_it_runs_again_and_says_why() {
    let space = space();
    space.run(&[]).success();
    Space::let_clock_tick();
    let secret = space.base().join("config/consent-secret");
    std::fs::remove_file(secret).expect("removed");
    let ran = space.run(&["--strict"]).success();
    ran.says("the consent secret is another one").says("3 ran");
    space.run(&[]).success().says("3 up to date");
    space.madmall(["verify"]).success();
}

#[test]
fn what_is_personal_is_not_read_as_if_it_were_not() {
    let space = space();
    space.run(&[]).success();
    let plain = "version: 1\nname: other\nstages:\n  leak:\n    run: cat ${inputs.loud} > ${outputs.o}\n    inputs: { loud: copy.txt }\n    outputs: { o: out/o.txt }\n";
    space.write("copy.txt", space.bytes("out/loud.txt"));
    space.write("other.yaml", plain);
    let ran = space.madmall(["run", "other.yaml"]).code(2);
    ran.says("its receipt would name by plain digests what is personal")
        .says("personal: true");
    assert!(!space.exists("out/o.txt"));
    space.write(
        "other.yaml",
        plain.replace("copy.txt", "{ path: copy.txt, personal: true }"),
    );
    space.madmall(["run", "other.yaml"]).success();
}

#[test]
fn one_stage_says_it_for_all_that_read_the_file() {
    let space = Space::with(
        "stages:
  a: { run: 'cat d/x > ${outputs.o}', inputs: { all: d/ }, outputs: { o: a.txt } }
  b: { run: 'cat d/x > ${outputs.o}', inputs: { x: { path: d/x, personal: true } }, outputs: { o: b.txt } }",
    );
    space.write("d/x", "yes\n");
    space.run(&[]).success();
    for statement in statements(&space) {
        assert!(artifacts(&statement).all(Resource::is_keyed), "{:?}", statement.subject);
    }
}

#[test]
fn what_a_stage_said_of_it_is_not_shown_and_its_log_is_keyed() {
    let space = Space::with(
        "stages:
  a:
    run: cat ${inputs.x} >&2; exit 3
    inputs: { x: { path: x.txt, personal: true } }
    outputs: { o: a.txt }",
    );
    space.write("x.txt", "Nightingale\n");
    let ran = space.run(&[]).code(1);
    let ran = ran.says("what it said is not shown").says_not("Nightingale");
    ran.says(".log");
    let statements = statements(&space);
    let log = &statements[0].subject[0];
    assert!(matches!(log.role(), Role::Log { .. }) && log.is_keyed(), "{log:?}");
}

#[test]
fn a_mistake_in_the_pipeline_is_told() {
    let space = Space::with(
        "stages:
  a:
    run: cat ${inputs.x} > ${outputs.o}
    inputs: { x: { path: x.txt, personal: yes please } }
    outputs: { o: a.txt }",
    );
    space.write("x.txt", "x\n");
    space.run(&[]).code(2).says("`personal`");
    space.pipeline(
        "stages:
  a:
    run: cat ${inputs.x} > ${outputs.o}
    inputs: { x: x.txt }
    outputs: { o: { path: a.txt, personal: true } }
    declassify: true",
    );
    space
        .run(&[])
        .code(2)
        .says("the output `o` is personal, and `declassify` says that it is not");
}

#[test]
fn a_bundle_leaves_it_out_and_says_so() {
    let space = space();
    space.run(&[]).success();
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    space
        .madmall(["bundle", &run, "--artifacts", "--inputs", "-o", "run.tar.zst"])
        .success();
    let ran = space.madmall(["verify", "run.tar.zst"]).success();
    ran.says("it is personal").says("out/lines.txt");
}

/// A stage that looks for one person, whose id is given when it is run.
const ONE_PERSON: &str = "params: { person: '' }
personal: [person]
stages:
  find:
    run: 'grep ${params.person} ${inputs.rows} > ${outputs.found}; test -n ${params.copy}'
    params: { copy: \"${params.person}\" }
    inputs: { rows: { path: rows.csv, personal: true } }
    outputs: { found: out/found.csv }";

#[test]
fn a_personal_parameter_is_in_no_receipt_and_on_no_screen() {
    let space = Space::with(ONE_PERSON);
    space.write("rows.csv", "P-mrs-q5081,1\nP-7,2\n");
    let set = ["--set", "person=P-mrs-q5081"];
    let mut printed = String::new();
    for arguments in [
        &["plan", "pipeline.yaml"][..],
        &["run", "pipeline.yaml"],
        &["plan", "pipeline.yaml", "--json"],
        &["why", "pipeline.yaml", "find", "--json"],
        &["run", "pipeline.yaml", "--force", "--json"],
    ] {
        let ran = space.madmall(arguments.iter().chain(&set)).success();
        printed += &(ran.out + &ran.err);
    }
    assert_eq!(space.read("out/found.csv"), "P-mrs-q5081,1\n");
    space.run(&set).success().says("1 up to date");
    // Another person is another action; the same again is not.
    let ran = space.run(&["--set", "person=P-7"]).success();
    printed += &(ran.out + &ran.err);
    assert_eq!(space.read("out/found.csv"), "P-7,2\n");
    space.run(&set).success().says("restored");
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    for arguments in [
        &["show", &run][..],
        &["diff", "latest~1", "latest"],
        &["verify", "--json"],
        &["log"],
    ] {
        let ran = space.madmall(arguments);
        printed += &(ran.out + &ran.err);
    }
    for statement in statements(&space) {
        let payload = String::from_utf8(statement.to_payload().expect("a statement")).expect("UTF-8");
        assert!(!payload.contains("mrs-q5081"), "{payload}");
        let (stage, _) = match statement.stage() {
            Some(stage) => stage,
            None => continue,
        };
        assert_eq!(stage.personal, ["person"]);
        assert!(payload.contains("grep 'hmacSha256:"), "{payload}");
        assert!(statement.subject.iter().all(Resource::is_keyed));
    }
    assert!(!printed.contains("mrs-q5081"), "{printed}");
    // Nobody can run it again from its receipt.
    space
        .madmall(["rerun", &run])
        .code(6)
        .says("its parameter `person` is personal");
}

#[test]
fn a_text_that_is_one_program_is_given_the_value_and_not_what_it_is_shown_as() {
    let space = Space::with(
        &ONE_PERSON
            .replace("; test -n ${params.copy}", "")
            .replace("params: { copy: \"${params.person}\" }", ""),
    );
    space.write("rows.csv", "P-mrs-q5081,1\nP-7,2\n");
    space.run(&["--set", "person=P-mrs-q5081"]).success();
    assert_eq!(space.read("out/found.csv"), "P-mrs-q5081,1\n");
}

#[test]
fn a_personal_parameter_that_would_be_seen_is_refused() {
    let space = Space::with(&ONE_PERSON.replace("person: ''", "person: P-1"));
    space.write("rows.csv", "P-1,1\n");
    space.run(&[]).code(2).says("everybody can read its value here");
    space.pipeline(&ONE_PERSON.replace("personal: [person]", "personal: [persn]"));
    space.run(&[]).code(2).says("did you mean `person`?");
    space.pipeline(ONE_PERSON);
    space
        .run(&["--set", "person=it's"])
        .code(2)
        .says("cannot be kept out of receipts")
        .says_not("it's\n");
    // Where the mask stood in the place of known text, the value would be told.
    for told in ["grep", "ep", "rows.csv"] {
        let set = format!("person={told}");
        space
            .run(&["--set", &set])
            .code(2)
            .says("stands in the pipeline's own text");
    }
    assert!(space.receipt_files().is_empty());
}

#[test]
fn what_a_failed_command_was_is_shown_without_the_value() {
    let space = Space::with(ONE_PERSON);
    space.write("rows.csv", "P-7,2\n");
    let ran = space.run(&["--set", "person=P-mrs-q5081"]).code(1);
    assert!(
        !ran.out.contains("mrs-q5081") && !ran.err.contains("mrs-q5081"),
        "{}",
        ran.err
    );
    ran.says("grep 'hmacSha256:");
}

/// A secret whose digits are all the same.
fn secret(digit: char) -> String {
    format!("madmall-consent-secret-v1 {}", digit.to_string().repeat(64))
}

#[test]
fn a_run_with_nothing_to_do_is_one_under_the_same_secret() {
    let mut space = Space::with(
        "stages: {two: {run: 'sort ${inputs.a} > ${outputs.o}', inputs: {a: {path: src/ans, personal: true}}, outputs: {o: out/two}}}",
    );
    space.write("src/ans", "yes\n");
    let settle = |space: &Space| {
        space.run(&[]).success();
        Space::let_clock_tick();
        space.run(&[]).success().says("1 up to date");
        space.run(&["--strict"]).success().says("1 up to date");
    };
    space.set("MADMALL_CONSENT_SECRET", &secret('1'));
    settle(&space);
    for flags in [&[][..], &["--strict"]] {
        space.set("MADMALL_CONSENT_SECRET", "garbage");
        space.run(flags).code(7).says("MADMALL_CONSENT_SECRET");
        let digit = if flags.is_empty() { '2' } else { '3' };
        space.set("MADMALL_CONSENT_SECRET", &secret(digit));
        space.run(flags).success().says("1 ran");
    }
    // The one that is kept, and its file gone.
    space.unset("MADMALL_CONSENT_SECRET");
    settle(&space);
    space.remove("../config/consent-secret");
    space.run(&[]).success().says("made your consent secret").says("1 ran");
}

#[test]
fn a_run_with_nothing_to_do_without_a_secret_says_nothing_once_there_is_one() {
    let mut space = Space::with(
        "stages: {one: {run: 'wc -c < ${inputs.a} > ${outputs.o}', inputs: {a: src/ans}, outputs: {o: out/one}}}",
    );
    space.write("src/ans", "yes\n");
    space.write(
        "personal.yaml",
        "version: 1\nname: personal\nstages:
  two: {run: 'sort ${inputs.a} > ${outputs.o}', inputs: {a: {path: src/ans, personal: true}}, outputs: {o: out/two}}\n",
    );
    space.set("MADMALL_CONSENT_SECRET", &secret('1'));
    space.madmall(["run", "personal.yaml"]).success();
    space.unset("MADMALL_CONSENT_SECRET");
    space.run(&[]).success();
    Space::let_clock_tick();
    space.run(&[]).success().says("1 up to date");
    space.set("MADMALL_CONSENT_SECRET", &secret('1'));
    space
        .run(&[])
        .code(2)
        .says("its receipt would name by plain digests what is personal");
}

#[test]
fn a_personal_parameter_is_another_under_another_secret() {
    let mut space = Space::with(
        "params: {who: ''}
personal: [who]
stages: {find: {run: 'echo ${params.who} > ${outputs.o}', outputs: {o: out/found}}}",
    );
    let set = ["--set", "who=P-5081"];
    space.set("MADMALL_CONSENT_SECRET", &secret('1'));
    space.run(&set).success();
    Space::let_clock_tick();
    space.run(&set).success().says("1 up to date");
    space.set("MADMALL_CONSENT_SECRET", &secret('2'));
    space.run(&set).success().says("1 ran");
}

#[cfg(unix)]
#[test]
fn whether_it_may_be_executed_is_compared_as_of_any_input() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = space();
    space.git(&["init", "-q"]);
    space.run(&[]).success();
    space.git(&["add", "data", "pipeline.yaml", "madmall.yaml", "runs"]);
    space.git(&["commit", "-q", "-m", "run"]);
    space.madmall(["verify"]).success().says_not("W-STALE");
    space.madmall(["verify", "--at", "HEAD"]).success();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(space.path("data/answer.txt"), executable).expect("own file");
    let why = "no trusted receipt of it has the executable bits that its inputs have there";
    space.madmall(["verify"]).success().says("W-STALE").says(why);
    space.git(&["commit", "-q", "-am", "mode"]);
    space.madmall(["verify", "--at", "HEAD"]).code(4).says(why);
}
