//! The preparation as canonical JSON.

use serde::{Deserialize, Serialize};

use super::{Categorical, Numeric, Preparation};
use crate::json::{JsonError, Limits, parse_strict};

/// The format's name and version.
pub const FORMAT: &str = "madmall-preparation/v1";

const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    depth: 4,
};

/// Why bytes, or parts, are no preparation.
#[derive(Debug, thiserror::Error)]
pub enum PreparationError {
    /// The bytes are no JSON that is taken.
    #[error("the preparation is no strict JSON: {0}")]
    Json(#[from] JsonError),
    /// The JSON is no preparation.
    #[error("the preparation does not have the shape of `{FORMAT}`: {0}")]
    Shape(String),
    /// The parts do not go together.
    #[error("the preparation does not hold together: {0}")]
    Inconsistent(String),
}

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreparationFile {
    format: String,
    numbers: Vec<Numeric>,
    categories: Vec<Categorical>,
    interactions: Vec<[String; 2]>,
}

impl TryFrom<PreparationFile> for Preparation {
    type Error = PreparationError;

    fn try_from(file: PreparationFile) -> Result<Self, PreparationError> {
        if file.format != FORMAT {
            return Err(PreparationError::Shape(format!("format `{}`", file.format)));
        }
        Self::new(file.numbers, file.categories, file.interactions)
    }
}

impl From<Preparation> for PreparationFile {
    fn from(preparation: Preparation) -> Self {
        Self {
            format: FORMAT.to_owned(),
            numbers: preparation.numbers,
            categories: preparation.categories,
            interactions: preparation.interactions,
        }
    }
}

impl Preparation {
    /// Reads a preparation strictly: no unknown, missing or repeated field, and all parts go together.
    ///
    /// # Errors
    ///
    /// [`PreparationError`], which says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, PreparationError> {
        let value = parse_strict(bytes, LIMITS)?;
        let file: PreparationFile =
            serde_json::from_value(value).map_err(|error| PreparationError::Shape(error.to_string()))?;
        file.try_into()
    }

    /// The preparation as canonical JSON (RFC 8785), numbers in their shortest form.
    ///
    /// # Errors
    ///
    /// [`PreparationError::Shape`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, PreparationError> {
        serde_json_canonicalizer::to_string(self).map_err(|error| PreparationError::Shape(error.to_string()))
    }
}
