//! From a pipeline as written to a plan that can be run: names become ids, edges are found, cycles refused.

pub mod action;
pub mod command_text;
pub mod limits;
mod masked;
mod model;
pub mod plain;
mod resolve;
pub mod snapshot;
pub mod stage_name;
pub mod stale;
pub mod variables;

pub use limits::Limits;
pub use model::{
    Command, DefinitionFile, Input, InputSource, Number, Output, ParamValue, Plan, SHELL, SandboxMode, Stage, StageId,
    Streams, gathered_name, written_input,
};
pub use resolve::{
    Overrides, Resolution, SETTINGS_FILE, find_files, is_pattern, purposes_of, resolve, resolve_set, resolve_with,
    stands_for,
};
pub(crate) use resolve::{folded, private_folder};
