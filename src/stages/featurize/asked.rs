//! Whether the events have what the parameters name. What no event has is a slip of the pen more often than not.

use std::collections::BTreeSet;

use super::params::Params;
use super::rows::sorted::SortedTable;
use crate::preparation::{Input, level_column};
use crate::stages::{Refusal, StageError};

/// Refuses `params` that name a feature which no event in `table` has, unless there are no events.
pub(crate) fn check(params: &Params, table: &SortedTable) -> Result<(), StageError> {
    if table.len() == 0 {
        return Ok(());
    }
    let keys: BTreeSet<&str> = table.keys().iter().map(|counts| &*counts.key).collect();
    let numbers: BTreeSet<&str> = table.numbers().map(|counts| &*counts.key).collect();
    let columns = level_columns(params, table);
    let named = |param, key: &str| format!("parameter `{param}` names `{key}`");
    let mut details = Vec::new();
    let is_known = |key: &&String| keys.contains(key.as_str());
    let excludable = |key: &&String| is_known(key) || columns.contains(*key);
    let unknown = params.exclude.iter().filter(|key| !excludable(key));
    details.extend(unknown.map(|key| named("exclude", key)));
    let unknown = params.range.keys().filter(|key| !is_known(key));
    details.extend(unknown.map(|key| named("range", key)));
    let unknown = params.one_hot.iter().filter(|key| !is_known(key));
    details.extend(unknown.map(|key| named("one_hot", key)));
    let of_numbers = params.impute.keys().map(|key| ("impute", key));
    let of_numbers = of_numbers.chain(params.scale.keys().map(|key| ("scale", key)));
    for (param, key) in of_numbers.filter(|(_, key)| !numbers.contains(key.as_str())) {
        let but = if is_known(&key) {
            ", which is never a number"
        } else {
            ""
        };
        details.push(named(param, key) + but);
    }
    let unknown = params.weights.iter().filter(|key| !is_known(key));
    details.extend(unknown.map(|key| named("weights", key)));
    if details.is_empty() {
        return Ok(());
    }
    Err(StageError::Refused(Refusal {
        summary: "a parameter names a feature that no event has; correct its spelling or remove it".to_owned(),
        details,
        ..Refusal::default()
    }))
}

/// What the columns of all levels would be called.
fn level_columns(params: &Params, table: &SortedTable) -> BTreeSet<String> {
    let features = params.one_hot.iter().map(|key| Input::Feature(key.clone()));
    let categories = features.chain(params.one_hot_groups.iter().map(|group| group.input()));
    let mut columns = BTreeSet::new();
    for of in categories {
        let levels = table.counted_levels(&of).into_keys();
        columns.extend(levels.map(|level| level_column(&of, level)));
    }
    columns
}
