//! The forms in which `verify`, `fsck` and `explain` tell what they know.

use std::process::Command;

use crate::space::Space;

const ONE: &str = "stages: {a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out}}}";

fn finished() -> Space {
    let space = Space::with(ONE);
    space.write("in", "bytes");
    space.run(&[]).success();
    space
}

#[test]
fn what_a_failed_stage_read_is_still_a_final_artifact() {
    let space = Space::with(
        "stages:
  a: {run: 'echo hi > ${outputs.o}', outputs: {o: a.txt}}
  b: {run: 'false; cat ${inputs.i} > ${outputs.o}', inputs: {i: a.o}, outputs: {o: b.txt}}",
    );
    space.git(&["init", "-q"]);
    space.git(&["add", "pipeline.yaml", "madmall.yaml"]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.run(&[]).code(1);
    let verified = space.madmall(["verify"]).success();
    assert!(verified.out.contains("a.txt\n  made by stage `a`"), "{verified:?}");
    verified.says("no trusted receipt says that it succeeded with the definition that it has there");
}

#[test]
fn a_finding_is_a_command_of_a_github_runner_at_its_file() {
    let space = finished();
    let verdict = space.madmall(["verify", "--format", "github"]).success();
    assert!(
        verdict
            .out
            .starts_with("::notice title=madmall verify::verified: 2 receipts read"),
        "{}",
        verdict.out
    );
    space.write("out", "other");
    let verdict = space.madmall(["verify", "--format", "github"]).code(4);
    assert!(
        verdict.out.starts_with("::error file=out,title=E-DIGEST::was changed"),
        "{}",
        verdict.out
    );
    space.madmall(["verify", "--format", "github", "--json"]).code(2);
    space
        .madmall(["verify", "--format", "sarif"])
        .code(2)
        .says("github, junit");
}

#[test]
#[expect(clippy::print_stderr, reason = "says what was not tested")]
fn the_junit_document_is_xml_that_another_parser_reads() {
    let space = finished();
    space.write("out", "other & <more>");
    let verdict = space.madmall(["verify", "--format", "junit"]).code(4);
    space.write("report.xml", &verdict.out);
    let script = "import sys, xml.etree.ElementTree as e\n\
                  root = e.parse(sys.argv[1]).getroot()\n\
                  suite = root.find('testsuite')\n\
                  cases = suite.findall('testcase')\n\
                  assert int(suite.get('tests')) == len(cases)\n\
                  failed = [c for c in cases if c.find('failure') is not None]\n\
                  assert int(suite.get('failures')) == len(failed) == 2, failed\n\
                  print([c.get('classname') for c in failed])";
    let parsed = Command::new("python3")
        .args(["-c", script])
        .arg(space.path("report.xml"))
        .output();
    match parsed {
        Ok(parsed) => {
            let text = String::from_utf8_lossy(&parsed.stdout);
            assert_eq!(
                text,
                "['assurance', 'E-DIGEST']\n",
                "{}",
                String::from_utf8_lossy(&parsed.stderr)
            );
        }
        Err(_) => eprintln!("python3 is not installed: the document was not read by another parser"),
    }
}

#[test]
fn every_code_that_is_printed_can_be_explained() {
    let space = finished();
    space
        .madmall(["explain", "E-DIGEST"])
        .success()
        .says("no trusted receipt claims");
    space.madmall(["explain", "e-digest"]).success();
    space
        .madmall(["explain", "E-DIGETS"])
        .code(2)
        .says("there is a code `E-DIGEST`");
    space.madmall(["explain"]).success().says("W-STALE").says("E-LOG");
}

#[test]
fn fsck_names_the_damaged_object_and_what_to_do_and_changes_nothing() {
    let space = finished();
    space.madmall(["fsck"]).success().says("1 object is whole");
    let object = crate::space::files_below(&space.path(".madmall/cas")).remove(0);
    let path = format!(".madmall/cas/{object}");
    space.remove(&path);
    space.write(&path, "bytez");
    let before = space.snapshot();
    space
        .madmall(["fsck"])
        .code(4)
        .says("E-OBJECT")
        .says(&object)
        .says("rm .madmall/cas/");
    let json: serde_json::Value = serde_json::from_str(&space.madmall(["fsck", "--json"]).code(4).out).expect("JSON");
    assert_eq!((&json["exitCode"], &json["objects"]), (&4.into(), &0.into()));
    space.is_as(&before);
}
