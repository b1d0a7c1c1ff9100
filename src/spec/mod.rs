//! Pipelines and stage definitions as they are written: YAML with places.
//!
//! [`parse()`] reads any YAML into a tree of [`Node`]s that know where they stand; [`check`] makes a [`PipelineSpec`] or a
//! [`Definition`] of it and reports everything that is wrong with its shape. What the names in it mean is found out by
//! [`crate::plan::resolve`].

mod artifacts;
mod axes;
pub mod check;
mod consent;
mod limits;
mod model;
mod parse;
mod scalar;
mod shape;
mod surroundings;

pub use artifacts::{INPUT_FIELDS, MOST_PARTS, OUTPUT_FIELDS};
pub use consent::{ConsentRules, Declassify};
pub use limits::RESOURCE_FIELDS;
pub use model::{
    Axis, AxisKind, AxisValues, Body, Chosen, Definition, Flag, ParamSpec, ParamType, PipelineSpec, Port, Settings,
    Stage, Streams, WrittenLimits, is_blank, is_name,
};
pub use parse::{MAX_BYTES, Node, NodeKind, Text, parse};
pub use scalar::{Scalar, scalar, without_quotes};
pub use surroundings::Surroundings;
