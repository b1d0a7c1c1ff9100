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
        match Self::parse_spelled(payload) {
            Some(statement) => check::check(&statement)
                .map_err(StatementError::Rule)
                .map(|()| statement),
            None => Self::parse_any(payload),
        }
    }

    /// The same for what is certainly spelled as it has to be: it needs no tree of JSON values, and what such a tree would find (a key
    /// twice, a number in another form, what no statement has) makes it another spelling. `None` is no verdict.
    fn parse_spelled(payload: &[u8]) -> Option<Self> {
        if payload.len() > PAYLOAD_LIMITS.bytes {
            return None;
        }
        let statement: Self = serde_json::from_str(std::str::from_utf8(payload).ok()?).ok()?;
        spelling::is_spelled(&statement, payload, PAYLOAD_LIMITS.depth).then_some(statement)
    }

    /// The same for any bytes, with what is wrong with them.
    fn parse_any(payload: &[u8]) -> Result<Self, StatementError> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::receipt::run_file::frozen;
    use crate::receipt::statement::ParamRecord;

    /// Of the receipts of a run, from the frozen files.
    fn payloads() -> Vec<Vec<u8>> {
        let receipts = frozen().into_iter();
        receipts.map(|receipt| receipt.envelope.payload().to_vec()).collect()
    }

    #[test]
    fn what_is_spelled_as_it_has_to_be_is_read_without_a_tree() {
        for payload in payloads() {
            let read = Statement::parse_spelled(&payload).expect("it is spelled so");
            assert_eq!(read, Statement::parse_any(&payload).expect("it is frozen"));
        }
    }

    #[test]
    fn both_readers_end_at_the_same_depth() {
        let first = payloads().remove(0);
        let mut depths = [0, 0];
        for lists in 1..40 {
            let mut statement = Statement::parse(&first).expect("it is frozen");
            let record = (0..lists).fold(ParamRecord::Null, |inner, _| ParamRecord::List(vec![inner]));
            let external = &mut statement.predicate.build_definition.external_parameters;
            let stage = external.stage.as_mut().expect("the receipt of a stage");
            stage.params.insert("deep".to_owned(), record);
            let payload = statement.spell().expect("spelled");
            let is_read = !matches!(Statement::parse_any(&payload), Err(StatementError::Json(_)));
            assert_eq!(Statement::parse_spelled(&payload).is_some(), is_read, "{lists}");
            depths[usize::from(is_read)] += 1;
        }
        assert!(depths[0] > 0 && depths[1] > 0, "{depths:?}");
    }

    #[test]
    fn what_is_too_long_is_read_by_neither() {
        let mut statement = Statement::parse(&payloads()[0]).expect("it is frozen");
        statement.predicate.build_definition.external_parameters.pipeline = "x".repeat(PAYLOAD_LIMITS.bytes);
        let payload = statement.spell().expect("spelled");
        assert!(Statement::parse_spelled(&payload).is_none());
        assert!(matches!(Statement::parse_any(&payload), Err(StatementError::Json(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn whatever_the_quick_reader_takes_the_other_takes_as_the_same(
            which in 0usize..4,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..6, any::<prop::sample::Index>()), 1..3),
        ) {
            let payloads = payloads();
            let mut payload = payloads[which % payloads.len()].clone();
            for (at, kind, other) in changes {
                let (at, other) = (at.index(payload.len()), other.index(payload.len()));
                match kind {
                    // Often a digit for a digit.
                    0 => payload[at] = payload[other],
                    1 => payload.swap(at, other),
                    2 => drop(payload.remove(at)),
                    3 => payload.insert(at, payload[other]),
                    4 => payload.truncate(at.max(1)),
                    _ => {
                        let part = payload[at.min(other)..at.max(other)].to_vec();
                        payload.splice(at..at, part);
                    }
                }
            }
            let (quick, any) = (Statement::parse_spelled(&payload), Statement::parse_any(&payload));
            match quick {
                Some(quick) => match any {
                    Ok(any) => prop_assert_eq!(quick, any),
                    Err(StatementError::Rule(why)) => prop_assert_eq!(check::check(&quick), Err(why)),
                    Err(other) => prop_assert!(false, "{other}"),
                },
                // What is sound and spelled otherwise than is certain at once may be taken by the other alone.
                None => prop_assert!(any.is_err() || payload.iter().any(|byte| *byte >= 0xee)),
            }
        }
    }
}
