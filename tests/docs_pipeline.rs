//! The examples in `docs/pipeline.md` are good.

mod common;

use common::Space;
use madmall::diagnostic::{Source, render};
use madmall::spec::{check, parse};

/// What stands between "```yaml" and "```".
fn examples() -> Vec<&'static str> {
    let page = include_str!("../docs/pipeline.md");
    page.split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("an end"))
        .collect()
}

#[test]
fn the_pipelines_resolve_without_a_warning() {
    let space = Space::new();
    for file in ["scripts/clean.py", "scripts/fit.py", "data/raw/a.csv"] {
        space.write(file, "x\n");
    }
    let pipelines = examples().into_iter().filter(|example| example.contains("\nstages:"));
    assert_eq!(pipelines.clone().count(), 2);
    for example in pipelines {
        space.write("pipelines/p.yaml", example);
        match space.resolve() {
            Ok(resolution) => assert!(
                resolution.warnings.is_empty(),
                "{}",
                render(&resolution.warnings, false)
            ),
            Err(faults) => panic!("{}", render(&faults.0, false)),
        }
    }
}

#[test]
fn the_stage_definition_is_taken() {
    let examples = examples();
    let last = examples.last().expect("there are some");
    let source = Source::new("stages/copy.yaml", *last);
    let (root, faults) = parse(&source);
    assert!(faults.is_empty(), "{}", render(&faults, false));
    let (_, faults) = check::definition(&source, &root.expect("a document"));
    assert!(faults.is_empty(), "{}", render(&faults, false));
}
