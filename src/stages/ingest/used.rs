//! Events that were let in once, held against what is withdrawn now.

use camino::Utf8PathBuf;

use super::blocks::each_block;
use super::check::NonRevocable;
use super::event::{Event, Reader};
use super::lines::is_blank;
use super::revocations::Revocations;
use super::schema::{EventSchema, SchemaError};
use super::subject::SubjectPointer;
use crate::consent::token::Tokens;
use crate::receipt::statement::{ParamRecord, StageParameters};
use crate::stages::{InputFile, StageError};

/// How the ingest that let events in was told to look at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Where events name the person that they came from.
    pub subject: Option<SubjectPointer>,
    /// What becomes of an event that is revoked, and whose consent says that it cannot be.
    pub non_revocable: NonRevocable,
}

impl Told {
    /// As the receipt of an ingest has it.
    ///
    /// # Errors
    ///
    /// What is wrong with its parameters, in words.
    pub fn of(stage: &StageParameters) -> Result<Self, String> {
        let subject = match stage.params.get("subject") {
            None | Some(ParamRecord::Null) => None,
            Some(ParamRecord::String(text)) => Some(text.parse().map_err(|error| format!("its `subject` {error}"))?),
            Some(_) => return Err("its `subject` is no text".to_owned()),
        };
        let keeps = ParamRecord::String("keep".to_owned());
        Ok(Self {
            subject,
            non_revocable: match stage.params.get("non_revocable") == Some(&keeps) {
                true => NonRevocable::Keep,
                false => NonRevocable::Honour,
            },
        })
    }
}

/// Why it is not known how many are withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum UsedError {
    /// They cannot be read.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Others lie where they lay.
    #[error("`{path}` here has other bytes, and the store does not have those")]
    Others {
        /// The path in the workspace.
        path: Utf8PathBuf,
    },
    /// They are nowhere.
    #[error("they are neither in the store nor in place")]
    Gone,
    /// A line is none that an ingest lets in.
    #[error("it holds lines that are no events")]
    NoEvents,
    /// Cannot happen: the schema that allows everything.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Where the events that an ingest let in may lie.
#[derive(Debug)]
pub enum Lying {
    /// In the store.
    Stored(InputFile),
    /// Where the ingest has put them.
    InPlace(InputFile),
}

/// How many of the events that an ingest let in are among `revocations`. Reads the first of `files` that has them once, on up to `threads`
/// threads beside this one; the bytes have to be those of its digest. `tokens` are those that the revocations were read with.
///
/// # Errors
///
/// [`UsedError`] if that cannot be told.
pub fn withdrawn(
    files: impl IntoIterator<Item = Lying>,
    revocations: &Revocations,
    told: &Told,
    tokens: Option<&Tokens>,
    threads: usize,
) -> Result<u64, UsedError> {
    let mut why = UsedError::Gone;
    for lying in files {
        let (Lying::Stored(file) | Lying::InPlace(file)) = &lying;
        match withdrawn_in(file, revocations, told, tokens, threads) {
            Ok(count) => return Ok(count),
            // They are looked for by their digest: that a file has other bytes is no change while it was read, but as if they were not there.
            Err(UsedError::Stage(StageError::InputChanged { path })) => {
                if let (UsedError::Gone, Lying::InPlace(_)) = (&why, &lying) {
                    why = UsedError::Others { path };
                }
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn withdrawn_in(
    file: &InputFile,
    revocations: &Revocations,
    told: &Told,
    tokens: Option<&Tokens>,
    threads: usize,
) -> Result<u64, UsedError> {
    let tokens = tokens.filter(|_| revocations.name_tokens());
    // They were valid when they were let in; what is asked for now is who they are.
    let schema = EventSchema::compile_with_subject(b"{}", told.subject.clone())?;
    let is_kept = told.non_revocable == NonRevocable::Keep;
    let (mut withdrawn, mut others) = (0, 0);
    each_block(
        std::slice::from_ref(file),
        threads,
        |block| {
            let mut reader = Reader::new(&schema, tokens);
            let (mut withdrawn, mut others) = (0_u64, 0_u64);
            for line in block.lines() {
                if line.content.is_some_and(is_blank) {
                    continue;
                }
                let is_withdrawn = |event: &Event<'_>| {
                    let counts = event.facts.consent.is_revocable || !is_kept;
                    counts && revocations.has(event)
                };
                match line.content.and_then(|content| reader.read(content, is_withdrawn).ok()) {
                    Some(is_withdrawn) => withdrawn += u64::from(is_withdrawn),
                    None => others += 1,
                }
            }
            (withdrawn, others)
        },
        |_, found| {
            withdrawn += found.0;
            others += found.1;
            Ok(())
        },
    )?;
    match others {
        0 => Ok(withdrawn),
        _ => Err(UsedError::NoEvents),
    }
}
