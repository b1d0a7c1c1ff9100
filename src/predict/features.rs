//! From what an event holds to the row that a model weighs.

use std::collections::HashMap;

use crate::preparation::{Input, Preparation, RowError, Value};

/// What a model asks for, as one event has it: by its place in the preparation's inputs.
pub(super) struct Given<'m> {
    preparation: &'m Preparation,
    by_key: HashMap<&'m str, usize>,
    /// The places of `source.kind` and `source.region`.
    groups: [Option<usize>; 2],
    /// Numbers, and of categories the level, as the preparation spells it.
    values: Vec<Value<'m>>,
}

impl<'m> Given<'m> {
    pub(super) fn new(preparation: &'m Preparation) -> Self {
        let inputs = preparation.inputs();
        let keys = inputs.iter().zip(0..).filter_map(|(input, place)| match input {
            Input::Feature(key) => Some((key.as_str(), place)),
            _ => None,
        });
        let place = |wanted: &Input| inputs.iter().position(|input| input == wanted);
        Self {
            preparation,
            by_key: keys.collect(),
            groups: [place(&Input::SourceKind), place(&Input::SourceRegion)],
            values: vec![Value::Missing; inputs.len()],
        }
    }

    /// The place of a feature, if the model asks for it.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Whether a text that stands at this place is of consequence.
    pub(super) fn takes_text(&self, place: usize) -> bool {
        place >= self.preparation.numbers().len()
    }

    /// Another event begins, of which nothing is known but `source.kind` and `source.region`.
    pub(super) fn begin(&mut self, groups: [Option<&str>; 2]) {
        self.values.fill(Value::Missing);
        for (place, text) in self.groups.into_iter().zip(groups) {
            if let (Some(place), Some(text)) = (place, text) {
                self.set(place, Value::Text(text));
            }
        }
    }

    /// Takes note of what the event holds at this place.
    pub(super) fn set(&mut self, place: usize, value: Value<'_>) {
        match value {
            // One zero, as in the features file.
            Value::Number(number) if self.takes_text(place) => {
                self.set_level(place, ryu_js::Buffer::new().format_finite(number + 0.0));
            }
            Value::Text(text) if self.takes_text(place) => self.set_level(place, text),
            Value::Number(number) => self.values[place] = Value::Number(number + 0.0),
            Value::Text(_) | Value::Missing => self.values[place] = Value::Missing,
        }
    }

    /// Takes note of a level of a category; a text that is none is as good as nothing.
    fn set_level(&mut self, place: usize, text: &str) {
        let preparation = self.preparation;
        let category = place
            .checked_sub(preparation.numbers().len())
            .and_then(|place| preparation.categories().get(place));
        let level = category.and_then(|category| {
            let levels = &category.levels;
            let found = levels.binary_search_by(|level| level.as_str().cmp(text)).ok()?;
            Some(&levels[found])
        });
        self.values[place] = level.map_or(Value::Missing, |level| Value::Text(level));
    }

    /// Whether the model knows nothing of what it asks for at `place`: it is absent, null, of another type, out of its range, or
    /// none of the levels.
    pub(super) fn lacks(&self, place: usize) -> bool {
        match (self.values[place], self.preparation.numbers().get(place)) {
            (Value::Missing, _) => true,
            (Value::Number(number), Some(numeric)) => numeric.range.is_some_and(|range| !range.contains(number)),
            _ => false,
        }
    }

    /// Puts the row of the event into `row`: a number for each of the model's weights.
    pub(super) fn row(&self, row: &mut Vec<f64>) -> Result<(), RowError> {
        self.preparation.row(&self.values, row)
    }
}
