//! The lines of one block, read into rows.

use super::event::{Event, EventFault, MAX_TEXT, is_label};
use super::params::Params;
use super::rows::Row;
use super::rows::chunk::{Chunk, ChunkKey, NewRow};
use crate::preparation::Value;
use crate::recognise::{Feature, Member, Memory, Recognised, Recogniser};
use crate::stages::ingest::blocks::Block;
use crate::stages::ingest::event::{IdKey, read_json, too_long};
use crate::stages::ingest::fault::Fault;
use crate::stages::ingest::lines::is_blank;

/// At most this many faults of a block are kept.
const MAX_FAULTS: usize = super::MAX_DETAILS;

/// What one block gave.
pub(super) struct Reading {
    /// How many lines begin in it.
    pub(super) lines: u64,
    pub(super) chunk: Chunk,
    pub(super) faults: BlockFaults,
}

/// Faults of one block, counted all.
#[derive(Default)]
pub(super) struct BlockFaults {
    pub(super) count: u64,
    /// The first of them, each with its line, counted from 0.
    pub(super) first: Vec<(u32, EventFault)>,
}

impl Reading {
    pub(super) fn of(block: &Block, recogniser: &Recogniser, params: &Params) -> Self {
        let mut reading = Self {
            lines: 0,
            chunk: Chunk::new(),
            faults: BlockFaults::default(),
        };
        let mut adder = Adder::new(recogniser, params);
        for line in block.lines() {
            reading.lines += 1;
            // A block has fewer bytes than that.
            let number = u32::try_from(line.number).unwrap_or(u32::MAX);
            if line.content.is_some_and(is_blank) {
                continue;
            }
            match adder.add(&mut reading.chunk, number, line.content) {
                Ok(Added::Whole) => {}
                // The keys up to here are more than are allowed, which whoever puts chunks together says.
                Ok(Added::TooManyKeys) => break,
                Err(fault) => {
                    reading.faults.count += 1;
                    if reading.faults.first.len() < MAX_FAULTS {
                        reading.faults.first.push((number, fault));
                    }
                }
            }
        }
        reading
    }
}

/// Whether a line was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It was.
    Whole,
    /// The chunk has more keys now than can be columns; all of them are known to it.
    TooManyKeys,
}

/// Adds lines to one chunk.
struct Adder<'a> {
    recogniser: &'a Recogniser,
    memory: Memory,
    rows: RowAdder<'a>,
}

impl<'a> Adder<'a> {
    fn new(recogniser: &'a Recogniser, params: &'a Params) -> Self {
        Self {
            recogniser,
            memory: recogniser.memory(),
            rows: RowAdder::new(params),
        }
    }

    /// Adds a line, counted from the first of the chunk; `None` is one too long to be read whole.
    fn add(&mut self, chunk: &mut Chunk, line: u32, content: Option<&[u8]>) -> Result<Added, EventFault> {
        if let Some(content) = content
            && let Some(added) = self.add_recognised(chunk, line, content)
        {
            return Ok(added);
        }
        Ok(self.rows.add_event(chunk, line, &read_event(content)?))
    }

    fn add_recognised(&mut self, chunk: &mut Chunk, line: u32, content: &[u8]) -> Option<Added> {
        let found = self.recogniser.recognise(content, &mut self.memory)?;
        match self.rows.add_recognised(chunk, (line, content), (&found, None))? {
            Taken::Whole => Some(Added::Whole),
            // The complete reader is as good, once the keys are known.
            Taken::NewKeys(numbers) => match self.rows.learn(chunk, line, &numbers, &self.memory) {
                Added::Whole => None,
                Added::TooManyKeys => Some(Added::TooManyKeys),
            },
        }
    }
}

/// Adds events to one chunk, whoever has read them.
pub(crate) struct RowAdder<'a> {
    params: &'a Params,
    /// For each key that the memory of who recognises lines knows, its number in the chunk, if a line that was added has it.
    keys: Vec<Option<ChunkKey>>,
    /// For each feature of an event, the same.
    features: Vec<ChunkKey>,
}

/// What became of a line that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was added.
    Whole,
    /// It was not: no line before it has had the keys with these numbers.
    NewKeys(Vec<u32>),
}

impl<'a> RowAdder<'a> {
    pub(crate) fn new(params: &'a Params) -> Self {
        Self {
            params,
            keys: Vec::new(),
            features: Vec::new(),
        }
    }

    /// Adds an event that stands in `line`, counted from the first of the chunk.
    pub(crate) fn add_event(&mut self, chunk: &mut Chunk, line: u32, event: &Event) -> Added {
        self.features.clear();
        for (name, _) in &event.features {
            match chunk.key(name, line, self.params) {
                Some(key) => self.features.push(key),
                None => return Added::TooManyKeys,
            }
        }
        chunk.push(
            NewRow {
                line,
                key: IdKey::of(&event.id),
                row: Row {
                    id: &event.id,
                    label: event.label.as_deref(),
                    groups: [event.groups[0].as_deref(), event.groups[1].as_deref()],
                },
            },
            self.params,
            self.features
                .drain(..)
                .zip(event.features.iter().map(|(_, feature)| feature.value())),
        );
        Added::Whole
    }

    /// Adds an event that stands in `line` and was recognised there: always by one memory. `key` stands for its id, if whoever asks
    /// knows it. Nothing if only the complete reader can tell what it is.
    pub(crate) fn add_recognised(
        &self,
        chunk: &mut Chunk,
        (line, content): (u32, &[u8]),
        (found, key): (&Recognised<'_>, Option<IdKey>),
    ) -> Option<Taken> {
        let row = row_of(found)?;
        let key_of = |number: u32| self.keys.get(number as usize).copied().flatten();
        let numbers = found.features.iter().map(|(number, _)| *number);
        let new: Vec<u32> = numbers.filter(|number| key_of(*number).is_none()).collect();
        if !new.is_empty() {
            return Some(Taken::NewKeys(new));
        }
        let features = found.features.iter();
        let known = features.filter_map(|(number, feature)| Some((key_of(*number)?, feature)));
        if known
            .clone()
            .any(|(key, feature)| key.takes_texts() && is_escaped(feature, content))
        {
            return None;
        }
        let values = known.map(|(key, feature)| (key, value_of(feature, key, content)));
        let key = key.unwrap_or_else(|| IdKey::of(row.id));
        chunk.push(NewRow { line, key, row }, self.params, values);
        Some(Taken::Whole)
    }

    /// Makes keys known that have these numbers in `memory`, and stand in `line`.
    pub(crate) fn learn(&mut self, chunk: &mut Chunk, line: u32, numbers: &[u32], memory: &Memory) -> Added {
        for number in numbers {
            let Some(key) = chunk.key(memory.key(*number), line, self.params) else {
                return Added::TooManyKeys;
            };
            let place = *number as usize;
            if self.keys.len() <= place {
                self.keys.resize(place + 1, None);
            }
            self.keys[place] = Some(key);
        }
        Added::Whole
    }
}

/// The value of a feature. A text is read only where it is wanted.
fn value_of<'a>(feature: &Feature, key: ChunkKey, content: &'a [u8]) -> Value<'a> {
    match feature {
        Feature::Number(number) => Value::Number(*number),
        Feature::Null => Value::Missing,
        Feature::Text(place) if key.takes_texts() => Value::Text(place.of(content).unwrap_or_default()),
        Feature::Text(_) => Value::Text(""),
    }
}

/// Whether it is a text of which only the complete reader knows what it spells.
fn is_escaped(feature: &Feature, content: &[u8]) -> bool {
    matches!(feature, Feature::Text(place) if place.of(content).is_none())
}

/// What a row has beside its features, if all of it is in order.
pub(crate) fn row_of<'a>(found: &Recognised<'a>) -> Option<Row<'a>> {
    let text = |member: Member<'a>| match member {
        Member::Absent | Member::Null => Some(None),
        Member::Text(text) if text.len() <= MAX_TEXT => Some(Some(text)),
        _ => None,
    };
    let label = text(found.label)?;
    if label.is_some_and(|label| !is_label(label)) {
        return None;
    }
    let groups = match found.source {
        Member::Absent => [None, None],
        Member::Text(_) => [text(found.source)?, None],
        Member::Other | Member::Boolean(_) => [text(found.source_kind)?, text(found.source_region)?],
        Member::Null => return None,
    };
    Some(Row {
        id: text(found.id)?.filter(|id| !id.is_empty())?,
        label,
        groups,
    })
}

/// Reads one event strictly; `None` is a line too long to be read whole.
pub(crate) fn read_event(content: Option<&[u8]>) -> Result<Event, EventFault> {
    let fault = |fault: Fault| EventFault {
        pointer: fault.pointer,
        message: fault.message,
    };
    let content = content.ok_or_else(|| fault(too_long()))?;
    Event::from_value(read_json(content).map_err(fault)?)
}

#[cfg(test)]
#[path = "../../../tests/recognise/lines.rs"]
pub(crate) mod lines;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::Group;
    use super::super::fit::fit;
    use super::super::prepared::Prepared;
    use super::super::report::report;
    use super::super::rows::blocks::Block;
    use super::super::rows::{AppendError, Rows};
    use super::lines::{Random, event, mutate};
    use super::*;
    use crate::stages::StageError;
    use crate::stages::ingest::blocks::pool;
    use crate::stages::ingest::lines::Place;
    use crate::stages::room::Room;

    /// What `featurize` would make of these rows: all that can be seen of them.
    fn table(chunk: Chunk, params: &Params) -> String {
        let pool = pool(1).expect("a thread");
        let mut rows = Rows::new(&Arc::new(params.clone()), &room());
        rows.append(chunk, Place { file: 0, line: 0 }).expect("few keys");
        let table = rows.into_table(1, &pool).expect("no id stands twice");
        let preparation = fit(&table, params, &pool).expect("it can be prepared");
        let report = serde_json::to_string(&report(&table, &preparation, None)).expect("it has a JSON form");
        let prepared = Prepared::new(&table, &preparation);
        let mut seen = report;
        let of_block = |block: &Block<'_>| {
            let lines: Vec<_> = block.rows().collect();
            let columns = prepared.columns(block).expect("nothing is scaled");
            let bits = |column: &Vec<f64>| column.iter().map(|value| value.to_bits()).collect();
            let bits: Vec<Vec<u64>> = columns.iter().map(bits).collect();
            format!("{lines:?} {bits:?}")
        };
        let all = table.each_block(&pool, 0, of_block, |block| {
            seen += &block;
            Ok::<(), StageError>(())
        });
        all.expect("nothing is on disk");
        seen
    }

    /// Room for all of it.
    fn room() -> Room {
        Room::with("absent".into(), 1 << 20)
    }

    #[test]
    fn what_is_recognised_gives_the_rows_that_the_complete_reader_gives() {
        let recogniser = Recogniser::of_features();
        let params = Params {
            one_hot: ["b", "c", "größe"].map(str::to_owned).into(),
            groups: Group::ALL.into(),
            ..Params::default()
        };
        let mut random = Random::new(3);
        let mut adder = Adder::new(&recogniser, &params);
        let (mut quick, mut complete) = (Chunk::new(), Chunk::new());
        let (mut counter, mut counted) = (Adder::new(&recogniser, &params), Chunk::new());
        let (mut refused, mut recognised) = (0, 0);
        for number in 0..20_000 {
            let mut line = event(&mut random, u64::from(number)).into_bytes();
            if random.below(2) == 0 {
                mutate(&mut random, &mut line);
            }
            let shown = String::from_utf8_lossy(&line).into_owned();
            let expected = read_event(Some(&line));
            // An id that a mutation made into another's would be refused by the table.
            if expected
                .as_ref()
                .is_ok_and(|event| event.id != format!("evt-{number:06}"))
            {
                continue;
            }
            recognised += usize::from(counter.add_recognised(&mut counted, number, &line).is_some());
            let added = adder.add(&mut quick, number, Some(&line));
            assert_eq!(added.as_ref().err(), expected.as_ref().err(), "{shown}");
            match expected {
                Err(_) => refused += 1,
                Ok(event) => drop(RowAdder::new(&params).add_event(&mut complete, number, &event)),
            }
            if number % 500 == 499 {
                let chunks = [&mut quick, &mut complete].map(|chunk| std::mem::replace(chunk, Chunk::new()));
                let [quick, complete] = chunks.map(|chunk| table(chunk, &params));
                assert_eq!(quick, complete);
                adder = Adder::new(&recogniser, &params);
            }
        }
        assert!(refused > 1000 && recognised > 10_000, "{refused} {recognised}");
    }

    #[test]
    fn a_key_too_many_is_told_with_the_line_of_the_first() {
        let (recogniser, params) = (Recogniser::of_features(), Params::default());
        let mut adder = Adder::new(&recogniser, &params);
        let mut chunk = Chunk::new();
        let mut ended = Added::Whole;
        for line in 0..100 {
            let features: Vec<String> = (0..50).map(|key| format!("\"k{}\":1", line * 50 + key)).collect();
            let text = format!(
                "{{\"event_id\":\"{line}\",\"payload\":{{\"features\":{{{}}}}}}}",
                features.join(",")
            );
            ended = adder.add(&mut chunk, line, Some(text.as_bytes())).expect("an event");
            if ended == Added::TooManyKeys {
                break;
            }
        }
        assert_eq!(ended, Added::TooManyKeys);
        let error = Rows::new(&Arc::new(params), &room())
            .append(chunk, Place { file: 0, line: 10 })
            .expect_err("too many");
        let first = Place {
            file: 0,
            line: 10 + 1 + 4096 / 50,
        };
        assert!(
            matches!(error, AppendError::TooManyKeys { place } if place == first),
            "{error}"
        );
    }
}
