//! How much is kept of all receipts. What one has that an earlier one has too is kept once, and counts once.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::receipt::shared::Shared;
use crate::receipt::statement::{CommandRecord, ParamRecord, Resource, StageParameters, Statement};

/// What was read is kept, most of it in a form of about its own size: whatever lies in a folder, there is an end to it.
const MAX_BYTES: usize = 1 << 30;
/// What a text takes beside its bytes, which are few in the worst case: the least that is allocated, and room that a list has in store.
const TEXT: usize = size_of::<String>() + 32;
/// So many entries a node of a [`std::collections::BTreeMap`] has room for. Filled in order, a half of it is used.
const NODE: usize = 11;

/// What is kept, and how much it is. Any number of threads add to it: how much it is in the end does not depend on which was first.
#[derive(Default)]
pub(super) struct Kept {
    shared: Shared,
    bytes: AtomicUsize,
}

impl Kept {
    /// Counts a statement that `length` bytes say, and lets it have what is known already instead of its own. That it names it takes room
    /// all the same.
    pub(super) fn add(&self, statement: &mut Statement, length: usize) {
        let named = statement.subject.len() + statement.dependencies().len();
        let new = length.saturating_sub(self.shared.share(statement));
        self.count(new + size_of::<Statement>() + named * size_of::<Resource>() + lists(statement));
    }

    /// Counts bytes that are no receipt: nothing is kept of them, and nobody goes through them without end.
    pub(super) fn add_wrong(&self, bytes: usize) {
        self.count(bytes);
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it is more than is kept.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MAX_BYTES
    }
}

/// What lists and maps take beside the bytes that spell them. A list of short words takes ten times as much.
fn lists(statement: &Statement) -> usize {
    let internal = statement.internal();
    let sandbox = statement.stage().map_or(0, |(_, stage)| stage.sandbox.len());
    let texts = internal.made.differs.len() + sandbox;
    texts * TEXT + statement.stage().map_or(0, |(parameters, _)| lists_of(parameters))
}

fn lists_of(parameters: &StageParameters) -> usize {
    let argv = match &parameters.command {
        CommandRecord::Argv(argv) => argv.len(),
        CommandRecord::Builtin { .. } | CommandRecord::Shell(_) => 0,
    };
    let lists = [&parameters.declassify, &parameters.personal, &parameters.secrets];
    let texts = argv + lists.into_iter().map(Vec::len).sum::<usize>();
    let (environment, outputs) = (parameters.environment.len(), parameters.outputs.len());
    let values: usize = parameters.params.values().map(value).sum();
    (texts + environment + outputs) * TEXT
        + map(environment, size_of::<Option<String>>())
        + map(outputs, size_of::<String>())
        + map(parameters.params.len(), size_of::<ParamRecord>())
        + values
}

/// A map of so many entries with values of that size, without what those point to.
fn map(entries: usize, value: usize) -> usize {
    let nodes = entries.div_ceil(NODE / 2);
    nodes * NODE * (size_of::<String>() + value) + entries * TEXT
}

fn value(value: &ParamRecord) -> usize {
    match value {
        ParamRecord::Null | ParamRecord::Boolean(_) => 0,
        ParamRecord::Number(_) | ParamRecord::String(_) => TEXT,
        // A list has room for four at least, and twice what it needs at most.
        ParamRecord::List(items) => {
            let room = (2 * items.len()).max(4) * size_of::<ParamRecord>();
            room + items.iter().map(self::value).sum::<usize>()
        }
        ParamRecord::Map(items) => {
            map(items.len(), size_of::<ParamRecord>()) + items.values().map(self::value).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::receipt::run_file::{Receipt, frozen};

    fn add(kept: &Kept, receipts: &mut [Receipt]) -> usize {
        let before = kept.bytes.load(Ordering::Relaxed);
        for receipt in receipts {
            kept.add(&mut receipt.statement, receipt.envelope.payload().len());
        }
        kept.bytes.load(Ordering::Relaxed) - before
    }

    #[test]
    fn what_is_said_again_counts_only_as_far_as_it_is_new() {
        let kept = Kept::default();
        let once = add(&kept, &mut frozen());
        let again = add(&kept, &mut frozen());
        assert!(again < once, "{once}, {again}");
        assert_eq!(add(&kept, &mut frozen()), again);
    }

    #[test]
    fn what_only_names_what_is_known_takes_room_too() {
        let kept = Kept::default();
        for receipt in &mut frozen() {
            let before = kept.bytes.load(Ordering::Relaxed);
            kept.add(&mut receipt.statement, 0);
            let named = receipt.statement.subject.len() + receipt.statement.dependencies().len();
            let room = size_of::<Statement>() + named * size_of::<usize>() + lists(&receipt.statement);
            assert_eq!(kept.bytes.load(Ordering::Relaxed) - before, room);
        }
    }

    #[test]
    fn short_words_and_small_maps_count_for_what_they_take() {
        let mut statement = frozen().remove(0).statement;
        let before = lists(&statement);
        let stage = &mut statement.predicate.build_definition.external_parameters.stage;
        let stage = stage.as_mut().expect("of a stage");
        stage.secrets = vec!["abc".to_owned(); 1000];
        let words = lists(&statement) - before;
        // A text, and the least that is allocated for its bytes.
        assert!(words >= 1000 * (24 + 32), "{words}");

        let stage = &mut statement.predicate.build_definition.external_parameters.stage;
        let params = &mut stage.as_mut().expect("of a stage").params;
        let one = BTreeMap::from([("a".to_owned(), ParamRecord::Null)]);
        params.insert("maps".to_owned(), ParamRecord::List(vec![ParamRecord::Map(one); 1000]));
        let maps = lists(&statement) - before - words;
        assert!(maps >= 1000 * 11 * (24 + 24), "{maps}");
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        kept.add_wrong(MAX_BYTES);
        assert!(!kept.is_too_much());
        add(&kept, &mut frozen());
        assert!(kept.is_too_much());
    }
}
