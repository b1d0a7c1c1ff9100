//! What must hold in a statement between the consent of what was read and that of what was written.

use super::names::clip;
use super::statement::{CommandRecord, Outcome, Resource, Role, StageParameters, Statement};
use crate::consent::purposes::{NONE, Purposes};
use crate::spec::is_name;
use crate::stages::ingest::{EVENTS, REJECTS};

/// What is wrong, in words.
type Checked = Result<(), String>;

fn order(statement: &Statement) -> Result<Purposes, String> {
    let purposes = statement.purposes();
    purposes.ok_or_else(|| "`purposes` is no order of purposes, or says what every project has".to_owned())
}

/// Every consent is a word of the order.
pub(super) fn check_words(statement: &Statement) -> Checked {
    let purposes = order(statement)?;
    let words = statement.external().purposes.iter().flatten();
    if let Some(word) = words.clone().find(|word| !is_name(word)) {
        return Err(format!("`purposes` has `{}`, which is no name", clip(word)));
    }
    let resources = statement.subject.iter().chain(statement.dependencies());
    match resources
        .filter_map(Resource::consent)
        .find(|word| !purposes.is_consent(word))
    {
        None => Ok(()),
        Some(word) => Err(format!("the consent `{}` is not known", clip(word))),
    }
}

/// Outputs carry on what the inputs carry, but for those that the stage declassifies; an ingest finds out itself.
pub(super) fn check(statement: &Statement, stage: &StageParameters) -> Checked {
    let purposes = order(statement)?;
    if let Some(purpose) = stage.requires.as_deref().filter(|word| !purposes.covers(word, word)) {
        return Err(format!("`requires`: `{}` is no purpose", clip(purpose)));
    }
    let is_sorted = stage.declassify.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_sorted || !stage.declassify.iter().all(|name| stage.outputs.contains_key(name)) {
        return Err("`declassify` is not sorted, or names what is no output".to_owned());
    }
    if statement.internal().outcome != Outcome::Succeeded {
        return Ok(());
    }
    let is_builtin = matches!(stage.command, CommandRecord::Builtin { .. });
    let narrowest = purposes.narrowest(statement.dependencies().iter().filter_map(Resource::consent));
    for subject in &statement.subject {
        let Role::Output { output, .. } = subject.role() else {
            continue;
        };
        let is_right = match statement.is_ingest() {
            true => is_right_of_ingest(&purposes, statement, output, subject.consent()),
            false if stage.declassify.contains(output) => subject.consent().is_none(),
            false => subject.consent() == narrowest,
        };
        if !is_right {
            let name = clip(&subject.name);
            return Err(format!(
                "the consent of `{name}` does not follow from what the stage has read"
            ));
        }
    }
    match statement.is_ingest() && is_builtin && !stage.declassify.is_empty() {
        true => Err("an ingest declassifies nothing".to_owned()),
        false => Ok(()),
    }
}

/// Receipts of madmall 0.1 as first released say nothing of consent.
fn is_right_of_ingest(purposes: &Purposes, statement: &Statement, output: &str, consent: Option<&str>) -> bool {
    let purpose = statement.external().purpose.as_deref();
    match (output, consent) {
        (_, None) => true,
        (EVENTS, Some(consent)) => purpose.is_some_and(|purpose| purposes.covers(consent, purpose)),
        (REJECTS, Some(consent)) => consent == NONE,
        _ => false,
    }
}
