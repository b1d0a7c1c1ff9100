//! The bytes of a statement that are signed: how it is spelled (RFC 8785), and read back from that spelling alone.

use rayon::prelude::*;
use serde::Serialize;

use super::check;
use super::spelling;
use super::statement::{Predicate, Resource, Statement};
use crate::json::{self, JsonError, Limits};

/// The largest payload that is read: room for a run of some 30,000 stages.
pub const PAYLOAD_LIMITS: Limits = Limits {
    bytes: 16 << 20,
    depth: 64,
};

/// So many subjects are checked while they are spelled, and not before.
const MANY: usize = 256;

/// A statement as it is spelled, but for its subjects.
#[derive(Serialize)]
struct WithoutSubjects<'a> {
    #[serde(rename = "_type")]
    statement_type: &'a str,
    predicate: &'a Predicate,
    #[serde(rename = "predicateType")]
    predicate_type: &'a str,
    subject: [Resource; 0],
}

/// Why bytes are not a statement that madmall signs or takes.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// No JSON, or beyond the limits.
    #[error("the payload is not JSON: {0}")]
    Json(JsonError),
    /// JSON of another shape: a field that is unknown, missing or of another type.
    #[error("the payload is not a statement: {0}")]
    Shape(String),
    /// A statement in another spelling than RFC 8785's.
    #[error("the payload is not in canonical form (RFC 8785): byte {0} should be otherwise")]
    Spelling(usize),
    /// The fields do not go together.
    #[error("the statement is wrong: {0}")]
    Rule(String),
}

impl Statement {
    /// The bytes that are signed: RFC 8785.
    ///
    /// # Errors
    ///
    /// [`StatementError::Rule`] if the fields do not go together, so that nothing is signed that cannot be read back.
    pub fn to_payload(&self) -> Result<Vec<u8>, StatementError> {
        // The receipt of a run with many stages is long.
        let (checked, spelled) = match self.subject.len() < MANY {
            true => (check::check(self), self.spell()),
            false => rayon::join(|| check::check(self), || self.spell()),
        };
        checked.map_err(StatementError::Rule)?;
        let payload = spelled?;
        if payload.len() > PAYLOAD_LIMITS.bytes {
            return Err(StatementError::Rule(format!(
                "it is longer than {} bytes",
                PAYLOAD_LIMITS.bytes
            )));
        }
        Ok(payload)
    }

    /// Reads a statement that is spelled exactly as [`Statement::to_payload`] spells it.
    ///
    /// # Errors
    ///
    /// [`StatementError`] for anything else: other fields, other types, another order or spacing, floats, digest sets
    /// that are not complete, names that are not normal relative paths.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        let value = json::parse_strict(payload, PAYLOAD_LIMITS).map_err(StatementError::Json)?;
        let statement: Self =
            serde_json::from_value(value).map_err(|error| StatementError::Shape(error.to_string()))?;
        let spelled = statement.spell()?;
        if spelled != payload {
            let same = spelled.iter().zip(payload).take_while(|(a, b)| a == b).count();
            return Err(StatementError::Spelling(same));
        }
        check::check(&statement).map_err(StatementError::Rule)?;
        Ok(statement)
    }

    /// Reads a statement that [`Statement::parse`] has read before, as whoever asks knows by its digest.
    #[must_use]
    pub fn parse_known(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    fn spell(&self) -> Result<Vec<u8>, StatementError> {
        let spelled = match self.subject.len() < MANY {
            true => spelling::spell(self),
            false => self.spell_parts(),
        };
        spelled.map_err(|error| StatementError::Shape(error.to_string()))
    }

    /// The same by all cores: the subjects, which stand last, beside all else.
    fn spell_parts(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self {
            statement_type,
            predicate,
            predicate_type,
            subject,
        } = self;
        let without = WithoutSubjects {
            statement_type,
            predicate,
            predicate_type,
            subject: [],
        };
        let subjects = || subject.par_chunks(MANY).map(|part| spelling::spell(&part));
        let (without, parts) = rayon::join(
            || spelling::spell(&without),
            || subjects().collect::<Result<Vec<_>, _>>(),
        );
        let (mut spelled, parts) = (without?, parts?);
        // `]}`
        let end = spelled.split_off(spelled.len() - 2);
        spelled.reserve_exact(parts.iter().map(Vec::len).sum::<usize>() + end.len());
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                spelled.push(b',');
            }
            // Each is a list by itself.
            spelled.extend_from_slice(&part[1..part.len() - 1]);
        }
        spelled.extend_from_slice(&end);
        Ok(spelled)
    }
}
