//! A row weighed, and the line that says so.

use super::Predictor;
use super::features::Given;
use super::line::Spelled;
use crate::model::{Model, probability};
use crate::stages::ingest::fault::Fault;

/// Weighs rows by one model.
pub(super) struct Scorer<'a> {
    model: &'a Model,
    spelled: Spelled,
    row: Vec<f64>,
    /// For each feature its weight times its value.
    contributions: Vec<f64>,
}

/// What a model says of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    pub(super) log_odds: f64,
    pub(super) probability: f64,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(predictor: &Predictor<'a>) -> Self {
        Self {
            model: predictor.model,
            spelled: Spelled::new(predictor.model, predictor.preparation, predictor.detail),
            row: Vec::new(),
            contributions: Vec::new(),
        }
    }

    /// Weighs an event.
    ///
    /// # Errors
    ///
    /// A fault if the weighted sum, or what goes into it, is beyond a double.
    pub(super) fn score(&mut self, given: &Given<'_>) -> Result<Score, Fault> {
        let too_large = |message: String| Fault::new("/payload/features", message, "score");
        given.row(&mut self.row).map_err(|error| too_large(error.to_string()))?;
        let contributions = (0..)
            .zip(&self.row)
            .map(|(index, value)| self.model.contribution(index, *value));
        self.contributions.clear();
        self.contributions.extend(contributions);
        let log_odds = self.model.total(self.contributions.iter().copied());
        if !log_odds.is_finite() {
            return Err(too_large(
                "the weighted sum of its features is beyond a double".to_owned(),
            ));
        }
        Ok(Score {
            log_odds,
            probability: probability(log_odds),
        })
    }

    /// Appends the line of the event that was weighed last.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: &str, score: Score, given: &Given<'_>) {
        self.spelled.write(out, id, score, &self.contributions, given);
    }
}
