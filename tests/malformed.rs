//! Every malformed pipeline gives a message with a position and advice.
//!
//! `tests/malformed/<case>.yaml` is a pipeline in the workspace `tests/malformed/workspace`; `<case>.txt` is all that is
//! said about it. `MADMALL_OVERWRITE=1 cargo test --test malformed` writes these anew; read what changed.

mod common;

use camino::{Utf8Path, Utf8PathBuf};
use common::Space;
use madmall::diagnostic::{Diagnostic, Severity, render};

fn cases_folder() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed")
}

/// The names of all cases, sorted.
fn cases() -> Vec<String> {
    let entries = cases_folder().read_dir_utf8().expect("the cases");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// A workspace with the pipeline of the case.
fn space(case: &str) -> Space {
    let space = Space::new();
    let workspace = cases_folder().join("workspace");
    for folder in ["data", "plain", "stages"] {
        for entry in workspace.join(folder).read_dir_utf8().expect("a folder") {
            let path = entry.expect("an entry").into_path();
            let name = path.strip_prefix(&workspace).expect("below it");
            space.write(name.as_str(), std::fs::read(&path).expect("a file"));
        }
    }
    space.write("stages/latin1.yaml", b"version: 1\nname: caf\xe9\n");
    space.link("data/link-out", "/usr");
    let pipeline = std::fs::read(cases_folder().join(format!("{case}.yaml"))).expect("the pipeline");
    space.write("pipelines/p.yaml", pipeline);
    space
}

fn faults(case: &str) -> Vec<Diagnostic> {
    match space(case).resolve() {
        Ok(_) => panic!("{case} is taken for a good pipeline"),
        Err(faults) => faults.0,
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "snapshots are written by hand, and kept in git"
)]
fn every_case_is_said_as_its_snapshot_has_it() {
    let overwrite = std::env::var_os("MADMALL_OVERWRITE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let said = render(&faults(&case), false);
        let path = cases_folder().join(format!("{case}.txt"));
        if overwrite {
            std::fs::write(&path, &said).expect("written");
        } else if std::fs::read_to_string(&path).unwrap_or_default() != said {
            wrong.push(format!("--- {case}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fault_has_a_position_and_advice() {
    for case in cases() {
        for fault in faults(&case) {
            let (file, position) = fault.place().expect("a file");
            assert!(!file.is_empty() && !file.starts_with('/'), "{case}: {file}");
            let position = position.unwrap_or_else(|| panic!("{case} has no position: {}", fault.message));
            assert!(position.line >= 1 && position.column >= 1, "{case}");
            assert!(!fault.helps.is_empty(), "{case} has no advice: {}", fault.message);
            assert!(fault.helps.iter().all(|help| !help.is_empty()), "{case}");
            let said = render(std::slice::from_ref(&fault), false);
            let place = format!("--> {file}:{}:{}\n", position.line, position.column);
            assert!(said.contains(&place), "{case}: `{place}` is not in\n{said}");
            assert!(said.contains("\nhelp: "), "{case}: {said}");
        }
    }
}

#[test]
fn every_case_has_an_error_of_its_own() {
    let cases = cases();
    assert!(cases.len() >= 45, "{} cases", cases.len());
    for case in cases {
        let errors = faults(&case)
            .iter()
            .filter(|fault| fault.severity == Severity::Error)
            .count();
        assert!(errors > 0, "{case}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let messages: Vec<String> = faults("many-at-once").into_iter().map(|fault| fault.message).collect();
    assert_eq!(
        messages,
        [
            "unknown field `purpos`",
            "no stage produces `nowhere`, and no such file exists",
            "the path is absolute, so it leads out of the workspace",
            "unknown field `sandbx`",
            "duplicate key `b`",
        ]
    );
}

#[test]
fn files_that_are_too_large_or_too_deep_are_refused_quickly() {
    let padding = format!("version: 1\n#{}\n", "x".repeat(17 << 20));
    let deep_flow = format!("version: 1\nname: p\nparams: {{ x: {} }}\n", "[".repeat(100_000));
    let deep_block = format!("version: 1\nname: p\nparams:\n  x:\n    {}1\n", "- ".repeat(100_000));
    for (text, wanted) in [
        (padding.as_str(), "larger than"),
        (&deep_flow, "nested deeper"),
        (&deep_block, "nested deeper"),
        ("\u{feff}", "empty"),
    ] {
        let space = Space::new();
        space.write("pipelines/p.yaml", text);
        let said = render(&space.resolve().expect_err("refused").0, false);
        assert!(said.contains(wanted), "{said}");
        assert!(said.contains("pipelines/p.yaml") && said.contains("help: "), "{said}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_where_they_stand() {
    let space = Space::new();
    space.write("pipelines/p.yaml", b"version: 1\nname: \xff\n");
    let said = render(&space.resolve().expect_err("refused").0, false);
    assert!(said.contains("pipelines/p.yaml:2:7"), "{said}");
}

#[test]
fn a_pipeline_that_is_not_there_is_named_with_the_nearest_one() {
    let space = Space::new();
    space.write("pipelines/q.yaml", "version: 1\n");
    let said = render(&space.resolve().expect_err("refused").0, false);
    assert_eq!(
        said,
        "error: there is no pipeline file `pipelines/p.yaml`\nhelp: did you mean \
         `pipelines/q.yaml`?\n"
    );
}

#[test]
fn a_name_in_a_pattern_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let space = space("glob-finds-nothing");
    let name = std::ffi::OsStr::from_bytes(b"\xff.parquet");
    std::fs::File::create(space.workspace().root().join("data").as_std_path().join(name)).expect("a file");
    let said = render(&space.resolve().expect_err("refused").0, false);
    assert!(
        said.contains("is not UTF-8") && said.contains("pipelines/p.yaml:4:"),
        "{said}"
    );
}
