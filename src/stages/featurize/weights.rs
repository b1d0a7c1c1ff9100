//! What rows weigh: a number that every event must have, and that makes no feature.

use rayon::ThreadPool;

use super::rows::blocks::Block;
use super::rows::sorted::SortedTable;
use super::{MAX_DETAILS, events};
use crate::stages::ingest::fault::{grouped, printable};
use crate::stages::ingest::lines::Place;
use crate::stages::train::is_weight;
use crate::stages::{Refusal, StageContext, StageError};

/// Refuses events whose weight, which `key` holds, is missing, or no number that a row can weigh.
pub(super) fn check(
    ctx: &StageContext<'_>,
    key: &str,
    table: &SortedTable,
    pool: &ThreadPool,
) -> Result<(), StageError> {
    let mut wrong: Vec<Place> = Vec::new();
    let mut count = 0;
    let of_block = |block: &Block<'_>| -> Vec<Place> {
        let weights = block.weights().into_iter().zip(block.places());
        let wrong = weights.filter(|(weight, _)| !weight.is_some_and(is_weight));
        wrong.map(|(_, place)| place).collect()
    };
    table.each_block(pool, 0, of_block, |found| {
        count += found.len() as u64;
        wrong.extend(found);
        // Those that come first are told, whatever order the rows stand in.
        wrong.sort_unstable();
        wrong.truncate(MAX_DETAILS);
        Ok::<(), StageError>(())
    })?;
    if wrong.is_empty() {
        return Ok(());
    }
    let files = events(ctx)?;
    let key = printable(key);
    let detail = |place: &Place| {
        format!(
            "{}: /payload/features/{key}",
            crate::stages::ingest::fault::at(files, *place)
        )
    };
    let verb = if count == 1 { "event has" } else { "events have" };
    Err(StageError::Refused(Refusal {
        summary: format!(
            "{} {verb} no `{key}` that a row can weigh: a number more than 0, at most 1e100",
            grouped(count)
        ),
        details: wrong.iter().map(detail).collect(),
        unlisted: count - wrong.len() as u64,
        ..Refusal::default()
    }))
}
