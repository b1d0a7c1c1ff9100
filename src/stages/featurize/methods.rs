//! Parameters that give each feature one of several methods: `impute: { median: all, indicator: [TSH] }`.

use std::collections::BTreeMap;

use super::refused;
use crate::plan::ParamValue;
use crate::stages::StageError;

/// What stands in the place of what is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Impute {
    /// 0.
    #[default]
    Zero,
    /// The mean of what is there.
    Mean,
    /// The median of what is there.
    Median,
    /// 0, and a column of its own says so.
    Indicator,
}

/// How a number is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scale {
    /// It is not.
    #[default]
    None,
    /// To mean 0 and deviation 1.
    Standard,
    /// To 0 for the least and 1 for the greatest.
    MinMax,
}

/// A parameter's methods by their names.
pub(crate) trait Method: Copy + Default + 'static {
    const ALL: &[(&str, Self)];
}

impl Method for Impute {
    const ALL: &[(&str, Self)] = &[
        ("zero", Self::Zero),
        ("mean", Self::Mean),
        ("median", Self::Median),
        ("indicator", Self::Indicator),
    ];
}

impl Method for Scale {
    const ALL: &[(&str, Self)] = &[
        ("none", Self::None),
        ("standard", Self::Standard),
        ("minmax", Self::MinMax),
    ];
}

/// A method for each feature: for some that are named, and one for all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ByKey<M> {
    others: M,
    named: BTreeMap<String, M>,
}

impl<M: Method> ByKey<M> {
    /// Reads the parameter `name`: from a method to `all` or a list of features.
    pub(crate) fn read(value: Option<&ParamValue>, name: &str) -> Result<Self, StageError> {
        let mut methods = Self::default();
        let map = match value {
            None | Some(ParamValue::Null) => return Ok(methods),
            Some(ParamValue::Map(map)) => map,
            Some(_) => return Err(refused(format!("parameter `{name}` must be a map, {}", shape::<M>()))),
        };
        let mut others = None;
        for (method, keys) in map {
            let known = M::ALL.iter().find(|(known, _)| known == method);
            let (_, chosen) = known.ok_or_else(|| {
                refused(format!(
                    "parameter `{name}` knows no method `{method}`; it is a map, {}",
                    shape::<M>()
                ))
            })?;
            match keys {
                ParamValue::String(all) if all == "all" => {
                    if others.replace(method).is_some() {
                        return Err(refused(format!("parameter `{name}` gives `all` features two methods")));
                    }
                    methods.others = *chosen;
                }
                ParamValue::List(_) => {
                    for key in super::params::texts(Some(keys), &format!("{name}: {method}"))? {
                        if methods.named.insert(key.clone(), *chosen).is_some() {
                            return Err(refused(format!("parameter `{name}` names `{key}` twice")));
                        }
                    }
                }
                _ => {
                    return Err(refused(format!(
                        "parameter `{name}` gives `{method}` neither `all` nor a list of features"
                    )));
                }
            }
        }
        Ok(methods)
    }

    /// The method of a feature.
    pub(crate) fn of(&self, key: &str) -> M {
        self.named.get(key).copied().unwrap_or(self.others)
    }

    /// The features that are named.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.named.keys()
    }
}

/// What such a parameter looks like.
fn shape<M: Method>() -> String {
    let names: Vec<String> = M::ALL.iter().map(|(name, _)| format!("`{name}`")).collect();
    format!("from {} to `all` or a list of features", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::params::tests::{list, map, text};
    use super::*;

    fn impute(value: &ParamValue) -> Result<ByKey<Impute>, String> {
        ByKey::read(Some(value), "impute").map_err(|error| error.to_string())
    }

    #[test]
    fn some_features_are_named_and_one_method_is_for_all_others() {
        let methods = impute(&map([("median", text("all")), ("indicator", list(["TSH"]))])).expect("good");
        assert_eq!(methods.of("TSH"), Impute::Indicator);
        assert_eq!(methods.of("age"), Impute::Median);
        assert_eq!(methods.keys().collect::<Vec<_>>(), ["TSH"]);
        assert_eq!(impute(&ParamValue::Null).expect("nothing").of("age"), Impute::Zero);
        let scale: ByKey<Scale> = ByKey::read(Some(&map([("standard", list(["a"]))])), "scale").expect("good");
        assert_eq!((scale.of("a"), scale.of("b")), (Scale::Standard, Scale::None));
    }

    #[test]
    fn wrong_methods_are_refused_by_name() {
        for (value, says) in [
            (text("mean"), "from `zero`, `mean`, `median`, `indicator` to `all`"),
            (map([("meen", text("all"))]), "no method `meen`"),
            (map([("mean", text("age"))]), "neither `all` nor a list"),
            (map([("mean", text("all")), ("zero", text("all"))]), "two methods"),
            (map([("mean", list(["a"])), ("zero", list(["a"]))]), "`a` twice"),
            (
                map([("mean", ParamValue::List(vec![ParamValue::Null]))]),
                "`impute: mean` must be a list of texts",
            ),
        ] {
            let message = impute(&value).expect_err(says);
            assert!(message.contains(says), "{message}");
        }
    }
}
