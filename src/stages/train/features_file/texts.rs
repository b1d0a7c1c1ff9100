//! Columns of texts of which few are different: each kept once, and for each row where it is kept.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, StringArray};

use super::{FeaturesError, content};

/// The texts of one column of a batch.
pub(super) struct BatchTexts {
    /// For each row, which of the batch's different texts it has.
    pub(super) places: Vec<usize>,
    /// For each of them the first row that has it.
    firsts: Vec<usize>,
}

impl BatchTexts {
    pub(super) fn of(column: &StringArray) -> Self {
        let mut known: HashMap<Option<&str>, usize> = HashMap::new();
        let mut firsts = Vec::new();
        let place = |(row, text)| {
            *known.entry(text).or_insert_with(|| {
                firsts.push(row);
                firsts.len() - 1
            })
        };
        let places = column.iter().enumerate().map(place).collect();
        Self { places, firsts }
    }
}

/// The different texts of one column, in the order in which they were met; `None` is that of a row without one.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    texts: Vec<Option<Arc<str>>>,
    places: HashMap<Option<Arc<str>>, u32>,
}

impl Texts {
    /// Where each of a batch's different texts is kept, in their order.
    pub(super) fn take(&mut self, column: &StringArray, batch: &BatchTexts) -> Result<Vec<u32>, FeaturesError> {
        let text = |row: &usize| (!column.is_null(*row)).then(|| Arc::from(column.value(*row)));
        batch.firsts.iter().map(|row| self.place(text(row))).collect()
    }

    fn place(&mut self, text: Option<Arc<str>>) -> Result<u32, FeaturesError> {
        if let Some(place) = self.places.get(&text) {
            return Ok(*place);
        }
        let place = u32::try_from(self.texts.len()).map_err(|_| content("a column has too many different texts"))?;
        self.texts.push(text.clone());
        self.places.insert(text, place);
        Ok(place)
    }

    /// Where `text` is kept, if a row has it.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.places.get(&Some(Arc::from(text))).copied()
    }

    /// All of them, each at its place.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.texts.iter().map(Option::as_deref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_place_in_all_batches() {
        let batches = [
            StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]),
            StringArray::from(vec![Some("c"), Some("a"), None, Some("")]),
        ];
        let mut texts = Texts::default();
        let mut rows = Vec::new();
        for column in &batches {
            let batch = BatchTexts::of(column);
            let kept = texts.take(column, &batch).expect("few");
            rows.extend(batch.places.iter().map(|place| kept[*place]));
        }
        let all: Vec<Option<&str>> = texts.all().collect();
        assert_eq!(all, [Some("b"), None, Some("a"), Some("c"), Some("")]);
        assert_eq!(rows, [0, 1, 2, 0, 3, 2, 1, 4]);
        assert_eq!((texts.find("c"), texts.find("d")), (Some(3), None));
    }
}
