//! What is said when an event, or all of a person, was erased: by a token, never by the id. See `docs/formats/erasure.md`.

use serde::{Deserialize, Serialize};

use super::names::{check_path, clip};
use super::statement::{Outcome, Repository, Role, Statement};
use crate::digest::Sha256;

/// At most so many places that could not be reached are named; of the others it is said how many they are.
pub const MAX_LEFT: usize = 1000;

/// Who or what was erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Erasure {
    /// Of an event, or of a person.
    pub of: ErasedKind,
    /// The id of the secret under which the token was made, 64 hexadecimal digits.
    pub secret: String,
    /// The token, 64 hexadecimal digits.
    pub token: String,
}

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErasedKind {
    /// The id of an event.
    Event,
    /// A person.
    Subject,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Erased {
    /// Files that were removed or rewritten in the workspace.
    pub files: u64,
    /// Places that hold it still, because nobody but a person can reach them: paths in the workspace, and `git`. Sorted, at
    /// most [`MAX_LEFT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Objects of the store that were removed.
    pub objects: u64,
}

/// What must hold between the fields of a tombstone.
pub(super) fn check(statement: &Statement) -> Result<(), String> {
    let (Some(erasure), Some(erased)) = (&statement.external().erasure, &statement.internal().erased) else {
        return Err("it does not say what was erased".to_owned());
    };
    if statement.external().stage.is_some() || statement.internal().stage.is_some() {
        return Err("`stage` stands in what says that something was erased".to_owned());
    }
    if statement.internal().outcome != Outcome::Succeeded {
        return Err("an erasure that did not succeed is none".to_owned());
    }
    for (what, digits) in [("token", &erasure.token), ("secret", &erasure.secret)] {
        Sha256::from_hex(digits).map_err(|_| format!("`{what}` is not 64 hexadecimal digits"))?;
    }
    let is_sorted = erased.left.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_sorted || erased.left.len() > MAX_LEFT {
        return Err("`left` is not sorted, or too long".to_owned());
    }
    for dependency in statement.dependencies() {
        if !matches!(
            dependency.role(),
            Role::Commit {} | Role::Definition {} | Role::Receipt { .. }
        ) {
            return Err(format!("an erasure does not depend on `{}`", clip(&dependency.name)));
        }
    }
    match &statement.subject[..] {
        [subject] if matches!(subject.role(), Role::Revocations {}) => check_path(&subject.name),
        _ => Err("the subject of an erasure is the file of revocations".to_owned()),
    }?;
    match statement.internal().made.repository {
        Repository::Git => Ok(()),
        _ if statement.internal().made.commit.is_none() => Ok(()),
        _ => Err("there is a commit, and no repository".to_owned()),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::receipt::run_file::frozen;
    use crate::receipt::statement::{ERASURE_BUILD_TYPE, Resource};

    /// The receipt of a run, from the frozen files, made into a tombstone.
    fn tombstone() -> Statement {
        let mut run = frozen().pop().expect("its own").statement;
        let digest = run.subject[0].digest.clone();
        let mut subject = Resource::commit("0");
        (subject.name, subject.digest) = ("data/revocations.ndjson".to_owned(), digest);
        subject.annotations.madmall = Role::Revocations {};
        run.subject = vec![subject];
        let build = &mut run.predicate.build_definition;
        build.build_type = ERASURE_BUILD_TYPE.to_owned();
        build.external_parameters.erasure = Some(Erasure {
            of: ErasedKind::Event,
            secret: "5".repeat(64),
            token: "7".repeat(64),
        });
        build.internal_parameters.madmall.outcome = Outcome::Succeeded;
        build.internal_parameters.madmall.erased = Some(Erased {
            files: 1,
            left: vec!["data/raw.ndjson".to_owned(), "git".to_owned()],
            objects: 2,
        });
        run
    }

    #[test]
    fn a_tombstone_is_read_back_as_it_was_written() {
        let payload = tombstone().to_payload().expect("it is sound");
        assert_eq!(Statement::parse(&payload).expect("read"), tombstone());
    }

    #[test]
    fn what_does_not_go_together_is_neither_signed_nor_read() {
        let changes: [fn(&mut Statement); 9] = [
            |of| of.predicate.build_definition.build_type = "urn:madmall:run:v1".to_owned(),
            |of| of.predicate.build_definition.external_parameters.erasure = None,
            |of| of.predicate.build_definition.internal_parameters.madmall.erased = None,
            |of| of.predicate.build_definition.internal_parameters.madmall.outcome = Outcome::Failed,
            |of| of.subject[0].annotations.madmall = Role::Log { stage: "a".to_owned() },
            |of| of.subject[0].name = "../out".to_owned(),
            |of| of.subject.clear(),
            |of| {
                let erasure = of.predicate.build_definition.external_parameters.erasure.as_mut();
                erasure.expect("set above").token = "x".repeat(64);
            },
            |of| {
                let erased = of
                    .predicate
                    .build_definition
                    .internal_parameters
                    .madmall
                    .erased
                    .as_mut();
                erased.expect("set above").left.reverse();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = tombstone();
            change(&mut changed);
            assert!(changed.to_payload().is_err(), "change {number}");
        }
    }
}
