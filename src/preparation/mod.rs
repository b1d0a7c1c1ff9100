//! How an event's features become the columns that a model weighs.
//!
//! What featurize does to a value (turns one out of range into a missing one, puts something in the place of what is
//! missing, scales, spreads categories over columns, multiplies columns) must be done in the same way when an event is
//! scored. So it is a value of its own: fitted by featurize, carried by the features file and by the model.
//!
//! ```text
//! {"categories":[{"levels":["F","M"],"of":{"feature":"sex"}}],
//!  "format":"madmall-preparation/v1",
//!  "interactions":[["sex=F","age"]],
//!  "numbers":[{"impute":51.5,"indicator":true,"key":"age","range":[0,120],"scaling":{"center":51.5,"scale":20}}]}
//! ```
//!
//! In this order:
//!
//! 1. A number outside its `range` is missing; so are null, a text, and what is not there. Booleans are 0 and 1.
//! 2. What is missing becomes `impute`; with `indicator`, the column `<key>=missing` is 1 where it was missing, else 0.
//! 3. With `scaling`, x becomes (x - center) / scale.
//! 4. A category is a column `<key>=<level>` for each level: 1 for its own, 0 for the others. A level that is not listed,
//!    and nothing at all, are 0 in all of them. A number counts as the text that spells it (RFC 8785).
//! 5. An interaction `[a, b]` is the column `a:b`, the product of the columns `a` and `b` as they are by then.
//!
//! Columns stand in the order of their names' bytes. Two columns of one name are refused.

mod file;
mod plan;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::file::PreparationFile;
pub use self::file::{FORMAT, PreparationError};
use self::plan::Plan;
pub(crate) use self::plan::{NumericPlace, Product, level_column, spelled};

/// The most columns that a preparation has.
pub const MAX_COLUMNS: usize = 4096;

/// The most levels that one category has.
pub const MAX_LEVELS: usize = 1024;

/// The longest key or level, in bytes.
pub const MAX_TEXT: usize = 1024;

/// Maps what an event holds to a row of numbers. Made by [`Preparation::new`] or read from JSON, and always whole: its
/// names are unique, its numbers finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PreparationFile", into = "PreparationFile")]
pub struct Preparation {
    numbers: Vec<Numeric>,
    categories: Vec<Categorical>,
    interactions: Vec<[String; 2]>,
    plan: Plan,
}

/// A feature that is a number, and what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numeric {
    /// The key in `payload.features`; the column is called the same.
    pub key: String,
    /// Which values are taken; any other is missing.
    #[serde(deserialize_with = "Option::deserialize")]
    pub range: Option<Range>,
    /// What stands in the place of what is missing.
    pub impute: f64,
    /// Whether a column of its own says that it was missing.
    pub indicator: bool,
    /// What is done last.
    #[serde(deserialize_with = "Option::deserialize")]
    pub scaling: Option<Scaling>,
}

/// The least and the greatest value that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range(pub f64, pub f64);

/// x becomes (x - center) / scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// What is subtracted.
    pub center: f64,
    /// What is divided by; positive.
    pub scale: f64,
}

/// Something with few values, and the values that have a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categorical {
    /// Where its value stands.
    pub of: Input,
    /// The values, sorted by their bytes, each once.
    pub levels: Vec<String>,
}

/// Where an event holds what columns are made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Input {
    /// A key in `payload.features`.
    #[serde(rename = "feature")]
    Feature(String),
    /// `source.kind`, or `source` where that is just a text.
    #[serde(rename = "source.kind")]
    SourceKind,
    /// `source.region`.
    #[serde(rename = "source.region")]
    SourceRegion,
}

/// What an event holds at an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing, or null.
    Missing,
    /// A number; booleans are 0 and 1.
    Number(f64),
    /// A text.
    Text(&'a str),
}

/// Why an event has no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// As many values are needed as there are inputs.
    #[error("{expected} values are prepared, not {found}")]
    Inputs {
        /// The number of inputs.
        expected: usize,
        /// The number of values.
        found: usize,
    },
    /// A scaled value or a product is beyond what a double can hold.
    #[error("column `{0}` is too large for a number")]
    NotFinite(String),
}

impl Preparation {
    /// Puts a preparation together. `numbers` and `categories` must be sorted by where their values stand, each once.
    ///
    /// # Errors
    ///
    /// [`PreparationError::Inconsistent`], which names what is wrong: two columns of one name, an interaction of no such
    /// column, a number that is not finite, too many columns or levels, an order that is not kept.
    pub fn new(
        numbers: Vec<Numeric>,
        categories: Vec<Categorical>,
        interactions: Vec<[String; 2]>,
    ) -> Result<Self, PreparationError> {
        let plan = Plan::new(&numbers, &categories, &interactions)?;
        Ok(Self {
            numbers,
            categories,
            interactions,
            plan,
        })
    }

    /// Each of `keys` (sorted by bytes, each once) as it is, missing as 0: what a model does that carries no preparation.
    ///
    /// # Errors
    ///
    /// As [`Preparation::new`].
    pub fn plain(keys: &[String]) -> Result<Self, PreparationError> {
        let numbers = keys.iter().map(|key| Numeric::plain(key)).collect();
        Self::new(numbers, Vec::new(), Vec::new())
    }

    /// The features that are numbers, sorted by key.
    #[must_use]
    pub fn numbers(&self) -> &[Numeric] {
        &self.numbers
    }

    /// The categories, sorted by input.
    #[must_use]
    pub fn categories(&self) -> &[Categorical] {
        &self.categories
    }

    /// The pairs of columns that are multiplied.
    #[must_use]
    pub fn interactions(&self) -> &[[String; 2]] {
        &self.interactions
    }

    /// What is needed of an event: the numbers, then the categories, in their order.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.plan.inputs
    }

    /// The names of the columns, sorted by bytes: a model's `feature_keys`.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.plan.columns
    }

    /// For each of [`Preparation::numbers`] where its columns stand.
    pub(crate) fn number_places(&self) -> &[NumericPlace] {
        &self.plan.numbers
    }

    /// For each of [`Preparation::categories`] where the columns of its levels stand.
    pub(crate) fn level_places(&self) -> impl Iterator<Item = &[usize]> {
        self.plan.levels.iter().map(|levels| levels.columns.as_slice())
    }

    /// For each of [`Preparation::interactions`] which columns are multiplied, and where the product stands.
    pub(crate) fn products(&self) -> &[Product] {
        &self.plan.products
    }

    /// Fills `row` with a number for each of [`Preparation::columns`] from a value for each of [`Preparation::inputs`].
    ///
    /// Allocates nothing once `row` has had its length. The numbers are bit for bit those that featurize writes for the
    /// same event.
    ///
    /// # Errors
    ///
    /// [`RowError`]; `row` then holds nothing of use.
    pub fn row(&self, values: &[Value<'_>], row: &mut Vec<f64>) -> Result<(), RowError> {
        let plan = &self.plan;
        if values.len() != plan.inputs.len() {
            return Err(RowError::Inputs {
                expected: plan.inputs.len(),
                found: values.len(),
            });
        }
        row.clear();
        row.resize(plan.columns.len(), 0.0);
        let (numbers, categories) = values.split_at(self.numbers.len());
        for ((number, place), value) in self.numbers.iter().zip(&plan.numbers).zip(numbers) {
            let known = number.known(*value);
            row[place.column] = number.prepare(known);
            if let Some(indicator) = place.indicator {
                row[indicator] = f64::from(u8::from(known.is_none()));
            }
        }
        for (category, (levels, value)) in self.categories.iter().zip(plan.levels.iter().zip(categories)) {
            if let Some(level) = levels.of(category, *value) {
                row[levels.columns[level]] = 1.0;
            }
        }
        for product in &plan.products {
            row[product.column] = multiply(row[product.factors[0]], row[product.factors[1]]);
        }
        match row.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(column) => Err(RowError::NotFinite(plan.columns[column].clone())),
        }
    }
}

impl Numeric {
    /// The feature `key` as it is, missing as 0.
    #[must_use]
    pub fn plain(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            range: None,
            impute: 0.0,
            indicator: false,
            scaling: None,
        }
    }

    /// The number that `value` is, unless that is missing.
    fn known(&self, value: Value<'_>) -> Option<f64> {
        match value {
            Value::Number(value) if self.range.is_none_or(|range| range.contains(value)) => Some(value),
            _ => None,
        }
    }

    /// What a number within the range becomes, or what is missing.
    #[must_use]
    pub fn prepare(&self, value: Option<f64>) -> f64 {
        let value = value.unwrap_or(self.impute);
        // One zero, so that what is equal has equal bytes.
        match self.scaling {
            None => value + 0.0,
            Some(Scaling { center, scale }) => (value - center) / scale + 0.0,
        }
    }
}

impl Range {
    /// Whether `value` is taken.
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        value >= self.0 && value <= self.1
    }
}

impl Input {
    /// As a user writes it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Feature(key) => key,
            Self::SourceKind => "source.kind",
            Self::SourceRegion => "source.region",
        }
    }
}

/// The value of an interaction.
pub(crate) fn multiply(a: f64, b: f64) -> f64 {
    a * b + 0.0
}
