//! Bundles: made in one clone, verified where nobody has ever seen the project.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use madmall::log::proof::Proof;
use madmall::receipt::run_file::{Receipt, RunFile};
use serde_json::Value;

use crate::archive::{forged, members, packed, places, unpacked};
use crate::space::{Ran, Space};

const PIPELINE: &str = "stages:
  a: {run: 'tr a-z A-Z < ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {uses: stages/two.yaml, inputs: {i: a}, outputs: {o: out/b}}";
const TWO: &str =
    "version: 1\nname: two\nrun: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}'\ninputs: {i: {}}\noutputs: {o: {}}\n";

/// A clone in which a pipeline was committed and has run.
fn finished() -> Space {
    let space = Space::empty();
    space.pipeline(PIPELINE);
    space.write("stages/two.yaml", TWO);
    space.write("in", "some bytes\n");
    space.write(".gitignore", "out\n.madmall\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "first"]);
    space.run(&[]).success();
    space
}

/// Where an auditor sits: no project, no git, no home, only the key that somebody told them.
pub(crate) struct Auditor {
    folder: tempfile::TempDir,
    key: String,
}

impl Auditor {
    pub(crate) fn trusting(space: &Space) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            key: space.madmall(["key", "--pem"]).success().out,
        }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().join(name)).expect("UTF-8")
    }

    pub(crate) fn verify(&self, bundle: &[u8], arguments: &[&str]) -> Ran {
        std::fs::write(self.path("audit.tar.zst"), bundle).expect("written");
        std::fs::write(self.path("key.pem"), &self.key).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_madmall"))
            .args(["verify", "audit.tar.zst", "--trust", "key.pem"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/nonexistent")
            .output()
            .expect("the binary runs");
        let count = std::fs::read_dir(self.folder.path()).expect("listed").count();
        assert_eq!(count, 2, "verifying writes nothing");
        Ran::of(&output)
    }
}

/// Bundles `latest`.
fn bundle(space: &Space, arguments: &[&str]) -> Vec<u8> {
    let target = space.path("../audit.tar.zst");
    space
        .madmall(
            ["bundle", "latest", "--force", "-o", target.as_str()]
                .iter()
                .chain(arguments),
        )
        .success();
    std::fs::read(target).expect("it was written")
}

pub(crate) fn full(space: &Space) -> Vec<u8> {
    bundle(space, &["--artifacts", "--inputs"])
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn a_model_made_in_one_clone_is_verified_where_nobody_knows_the_project() {
    let space = finished();
    let auditor = Auditor::trusting(&space);
    let full = full(&space);
    auditor
        .verify(&full, &[])
        .success()
        .says("out/b")
        .says("no git repository")
        .says_not("W-STALE");
    let report = report(&auditor.verify(&full, &["--json"]).success());
    for name in ["signature", "subject", "chain", "log"] {
        assert_eq!(report["assurance"][name], "held", "{name}");
    }
    assert_eq!(report["assurance"]["commit"], "not-checked");
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert_eq!(report["artifacts"][0]["path"], "out/b");
    assert_eq!(report["artifacts"][0]["sources"][0]["path"], "in");
}

#[test]
fn without_artifacts_receipts_and_logs_hold_and_nothing_more_is_said() {
    let space = finished();
    let ran = Auditor::trusting(&space)
        .verify(&bundle(&space, &[]), &["--json"])
        .code(6);
    let report = report(&ran);
    for (name, state) in [
        ("signature", "held"),
        ("chain", "held"),
        ("log", "held"),
        ("subject", "not-checked"),
    ] {
        assert_eq!(report["assurance"][name], state, "{name}");
    }
    // That inputs are not here does not make anything stale.
    let findings = report["findings"].as_array().expect("a list");
    assert!(findings.len() == 1 && findings[0]["code"] == "E-ABSENT", "{report:#}");
}

#[test]
fn who_asked_for_artifacts_is_not_told_to_ask_for_them() {
    let space = Space::empty();
    space.pipeline("stages: {a: {run: 'exit 1', outputs: {o: out}}}");
    space.run(&[]).code(1);
    for (arguments, is_told) in [(&[][..], true), (&["--artifacts"], false)] {
        let file = ["bundle", "latest", "--force", "-o", "run.tar.zst"];
        let ran = space.madmall(file.iter().chain(arguments)).success();
        assert_eq!(ran.err.contains("with `--artifacts`"), is_told, "{}", ran.err);
    }
}

#[test]
fn somebody_elses_bundle_proves_nothing_and_no_key_is_trusted_for_lying_in_it() {
    let space = finished();
    let stranger = Space::empty();
    let full = full(&space);
    assert!(members(&full).keys().any(|name| name.starts_with("keys/")));
    Auditor::trusting(&stranger).verify(&full, &[]).code(4).says("E-KEY");
}

#[test]
fn the_same_run_is_the_same_bytes_and_a_file_that_is_there_is_kept() {
    let space = finished();
    let first = full(&space);
    assert_eq!(first, full(&space));
    let run = space.receipt_files().remove(0);
    let id = run.strip_suffix(".intoto.jsonl").expect("a run");
    for name in [id, &format!("runs/{run}")] {
        let ran = space
            .command(["bundle", name, "-o", "-", "--artifacts", "--inputs"])
            .output();
        assert_eq!(ran.expect("the binary runs").stdout, first);
    }
    space.madmall(["bundle", id]).success();
    let before = space.snapshot();
    assert!(before.contains_key(&format!("{id}.tar.zst")));
    space
        .madmall(["bundle", id])
        .code(2)
        .says("is there already")
        .says("--force");
    space.is_as(&before);
    space.madmall(["bundle", id, "--force"]).success();
    space.is_as(&before);
    for unknown in ["sha256:0000000000000000", "00000000", "in", "no-such-run"] {
        let code = space.madmall(["bundle", unknown, "-o", "x"]).code;
        assert!(matches!(code, Some(2 | 6)), "{unknown}: {code:?}");
    }
    space.is_as(&before);
}

#[test]
fn every_member_that_somebody_changes_is_found_even_if_the_list_is_made_to_fit() {
    let space = finished();
    let auditor = Auditor::trusting(&space);
    let full = full(&space);
    let whole = members(&full);
    auditor.verify(&forged(&whole), &[]).success();
    let places = places(&full);
    for name in whole.keys().filter(|name| *name != "bundle.json") {
        let mut changed = whole.clone();
        let bytes = changed.get_mut(name).expect("it is there");
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
        auditor.verify(&forged(&changed), &[]).code(4);
        // With the list as it was, it is not even taken.
        let mut archive = unpacked(&full);
        archive[places[name] + place] ^= 1;
        auditor
            .verify(&packed(&archive), &[])
            .code(4)
            .says("E-BUNDLE")
            .says(name);
    }
    let mut more = whole.clone();
    more.insert("workspace/extra".to_owned(), b"x".to_vec());
    auditor
        .verify(&forged(&more), &[])
        .code(4)
        .says("E-BUNDLE")
        .says("no receipt in it names it");
    more.extend((0..300).map(|number| (format!("workspace/extra-{number}"), Vec::new())));
    let ran = auditor
        .verify(&forged(&more), &[])
        .code(4)
        .says("more files in the bundle");
    assert!(
        ran.out.matches("E-BUNDLE").count() < 110,
        "there is an end to what is said"
    );
}

#[test]
fn what_is_taken_out_of_a_bundle_is_missed() {
    let space = finished();
    let auditor = Auditor::trusting(&space);
    let whole = members(&full(&space));
    for name in whole.keys().filter(|name| *name != "bundle.json") {
        let mut less = whole.clone();
        less.remove(name);
        if name.ends_with(".intoto.jsonl") {
            continue;
        }
        if name.contains("/checkpoint-") {
            less.retain(|name, _| !name.starts_with("proofs/"));
        }
        let ran = auditor.verify(&forged(&less), &["--json"]);
        let report = report(&ran);
        match name {
            name if name.contains("/checkpoint-") => assert_eq!(report["assurance"]["log"], "not-checked"),
            name if name.contains("/tile/") => assert_eq!(report["assurance"]["log"], "failed"),
            _ => assert_eq!(ran.code, Some(0), "{name} was not needed"),
        }
    }
}

#[test]
fn the_runs_that_a_run_rests_on_are_in_its_bundle_and_others_are_not() {
    let space = finished();
    space.write(
        "unrelated.yaml",
        "version: 1\nname: other\nstages: {z: {run: 'echo > ${outputs.o}', outputs: {o: z}}}\n",
    );
    space.madmall(["run", "unrelated.yaml"]).success();
    space.write("stages/two.yaml", TWO.replace("cat ", "cat  "));
    space.run(&[]).success().says("1 up to date");
    let files = space.receipt_files();
    assert_eq!(files.len(), 3);
    let bundle = full(&space);
    let whole = members(&bundle);
    let has = |file: &String| whole.contains_key(&format!("workspace/runs/{file}"));
    let has: Vec<bool> = ["-test-", "-other-"]
        .iter()
        .flat_map(|part| files.iter().filter(move |f| f.contains(part)))
        .map(has)
        .collect();
    assert_eq!(has, [true, true, false]);
    let auditor = Auditor::trusting(&space);
    auditor
        .verify(&bundle, &[])
        .success()
        .says("of runs that are not in the bundle");
    // Without the run that made its input, the chain is broken.
    let oldest = whole
        .keys()
        .find(|name| name.contains("-test-"))
        .expect("the first run")
        .clone();
    let newest = whole
        .keys()
        .rfind(|name| name.contains("-test-"))
        .expect("the last run");
    assert_ne!(&oldest, newest);
    let mut less = whole.clone();
    less.remove(&oldest);
    let chain = auditor.verify(&forged(&less), &[]);
    assert_eq!(chain.code, Some(4), "{}", chain.out);
}

#[test]
fn a_log_that_a_receipt_names_is_in_its_bundle_although_none_of_its_receipts_is() {
    let space = finished();
    std::fs::remove_dir_all(space.path(".madmall")).expect("removed");
    space.write("in", "other bytes\n");
    space.run(&[]).success().says("new log").says("2 ran");
    space.write("in", "yet other bytes\n");
    space.run(&[]).success().says("2 ran");
    let bundle = full(&space);
    let whole = members(&bundle);
    let logs: std::collections::BTreeSet<&str> = whole
        .keys()
        .filter_map(|name| name.strip_prefix("workspace/runs/log/")?.split('/').next())
        .collect();
    assert_eq!(logs.len(), 2);
    assert_eq!(whole.keys().filter(|name| name.ends_with(".jsonl")).count(), 1);
    let auditor = Auditor::trusting(&space);
    auditor.verify(&bundle, &[]).success().says_not("W-ELSEWHERE");
    // Taken out of it, either is missed.
    for log in logs {
        let mut less = whole.clone();
        less.retain(|name, _| !name.contains(log) && !name.starts_with("proofs/"));
        let report = report(&auditor.verify(&forged(&less), &["--json"]));
        let findings = report["findings"].as_array().expect("a list");
        assert!(
            findings.iter().any(|finding| finding["code"] == "W-ELSEWHERE"),
            "{report:#}"
        );
    }
}

#[test]
fn each_receipt_has_a_proof_that_rests_on_a_log_in_the_bundle() {
    let space = finished();
    let whole = members(&full(&space));
    let run = whole.keys().find(|name| name.ends_with(".jsonl")).expect("the run");
    let run = RunFile::parse(&whole[run]).expect("receipts");
    let path = |receipt: &Receipt| format!("proofs/{}.tlog-proof", receipt.id.to_hex());
    for (index, receipt) in run.receipts().iter().enumerate() {
        let Ok(Proof::Inclusion(proof)) = Proof::parse(&whole[&path(receipt)]) else {
            panic!("no proof");
        };
        assert!(proof.holds_for(&receipt.id) && proof.index == index as u64);
    }
    let auditor = Auditor::trusting(&space);
    let name = path(&run.receipts()[0]);
    let mut swapped = whole.clone();
    swapped.insert(name.clone(), whole[&path(&run.receipts()[1])].clone());
    let mut changes = vec![swapped];
    for place in (0..whole[&name].len()).step_by(9) {
        let mut changed = whole.clone();
        changed.get_mut(&name).expect("it is there")[place] ^= 1;
        changes.push(changed);
    }
    // One whose checkpoint is not here proves something of another log.
    let mut without = whole.clone();
    without.retain(|name, _| !name.contains("/checkpoint-"));
    changes.push(without);
    for changed in changes {
        auditor
            .verify(&forged(&changed), &[])
            .code(4)
            .says("E-BUNDLE")
            .says("does not prove");
    }
}

#[test]
fn what_was_edited_since_comes_from_the_store_or_the_commit_and_else_is_left_out() {
    let space = finished();
    let first = full(&space);
    space.write("out/b", "edited");
    space.write("in", "edited\n");
    space.write("stages/two.yaml", "edited");
    space.remove("pipeline.yaml");
    assert_eq!(full(&space), first, "the same bytes, from elsewhere");
    std::fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    space
        .madmall(["bundle", "latest", "--artifact", "out/b", "-o", "x.tar.zst"])
        .code(6)
        .says("out/b")
        .says("nothing was written");
    assert!(!space.exists("x.tar.zst"));
    std::fs::remove_dir_all(space.path(".git")).expect("removed");
    let ran = space
        .madmall(["bundle", "latest", "--artifacts", "--inputs", "-o", "x.tar.zst"])
        .success();
    for name in ["`out/b`", "`in`", "`stages/two.yaml`", "`pipeline.yaml`"] {
        ran.err
            .lines()
            .find(|line| line.contains(name) && line.contains("left out"))
            .expect(name);
    }
    let auditor = Auditor::trusting(&space);
    auditor
        .verify(&std::fs::read(space.path("x.tar.zst")).expect("written"), &[])
        .success()
        .says("left out of the bundle");
}

#[test]
fn what_the_commit_has_otherwise_is_not_taken_from_it() {
    let space = finished();
    space.write("in", "never committed\n");
    space.run(&[]).success();
    space.write("in", "some bytes\n");
    let ran = space
        .madmall(["bundle", "latest", "--inputs", "-o", "x.tar.zst"])
        .success();
    ran.says("left out `in`");
}

#[test]
fn only_what_is_named_is_put_in() {
    let space = finished();
    let whole = members(&bundle(&space, &["--artifact", "out/a"]));
    let files: Vec<&String> = whole
        .keys()
        .filter(|name| name.starts_with("workspace/") && !name.contains("runs"))
        .collect();
    assert_eq!(
        files,
        [
            "workspace/out/a",
            "workspace/pipeline.yaml",
            "workspace/stages/two.yaml"
        ]
    );
    space
        .madmall(["bundle", "latest", "--artifact", "in", "-o", "x"])
        .code(6)
        .says("names it as an output");
}

#[test]
fn what_is_no_bundle_is_a_finding_also_for_other_programs() {
    let space = finished();
    let auditor = Auditor::trusting(&space);
    let full = full(&space);
    let mut first = full.clone();
    first[0] ^= 1;
    for (what, bytes) in [
        ("cut off", &full[..full.len() - 1]),
        ("empty", b""),
        ("text", b"no bundle"),
        ("another magic number", &first),
        ("with something after it", &[&full[..], b"\n"].concat()),
        ("another archive", &packed(b"x")),
    ] {
        auditor.verify(bytes, &[]).code(4).says("error[E-BUNDLE]");
        let report = report(&auditor.verify(bytes, &["--json"]).code(4));
        assert_eq!(report["findings"][0]["code"], "E-BUNDLE", "{what}");
        assert_eq!(report["findings"][0]["file"], "audit.tar.zst");
    }
    for length in (0..full.len()).step_by(1000) {
        auditor.verify(&full[..length], &[]).code(4).says("E-BUNDLE");
    }
}

#[test]
fn in_a_project_a_compressed_output_is_asked_about_as_any_other() {
    let space = Space::with(
        "stages: {a: {run: 'printf \"\\050\\265\\057\\375x\" > ${outputs.o}', outputs: {o: out/data.tar.zst}}}",
    );
    space.run(&[]).success();
    assert!(space.bytes("out/data.tar.zst").starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    space
        .madmall(["verify", "out/data.tar.zst"])
        .success()
        .says_not("E-BUNDLE");
}

#[test]
fn an_artifact_that_is_dense_beyond_reason_needs_the_auditors_word() {
    let space = Space::with("stages: {a: {run: 'head -c 30000000 /dev/zero > ${outputs.o}', outputs: {o: zeros}}}");
    space.run(&[]).success();
    let target = space.path("../audit.tar.zst");
    let ran = space
        .madmall(["bundle", "latest", "--artifacts", "-o", target.as_str()])
        .success();
    ran.says("--max-size");
    let auditor = Auditor::trusting(&space);
    let bytes = std::fs::read(target).expect("written");
    auditor.verify(&bytes, &[]).code(4).says("E-BUNDLE").says("--max-size");
    auditor.verify(&bytes, &["--max-size", "64MiB"]).success();
    auditor
        .verify(&bytes, &["--max-size", "20MiB"])
        .code(4)
        .says("E-BUNDLE");
    auditor.verify(&bytes, &["--max-size", "much"]).code(2);
}

#[test]
fn the_systems_tar_lists_a_bundle_and_what_it_unpacks_is_a_workspace() {
    let space = finished();
    let full = full(&space);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("a.tar");
    std::fs::write(&archive, unpacked(&full)).expect("written");
    let Ok(listed) = Command::new("tar").arg("-tf").arg(&archive).output() else {
        return;
    };
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
    let names: Vec<String> = String::from_utf8(listed.stdout)
        .expect("UTF-8")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(names, members(&full).into_keys().collect::<Vec<_>>());
    assert_eq!(names[0], "bundle.json");
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .current_dir(folder.path())
        .status();
    assert!(unpacked.expect("tar runs").success());
    let verified = space
        .command(["verify"])
        .current_dir(folder.path().join("workspace"))
        .output();
    Ran::of(&verified.expect("the binary runs")).success().says("out/b");
}

#[test]
fn the_list_is_what_its_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../schemas/bundle.schema.json")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let space = finished();
    space.remove("in");
    std::fs::remove_dir_all(space.path(".git")).expect("removed");
    let list: Value = serde_json::from_slice(&members(&full(&space))["bundle.json"]).expect("JSON");
    assert!(validator.is_valid(&list), "{list:#}");
    assert_eq!(list["leftOut"][0]["name"], "in");
    for (place, value) in [
        ("/version", Value::from(2)),
        ("/run", Value::from("../x")),
        ("/members/0/path", Value::from("/etc/passwd")),
        ("/members/0/kind", Value::from("link")),
        ("/members/0/size", Value::from(-1)),
        ("/members/0/sha256", Value::from("00")),
        ("/leftOut/0/why", Value::Null),
    ] {
        let mut other = list.clone();
        *other.pointer_mut(place).expect("it is there") = value;
        assert!(!validator.is_valid(&other), "{place}");
    }
}

#[test]
fn a_bundle_of_the_first_version_verifies_for_ever() {
    let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bundle-v1");
    let auditor = Auditor {
        folder: tempfile::tempdir().expect("a temporary folder"),
        key: std::fs::read_to_string(folder.join("public-key.pem")).expect("it is committed"),
    };
    let bytes = std::fs::read(folder.join("audit.tar.zst")).expect("it is committed");
    let report = report(&auditor.verify(&bytes, &["--json"]).success());
    for name in ["signature", "subject", "chain", "log"] {
        assert_eq!(report["assurance"][name], "held", "{name}");
    }
}
