//! Which column stands where: worked out once from what a preparation says.

use super::{Categorical, Input, MAX_COLUMNS, MAX_LEVELS, MAX_TEXT, Numeric, PreparationError, Value};
use crate::stages::ingest::fault::printable;

/// Places of everything in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// The numbers' keys, then the categories.
    pub(super) inputs: Vec<Input>,
    /// Names, sorted by bytes.
    pub(super) columns: Vec<String>,
    /// For each number.
    pub(super) numbers: Vec<NumericPlace>,
    /// For each category.
    pub(super) levels: Vec<LevelPlaces>,
    /// For each interaction.
    pub(super) products: Vec<Product>,
}

/// The columns of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NumericPlace {
    pub(crate) column: usize,
    pub(crate) indicator: Option<usize>,
}

/// The columns of a category.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LevelPlaces {
    /// For each level.
    pub(super) columns: Vec<usize>,
    /// The levels that spell a number, in the order of the numbers.
    numbers: Vec<(f64, usize)>,
}

/// The columns of an interaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) factors: [usize; 2],
    pub(crate) column: usize,
}

fn wrong(message: String) -> PreparationError {
    PreparationError::Inconsistent(message)
}

impl Plan {
    pub(super) fn new(
        numbers: &[Numeric],
        categories: &[Categorical],
        interactions: &[[String; 2]],
    ) -> Result<Self, PreparationError> {
        check_numbers(numbers)?;
        check_categories(categories)?;
        let inputs = inputs(numbers, categories)?;
        let names = Names::of(numbers, categories, interactions)?;
        let number = |number: &Numeric| NumericPlace {
            column: names.place(&number.key),
            indicator: number.indicator.then(|| names.place(&indicator(&number.key))),
        };
        let levels = |category: &Categorical| LevelPlaces {
            columns: category
                .levels
                .iter()
                .map(|level| names.place(&level_column(&category.of, level)))
                .collect(),
            numbers: spelled_numbers(&category.levels),
        };
        let product = |factors: &[String; 2]| Product {
            factors: factors.each_ref().map(|factor| names.place(factor)),
            column: names.place(&interaction(factors)),
        };
        Ok(Self {
            numbers: numbers.iter().map(number).collect(),
            levels: categories.iter().map(levels).collect(),
            products: interactions.iter().map(product).collect(),
            inputs,
            columns: names.0,
        })
    }
}

/// The name of the column that says where `key` was missing.
fn indicator(key: &str) -> String {
    format!("{key}=missing")
}

/// The name of a level's column.
pub(crate) fn level_column(of: &Input, level: &str) -> String {
    format!("{}={level}", of.name())
}

/// The name of an interaction's column.
fn interaction([a, b]: &[String; 2]) -> String {
    format!("{a}:{b}")
}

/// Names of columns, sorted.
struct Names(Vec<String>);

impl Names {
    fn of(
        numbers: &[Numeric],
        categories: &[Categorical],
        interactions: &[[String; 2]],
    ) -> Result<Self, PreparationError> {
        let mut names: Vec<String> = numbers.iter().map(|number| number.key.clone()).collect();
        let indicators = numbers.iter().filter(|number| number.indicator);
        names.extend(indicators.map(|number| indicator(&number.key)));
        for Categorical { of, levels } in categories {
            names.extend(levels.iter().map(|level| level_column(of, level)));
        }
        let mut names = Self(names).sorted()?;
        for pair in interactions {
            if let Some(factor) = pair.iter().find(|factor| names.find(factor).is_none()) {
                return Err(wrong(format!(
                    "an interaction names `{}`, which is no column",
                    printable(factor)
                )));
            }
        }
        let mut pairs: Vec<[&String; 2]> = interactions.iter().map(|[a, b]| [a.min(b), a.max(b)]).collect();
        pairs.sort_unstable();
        if let Some([[a, b], _]) = pairs
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .and_then(|two| two.first_chunk())
        {
            return Err(wrong(format!(
                "the interaction of `{}` and `{}` stands twice",
                printable(a),
                printable(b)
            )));
        }
        names.0.extend(interactions.iter().map(interaction));
        names.sorted()
    }

    fn sorted(mut self) -> Result<Self, PreparationError> {
        if self.0.len() > MAX_COLUMNS {
            return Err(wrong(format!("it makes more than {MAX_COLUMNS} columns")));
        }
        self.0.sort_unstable();
        match self.0.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(self),
            Some(pair) => Err(wrong(format!("two columns would be called `{}`", printable(&pair[0])))),
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }

    /// Where a name stands that has been put in.
    fn place(&self, name: &str) -> usize {
        self.find(name).expect("every name that is asked for was put in")
    }
}

impl LevelPlaces {
    /// Which level `value` is, if it is one.
    pub(super) fn of(&self, category: &Categorical, value: Value<'_>) -> Option<usize> {
        match value {
            Value::Missing => None,
            Value::Text(text) => category.levels.binary_search_by(|level| level.as_str().cmp(text)).ok(),
            Value::Number(number) => {
                let place = self
                    .numbers
                    .binary_search_by(|(known, _)| known.total_cmp(&(number + 0.0)));
                place.ok().map(|place| self.numbers[place].1)
            }
        }
    }
}

/// The text that a number counts as where it is a level (RFC 8785: the shortest that reads back as the same double).
pub(crate) fn spelled(number: f64) -> Option<String> {
    serde_json_canonicalizer::to_string(&(number + 0.0)).ok()
}

fn spelled_numbers(levels: &[String]) -> Vec<(f64, usize)> {
    let number = |(index, level): (usize, &String)| {
        let number = level.parse::<f64>().ok().filter(|number| number.is_finite())?;
        (spelled(number).as_ref() == Some(level)).then_some((number, index))
    };
    let mut numbers: Vec<_> = levels.iter().enumerate().filter_map(number).collect();
    numbers.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    numbers
}

fn check_numbers(numbers: &[Numeric]) -> Result<(), PreparationError> {
    for number in numbers {
        let key = printable(&number.key);
        if number.key.len() > MAX_TEXT {
            return Err(wrong(format!("the key `{key}` is longer than {MAX_TEXT} bytes")));
        }
        let range = number.range.map_or([0.0; 2], |range| [range.0, range.1]);
        let scaling = number
            .scaling
            .map_or([0.0; 2], |scaling| [scaling.center, scaling.scale]);
        if let Some(value) = [number.impute]
            .iter()
            .chain(&range)
            .chain(&scaling)
            .find(|value| !value.is_finite())
        {
            return Err(wrong(format!("a number of `{key}` is {value}")));
        }
        if range[0] > range[1] {
            return Err(wrong(format!("the range of `{key}` is upside down")));
        }
        if number.scaling.is_some_and(|scaling| scaling.scale <= 0.0) {
            return Err(wrong(format!("the scale of `{key}` is not positive")));
        }
    }
    Ok(())
}

fn check_categories(categories: &[Categorical]) -> Result<(), PreparationError> {
    for Categorical { of, levels } in categories {
        let name = printable(of.name());
        if levels.is_empty() || levels.len() > MAX_LEVELS {
            let count = levels.len();
            return Err(wrong(format!(
                "`{name}` has {count} levels; it must have 1 to {MAX_LEVELS}"
            )));
        }
        if of.name().len() > MAX_TEXT || levels.iter().any(|level| level.len() > MAX_TEXT) {
            let message = format!("`{name}` or one of its levels is longer than {MAX_TEXT} bytes");
            return Err(wrong(message));
        }
        if !levels.is_sorted_by(|a, b| a < b) {
            return Err(wrong(format!("the levels of `{name}` are not sorted, each once")));
        }
    }
    Ok(())
}

/// Everything that is read, once.
fn inputs(numbers: &[Numeric], categories: &[Categorical]) -> Result<Vec<Input>, PreparationError> {
    let keys = numbers.iter().map(|number| Input::Feature(number.key.clone()));
    let mut inputs: Vec<Input> = keys.collect();
    inputs.extend(categories.iter().map(|category| category.of.clone()));
    let (keys, of) = inputs.split_at(numbers.len());
    for part in [keys, of] {
        if !part.is_sorted_by(|a, b| a < b) {
            return Err(wrong("its features are not sorted, each once".to_owned()));
        }
    }
    match of.iter().find(|input| keys.binary_search(input).is_ok()) {
        None => Ok(inputs),
        Some(input) => Err(wrong(format!(
            "`{}` is both a number and a category",
            printable(input.name())
        ))),
    }
}
