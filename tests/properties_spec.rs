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
    "${matrix.x}",
    "${foreach.f.stem}",
    "matrix: { x: [1, 2] }",
    "foreach: { f: data/* }",
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_matrix_is_a_nested_loop(sizes in prop::collection::vec(1_usize..6, 1..5), shared in any::<prop::sample::Index>()) {
        // Values that are not in the order of their texts.
        let axes: Vec<(String, Vec<String>)> = (0..)
            .zip(&sizes)
            .map(|(at, size)| (format!("x{at}"), (0..*size).map(|value| format!("{}", (value * 7 + 3) % 11)).collect()))
            .collect();
        let mut wanted: Vec<Vec<String>> = vec![Vec::new()];
        for (_, values) in &axes {
            let longer = |begin: &Vec<String>| -> Vec<Vec<String>> {
                values.iter().map(|value| [begin.as_slice(), std::slice::from_ref(value)].concat()).collect()
            };
            wanted = wanted.iter().flat_map(longer).collect();
        }
        let matrix: Vec<String> = axes.iter().map(|(name, values)| format!("{name}: [{}]", values.join(", "))).collect();
        let path: Vec<String> = axes.iter().map(|(name, _)| format!("${{matrix.{name}}}")).collect();
        // One reader has some of the axes, one all of them in another order, one none.
        let (some, path) = (shared.index(axes.len()), path.join("-"));
        let mut turned = matrix.clone();
        turned.rotate_left(some);
        let text = format!(
            "version: 1\nname: p\nstages:\n  a: {{ run: x, matrix: {{ {} }}, outputs: {{ o: 'a/{path}' }} }}\n  \
             own: {{ run: x, matrix: {{ {} }}, inputs: {{ i: a }}, outputs: {{ o: 'own/{path}' }} }}\n  \
             all: {{ argv: [x, '${{inputs.i}}'], inputs: {{ i: a }}, outputs: {{ o: all }} }}\n",
            matrix.join(", "), turned.join(", "),
        );
        let space = Space::new();
        let plan = resolved(&space.workspace(), &space, text.as_bytes()).expect("a plan").plan;
        prop_assert_eq!(plan.stages.len(), 2 * wanted.len() + 1);
        let name = |values: &Vec<String>| -> String {
            let pairs: Vec<String> = axes.iter().zip(values).map(|((axis, _), value)| format!("{axis}={value}")).collect();
            format!("a[{}]", pairs.join(","))
        };
        let names: Vec<String> = wanted.iter().map(name).collect();
        let made: Vec<&str> = plan.stages.iter().map(|s| s.name.as_str()).filter(|name| name.starts_with("a[")).collect();
        prop_assert_eq!(&made, &names);
        let paths = wanted.iter().map(|values| format!("a/{}", values.join("-")));
        let argv: Vec<String> = std::iter::once("x".to_owned()).chain(paths).collect();
        for stage in &plan.stages {
            let makers: Vec<&str> = stage.reads_from().iter().map(|maker| plan.stages[maker.index()].name.as_str()).collect();
            if stage.name == "all" {
                prop_assert_eq!(&stage.command, &madmall::plan::Command::Argv(argv.clone()));
                prop_assert_eq!(makers.len(), wanted.len());
            } else if stage.name.starts_with("own") {
                prop_assert_eq!(makers, [stage.outputs[0].path.as_str().replace("own/", "")].iter().map(|values| {
                    name(&values.split('-').map(str::to_owned).collect())
                }).collect::<Vec<_>>());
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
