//! An ES module that scores events, and its types.

use serde_json::{Value, json};

use super::{PRODUCER, Recipe};
use crate::preparation::Input;

const CODE: &str = include_str!("score.js");
const TYPES: &str = include_str!("score.d.ts");

/// The module.
#[must_use]
pub fn module(recipe: &Recipe<'_>) -> String {
    format!(
        "// Written by {PRODUCER}. A logistic regression: score(event) gives the probability of MODEL.positive.\n\
         // It checks neither events nor consent. Numbers are doubles.\n\
         export const MODEL = Object.freeze({});\n{CODE}",
        literal(&tables(recipe))
    )
}

/// What goes beside it for TypeScript: `.d.ts` for `.js`, `.d.mts` for `.mjs`.
#[must_use]
pub fn types() -> &'static str {
    TYPES
}

fn tables(recipe: &Recipe<'_>) -> Value {
    let numbers = recipe.numbers().map(|step| {
        json!({
            "key": step.numeric.key,
            "range": step.numeric.range.map(|range| [range.0, range.1]),
            "impute": step.numeric.impute,
            "scaling": step.numeric.scaling.map(|scaling| [scaling.center, scaling.scale]),
            "column": step.column,
            "indicator": step.indicator,
        })
    });
    let categories = recipe.categories().map(|step| {
        let (levels, columns): (Vec<_>, Vec<_>) = step.levels.into_iter().unzip();
        let (of, key) = match step.of {
            Input::Feature(key) => ("feature", Some(key)),
            Input::SourceKind => ("kind", None),
            Input::SourceRegion => ("region", None),
        };
        json!({ "of": of, "key": key, "levels": levels, "columns": columns })
    });
    let products = recipe
        .products()
        .iter()
        .map(|step| json!([step.factors[0], step.factors[1], step.column]));
    let standardise = recipe.terms().map(|term| json!(term.standardise)).collect::<Vec<_>>();
    let model = recipe.model;
    json!({
        "positive": model.labels.positive,
        "negative": model.labels.negative,
        "columns": model.feature_keys,
        "weights": model.weights,
        "bias": model.bias,
        "standardise": model.standardisation.as_ref().map(|_| standardise),
        "numbers": numbers.collect::<Vec<_>>(),
        "categories": categories.collect::<Vec<_>>(),
        "products": products.collect::<Vec<_>>(),
    })
}

/// JSON that is an expression of ECMAScript with the same value, in a page too: no tag, no comment and no line ends in it.
fn literal(value: &Value) -> String {
    let mut text = String::new();
    for char in value.to_string().chars() {
        match char {
            '<' | '\u{7f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            _ => text.push(char),
        }
    }
    text
}
