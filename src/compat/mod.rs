//! The commands of the package that madmall replaces: same options, same JSON on stdout, same codes, so that a caller
//! changes one word. What was wrong there is right here; `docs/events.md` and `docs/model.md` list the differences.

pub mod ingest;
pub mod train;

use camino::Utf8PathBuf;
use serde::Serialize;

use crate::exit_code::ExitCode;
use crate::stages::room::Room;

/// How a command ended: what to print, and the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompatOutcome {
    /// For stdout: one JSON object, indented by 2, without a line end.
    pub json: String,
    /// For stderr: what the replaced package said nothing about, a line each.
    pub notes: Vec<String>,
    /// [`ExitCode::Success`] or [`ExitCode::Refused`].
    pub code: ExitCode,
}

impl CompatOutcome {
    /// A success that prints `object`.
    #[must_use]
    pub fn success(object: &impl Serialize) -> Self {
        Self::new(object, ExitCode::Success)
    }

    /// A refusal that prints `object`, whose `status` is `FAIL_CLOSED`.
    #[must_use]
    pub fn fail_closed(object: &impl Serialize) -> Self {
        Self::new(object, ExitCode::Refused)
    }

    fn new(object: &impl Serialize, code: ExitCode) -> Self {
        Self {
            json: serde_json::to_string_pretty(object).expect("texts and whole numbers always have a JSON form"),
            notes: Vec::new(),
            code,
        }
    }
}

/// Room for lines: neither command names a folder that is sure to be there for what does not fit into memory.
fn room() -> Room {
    let folder = Utf8PathBuf::from_path_buf(std::env::temp_dir());
    Room::in_folder(&folder.unwrap_or_else(|_| "/tmp".into()))
}
