//! The levels of a category in all chunks.

use std::collections::{BTreeMap, BTreeSet};

use crate::preparation::{Input, MAX_LEVELS, level_column};

/// The number of a level that is not kept, because there are too many.
const NOT_KEPT: u32 = u32::MAX;

/// So many levels are kept, beside those that `exclude` names: enough to know that too many are left, however many of it are among them.
pub(super) fn most(exclude: &BTreeSet<String>) -> usize {
    MAX_LEVELS + 1 + exclude.len()
}

/// Levels, each with its number and with how many rows have it, as far as they are not too many.
pub(super) struct AllLevels {
    of: Input,
    by_text: BTreeMap<Box<str>, (u32, u64)>,
    /// So many are kept of those that have a column: one too many, so that it is known.
    most: usize,
}

impl AllLevels {
    /// None yet. Of the columns in `exclude`, all levels are kept that occur.
    pub(super) fn new(of: Input, exclude: &BTreeSet<String>) -> Self {
        Self {
            of,
            by_text: BTreeMap::new(),
            most: most(exclude),
        }
    }

    /// The number of a level, which so many more rows have.
    pub(super) fn add(&mut self, level: &str, rows: u64, exclude: &BTreeSet<String>) -> u32 {
        if let Some((number, known)) = self.by_text.get_mut(level) {
            *known += rows;
            return *number;
        }
        // More than can be columns are there, so that nothing will be made of them: what is left is only which of the
        // excluded ones there are.
        if self.by_text.len() >= self.most && !exclude.contains(&level_column(&self.of, level)) {
            return NOT_KEPT;
        }
        let number = u32::try_from(self.by_text.len()).unwrap_or(NOT_KEPT);
        self.by_text.insert(level.into(), (number, rows));
        number
    }

    /// Each level with how many rows have it.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_text.iter().map(|(level, (_, rows))| (&**level, *rows))
    }

    /// The levels in the order of their numbers.
    pub(super) fn numbered(&self) -> Vec<&str> {
        let mut levels: Vec<_> = self
            .by_text
            .iter()
            .map(|(level, (number, _))| (*number, &**level))
            .collect();
        levels.sort_unstable();
        levels.into_iter().map(|(_, level)| level).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_levels_as_many_are_kept_as_it_takes_to_know() {
        let exclude = BTreeSet::from(["a=last".to_owned(), "a=17".to_owned()]);
        let mut levels = AllLevels::new(Input::Feature("a".to_owned()), &exclude);
        for round in 1..3 {
            for number in 0..5000 {
                let kept = levels.add(&number.to_string(), 2, &exclude);
                assert_eq!(kept, if number < 1027 { number } else { NOT_KEPT });
            }
            assert_eq!(levels.add("last", 1, &exclude), 1027);
            let counts: BTreeMap<&str, u64> = levels.counted().collect();
            assert_eq!((counts.len(), counts["17"], counts["last"]), (1028, 2 * round, round));
        }
        assert_eq!(levels.numbered()[1026..], ["1026", "last"]);
    }
}
