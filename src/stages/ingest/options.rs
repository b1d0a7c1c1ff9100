//! What the pipeline asks of an ingest.

use std::collections::BTreeMap;

use super::check::NonRevocable;
use super::refused;
use super::subject::SubjectPointer;
use crate::consent::Purpose;
use crate::plan::ParamValue;
use crate::stages::{StageContext, StageError};

/// What the pipeline asks for.
pub(super) struct Options {
    pub(super) purpose: Purpose,
    pub(super) quarantine: bool,
    pub(super) allow_empty: bool,
    pub(super) subject: Option<SubjectPointer>,
    pub(super) non_revocable: NonRevocable,
}

impl Options {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if it makes no sense.
    pub(super) fn read(context: &StageContext<'_>) -> Result<Self, StageError> {
        let purpose = context
            .purpose
            .ok_or_else(|| refused("the pipeline states no purpose; write `purpose: care` or `purpose: research`"))?;
        let unknown = || refused(format!("the pipeline's purpose {}", context.purposes.is_not_one()));
        let purpose = context.purposes.purpose(purpose).ok_or_else(unknown)?;
        let options = Self {
            purpose,
            quarantine: choice(context, "on_reject", ["fail", "quarantine"])? == "quarantine",
            allow_empty: choice(context, "on_empty", ["fail", "allow"])? == "allow",
            subject: subject(context.params)?,
            non_revocable: match choice(context, "non_revocable", ["honour", "keep"])? {
                "keep" => NonRevocable::Keep,
                _ => NonRevocable::Honour,
            },
        };
        if options.quarantine && context.output("rejects").is_none() {
            return Err(refused(
                "`on_reject: quarantine` needs the output `rejects`: name a file for it",
            ));
        }
        Ok(options)
    }
}

/// The parameter `name`, which must be one of `words`; the first if it is absent.
fn choice(context: &StageContext<'_>, name: &str, words: [&'static str; 2]) -> Result<&'static str, StageError> {
    let chosen = match context.params.get(name) {
        None | Some(ParamValue::Null) => return Ok(words[0]),
        Some(ParamValue::String(chosen)) => words.into_iter().find(|word| word == chosen),
        Some(_) => None,
    };
    chosen.ok_or_else(|| refused(format!("`{name}` is not one of `{}`, `{}`", words[0], words[1])))
}

/// The parameter `subject`: where events name the person that they came from.
///
/// # Errors
///
/// [`StageError::Refused`] if it is no pointer.
pub fn subject(params: &BTreeMap<String, ParamValue>) -> Result<Option<SubjectPointer>, StageError> {
    let parse = |text: &str| text.parse().map_err(|error| refused(format!("`subject` {error}")));
    match params.get("subject") {
        None | Some(ParamValue::Null) => Ok(None),
        Some(ParamValue::String(text)) => parse(text).map(Some),
        Some(_) => parse("").map(Some),
    }
}
