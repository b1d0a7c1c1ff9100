//! The parameters of featurize.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Group;
use super::refused;
use crate::plan::ParamValue;
use crate::preparation::Range;
use crate::stages::StageError;

/// What is asked of featurize.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Params {
    /// Group columns, in the order of [`Group::ALL`].
    pub(crate) groups: Vec<Group>,
    /// For a feature key, the least and the greatest value that is taken.
    pub(crate) range: BTreeMap<String, Range>,
    /// Keys that make no column.
    pub(crate) exclude: BTreeSet<String>,
}

impl Params {
    /// Reads the stage's parameters.
    pub(crate) fn read(params: &BTreeMap<String, ParamValue>) -> Result<Self, StageError> {
        Ok(Self {
            groups: groups(texts(params.get("groups"), "groups")?)?,
            range: ranges(params.get("range"))?,
            exclude: texts(params.get("exclude"), "exclude")?.into_iter().collect(),
        })
    }
}

fn texts(value: Option<&ParamValue>, name: &str) -> Result<Vec<String>, StageError> {
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
mod tests {
    use super::*;
    use crate::plan::Number;

    fn number(value: f64) -> ParamValue {
        ParamValue::Number(Number::from_f64(value).expect("finite"))
    }

    fn text(text: &str) -> ParamValue {
        ParamValue::String(text.to_owned())
    }

    fn read(name: &str, value: ParamValue) -> Result<Params, String> {
        Params::read(&BTreeMap::from([(name.to_owned(), value)])).map_err(|error| error.to_string())
    }

    #[test]
    fn good_parameters_are_read() {
        let range = ParamValue::Map(BTreeMap::from([(
            "age".to_owned(),
            ParamValue::List(vec![number(0.0), number(120.0)]),
        )]));
        assert_eq!(read("range", range).expect("good").range["age"], Range(0.0, 120.0));
        let groups = ParamValue::List(vec![text("source.region"), text("source.kind")]);
        assert_eq!(read("groups", groups).expect("good").groups, Group::ALL);
        assert_eq!(read("exclude", ParamValue::Null), Ok(Params::default()));
    }

    #[test]
    fn wrong_parameters_are_refused_by_name() {
        let backwards = ParamValue::Map(BTreeMap::from([(
            "age".to_owned(),
            ParamValue::List(vec![number(2.0), number(1.0)]),
        )]));
        for (name, value, says) in [
            ("groups", text("source.kind"), "list of texts"),
            ("groups", ParamValue::List(vec![text("site")]), "`site`"),
            (
                "groups",
                ParamValue::List(vec![text("source.kind"), text("source.kind")]),
                "twice",
            ),
            ("exclude", ParamValue::List(vec![ParamValue::Null]), "list of texts"),
            ("range", text("age"), "a map"),
            ("range", backwards, "`age`"),
        ] {
            let message = read(name, value).expect_err("must be refused");
            assert!(message.contains(says), "{message}");
        }
    }
}
