//! Values of personal parameters, kept out of everything that a stage is shown by: receipts, actions, the terminal.
//!
//! In their place stands `hmacSha256:` and 64 digits, by which whoever has the secret can tell two values apart or recognise one. A value is
//! of characters that nothing is done to where it is put into a command, so that it is found wherever it stands.

use std::collections::BTreeMap;

use super::model::Actual;
use super::{Command, ParamValue, Plan};
use crate::commitment::PersonalKey;

impl Plan {
    /// Puts keyed digests in the place of the values of personal parameters, in the stages that refer to them. What really runs is in
    /// [`super::Stage::actual`] then. To do it again, by another key, is no harm.
    pub fn mask(&mut self, key: &PersonalKey) {
        // The longest first: one may be a part of another.
        let mut masks: Vec<(&str, String)> = self
            .personal
            .iter()
            .map(|value| (value.as_str(), key.value(value)))
            .collect();
        masks.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        for stage in self.stages.iter_mut().filter(|stage| !stage.personal.is_empty()) {
            let actual = stage.actual.take().unwrap_or_else(|| Actual {
                command: stage.command.clone(),
                params: stage.params.clone(),
            });
            stage.command = match &actual.command {
                Command::Argv(argv) => Command::Argv(argv.iter().map(|text| masked(text, &masks)).collect()),
                Command::Shell(text) => Command::Shell(masked(text, &masks)),
                builtin @ Command::Builtin { .. } => builtin.clone(),
            };
            stage.params = masked_map(&actual.params, &masks);
            stage.actual = Some(actual);
        }
    }
}

/// `text` with each value that stands in it masked; what was put in is not looked at again.
fn masked(text: &str, masks: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match masks.iter().find(|(value, _)| rest.starts_with(value)) {
            Some((value, token)) => {
                out.push_str(token);
                rest = &rest[value.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn masked_map(map: &BTreeMap<String, ParamValue>, masks: &[(&str, String)]) -> BTreeMap<String, ParamValue> {
    map.iter()
        .map(|(name, value)| (name.clone(), masked_value(value, masks)))
        .collect()
}

fn masked_value(value: &ParamValue, masks: &[(&str, String)]) -> ParamValue {
    match value {
        ParamValue::String(text) => ParamValue::String(masked(text, masks)),
        // A digest is no number.
        ParamValue::Number(number) => match masked(number.as_str(), masks) {
            text if text == number.as_str() => value.clone(),
            text => ParamValue::String(text),
        },
        ParamValue::List(items) => ParamValue::List(items.iter().map(|item| masked_value(item, masks)).collect()),
        ParamValue::Map(map) => ParamValue::Map(masked_map(map, masks)),
        ParamValue::Null | ParamValue::Boolean(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_masked_and_no_mask_is() {
        let masks = [
            ("P-12", "<long>".to_owned()),
            ("P-1", "<short>".to_owned()),
            ("o", "<o>".to_owned()),
        ];
        assert_eq!(
            masked("grep 'P-12' P-1 P-2; echo", &masks),
            "grep '<long>' <short> P-2; ech<o>"
        );
        let list = ParamValue::List(vec![ParamValue::String("P-1".to_owned()), ParamValue::Boolean(true)]);
        let is = ParamValue::List(vec![
            ParamValue::String("<short>".to_owned()),
            ParamValue::Boolean(true),
        ]);
        assert_eq!(masked_value(&list, &masks), is);
    }
}
