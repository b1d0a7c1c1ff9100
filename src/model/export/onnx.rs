//! A graph for ONNX runtimes: doubles in, doubles out (opset 19, IR version 9; <https://onnx.ai/onnx/repo-docs/IR.html>).
//!
//! Inputs: `numbers`, double `[events, numbers]`, where NaN says that a value is missing and booleans are 0 and 1; and if the model has
//! categories, `categories`, string `[events, categories]`, empty where nothing is known, numbers as the text that spells them
//! (RFC 8785). Which key stands where is in the metadata, as JSON: `madmall.numbers`, `madmall.categories`. Outputs: `log_odds`
//! and `probability`, double `[events, 1]`. The graph prepares values itself: range, impute, scaling, levels, products.

use serde_json::json;

use super::protobuf::Message;
use super::{CategoryStep, ExportError, NumberStep, PRODUCER, Recipe};
use crate::preparation::Scaling;

const INT64: u64 = 7;
const STRING: u64 = 8;
const DOUBLE: u64 = 11;

/// The model's bytes (`onnx.ModelProto`).
///
/// # Errors
///
/// [`ExportError::NotInForm`] if it has no columns, or a level that is empty.
pub fn model(recipe: &Recipe<'_>) -> Result<Vec<u8>, ExportError> {
    let not_in_form = |what: &str| ExportError::NotInForm {
        form: "ONNX",
        what: what.to_owned(),
    };
    if recipe.model.weights.is_empty() {
        return Err(not_in_form("a model without columns"));
    }
    if recipe
        .categories()
        .any(|step| step.levels.iter().any(|(level, _)| level.is_empty()))
    {
        return Err(not_in_form(
            "a level that is an empty text, for that says that nothing is known",
        ));
    }
    let mut graph = Graph::default();
    let mut inputs = Vec::new();
    let numbers: Vec<NumberStep<'_>> = recipe.numbers().collect();
    let categories: Vec<CategoryStep<'_>> = recipe.categories().collect();
    let mut columns = Columns::default();
    if !numbers.is_empty() {
        inputs.push(value_info("numbers", DOUBLE, numbers.len()));
        graph.numbers(&numbers, &mut columns);
    }
    if !categories.is_empty() {
        inputs.push(value_info("categories", STRING, categories.len()));
        graph.categories(&categories, &mut columns);
    }
    let row = graph.row(recipe, columns);
    graph.score(recipe, &row);
    let outputs = [value_info("log_odds", DOUBLE, 1), value_info("probability", DOUBLE, 1)];
    let body = Message::new()
        .messages(1, &graph.nodes)
        .text(2, "madmall")
        .messages(5, &graph.constants)
        .messages(11, &inputs)
        .messages(12, &outputs);
    let keys: Vec<&str> = numbers.iter().map(|step| step.numeric.key.as_str()).collect();
    let of: Vec<_> = categories.iter().map(|step| step.of).collect();
    let labels = &recipe.model.labels;
    let metadata = [
        ("madmall.numbers", json!(keys).to_string()),
        ("madmall.categories", json!(of).to_string()),
        ("madmall.positive", labels.positive.clone()),
        ("madmall.negative", labels.negative.clone()),
    ];
    let metadata = metadata.map(|(key, value)| Message::new().text(1, key).text(2, &value));
    let doc = "A logistic regression in doubles. NaN in `numbers` and an empty text in `categories` say that a value is missing. \
               Events and consent are not checked.";
    let whole = Message::new()
        .number(1, 9)
        .text(2, "madmall")
        .text(3, PRODUCER.trim_start_matches("madmall "))
        .text(6, doc)
        .message(7, &body)
        .message(8, &Message::new().text(1, "").number(2, 19))
        .messages(14, &metadata);
    Ok(whole.into_bytes())
}

/// Nodes and constants so far. A value is known by a name; each is made once.
#[derive(Default)]
struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
}

/// Tensors `[events, …]` that side by side have the columns, and for each of them which of the model's it is.
#[derive(Default)]
struct Columns {
    parts: Vec<String>,
    places: Vec<usize>,
}

impl Columns {
    fn push(&mut self, part: &str, places: impl IntoIterator<Item = usize>) {
        self.parts.push(part.to_owned());
        self.places.extend(places);
    }
}

impl Graph {
    /// Adds a node; gives its one output, which is called `name`.
    fn node(&mut self, operator: &str, inputs: &[&str], name: &str, attributes: &[(&str, u64)]) -> String {
        let node = inputs.iter().fold(Message::new(), |node, input| node.text(1, input));
        let whole_number = |(name, value): &(&str, u64)| Message::new().text(1, name).number(3, *value).number(20, 2);
        let attributes: Vec<Message> = attributes.iter().map(whole_number).collect();
        let node = node
            .text(2, name)
            .text(3, name)
            .text(4, operator)
            .messages(5, &attributes);
        self.nodes.push(node);
        name.to_owned()
    }

    /// Adds a constant of doubles; gives its name.
    fn doubles(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f64>) -> String {
        let bytes: Vec<u8> = values.into_iter().flat_map(f64::to_le_bytes).collect();
        self.constant(name, shape, DOUBLE, &bytes)
    }

    fn places(&mut self, name: &str, places: &[usize]) -> String {
        let bytes: Vec<u8> = places.iter().flat_map(|place| (*place as u64).to_le_bytes()).collect();
        self.constant(name, &[places.len()], INT64, &bytes)
    }

    fn constant(&mut self, name: &str, shape: &[usize], kind: u64, raw: &[u8]) -> String {
        let tensor = shaped(shape).number(2, kind).text(8, name).bytes(9, raw);
        self.constants.push(tensor);
        name.to_owned()
    }

    fn texts(&mut self, name: &str, texts: &[&str]) -> String {
        let tensor = shaped(&[1, texts.len()]).number(2, STRING);
        let tensor = texts
            .iter()
            .fold(tensor, |tensor, text| tensor.bytes(6, text.as_bytes()));
        self.constants.push(tensor.text(8, name));
        name.to_owned()
    }

    /// Range, impute, indicators, scaling.
    fn numbers(&mut self, steps: &[NumberStep<'_>], columns: &mut Columns) {
        let width = [1, steps.len()];
        let mut missing = self.node("IsNaN", &["numbers"], "absent", &[]);
        if steps.iter().any(|step| step.numeric.range.is_some()) {
            let range = |step: &NumberStep<'_>| {
                step.numeric
                    .range
                    .map_or([f64::NEG_INFINITY, f64::INFINITY], |range| [range.0, range.1])
            };
            let least = self.doubles("least", &width, steps.iter().map(|step| range(step)[0]));
            let most = self.doubles("most", &width, steps.iter().map(|step| range(step)[1]));
            let below = self.node("Less", &["numbers", &least], "below", &[]);
            let above = self.node("Greater", &["numbers", &most], "above", &[]);
            let outside = self.node("Or", &[&below, &above], "outside", &[]);
            missing = self.node("Or", &[&missing, &outside], "missing", &[]);
        }
        let impute = self.doubles("impute", &width, steps.iter().map(|step| step.numeric.impute));
        let mut value = self.node("Where", &[&missing, &impute, "numbers"], "imputed", &[]);
        if steps.iter().any(|step| step.numeric.scaling.is_some()) {
            let scaling = |step: &NumberStep<'_>| {
                step.numeric.scaling.unwrap_or(Scaling {
                    center: 0.0,
                    scale: 1.0,
                })
            };
            let center = self.doubles("center", &width, steps.iter().map(|step| scaling(step).center));
            let scale = self.doubles("scale", &width, steps.iter().map(|step| scaling(step).scale));
            let centred = self.node("Sub", &[&value, &center], "centred", &[]);
            value = self.node("Div", &[&centred, &scale], "scaled", &[]);
        }
        columns.push(&value, steps.iter().map(|step| step.column));
        let (which, indicators): (Vec<usize>, Vec<usize>) = (0..)
            .zip(steps)
            .filter_map(|(place, step)| Some((place, step.indicator?)))
            .unzip();
        if !which.is_empty() {
            let which = self.places("indicated", &which);
            let chosen = self.node("Gather", &[&missing, &which], "indicated_missing", &[("axis", 1)]);
            let part = self.node("Cast", &[&chosen], "indicators", &[("to", DOUBLE)]);
            columns.push(&part, indicators);
        }
    }

    fn categories(&mut self, steps: &[CategoryStep<'_>], columns: &mut Columns) {
        for (number, step) in steps.iter().enumerate() {
            let (levels, places): (Vec<&str>, Vec<usize>) = step.levels.iter().copied().unzip();
            let which = self.places(&format!("category_{number}_place"), &[number]);
            let value = self.node(
                "Gather",
                &["categories", &which],
                &format!("category_{number}"),
                &[("axis", 1)],
            );
            let levels = self.texts(&format!("category_{number}_levels"), &levels);
            let is_it = self.node("Equal", &[&value, &levels], &format!("category_{number}_is"), &[]);
            let part = self.node(
                "Cast",
                &[&is_it],
                &format!("category_{number}_columns"),
                &[("to", DOUBLE)],
            );
            columns.push(&part, places);
        }
    }

    /// All columns, in the model's order.
    fn row(&mut self, recipe: &Recipe<'_>, mut columns: Columns) -> String {
        let mut whole = self.beside(&columns.parts, "plain");
        let products = recipe.products();
        if !products.is_empty() {
            let place = |column: usize| {
                columns
                    .places
                    .iter()
                    .position(|place| *place == column)
                    .unwrap_or_default()
            };
            let factors = [0, 1].map(|side| {
                let places: Vec<usize> = products.iter().map(|step| place(step.factors[side])).collect();
                let which = self.places(&format!("factor_{side}_places"), &places);
                self.node("Gather", &[&whole, &which], &format!("factor_{side}"), &[("axis", 1)])
            });
            let part = self.node("Mul", &[&factors[0], &factors[1]], "products", &[]);
            columns.push(&part, products.iter().map(|step| step.column));
            whole = self.beside(&[whole, part], "whole");
        }
        if columns.places.is_sorted() {
            return whole;
        }
        let mut order: Vec<usize> = (0..columns.places.len()).collect();
        order.sort_by_key(|place| columns.places[*place]);
        let order = self.places("order", &order);
        self.node("Gather", &[&whole, &order], "columns", &[("axis", 1)])
    }

    fn beside(&mut self, parts: &[String], name: &str) -> String {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            [part] => part.to_owned(),
            _ => self.node("Concat", &parts, name, &[("axis", 1)]),
        }
    }

    fn score(&mut self, recipe: &Recipe<'_>, row: &str) {
        let mut row = row.to_owned();
        let width = recipe.model.weights.len();
        if recipe.model.standardisation.is_some() {
            let part = |which: usize| recipe.terms().filter_map(move |term| Some(term.standardise?[which]));
            let means = self.doubles("means", &[1, width], part(0));
            let scales = self.doubles("scales", &[1, width], part(1));
            let centred = self.node("Sub", &[&row, &means], "minus_mean", &[]);
            row = self.node("Div", &[&centred, &scales], "standardised", &[]);
        }
        let weights = self.doubles("weights", &[width, 1], recipe.model.weights.iter().copied());
        let bias = self.doubles("bias", &[1], [recipe.model.bias]);
        let sum = self.node("MatMul", &[&row, &weights], "weighted", &[]);
        let odds = self.node("Add", &[&sum, &bias], "log_odds", &[]);
        self.node("Sigmoid", &[&odds], "probability", &[]);
    }
}

/// The beginning of an `onnx.TensorProto`.
fn shaped(shape: &[usize]) -> Message {
    shape
        .iter()
        .fold(Message::new(), |tensor, length| tensor.number(1, *length as u64))
}

/// A tensor `[events, width]` that goes in or out.
fn value_info(name: &str, kind: u64, width: usize) -> Message {
    let events = Message::new().text(2, "events");
    let columns = Message::new().number(1, width as u64);
    let shape = Message::new().messages(1, &[events, columns]);
    let tensor = Message::new().number(1, kind).message(2, &shape);
    Message::new()
        .text(1, name)
        .message(2, &Message::new().message(1, &tensor))
}
