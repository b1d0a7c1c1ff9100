//! PMML 4.4: a `RegressionModel` with the logit as its link (<https://dmg.org/pmml/v4-4-1/Regression.html>).
//!
//! A field for each input of the model: numbers as doubles (booleans as 0 and 1), categories as strings; a field that is missing is
//! missing. Derived fields do what the preparation says.

use std::fmt::Write as _;

use super::{ExportError, PRODUCER, Recipe};
use crate::markup::escape_with;
use crate::preparation::Input;

/// Indentation of what a derived field holds.
const DERIVED: &str = "      <DerivedField optype=\"continuous\" dataType=\"double\"";

/// The document.
///
/// # Errors
///
/// [`ExportError::NotInForm`] if a name is empty or holds a character that XML 1.0 has not, or two inputs have one name.
pub fn document(recipe: &Recipe<'_>) -> Result<String, ExportError> {
    let names = Names::of(recipe)?;
    let model = recipe.model;
    let (positive, negative) = (escaped(&model.labels.positive)?, escaped(&model.labels.negative)?);
    let target = &names.target;
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PMML xmlns=\"http://www.dmg.org/PMML-4_4\" version=\"4.4\">\n  \
         <Header description=\"A logistic regression, in doubles. Events and consent are not checked.\">\n    \
         <Application name=\"madmall\" version=\"{}\"/>\n  </Header>\n  <DataDictionary>\n",
        PRODUCER.trim_start_matches("madmall ")
    );
    for (name, is_number) in &names.inputs {
        let kind = match is_number {
            true => "optype=\"continuous\" dataType=\"double\"",
            false => "optype=\"categorical\" dataType=\"string\"",
        };
        let _ = writeln!(text, "    <DataField name=\"{name}\" {kind}/>");
    }
    let _ = write!(
        text,
        "    <DataField name=\"{target}\" optype=\"categorical\" dataType=\"string\">\n      <Value value=\"{negative}\"/>\n      \
         <Value value=\"{positive}\"/>\n    </DataField>\n  </DataDictionary>\n  <RegressionModel functionName=\"classification\" \
         normalizationMethod=\"logit\">\n    <MiningSchema>\n"
    );
    for (name, _) in &names.inputs {
        let _ = writeln!(text, "      <MiningField name=\"{name}\"/>");
    }
    let _ = write!(
        text,
        "      <MiningField name=\"{target}\" usageType=\"target\"/>\n    </MiningSchema>\n    <Output>\n      \
         <OutputField name=\"{}probability\" optype=\"continuous\" dataType=\"double\" feature=\"probability\" value=\"{positive}\"/>\n    \
         </Output>\n    <LocalTransformations>\n",
        names.prefix
    );
    derive(recipe, &names, &mut text)?;
    let _ = write!(
        text,
        "    </LocalTransformations>\n    <RegressionTable intercept=\"{}\" targetCategory=\"{positive}\">\n",
        number(model.bias)
    );
    for (column, term) in recipe.terms().enumerate() {
        let name = match term.standardise {
            None => names.column(column),
            Some(_) => format!("{}standardised {column}", names.prefix),
        };
        let weight = number(term.weight);
        let _ = writeln!(
            text,
            "      <NumericPredictor name=\"{name}\" coefficient=\"{weight}\"/>"
        );
    }
    let _ = write!(
        text,
        "    </RegressionTable>\n    <RegressionTable intercept=\"0\" targetCategory=\"{negative}\"/>\n  </RegressionModel>\n</PMML>\n"
    );
    Ok(text)
}

/// Names of fields, escaped. Those of our own begin with a prefix that no input begins with.
struct Names {
    /// The numbers, then the categories; and whether it is a number.
    inputs: Vec<(String, bool)>,
    prefix: String,
    target: String,
}

impl Names {
    fn of(recipe: &Recipe<'_>) -> Result<Self, ExportError> {
        let inputs = recipe.preparation.inputs();
        let numbers = recipe.preparation.numbers().len();
        let mut sorted: Vec<&str> = inputs.iter().map(Input::name).collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(not_in_form(format!("two fields that are called `{}`", pair[0])));
        }
        if sorted.first().is_some_and(|name| name.is_empty()) {
            return Err(not_in_form("a field without a name".to_owned()));
        }
        let mut prefix = "madmall ".to_owned();
        while inputs.iter().any(|input| input.name().starts_with(&prefix)) {
            prefix.push('_');
        }
        let escape = |(place, input): (usize, &Input)| Ok((escaped(input.name())?, place < numbers));
        Ok(Self {
            inputs: inputs
                .iter()
                .enumerate()
                .map(escape)
                .collect::<Result<_, ExportError>>()?,
            target: format!("{prefix}label"),
            prefix,
        })
    }

    fn column(&self, column: usize) -> String {
        format!("{}column {column}", self.prefix)
    }
}

/// The derived fields: one for each column, and those that are standardised.
fn derive(recipe: &Recipe<'_>, names: &Names, text: &mut String) -> Result<(), ExportError> {
    let mut field = |name: &str, expression: &str| {
        let _ = writeln!(text, "{DERIVED} name=\"{name}\">{expression}</DerivedField>");
    };
    let mut inputs = names
        .inputs
        .iter()
        .map(|(name, _)| format!("<FieldRef field=\"{name}\"/>"));
    let mut next = || inputs.next().unwrap_or_default();
    for step in recipe.numbers() {
        let (input, numeric) = (next(), step.numeric);
        let mut value = input.clone();
        let mut indicator = "<Constant dataType=\"double\">0</Constant>".to_owned();
        if let Some(range) = numeric.range {
            for (test, bound) in [("lessThan", range.0), ("greaterThan", range.1)] {
                let is_outside = apply(test, &[&input, &constant(bound)]);
                value = apply("if", &[&is_outside, &constant(numeric.impute), &value]);
                indicator = apply("if", &[&is_outside, &constant(1.0), &indicator]);
            }
        }
        let is_missing = apply("isMissing", &[&input]);
        value = apply("if", &[&is_missing, &constant(numeric.impute), &value]);
        if let Some(scaling) = numeric.scaling {
            let centred = apply("-", &[&value, &constant(scaling.center)]);
            value = apply("/", &[&centred, &constant(scaling.scale)]);
        }
        field(&names.column(step.column), &value);
        if let Some(column) = step.indicator {
            field(
                &names.column(column),
                &apply("if", &[&is_missing, &constant(1.0), &indicator]),
            );
        }
    }
    for step in recipe.categories() {
        let input = next();
        let is_missing = apply("isMissing", &[&input]);
        for (level, column) in step.levels {
            let level = format!("<Constant dataType=\"string\">{}</Constant>", escaped(level)?);
            let is_it = apply("equal", &[&input, &level]);
            let known = apply("if", &[&is_it, &constant(1.0), &constant(0.0)]);
            field(
                &names.column(column),
                &apply("if", &[&is_missing, &constant(0.0), &known]),
            );
        }
    }
    let reference = |column: usize| format!("<FieldRef field=\"{}\"/>", names.column(column));
    for step in recipe.products() {
        let [a, b] = step.factors.map(reference);
        field(&names.column(step.column), &apply("*", &[&a, &b]));
    }
    for (column, term) in recipe.terms().enumerate() {
        if let Some([mean, scale]) = term.standardise {
            let centred = apply("-", &[&reference(column), &constant(mean)]);
            let name = format!("{}standardised {column}", names.prefix);
            field(&name, &apply("/", &[&centred, &constant(scale)]));
        }
    }
    Ok(())
}

fn apply(function: &str, arguments: &[&str]) -> String {
    format!("<Apply function=\"{function}\">{}</Apply>", arguments.concat())
}

fn constant(value: f64) -> String {
    format!("<Constant dataType=\"double\">{}</Constant>", number(value))
}

/// The shortest text that reads back as the same double.
fn number(value: f64) -> String {
    ryu_js::Buffer::new().format_finite(value).replace("e+", "e")
}

fn not_in_form(what: String) -> ExportError {
    ExportError::NotInForm { form: "PMML", what }
}

/// A text for an attribute or an element.
fn escaped(text: &str) -> Result<String, ExportError> {
    let mut safe = String::new();
    escape_with(&mut safe, text, |safe, char| match char {
        // A reader would make spaces of the first three.
        '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' => {
            let _ = write!(safe, "&#{};", u32::from(char));
            Ok(())
        }
        _ => Err(not_in_form(format!("the character U+{:04X}", u32::from(char)))),
    })?;
    Ok(safe)
}
