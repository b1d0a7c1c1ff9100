//! The bytes of a statement that are signed: how it is spelled (RFC 8785), and read back from that spelling alone.

use super::check;
use super::spelling;
use super::statement::Statement;
use crate::json::{self, JsonError, Limits};

/// The largest payload that is read: room for a run of some 30,000 stages.
pub const PAYLOAD_LIMITS: Limits = Limits {
    bytes: 16 << 20,
    depth: 64,
};

/// So many subjects are checked while they are spelled, and not before.
const MANY: usize = 256;

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
        spelling::spell(self).map_err(|error| StatementError::Shape(error.to_string()))
    }
}
