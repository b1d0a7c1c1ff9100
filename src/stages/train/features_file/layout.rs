//! Which columns of a features file hold what.

use std::collections::BTreeSet;

use arrow_schema::{DataType, Schema};

use super::{FeaturesError, content};
use crate::stages::featurize::rows::MAX_FEATURES;
use crate::stages::featurize::table::{FEATURE_PREFIX, FORMAT, ID_COLUMN, LABEL_COLUMN, WEIGHT_COLUMN};

/// Which columns hold what, by their index.
pub(super) struct Layout {
    pub(super) id: usize,
    pub(super) label: usize,
    /// What rows weigh.
    pub(super) weight: Option<usize>,
    /// In the order of their names' bytes.
    pub(super) groups: Vec<usize>,
    /// The same.
    pub(super) features: Vec<usize>,
}

/// What a column holds, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Id,
    Label,
    Feature,
    Weight,
    Group,
}

impl Layout {
    /// Of a file with this schema; `weights` is the column that holds what rows weigh, if one does.
    pub(super) fn of(schema: &Schema, weights: Option<&str>) -> Result<Self, FeaturesError> {
        check_format(schema)?;
        let mut seen = BTreeSet::new();
        let mut holds = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let name = field.name().as_str();
            if !seen.insert(name) {
                return Err(content(format!("it has two columns `{name}`")));
            }
            let what = Holds::of(name, weights);
            let (found, expected) = (field.data_type(), what.data_type());
            if *found != expected {
                let help = match (found, what) {
                    (DataType::Float64, Holds::Group) => "; what rows weigh is named by `weights`",
                    _ => "",
                };
                return Err(content(format!("column `{name}` must have the type {expected}{help}")));
            }
            holds.push(what);
        }
        let columns = |wanted: Holds| {
            let mut columns: Vec<usize> = (0..holds.len()).filter(|index| holds[*index] == wanted).collect();
            columns.sort_by_key(|index| schema.field(*index).name().as_bytes());
            columns
        };
        let needed = |wanted: Holds, name: &str| {
            let column = columns(wanted).first().copied();
            column.ok_or_else(|| content(format!("it has no column `{name}`")))
        };
        let features = columns(Holds::Feature);
        if features.len() > MAX_FEATURES {
            return Err(content(format!("it has more than {MAX_FEATURES} feature columns")));
        }
        let weight = columns(Holds::Weight).first().copied();
        if let (Some(name), None) = (weights, weight) {
            return Err(content(format!(
                "it has no column `{name}` for `weights`; `featurize` makes the column `{WEIGHT_COLUMN}` if it is told which feature holds them"
            )));
        }
        Ok(Self {
            id: needed(Holds::Id, ID_COLUMN)?,
            label: needed(Holds::Label, LABEL_COLUMN)?,
            weight,
            groups: columns(Holds::Group),
            features,
        })
    }
}

fn check_format(schema: &Schema) -> Result<(), FeaturesError> {
    match schema.metadata().get(FORMAT.0) {
        Some(format) if format != FORMAT.1 => Err(content(format!(
            "its format is `{format}`; `{}` is read here",
            FORMAT.1
        ))),
        _ => Ok(()),
    }
}

impl Holds {
    fn of(name: &str, weights: Option<&str>) -> Self {
        match name {
            ID_COLUMN => Self::Id,
            LABEL_COLUMN => Self::Label,
            _ if name.starts_with(FEATURE_PREFIX) => Self::Feature,
            _ if weights == Some(name) => Self::Weight,
            _ => Self::Group,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Id | Self::Label | Self::Group => DataType::Utf8,
            Self::Feature | Self::Weight => DataType::Float64,
        }
    }
}
