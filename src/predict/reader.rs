//! One line: is it an event, and which features has it?

use super::features::Given;
use crate::consent::token::Tokens;
use crate::preparation::{Preparation, Value};
use crate::recognise::{Feature, Memory, Recogniser};
use crate::stages::featurize::event::Event as Whole;
use crate::stages::featurize::reading::row_of;
use crate::stages::ingest::event::{Event, Facts, check, read_json};
use crate::stages::ingest::fault::Fault;
use crate::stages::ingest::lines::MAX_LINE;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;

/// Reads lines as events: what both `ingest` and `featurize` take, and nothing else.
pub(super) struct EventReader<'a> {
    schema: &'a EventSchema,
    quick: Option<(&'a Recogniser, Memory)>,
    /// Which events are withdrawn; and by what their tokens are made, if any is named by one.
    withdrawn: (&'a Revocations, Option<&'a Tokens>),
    /// For each key that the memory knows, its place among the model's.
    places: Vec<Option<usize>>,
    id: String,
    given: Given<'a>,
    kept: Option<Kept>,
}

/// What is of use only to who measures a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// `payload.label`.
    pub(super) label: Option<String>,
    /// `source.kind` and `source.region`.
    pub(super) groups: [Option<String>; 2],
}

/// What `ingest` knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its consent and source.
    pub(super) facts: Facts,
    /// Whether it is revoked.
    pub(super) is_revoked: bool,
}

impl Known {
    fn of(event: &Event<'_>, revocations: &Revocations) -> Self {
        Self {
            facts: event.facts,
            is_revoked: revocations.has(event),
        }
    }
}

/// An event.
pub(super) struct Read<'a, 'm> {
    /// `event_id`.
    pub(super) id: &'a str,
    /// What `ingest` knows of it.
    pub(super) known: Known,
    /// Its features.
    pub(super) given: &'a Given<'m>,
    /// Its label and groups, if they are kept.
    pub(super) kept: Option<&'a Kept>,
}

impl<'m> EventReader<'m> {
    pub(super) fn new(
        schema: &'m EventSchema,
        preparation: &'m Preparation,
        withdrawn: (&'m Revocations, Option<&'m Tokens>),
    ) -> Self {
        Self {
            schema,
            quick: schema.recogniser().map(|recogniser| (recogniser, recogniser.memory())),
            withdrawn,
            places: Vec::new(),
            id: String::new(),
            given: Given::new(preparation),
            kept: None,
        }
    }

    /// The same, that gives labels and groups too if `keeps`.
    pub(super) fn keeping_labels(self, keeps: bool) -> Self {
        let kept = keeps.then(Kept::default);
        Self { kept, ..self }
    }

    /// Reads one line (without its end).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at least one fault.
    pub(super) fn read(&mut self, content: &[u8]) -> Result<Read<'_, 'm>, Vec<Fault>> {
        let known = match self.recognise(content) {
            Some(known) => known,
            None => self.read_whole(content)?,
        };
        Ok(Read {
            id: &self.id,
            known,
            given: &self.given,
            kept: self.kept.as_ref(),
        })
    }

    /// Reads a line that is plainly an event.
    fn recognise(&mut self, content: &[u8]) -> Option<Known> {
        let (recogniser, memory) = self.quick.as_mut().filter(|_| content.len() <= MAX_LINE)?;
        let found = recogniser.recognise(content, memory)?;
        let (revocations, tokens) = self.withdrawn;
        let known = Known::of(&Event::of(&found, self.schema, tokens)?, revocations);
        let row = row_of(&found)?;
        // Without features there may be no payload either, which the complete reader can tell.
        let newest = found.features.iter().map(|(number, _)| *number).max()?;
        if newest as usize >= self.places.len() {
            // Keys for the first time: once they are known, the complete reader is as good.
            for number in (0..=newest).skip(self.places.len()) {
                self.places.push(self.given.place(memory.key(number)));
            }
            return None;
        }
        self.id.clear();
        self.id.push_str(row.id);
        if let Some(kept) = &mut self.kept {
            kept.label = row.label.map(str::to_owned);
            kept.groups = row.groups.map(|group| group.map(str::to_owned));
        }
        self.given.begin(row.groups);
        for (number, feature) in found.features {
            match (self.places[*number as usize], feature) {
                (Some(place), Feature::Number(number)) => self.given.set(place, Value::Number(*number)),
                (Some(place), Feature::Text(text)) if self.given.takes_text(place) => {
                    self.given.set(place, Value::Text(text.of(content)?));
                }
                _ => {}
            }
        }
        Some(known)
    }

    /// Reads any line: a tree of it, held against the schema.
    fn read_whole(&mut self, content: &[u8]) -> Result<Known, Vec<Fault>> {
        let value = read_json(content).map_err(|fault| vec![fault])?;
        let (revocations, tokens) = self.withdrawn;
        let known = Known::of(&check(&value, self.schema, tokens)?, revocations);
        let whole =
            Whole::from_value(value).map_err(|fault| vec![Fault::new(&fault.pointer, fault.message, "features")])?;
        self.id = whole.id;
        self.given.begin(whole.groups.each_ref().map(Option::as_deref));
        for (key, feature) in &whole.features {
            if let Some(place) = self.given.place(key) {
                self.given.set(place, feature.value());
            }
        }
        if let Some(kept) = &mut self.kept {
            (kept.label, kept.groups) = (whole.label, whole.groups);
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::secret::ConsentSecret;
    use crate::preparation::{Categorical, Input};
    use crate::stages::featurize::reading::lines::{Random, event, mutate};

    #[test]
    fn what_is_recognised_has_the_features_that_the_complete_reader_finds() {
        let schema = EventSchema::compile_with_features(include_bytes!("../../schemas/byte_event.schema.json"), None)
            .expect("the embedded schema");
        let mut random = Random::new(11);
        let mut keys = std::collections::BTreeSet::new();
        for number in 0..50 {
            let event: serde_json::Value = serde_json::from_str(&event(&mut random, number)).expect("JSON");
            let features = event["payload"]["features"].as_object();
            keys.extend(features.into_iter().flat_map(serde_json::Map::keys).cloned());
        }
        let keys: Vec<String> = keys.into_iter().collect();
        let numbers = Preparation::plain(&keys).expect("few keys").numbers()[1..].to_vec();
        let category = |of, levels: &[&str]| Categorical {
            of,
            levels: levels.iter().map(|level| (*level).to_owned()).collect(),
        };
        let categories = vec![
            category(Input::Feature(keys[0].clone()), &["0", "1", "1.5", "a", "x"]),
            category(Input::SourceKind, &["pharmacy", "self"]),
        ];
        let preparation = Preparation::new(numbers, categories, Vec::new()).expect("it holds together");
        let revocations = Revocations::of_event("evt-000007", None);
        let tokens = Tokens::by(&ConsentSecret::from_bytes([3; 32]));
        let [mut quick, mut whole] = [(); 2]
            .map(|()| EventReader::new(&schema, &preparation, (&revocations, Some(&tokens))).keeping_labels(true));
        let mut levels = 0.0;
        let (mut refused, mut recognised) = (0, 0);
        for number in 0..20_000 {
            let mut line = event(&mut random, number).into_bytes();
            if random.below(2) == 0 {
                mutate(&mut random, &mut line);
            }
            let shown = String::from_utf8_lossy(&line).into_owned();
            let expected = whole.read_whole(&line);
            if let Some(known) = quick.recognise(&line) {
                recognised += 1;
                assert_eq!(expected, Ok(known), "{shown}");
            } else {
                refused += usize::from(expected.is_err());
                assert_eq!(quick.read(&line).map(|read| read.known), expected, "{shown}");
            }
            if expected.is_ok() {
                let rows = [&whole, &quick].map(|reader| {
                    let mut row = Vec::new();
                    reader.given.row(&mut row).expect("numbers stay as they are");
                    levels += row[..5].iter().sum::<f64>();
                    let inputs = preparation.inputs().len();
                    let missing: Vec<_> = (0..inputs).map(|place| reader.given.lacks(place)).collect();
                    let bits: Vec<_> = row.into_iter().map(f64::to_bits).collect();
                    (reader.id.clone(), bits, missing, reader.kept.clone())
                });
                assert_eq!(rows[0], rows[1], "{shown}");
            }
        }
        assert!(refused > 1000 && recognised > 10_000, "{refused} {recognised}");
        assert!(levels > 1000.0, "{levels}");
    }
}
