//! No bytes make the reader of pipelines panic, and the order of a plan respects its edges.

mod common;

use camino::Utf8Path;
use common::{BUILTINS, Space};
use madmall::diagnostic::{Faults, render};
use madmall::plan::{InputSource, Resolution, resolve_with};
use madmall::workspace::Workspace;
use proptest::prelude::*;

const GOOD: &str = include_str!("malformed/workspace/good.yaml");

/// Words that matter to the reader.
const WORDS: &[&str] = &[
    "${params.x}",
    "${inputs.",
    "$${",
    "${",
    "}",
    "'",
    "\"",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "---\n",
    "- ",
    ": ",
    "\t",
    "\r",
    "\n",
    "\u{feff}",
    "\u{0}",
    "\u{202e}",
    "é",
    "[",
    "{",
    "]",
    "?",
    "#",
    "|\n",
    ">-\n",
    "../",
    "/",
    ".git/",
    "**/",
    "*",
    "{a,b}",
    "stages:",
    "uses: ",
    "run: ",
    "<<EOF\n",
    "$(",
    "$((",
    "`",
    "\\",
    "version: 1\n",
    "%YAML 1.2\n",
    "0x1",
    "1e999",
    "~",
];

fn resolved(workspace: &Workspace, space: &Space, text: &[u8]) -> Result<Resolution, Faults> {
    space.write("pipelines/p.yaml", text);
    resolve_with(workspace, Utf8Path::new("pipelines/p.yaml"), BUILTINS)
}

/// Draws whatever there is to be drawn; every message has a place and says what to do.
fn look_at(result: Result<Resolution, Faults>) -> Result<(), TestCaseError> {
    let diagnostics = match result {
        Ok(resolution) => resolution.warnings,
        Err(faults) => {
            prop_assert!(!faults.0.is_empty(), "refused without a word");
            faults.0
        }
    };
    for diagnostic in &diagnostics {
        prop_assert!(
            diagnostic.place().is_some() && !diagnostic.helps.is_empty(),
            "{diagnostic:?}"
        );
    }
    let plain = render(&diagnostics, false);
    prop_assert!(plain.chars().all(|c| !c.is_control() || c == '\n'), "{plain:?}");
    prop_assert_eq!(render(&diagnostics, true).is_empty(), diagnostics.is_empty());
    Ok(())
}

fn space() -> Space {
    let space = Space::new();
    space
        .write("data/a.csv", "x")
        .write("data/b.csv", "x")
        .write("raw.ndjson", "x");
    space.write("stages/s.yaml", GOOD);
    space
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_refused_or_resolved(bytes: Vec<u8>) {
        let space = space();
        look_at(resolved(&space.workspace(), &space, &bytes))?;
    }

    #[test]
    fn any_words_are_refused_or_resolved(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let space = space();
        look_at(resolved(&space.workspace(), &space, words.concat().as_bytes()))?;
    }

    #[test]
    fn any_change_of_a_good_pipeline_is_refused_or_resolved(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, prop::sample::select(WORDS)), 1..4),
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, word) in changes {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, word.chars());
        }
        let text: String = text.into_iter().collect();
        let space = space();
        look_at(resolved(&space.workspace(), &space, text.as_bytes()))?;
        space.write("stages/s.yaml", text);
        let user = b"version: 1\nname: p\nstages: { a: { uses: stages/s.yaml, outputs: { o: out/a } } }";
        look_at(resolved(&space.workspace(), &space, user))?;
    }

    #[test]
    fn the_order_respects_the_edges(
        // Stage `n` reads some of those before it in a shuffled order.
        edges in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..40),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let mut stages: Vec<String> = Vec::new();
        for (at, reads) in edges.iter().enumerate() {
            let inputs: Vec<String> = match at {
                0 => Vec::new(),
                _ => reads.iter().enumerate().map(|(n, index)| format!("i{n}: s{}", index.index(at))).collect(),
            };
            stages.push(format!("  s{at}: {{ run: x, inputs: {{ {} }}, outputs: {{ o: out/{at} }} }}\n", inputs.join(", ")));
        }
        let middle = shuffle.index(stages.len());
        stages.rotate_left(middle);
        let space = Space::new();
        let text = format!("version: 1\nname: p\nstages:\n{}", stages.concat());
        let plan = resolved(&space.workspace(), &space, text.as_bytes()).expect("a plan").plan;
        prop_assert_eq!(plan.stages.len(), edges.len());
        for (at, stage) in plan.stages.iter().enumerate() {
            for input in &stage.inputs {
                let InputSource::Output { stage: maker, .. } = &input.source else { panic!("no edge") };
                prop_assert!(maker.index() < at, "{}", stage.name);
            }
        }
    }
}

#[test]
fn the_good_pipeline_is_good() {
    let space = space();
    if let Err(faults) = resolved(&space.workspace(), &space, GOOD.as_bytes()) {
        panic!("{}", render(&faults.0, false));
    }
}
