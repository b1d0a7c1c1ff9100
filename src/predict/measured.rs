//! A model measured on events: they are scored as `predict` scores them, and the scores held against the labels.
//!
//! The figures are those of the table that featurize makes of the same events, bit for bit: log odds are added up in one order
//! wherever that is done, and rows stand in canonical order, that of the BLAKE3 of their ids, before anything is added over them.

use std::collections::BTreeMap;

use super::reader::Kept;
use super::score::Score;
use super::{Detail, OnReject, Part, Predictor, Report, score_all};
use crate::digest::Digest;
use crate::model::evaluation::{Assessment, AssessmentEvents, AssessmentRows, AssessmentSettings, FORMAT};
use crate::model::{Labels, Model};
use crate::stages::StageError;
use crate::stages::featurize::event::Group;
use crate::stages::ingest::blocks::Blocks;
use crate::stages::ingest::fault::printable;
use crate::stages::ingest::lines::Place;
use crate::stages::train::assess::{Request, measure_rows};
use crate::stages::train::evaluate::population::Coded;

/// So many ids that stand twice are told.
const MOST_TOLD: usize = 20;

/// Why there is nothing to measure by.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The events cannot be read.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A label that is none of the model's.
    #[error("they have the label `{}`; the model knows `{}` and `{}`", printable(.label), printable(&.known.negative), printable(&.known.positive))]
    Label {
        /// The first in the order of bytes.
        label: String,
        /// The model's.
        known: Labels,
    },
    /// No event has a label.
    #[error("none of {total} events has a label (`payload.label`), which is what a model is measured by")]
    Unlabelled {
        /// Events that were scored.
        total: u64,
    },
    /// An id stands more than once.
    #[error("an event id stands more than once")]
    Repeated {
        /// Each with the one before it that has its id.
        places: Vec<[Place; 2]>,
    },
}

/// Labelled events, scored.
#[derive(Debug, Default)]
pub struct Measured {
    /// The log odds of each, in canonical order.
    pub log_odds: Vec<f64>,
    /// Whether its label is the model's positive one.
    pub labels: Vec<bool>,
    /// For `source.kind` and `source.region`, for each event the place of its value in [`Self::values`].
    pub groups: [Vec<u32>; 2],
    /// The values that occur, in no certain order.
    pub values: [Vec<Option<String>>; 2],
    /// Events that were scored and have no label.
    pub unlabelled: u64,
    /// The BLAKE3 of each file of events.
    pub files: Vec<Digest>,
}

/// An event that was scored.
#[derive(Debug)]
pub(super) struct Row {
    /// The first half of the BLAKE3 of its id: its place in the canonical order. That two ids share it does not happen.
    order: u128,
    /// Its number in the block, from 0.
    line: u64,
    log_odds: f64,
    kept: Kept,
}

impl Row {
    pub(super) fn new(id: &str, line: u64, score: Score, kept: &Kept) -> Self {
        let mut order = [0; 16];
        order.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
        Self {
            order: u128::from_be_bytes(order),
            line,
            log_odds: score.log_odds,
            kept: kept.clone(),
        }
    }
}

/// A row as it is kept: so many bytes for each event.
struct Scored {
    order: u128,
    log_odds: f64,
    place: Place,
    label: Option<bool>,
    groups: [u32; 2],
}

/// Texts by number.
#[derive(Default)]
struct Numbered {
    numbers: BTreeMap<Option<String>, u32>,
    values: Vec<Option<String>>,
}

impl Numbered {
    fn of(&mut self, value: Option<String>) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}

/// Scores all that `blocks` reads, and keeps what it takes to measure the model. With faults, and [`OnReject::Fail`], nothing is
/// measured: the report says why.
///
/// # Errors
///
/// [`MeasureError`].
pub fn measure(
    blocks: Blocks<'_>,
    predictor: &Predictor<'_>,
    threads: usize,
) -> Result<(Measured, Report), MeasureError> {
    let predictor = Predictor {
        detail: Detail::Measured,
        ..*predictor
    };
    let known = &predictor.model.labels;
    let mut rows: Vec<Scored> = Vec::new();
    let mut groups: [Numbered; 2] = Default::default();
    let mut other: Option<String> = None;
    let mut take = |part: &mut Part, before: Place| {
        for row in part.rows.drain(..) {
            let Kept {
                label,
                groups: [kind, region],
            } = row.kept;
            let is_positive = label.as_ref().map(|label| *label == known.positive);
            if let Some(label) = label.filter(|label| *label != known.positive && *label != known.negative) {
                other = Some(match other.take() {
                    None => label,
                    Some(other) => other.min(label),
                });
            }
            rows.push(Scored {
                order: row.order,
                log_odds: row.log_odds,
                place: Place {
                    line: before.line + row.line + 1,
                    ..before
                },
                label: is_positive,
                groups: [groups[0].of(kind), groups[1].of(region)],
            });
        }
        Ok(())
    };
    let (report, files) = score_all(blocks, &predictor, threads, &mut take)?;
    if predictor.on_reject == OnReject::Fail && !report.faults.is_empty() {
        return Ok((Measured::default(), report));
    }
    if let Some(label) = other {
        let known = known.clone();
        return Err(MeasureError::Label { label, known });
    }
    let total = rows.len() as u64;
    let mut measured = in_order(rows)?;
    if measured.labels.is_empty() {
        return Err(MeasureError::Unlabelled { total });
    }
    measured.values = groups.map(|group| group.values);
    measured.files = files.iter().map(|file| Digest::from(file.hash)).collect();
    Ok((measured, report))
}

/// Puts the rows into canonical order, in which no id may stand twice, and leaves those without a label.
fn in_order(mut rows: Vec<Scored>) -> Result<Measured, MeasureError> {
    rows.sort_unstable_by_key(|row| (row.order, row.place));
    let twice = rows.windows(2).filter(|pair| pair[0].order == pair[1].order);
    let mut places: Vec<[Place; 2]> = twice.map(|pair| [pair[0].place, pair[1].place]).collect();
    if !places.is_empty() {
        places.sort_unstable_by_key(|[_, second]| *second);
        places.truncate(MOST_TOLD);
        return Err(MeasureError::Repeated { places });
    }
    let mut measured = Measured::default();
    for row in rows {
        let Some(label) = row.label else {
            measured.unlabelled += 1;
            continue;
        };
        measured.log_odds.push(row.log_odds);
        measured.labels.push(label);
        for (codes, code) in measured.groups.iter_mut().zip(row.groups) {
            codes.push(code);
        }
    }
    Ok(measured)
}

/// What is told of a model, whose file has the digest that stands beside it, measured on events: overall, and by each of `columns`
/// (`source.kind`, `source.region`).
#[must_use]
pub fn assess(
    measured: &Measured,
    report: &Report,
    (model, digest): (&Model, String),
    columns: &[String],
    request: Request,
) -> Assessment {
    let chosen: Vec<usize> = (0..Group::ALL.len())
        .filter(|group| columns.iter().any(|column| column == Group::ALL[*group].name()))
        .collect();
    let names: Vec<String> = chosen
        .iter()
        .map(|group| Group::ALL[*group].name().to_owned())
        .collect();
    let values = chosen.iter().map(|group| Coded {
        codes: &measured.groups[*group],
        values: measured.values[*group].iter().map(Option::as_deref).collect(),
    });
    let rows = (measured.log_odds.as_slice(), measured.labels.as_slice());
    let (evaluation, groups) = measure_rows(rows, &names, values.collect(), request);
    let mut files: Vec<String> = measured.files.iter().map(ToString::to_string).collect();
    files.sort_unstable();
    let counted = measured.labels.len() as u64;
    Assessment {
        format: FORMAT,
        model: digest,
        features: None,
        events: Some(AssessmentEvents {
            files,
            not_covered: report.counts.not_covered,
            revoked: report.counts.revoked,
            invalid: report.counts.invalid,
        }),
        labels: model.labels.clone(),
        rows: AssessmentRows {
            total: counted + measured.unlabelled,
            unlabelled: measured.unlabelled,
            measured: counted,
        },
        settings: AssessmentSettings {
            confidence: request.confidence,
            suppress_below: request.suppress_below,
            weights: None,
        },
        absent_features: Vec::new(),
        ignored_features: Vec::new(),
        evaluation,
        groups,
    }
}
