//! A model in the forms that other programs run.
//!
//! | form | is | numbers are |
//! | --- | --- | --- |
//! | [`js`] | an ES module without dependencies, with types for TypeScript | doubles |
//! | [`sql`] | a query for DuckDB | doubles |
//! | [`onnx`] | a graph for ONNX runtimes, opset 19 | doubles |
//! | [`pmml`] | a `RegressionModel` of PMML 4.4 | doubles |
//!
//! Each prepares an event's features as the model says and gives what [`crate::predict`] gives, but for the last bits, since each
//! adds up, and takes `exp`, in its own way. None checks an event or its consent. The bytes depend on the model alone.

pub mod js;
pub mod onnx;
pub mod pmml;
mod protobuf;
pub mod sql;

use std::borrow::Cow;

use super::{Model, ModelError};
use crate::preparation::{Input, Numeric, NumericPlace, Preparation, Product, spelled};

/// What wrote it.
const PRODUCER: &str = concat!("madmall ", env!("CARGO_PKG_VERSION"));

/// Why a model has no such form.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The form cannot hold it.
    #[error("{form} cannot hold {what}")]
    NotInForm {
        /// The form.
        form: &'static str,
        /// What it cannot hold.
        what: String,
    },
    /// The model has no preparation.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A model as steps, every column by its place in the model.
pub struct Recipe<'a> {
    model: &'a Model,
    preparation: Cow<'a, Preparation>,
}

/// A number of the event, and where it goes.
struct NumberStep<'a> {
    numeric: &'a Numeric,
    column: usize,
    /// The column that says that it was missing.
    indicator: Option<usize>,
}

/// A category of the event, and where it goes: each level and its column.
struct CategoryStep<'a> {
    of: &'a Input,
    levels: Vec<(&'a str, usize)>,
}

/// What is done to a column at last.
struct Term {
    weight: f64,
    /// Mean and scale, if the model standardises.
    standardise: Option<[f64; 2]>,
}

impl<'a> Recipe<'a> {
    /// Takes a model apart.
    ///
    /// # Errors
    ///
    /// [`ExportError::Model`] if it has too many columns to be prepared.
    pub fn of(model: &'a Model) -> Result<Self, ExportError> {
        Ok(Self {
            model,
            preparation: model.preparation()?,
        })
    }

    fn numbers(&self) -> impl Iterator<Item = NumberStep<'_>> {
        let places = self.preparation.number_places();
        let step = |(numeric, place): (_, &NumericPlace)| NumberStep {
            numeric,
            column: place.column,
            indicator: place.indicator,
        };
        self.preparation.numbers().iter().zip(places).map(step)
    }

    fn categories(&self) -> impl Iterator<Item = CategoryStep<'_>> {
        let categories = self.preparation.categories().iter();
        categories
            .zip(self.preparation.level_places())
            .map(|(category, places)| {
                let levels = category.levels.iter().map(String::as_str);
                CategoryStep {
                    of: &category.of,
                    levels: levels.zip(places.iter().copied()).collect(),
                }
            })
    }

    fn products(&self) -> &[Product] {
        self.preparation.products()
    }

    fn terms(&self) -> impl Iterator<Item = Term> {
        let standardisation = self.model.standardisation.as_ref();
        self.model.weights.iter().enumerate().map(move |(index, weight)| Term {
            weight: *weight,
            standardise: standardisation.map(|parts| [parts.means[index], parts.scales[index]]),
        })
    }
}

/// The number that a level spells, if a number counts as this level.
fn number_of(level: &str) -> Option<f64> {
    let number = level.parse::<f64>().ok().filter(|number| number.is_finite())?;
    (spelled(number).as_deref() == Some(level)).then_some(number)
}

#[cfg(test)]
mod tests;
