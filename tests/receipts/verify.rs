//! Each finding, and that nothing can change unseen.

use camino::{Utf8Path, Utf8PathBuf};
use madmall::digest::Digests;
use madmall::receipt::statement::{Outcome, Resource, Role, Statement};
use madmall::receipt::trust::{Trust, TrustRoot};
use madmall::verify::What;
use madmall::verify::report::{Code, Report, State};
use proptest::prelude::{ProptestConfig, any, proptest};

use super::world::{World, codes, key, signed};

const RUN_FILE: &str = "runs/run-1.intoto.jsonl";

fn names(report: &Report, file: &str) -> bool {
    report.findings.iter().any(|f| f.file.as_deref() == Some(file))
}

fn file(path: &str) -> What {
    What::File(path.into())
}

#[test]
fn an_untouched_workspace_verifies_and_the_verdict_says_what_and_whose() {
    let report = World::after_a_run().verify(What::Everything);
    assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
    let [artifact] = &report.artifacts[..] else {
        panic!("one final artifact: {:?}", report.artifacts)
    };
    assert_eq!(artifact.path, "out.txt");
    assert_eq!(artifact.stage, "b");
    assert_eq!(artifact.sources.len(), 1);
    assert_eq!(artifact.sources[0].path, "in.txt");
    let a = report.assurance;
    assert_eq!([a.signature, a.subject, a.chain], [State::Held; 3]);
    assert_eq!(
        [a.log, a.pin, a.witness, a.commit, a.consent, a.rerun],
        [State::NotChecked; 6]
    );
    let text = report.render();
    assert!(
        text.starts_with("verified: 3 receipts read; trusted: your own key only\n"),
        "{text}"
    );
    assert!(
        text.contains("not checked: log, pin, witness, commit, consent, rerun"),
        "{text}"
    );
    let json = report.to_json();
    assert_eq!(json["assurance"]["commit"], "not-checked");
    assert_eq!(json["exitCode"], 0);
}

#[test]
fn an_output_with_other_bytes_is_e_digest_and_the_verdict_is_4() {
    let world = World::after_a_run();
    world.write("out.txt", "oUt");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["E-DIGEST"], 4), "{}", report.render());
    let finding = &report.findings[0];
    assert_eq!(finding.file.as_deref(), Some("out.txt"));
    assert_eq!(finding.expected, Some(Digests::of(b"out").sha256.to_string()));
    assert_eq!(finding.found, Some(Digests::of(b"oUt").sha256.to_string()));
    assert_eq!(report.assurance.subject, State::Failed);
    assert_eq!(codes(&world.verify(file("out.txt"))).1, 4);
    assert_eq!(codes(&world.verify(file("mid.txt"))).1, 0);
}

#[test]
fn an_absent_output_is_not_checked_unless_it_is_what_was_asked_for() {
    let world = World::after_a_run();
    world.remove("mid.txt");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
    assert!(report.not_checked.contains(&"`mid.txt` is not here".to_owned()));
    let report = world.verify(file("mid.txt"));
    assert_eq!(codes(&report).1, 6);
    assert!(names(&report, "mid.txt"));
    world.remove("out.txt");
    assert_eq!(codes(&world.verify(What::Everything)), (vec!["E-ABSENT"], 6));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_in_an_outputs_place_is_never_opened() {
    let world = World::after_a_run();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let target = elsewhere.path().join("out.txt");
    std::fs::write(&target, "out").expect("written");
    world.remove("out.txt");
    std::os::unix::fs::symlink(&target, world.path("out.txt")).expect("a link");
    assert_eq!(codes(&world.verify(What::Everything)), (vec!["E-FILE"], 4));
    world.remove("out.txt");
    std::fs::create_dir(world.path("out.txt")).expect("a folder");
    assert_eq!(codes(&world.verify(What::Everything)), (vec!["E-FILE"], 4));
}

#[test]
fn without_receipts_or_without_anybody_trusted_the_verdict_is_6_never_0() {
    assert_eq!(codes(&World::new().verify(What::Everything)), (vec!["E-ABSENT"], 6));
    let world = World::after_a_run();
    let report = world.verify_with(What::Everything, None, None, false);
    assert_eq!(report.exit_code().number(), 6, "{}", report.render());
    assert_eq!(codes(&report).0, ["E-ABSENT", "E-KEY", "W-FOREIGN"]);
}

#[test]
fn claims_by_an_unknown_key_are_6_and_with_a_named_key_4() {
    let world = World::after_a_run();
    let stranger = Trust::own_key(&key(2).public());
    let report = world.verify_with(What::Everything, Some(&stranger), None, false);
    assert_eq!(report.exit_code().number(), 6, "{}", report.render());
    assert!(codes(&report).0.contains(&"E-KEY"));
    let root = TrustRoot::Given {
        argument: "auditor.pem".to_owned(),
    };
    let named = Trust { root, ..stranger };
    let report = world.verify_with(What::Everything, Some(&named), None, false);
    assert_eq!(report.exit_code().number(), 4, "{}", report.render());
}

#[test]
fn receipts_of_strangers_on_which_nothing_rests_are_only_listed() {
    let world = World::after_a_run();
    world.run("run-2", "2026-11-23T10:15:00Z", &key(2));
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["W-FOREIGN"], 0), "{}", report.render());
    // A stranger's receipt for changed bytes does not make them good.
    world.write("out.txt", "forged");
    world.run("run-3", "2026-11-23T11:15:00Z", &key(2));
    let report = world.verify(What::Everything);
    assert_eq!(report.exit_code().number(), 4, "{}", report.render());
    assert!(names(&report, "out.txt"));
}

#[test]
fn a_strangers_run_that_is_asked_for_is_e_key_though_ones_own_claims_the_same() {
    let world = World::after_a_run();
    world.run("run-2", "2026-11-23T10:15:00Z", &key(2));
    let report = world.verify(What::Run("run-2".to_owned()));
    assert!(codes(&report).0.contains(&"E-KEY"), "{}", report.render());
    assert_eq!(report.exit_code().number(), 6);
}

#[test]
fn a_later_trusted_receipt_with_other_bytes_is_w_older() {
    let world = World::after_a_run();
    world.write("out.txt", "newer");
    world.run("run-2", "2026-11-23T10:15:00Z", &key(1));
    assert_eq!(codes(&world.verify(What::Everything)), (vec![], 0));
    world.write("out.txt", "out");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["W-OLDER"], 0), "{}", report.render());
    // The run whose bytes are no longer here cannot be compared in whole, but what is left of it can.
    let report = world.verify(What::Run("run-2".to_owned()));
    assert_eq!(codes(&report), (vec!["W-OLDER"], 0), "{}", report.render());
}

#[test]
fn a_receipt_or_a_run_can_be_asked_for() {
    let world = World::new();
    let run = world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    for what in [
        What::Run("run-1".to_owned()),
        What::Receipt(run.receipts()[1].id.to_hex()[..8].to_owned()),
    ] {
        let report = world.verify(what);
        assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
        assert!(report.artifacts.iter().any(|a| a.path == "out.txt"));
    }
    let absent = world.verify(What::Receipt("00000000".to_owned()));
    assert_eq!(absent.exit_code().number(), 6);
    let absent = world.verify(What::Run("run-9".to_owned()));
    assert_eq!(absent.exit_code().number(), 6);
}

#[test]
fn what_a_user_types_is_read_as_a_receipt_a_run_or_a_file() {
    let world = World::after_a_run();
    let root = world.workspace.root();
    let parse = |text: &str, folder: &Utf8Path| What::parse(text, &world.workspace, folder);
    let what = |text: &str| parse(text, root).expect("a question");
    assert_eq!(what("run-1"), What::Run("run-1".to_owned()));
    assert_eq!(what(RUN_FILE), What::Run("run-1".to_owned()));
    assert_eq!(what("out.txt"), file("out.txt"));
    assert_eq!(what("./x/../out.txt"), file("out.txt"));
    assert_eq!(what("absent.txt"), file("absent.txt"));
    assert_eq!(what("sha256:0123abcd"), What::Receipt("0123abcd".to_owned()));
    assert_eq!(what("0123abcd"), What::Receipt("0123abcd".to_owned()));
    let inside: Utf8PathBuf = root.join("runs");
    assert_eq!(parse("../out.txt", &inside).expect("a question"), file("out.txt"));
    assert!(parse("sha256:XYZ", root).is_err());
    assert!(parse("/etc/hosts", root).is_err());
    assert!(parse("../../out.txt", &inside).is_err());
}

#[test]
fn a_copy_is_known_by_its_content_and_a_stranger_is_not() {
    let world = World::after_a_run();
    world.write("elsewhere/copy.txt", "out");
    let report = world.verify(file("elsewhere/copy.txt"));
    assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
    assert_eq!(report.artifacts[0].stage, "b");
    world.write("other.txt", "other");
    let report = world.verify(file("other.txt"));
    assert_eq!(report.exit_code().number(), 6);
}

#[test]
fn a_source_or_a_pipeline_that_changed_since_is_w_stale() {
    let world = World::after_a_run();
    world.write("in.txt", "changed");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["W-STALE"], 0), "{}", report.render());
    assert!(report.findings[0].message.contains("stage `a`"));
    world.write("in.txt", "in");
    super::world::World::write(&world, super::world::PIPELINE, "v2");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["W-STALE"], 0), "{}", report.render());
    assert!(report.findings[0].message.contains("definition"));
}

#[test]
fn a_missing_run_file_on_which_another_rests_is_e_chain() {
    let world = World::new();
    let first = world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    // A second run in which only `b` ran again; `a` was up to date.
    let a = first.receipts()[0].clone();
    let mut b = first.receipts()[1].statement.clone();
    b.predicate.run_details.metadata.invocation_id = "run-2".to_owned();
    let b = signed(&b, &key(1));
    let run = super::world::run_statement(
        &[a, b.clone()],
        first.receipts()[2].statement.internal().made.clone(),
        "run-2",
        "2026-11-23T10:15:00Z",
    );
    let text = format!(
        "{}\n{}\n",
        b.envelope.to_line(),
        signed(&run, &key(1)).envelope.to_line()
    );
    world.write("runs/run-2.intoto.jsonl", text);
    assert_eq!(codes(&world.verify(What::Everything)), (vec![], 0));
    world.remove(RUN_FILE);
    let report = world.verify(What::Everything);
    assert_eq!(
        codes(&report),
        (vec!["E-CHAIN", "E-CHAIN", "W-STALE"], 4),
        "{}",
        report.render()
    );
    assert!(names(&report, "runs/run-2.intoto.jsonl"));
}

#[test]
fn links_that_do_not_fit_are_e_chain() {
    let world = World::new();
    let file = world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    let (a, b) = (&file.receipts()[0], &file.receipts()[1].statement);
    let changed = |change: &dyn Fn(&mut Resource)| -> Statement {
        let mut b = b.clone();
        let dependencies = &mut b.predicate.build_definition.resolved_dependencies;
        for dependency in dependencies.iter_mut() {
            if matches!(dependency.role(), Role::Input { .. }) {
                change(dependency);
            }
        }
        b
    };
    for (what, b) in [
        (
            "other digests",
            changed(&|d| *d = super::world::input("in", "mid.txt", &Digests::of(b"x"), Some(a))),
        ),
        (
            "another name",
            changed(&|d| *d = super::world::input("in", "mud.txt", &Digests::of(b"mid"), Some(a))),
        ),
        (
            "another receipt",
            changed(&|d| {
                let receipt = Some(Digests::of(b"nothing").sha256.to_string());
                d.annotations.madmall = Role::Input {
                    consent: None,
                    input: "in".to_owned(),
                    receipt,
                };
            }),
        ),
    ] {
        world.finish(
            vec![a.clone(), signed(&b, &key(1))],
            "run-1",
            "2026-11-23T09:15:00Z",
            &key(1),
        );
        let report = world.verify(What::Everything);
        assert_eq!(codes(&report).0[0], "E-CHAIN", "{what}: {}", report.render());
        assert_eq!(report.exit_code().number(), 4, "{what}");
        assert!(names(&report, RUN_FILE), "{what}");
    }
}

#[test]
fn a_trusted_receipt_that_rests_on_a_strangers_is_e_key() {
    let world = World::new();
    let file = world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    let a = signed(&file.receipts()[0].statement, &key(2));
    world.finish(
        vec![a, file.receipts()[1].clone()],
        "run-1",
        "2026-11-23T09:15:00Z",
        &key(1),
    );
    let report = world.verify(file_of_b());
    assert!(codes(&report).0.contains(&"E-KEY"), "{}", report.render());
    assert_eq!(report.exit_code().number(), 6);
}

fn file_of_b() -> What {
    file("out.txt")
}

#[test]
fn a_failed_stage_is_in_the_chain_and_its_log_may_be_thrown_away() {
    let world = World::after_a_run();
    let file = world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    let mut failed = file.receipts()[1].statement.clone();
    let log = ".madmall/output/run-2/b.log";
    let role = Role::Log { stage: "b".to_owned() };
    failed.subject = vec![Resource::file(log, &Digests::of(b"no"), role)];
    failed.predicate.build_definition.internal_parameters.madmall.outcome = Outcome::Exited(3);
    failed.predicate.run_details.metadata.invocation_id = "run-2".to_owned();
    let failed = signed(&failed, &key(1));
    let made = file.receipts()[2].statement.internal().made.clone();
    let mut run = super::world::run_statement(std::slice::from_ref(&failed), made, "run-2", "2026-11-23T10:15:00Z");
    let write = |run: &Statement| {
        let lines = [&failed, &signed(run, &key(1))].map(|receipt| receipt.envelope.to_line() + "\n");
        world.write("runs/run-2.intoto.jsonl", lines.concat());
    };
    write(&run);
    let report = world.verify(What::Everything);
    assert_eq!(
        codes(&report),
        (vec!["E-CHAIN"], 4),
        "a run with a failed stage did not succeed"
    );
    run.predicate.build_definition.internal_parameters.madmall.outcome = Outcome::Failed;
    write(&run);
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
    world.write(log, "no");
    assert_eq!(codes(&world.verify(What::Everything)), (vec![], 0));
    world.write(log, "yes");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["E-DIGEST"], 4));
    assert!(names(&report, log));
}

#[test]
fn a_file_that_only_looks_like_a_run_is_a_failure_and_others_are_none_of_ours() {
    let world = World::after_a_run();
    for (path, bytes) in [
        ("runs/copy.intoto.jsonl", world.read(RUN_FILE)),
        ("runs/empty.intoto.jsonl", Vec::new()),
        ("runs/text.intoto.jsonl", b"hello\n".to_vec()),
    ] {
        world.write(path, bytes);
        let report = world.verify(What::Everything);
        assert_eq!(report.exit_code().number(), 4, "{path}");
        assert!(names(&report, path), "{}", report.render());
        world.remove(path);
    }
    world.write("runs/.gitattributes", "* -text\n");
    world.write("runs/log/x/checkpoint-1", "x");
    assert_eq!(codes(&world.verify(What::Everything)), (vec![], 0));
}

#[test]
fn control_characters_in_names_never_reach_the_terminal() {
    let world = World::after_a_run();
    world.write("runs/a\u{1b}[31m\nverified.intoto.jsonl", "x");
    let text = world.verify(What::Everything).render();
    assert!(!text.contains('\u{1b}') && !text.contains("\nverified."), "{text}");
}

#[test]
fn a_hostile_folder_of_receipts_costs_bounded_work_and_is_said_to_be_one() {
    let world = World::after_a_run();
    world.write("runs/a.intoto.jsonl", "x\n".repeat(1000));
    world.write("runs/b.intoto.jsonl", "\n".repeat(300_000));
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report).1, 4);
    let messages = |file: &'static str| -> Vec<&str> {
        let findings = report.findings.iter().filter(|f| f.file.as_deref() == Some(file));
        findings.map(|finding| finding.message.as_str()).collect()
    };
    let many = messages("runs/a.intoto.jsonl");
    assert_eq!(many.len(), 101);
    assert!(many.contains(&"has 900 more lines that are wrong"));
    assert!(messages("runs/b.intoto.jsonl")[0].contains("more than 262144 lines"));
}

#[test]
fn every_code_has_a_section_in_the_page_of_errors() {
    let page = include_str!("../../docs/errors.md");
    for code in Code::ALL {
        assert!(page.contains(&format!("\n## {}\n", code.as_str())), "{}", code.as_str());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_of_a_receipt_or_an_output_changes_unseen(
        which in 0_usize..3, at in any::<proptest::sample::Index>(), flip in 1_u8..,
    ) {
        let world = World::after_a_run();
        let path = [RUN_FILE, "mid.txt", "out.txt"][which];
        let mut bytes = world.read(path);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        world.write(path, bytes);
        let report = world.verify(What::Everything);
        assert_eq!(report.exit_code().number(), 4, "{path} at {at} by {flip}: {}", report.render());
        assert!(names(&report, path), "{}", report.render());
    }

    #[test]
    fn no_end_of_a_run_file_is_lost_unseen(at in any::<proptest::sample::Index>()) {
        let world = World::after_a_run();
        let bytes = world.read(RUN_FILE);
        world.write(RUN_FILE, &bytes[..at.index(bytes.len())]);
        let report = world.verify(What::Everything);
        assert_eq!(report.exit_code().number(), 4, "{}", report.render());
        assert!(names(&report, RUN_FILE));
    }
}
