//! A query for DuckDB that scores a table of events.
//!
//! Names of the query's own columns are numbers with a letter; what the model has in texts stands in literals alone, so that no key
//! can be anything else. Numbers are written with an exponent, because `0.1` is a decimal to DuckDB and `1e-1` a double.

use std::fmt::Write as _;

use super::{NumberStep, PRODUCER, Recipe, number_of};
use crate::preparation::Input;

/// More terms in one sum would be nested too deep for the parser: they are added up in groups.
const GROUP: usize = 200;

/// The query.
#[must_use]
pub fn query(recipe: &Recipe<'_>) -> String {
    let mut text = format!(
        "-- Written by {PRODUCER}: a logistic regression for DuckDB, in doubles. It checks neither events nor consent.\n\
         -- It reads a table or view called events, with event_id VARCHAR, source JSON, payload JSON, for example\n\
         --   CREATE VIEW events AS SELECT * FROM read_json('events.ndjson', format = 'newline_delimited',\n\
         --     columns = {{event_id: 'VARCHAR', source: 'JSON', payload: 'JSON'}});\n"
    );
    let layers = [
        raw(recipe),
        held(recipe),
        columns(recipe),
        products(recipe),
        total(recipe),
    ];
    let names = ["events", "raw", "held", "plain", "whole", "total"];
    for (number, (layer, names)) in layers.iter().zip(names.windows(2)).enumerate() {
        let with = if number == 0 { "WITH" } else { "," };
        let (from, name) = (names[0], names[1]);
        let _ = writeln!(
            text,
            "{with} {name} AS (SELECT\n    {}\n  FROM {from})",
            layer.join(",\n    ")
        );
    }
    let _ = write!(
        text,
        "SELECT event_id, z AS log_odds, {} AS positive,\n  CASE WHEN z >= 0 THEN 1e0 / (1e0 + exp(-z)) ELSE exp(z) / (1e0 + exp(z)) END AS probability\nFROM (SELECT event_id, CASE WHEN isfinite(z) THEN z ELSE error('the weighted sum is beyond a double') END AS z FROM total);\n",
        literal(&recipe.model.labels.positive)
    );
    text
}

/// What the event holds: numbers, and texts where they may be levels.
fn raw(recipe: &Recipe<'_>) -> Vec<String> {
    let mut layer = vec!["event_id".to_owned()];
    for (n, step) in recipe.numbers().enumerate() {
        layer.push(format!("{} AS n{n}", number_at(&step.numeric.key)));
    }
    for (k, step) in recipe.categories().enumerate() {
        let text = match step.of {
            Input::Feature(key) => {
                layer.push(format!("{} AS m{k}", number_at(key)));
                let path = path(key);
                format!("CASE WHEN json_type(payload, {path}) = 'VARCHAR' THEN json_extract_string(payload, {path}) END")
            }
            Input::SourceKind => "CASE WHEN json_type(source) = 'VARCHAR' THEN json_extract_string(source, '$') WHEN json_type(source, '/kind') = 'VARCHAR' THEN json_extract_string(source, '/kind') END".to_owned(),
            Input::SourceRegion => "CASE WHEN json_type(source, '/region') = 'VARCHAR' THEN json_extract_string(source, '/region') END".to_owned(),
        };
        layer.push(format!("{text} AS k{k}"));
    }
    layer
}

/// Numbers that are in their range.
fn held(recipe: &Recipe<'_>) -> Vec<String> {
    let mut layer = vec!["*".to_owned()];
    for (n, step) in recipe.numbers().enumerate() {
        layer.push(match step.numeric.range {
            None => format!("n{n} AS h{n}"),
            Some(range) => format!(
                "CASE WHEN n{n} >= {} AND n{n} <= {} THEN n{n} END AS h{n}",
                number(range.0),
                number(range.1)
            ),
        });
    }
    layer
}

/// Every column but the products.
fn columns(recipe: &Recipe<'_>) -> Vec<String> {
    let mut layer = vec!["event_id".to_owned()];
    for (
        n,
        NumberStep {
            numeric,
            column,
            indicator,
        },
    ) in recipe.numbers().enumerate()
    {
        let value = format!("coalesce(h{n}, {})", number(numeric.impute));
        layer.push(match numeric.scaling {
            None => format!("{value} AS x{column}"),
            Some(scaling) => format!(
                "(({value} - {}) / {}) AS x{column}",
                number(scaling.center),
                number(scaling.scale)
            ),
        });
        if let Some(column) = indicator {
            layer.push(format!("CASE WHEN h{n} IS NULL THEN 1e0 ELSE 0e0 END AS x{column}"));
        }
    }
    for (k, step) in recipe.categories().enumerate() {
        let has_numbers = matches!(step.of, Input::Feature(_));
        for (level, column) in step.levels {
            let mut is_it = format!("k{k} = {}", literal(level));
            if let Some(spelled) = number_of(level).filter(|_| has_numbers) {
                let _ = write!(is_it, " OR m{k} = {}", number(spelled));
            }
            layer.push(format!("CASE WHEN {is_it} THEN 1e0 ELSE 0e0 END AS x{column}"));
        }
    }
    layer
}

fn products(recipe: &Recipe<'_>) -> Vec<String> {
    let mut layer = vec!["*".to_owned()];
    layer.extend(recipe.products().iter().map(|step| {
        let [a, b] = step.factors;
        format!("(x{a} * x{b}) AS x{}", step.column)
    }));
    layer
}

/// The weighted sum, in the order of the columns; in groups if there are many.
fn total(recipe: &Recipe<'_>) -> Vec<String> {
    let term = |(column, term): (usize, super::Term)| match term.standardise {
        None => format!("{} * x{column}", number(term.weight)),
        Some([mean, scale]) => format!(
            "{} * ((x{column} - {}) / {})",
            number(term.weight),
            number(mean),
            number(scale)
        ),
    };
    let terms: Vec<String> = recipe.terms().enumerate().map(term).collect();
    let bias = number(recipe.model.bias);
    let sum = match terms.len() {
        0 => format!("0e0 + {bias}"),
        1..=GROUP => format!("{} + {bias}", terms.join("\n      + ")),
        _ => {
            let groups: Vec<String> = terms
                .chunks(GROUP)
                .map(|group| format!("({})", group.join(" + ")))
                .collect();
            format!("{} + {bias}", groups.join("\n      + "))
        }
    };
    vec!["event_id".to_owned(), format!("{sum} AS z")]
}

/// The number at a feature, or null; what is no number is null.
fn number_at(key: &str) -> String {
    let path = path(key);
    format!(
        "CASE json_type(payload, {path}) WHEN 'BOOLEAN' THEN CAST(CAST(json_extract(payload, {path}) AS BOOLEAN) AS DOUBLE) \
         WHEN 'DOUBLE' THEN CAST(json_extract(payload, {path}) AS DOUBLE) WHEN 'UBIGINT' THEN CAST(json_extract(payload, {path}) AS DOUBLE) \
         WHEN 'BIGINT' THEN CAST(json_extract(payload, {path}) AS DOUBLE) END"
    )
}

/// Where a feature stands in the payload: a JSON pointer (RFC 6901).
fn path(key: &str) -> String {
    literal(&format!("/features/{}", key.replace('~', "~0").replace('/', "~1")))
}

/// A double, to the last bit.
fn number(value: f64) -> String {
    format!("({value:e})")
}

/// A text in quotes. A NUL would end the query for some readers.
fn literal(text: &str) -> String {
    let parts: Vec<String> = text
        .split('\0')
        .map(|part| format!("'{}'", part.replace('\'', "''")))
        .collect();
    match parts.len() {
        1 => parts.concat(),
        _ => format!("({})", parts.join(" || chr(0) || ")),
    }
}
