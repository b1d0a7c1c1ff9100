//! The parameters of featurize.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Group;
use super::methods::{ByKey, Impute, Scale};
use super::refused;
use crate::plan::ParamValue;
use crate::preparation::Range;
use crate::stages::{Refusal, StageError};

/// What is asked of featurize.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Params {
    /// Group columns, in the order of [`Group::ALL`].
    pub(crate) groups: Vec<Group>,
    /// For a feature key, the least and the greatest value that is taken.
    pub(crate) range: BTreeMap<String, Range>,
    /// Keys, and columns of levels, that make no column.
    pub(crate) exclude: BTreeSet<String>,
    /// What stands in the place of what is missing.
    pub(crate) impute: ByKey<Impute>,
    /// How numbers are scaled.
    pub(crate) scale: ByKey<Scale>,
    /// Keys that are categories.
    pub(crate) one_hot: BTreeSet<String>,
    /// Groups that are categories.
    pub(crate) one_hot_groups: BTreeSet<Group>,
    /// Pairs of columns that are multiplied.
    pub(crate) interactions: Vec<[String; 2]>,
    /// The key that holds what the rows weigh, and makes no feature.
    pub(crate) weights: Option<String>,
}

impl Params {
    /// Reads the stage's parameters.
    pub(crate) fn read(params: &BTreeMap<String, ParamValue>) -> Result<Self, StageError> {
        let (one_hot, one_hot_groups) = categories(texts(params.get("one_hot"), "one_hot")?)?;
        let params = Self {
            groups: groups(texts(params.get("groups"), "groups")?)?,
            range: ranges(params.get("range"))?,
            exclude: texts(params.get("exclude"), "exclude")?.into_iter().collect(),
            impute: ByKey::read(params.get("impute"), "impute")?,
            scale: ByKey::read(params.get("scale"), "scale")?,
            one_hot,
            one_hot_groups,
            interactions: interactions(params.get("interactions"))?,
            weights: weights(params.get("weights"))?,
        };
        params.check()?;
        Ok(params)
    }

    /// For each of [`Group::ALL`] whether anything is made of it.
    pub(crate) fn keeps_groups(&self) -> [bool; 2] {
        Group::ALL.map(|group| self.groups.contains(&group) || self.one_hot_groups.contains(&group))
    }

    /// Nothing is asked of a key that another parameter makes impossible.
    fn check(&self) -> Result<(), StageError> {
        let asked = |name, keys: &mut dyn Iterator<Item = &String>, other, others: &BTreeSet<String>| {
            let both = keys.filter(|key| others.contains(*key));
            both.map(|key| format!("parameters `{name}` and `{other}` name `{key}`"))
                .collect::<Vec<_>>()
        };
        let weights: BTreeSet<String> = self.weights.iter().cloned().collect();
        let details = [
            asked("exclude", &mut self.exclude.iter(), "weights", &weights),
            asked("range", &mut self.range.keys(), "weights", &weights),
            asked("impute", &mut self.impute.keys(), "weights", &weights),
            asked("scale", &mut self.scale.keys(), "weights", &weights),
            asked("one_hot", &mut self.one_hot.iter(), "weights", &weights),
            asked("one_hot", &mut self.one_hot.iter(), "exclude", &self.exclude),
            asked("impute", &mut self.impute.keys(), "exclude", &self.exclude),
            asked("scale", &mut self.scale.keys(), "exclude", &self.exclude),
            asked("range", &mut self.range.keys(), "one_hot", &self.one_hot),
            asked("impute", &mut self.impute.keys(), "one_hot", &self.one_hot),
            asked("scale", &mut self.scale.keys(), "one_hot", &self.one_hot),
        ]
        .concat();
        if details.is_empty() {
            return Ok(());
        }
        Err(StageError::Refused(Refusal {
            summary: "what is excluded makes no column, a category is no number, and what rows weigh is no feature; remove one of the two".to_owned(),
            details,
            ..Refusal::default()
        }))
    }
}

/// A list of texts.
pub(super) fn texts(value: Option<&ParamValue>, name: &str) -> Result<Vec<String>, StageError> {
    let wrong = || refused(format!("parameter `{name}` must be a list of texts"));
    match value {
        None | Some(ParamValue::Null) => Ok(Vec::new()),
        Some(ParamValue::List(items)) => items
            .iter()
            .map(|item| match item {
                ParamValue::String(text) => Ok(text.clone()),
                // A key that is spelled like a number is still a key.
                ParamValue::Number(number) => Ok(number.to_string()),
                _ => Err(wrong()),
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn groups(names: Vec<String>) -> Result<Vec<Group>, StageError> {
    let mut groups = BTreeSet::new();
    for name in names {
        let group = Group::ALL.into_iter().find(|group| group.name() == name);
        let group = group.ok_or_else(|| {
            refused(format!(
                "parameter `groups` names `{name}`; it takes `source.kind` and `source.region`"
            ))
        })?;
        if !groups.insert(group) {
            return Err(refused(format!("parameter `groups` names `{name}` twice")));
        }
    }
    Ok(groups.into_iter().collect())
}

/// Which features, and which groups, are categories.
fn categories(names: Vec<String>) -> Result<(BTreeSet<String>, BTreeSet<Group>), StageError> {
    let (mut keys, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        let is_new = match Group::ALL.into_iter().find(|group| group.name() == name) {
            Some(group) => groups.insert(group),
            None => keys.insert(name.clone()),
        };
        if !is_new {
            return Err(refused(format!("parameter `one_hot` names `{name}` twice")));
        }
    }
    Ok((keys, groups))
}

/// A key, which may be spelled like a number.
fn weights(value: Option<&ParamValue>) -> Result<Option<String>, StageError> {
    match value {
        None | Some(ParamValue::Null) => Ok(None),
        Some(ParamValue::String(key)) => Ok(Some(key.clone())),
        Some(ParamValue::Number(key)) => Ok(Some(key.to_string())),
        Some(_) => Err(refused("parameter `weights` must be the key of a feature")),
    }
}

fn interactions(value: Option<&ParamValue>) -> Result<Vec<[String; 2]>, StageError> {
    let wrong = || refused("parameter `interactions` must be a list of pairs of columns: [[age, TSH]]");
    let pairs = match value {
        None | Some(ParamValue::Null) => return Ok(Vec::new()),
        Some(ParamValue::List(pairs)) => pairs,
        Some(_) => return Err(wrong()),
    };
    pairs
        .iter()
        .map(|pair| {
            let pair = matches!(pair, ParamValue::List(_)).then_some(pair).ok_or_else(wrong)?;
            texts(Some(pair), "interactions")?.try_into().map_err(|_| wrong())
        })
        .collect()
}

fn ranges(value: Option<&ParamValue>) -> Result<BTreeMap<String, Range>, StageError> {
    let map = match value {
        None | Some(ParamValue::Null) => return Ok(BTreeMap::new()),
        Some(ParamValue::Map(map)) => map,
        Some(_) => {
            return Err(refused(
                "parameter `range` must be a map from a feature key to [least, greatest]",
            ));
        }
    };
    map.iter()
        .map(|(key, bounds)| {
            let bounds = match bounds {
                ParamValue::List(bounds) => bounds.as_slice(),
                _ => &[],
            };
            match bounds {
                [ParamValue::Number(least), ParamValue::Number(greatest)] if least.to_f64() <= greatest.to_f64() => {
                    Ok((key.clone(), Range(least.to_f64(), greatest.to_f64())))
                }
                _ => Err(refused(format!(
                    "parameter `range` of `{key}` must be two numbers, the least and the greatest: [0, 120]"
                ))),
            }
        })
        .collect()
}

#[cfg(test)]
pub(in crate::stages) mod tests {
    use super::*;
    use crate::plan::Number;

    /// A list of texts.
    pub(in crate::stages) fn list<const N: usize>(texts: [&str; N]) -> ParamValue {
        ParamValue::List(texts.into_iter().map(text).collect())
    }

    pub(in crate::stages) fn map<const N: usize>(entries: [(&str, ParamValue); N]) -> ParamValue {
        ParamValue::Map(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn number(value: f64) -> ParamValue {
        ParamValue::Number(Number::from_f64(value).expect("finite"))
    }

    pub(in crate::stages) fn text(text: &str) -> ParamValue {
        ParamValue::String(text.to_owned())
    }

    fn read(name: &str, value: ParamValue) -> Result<Params, String> {
        Params::read(&BTreeMap::from([(name.to_owned(), value)])).map_err(|error| error.to_string())
    }

    #[test]
    fn good_parameters_are_read() {
        let range = map([("age", ParamValue::List(vec![number(0.0), number(120.0)]))]);
        assert_eq!(read("range", range).expect("good").range["age"], Range(0.0, 120.0));
        let groups = list(["source.region", "source.kind"]);
        assert_eq!(read("groups", groups).expect("good").groups, Group::ALL);
        assert_eq!(read("exclude", ParamValue::Null), Ok(Params::default()));
        let one_hot = read("one_hot", list(["sex", "source.kind"])).expect("good");
        assert_eq!(one_hot.one_hot.iter().collect::<Vec<_>>(), ["sex"]);
        assert_eq!(
            one_hot.one_hot_groups.into_iter().collect::<Vec<_>>(),
            [Group::SourceKind]
        );
        let pairs = ParamValue::List(vec![list(["age", "TSH"])]);
        let pairs = read("interactions", pairs).expect("good").interactions;
        assert_eq!(pairs, [["age".to_owned(), "TSH".to_owned()]]);
    }

    #[test]
    fn wrong_parameters_are_refused_by_name() {
        let backwards = map([("age", ParamValue::List(vec![number(2.0), number(1.0)]))]);
        for (name, value, says) in [
            ("groups", text("source.kind"), "list of texts"),
            ("groups", list(["site"]), "`site`"),
            ("groups", list(["source.kind", "source.kind"]), "twice"),
            ("exclude", ParamValue::List(vec![ParamValue::Null]), "list of texts"),
            ("range", text("age"), "a map"),
            ("range", backwards, "`age`"),
            ("impute", text("mean"), "a map"),
            ("scale", map([("robust", text("all"))]), "`robust`"),
            ("one_hot", list(["sex", "sex"]), "`sex` twice"),
            ("weights", list(["a"]), "the key of a feature"),
            ("interactions", list(["a", "b"]), "list of pairs"),
            ("interactions", ParamValue::List(vec![list(["a"])]), "list of pairs"),
            ("interactions", text("a:b"), "list of pairs"),
        ] {
            let message = read(name, value).expect_err("must be refused");
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn what_one_parameter_makes_impossible_is_not_asked_by_another() {
        let params = [
            ("exclude", list(["a", "b"])),
            ("one_hot", list(["a", "c"])),
            ("impute", map([("mean", list(["b", "d"])), ("zero", list(["c"]))])),
            ("weights", text("d")),
        ];
        let params = params.map(|(name, value)| (name.to_owned(), value)).into();
        let Err(StageError::Refused(refusal)) = Params::read(&params) else {
            panic!("must be refused");
        };
        assert_eq!(
            refusal.details,
            [
                "parameters `impute` and `weights` name `d`",
                "parameters `one_hot` and `exclude` name `a`",
                "parameters `impute` and `exclude` name `b`",
                "parameters `impute` and `one_hot` name `c`",
            ]
        );
    }
}
