//! The [digest sets](DigestSet) of what a statement names: which it must have, and what must hold between those of an input and of
//! its files. What the secret is called stands in the annotations of a keyed one, and of no other.

use super::digest_set::DigestSet;
use super::names::clip;
use super::statement::{MAX_MEMBERS, Resource, Role, StageParameters, Statement};
use crate::commitment::{Commitment, Shape};
use crate::consent::secret::SecretId;
use crate::digest::{Digests, Sha256};
use crate::listing::{ArtifactDigests, ListedFile, listing_digests};
use crate::spec::is_name;

/// What is wrong, in words.
type Checked<T = ()> = Result<T, String>;

/// The digest set of a subject: that of a file, or, of an output, that of a folder, which nobody executes.
pub(super) fn check_subject(subject: &Resource) -> Checked {
    let digests = check_artifact(subject)?;
    match subject.role() {
        Role::Output { executable: true, .. } if digests.is_folder() => {
            Err("an output that is a folder is said to be executable".to_owned())
        }
        Role::Output { .. } => Ok(()),
        // A folder is no log.
        _ if digests.is_folder() => check_file(subject).map(drop),
        _ => Ok(()),
    }
}

/// The digest set of a file that is not personal: `blake3` and `sha256`, both and only those.
pub(super) fn check_file(resource: &Resource) -> Checked<Digests> {
    let digests = file_digests(resource).filter(|_| !resource.is_keyed());
    digests.ok_or_else(|| {
        let name = clip(&resource.name);
        format!("the digest set of `{name}` is not `blake3` and `sha256`, each 64 lower-case hexadecimal digits")
    })
}

/// The digest set of a file or of several, plain or keyed.
pub(super) fn check_artifact(resource: &Resource) -> Checked<ArtifactDigests> {
    let name = || clip(&resource.name);
    let Some(digests) = artifact_digests(resource) else {
        return Err(match (resource.is_keyed(), resource.digest.names("dirHash")) {
            (true, _) => format!(
                "the digest set of `{}` is not `blake3Keyed` and `hmacSha256` or `hmacDirHash`, each 64 lower-case hexadecimal \
                 digits, by a secret that is named so too",
                name()
            ),
            (false, true) => format!(
                "the digest set of `{}` is not `blake3` and `dirHash`, each 64 lower-case hexadecimal digits",
                name()
            ),
            (false, false) => return check_file(resource).map(ArtifactDigests::File),
        });
    };
    Ok(digests)
}

/// An input is a file, or several files: those that are listed are all of them, and give its digests. Those of what is personal give
/// nothing that could be compared without the secret.
pub(super) fn check_input(input: &Resource, members: Option<&[&Resource]>) -> Checked {
    let digests = check_artifact(input)?;
    let Some(members) = members else {
        // There are too many of them to be listed: the listing's digests stand alone.
        return Ok(());
    };
    if !digests.is_folder() {
        return Err("an input that is a file has members".to_owned());
    }
    if members.len() > MAX_MEMBERS {
        return Err("an input lists more files than a receipt may".to_owned());
    }
    let mut listed = Vec::with_capacity(members.len());
    for member in members {
        match (check_artifact(member)?, member.role(), digests) {
            (ArtifactDigests::File(plain), Role::Member { executable, .. }, ArtifactDigests::Folder(_)) => {
                listed.push(ListedFile {
                    path: member.name.clone().into(),
                    executable: *executable,
                    digests: plain,
                });
            }
            (ArtifactDigests::Keyed(file), _, ArtifactDigests::Keyed(all))
                if file.shape == Shape::File && file.key == all.key => {}
            _ => return Err("a file of an input has digests of another kind than the input".to_owned()),
        }
    }
    let ArtifactDigests::Folder(listing) = digests else {
        return Ok(());
    };
    let found = listing_digests(&listed).map_err(|error| error.to_string())?;
    match found == listing {
        true => Ok(()),
        false => Err("the digests of an input are not those of its members".to_owned()),
    }
}

/// What a stage makes from what is personal is personal, unless the stage declassifies it; and all is keyed by one secret.
pub(super) fn check_personal(statement: &Statement, stage: &StageParameters) -> Checked {
    let dependencies = statement.dependencies();
    let reads_personal = dependencies.iter().any(Resource::is_keyed) || !stage.personal.is_empty();
    if !stage.personal.windows(2).all(|pair| pair[0] < pair[1]) || !stage.personal.iter().all(|name| is_name(name)) {
        return Err("`personal` is not sorted, or names what is no parameter".to_owned());
    }
    for subject in &statement.subject {
        let must_be = match subject.role() {
            Role::Output { output, .. } => {
                let is_declassified = stage.declassify.contains(output);
                if is_declassified && subject.is_keyed() {
                    return Err("an output is declassified, and personal all the same".to_owned());
                }
                !is_declassified
            }
            _ => true,
        };
        if reads_personal && must_be && !subject.is_keyed() {
            let name = clip(&subject.name);
            return Err(format!(
                "`{name}` comes of what is personal, and its digests are not keyed"
            ));
        }
    }
    let resources = || statement.subject.iter().chain(dependencies);
    let mut secrets = resources().filter_map(|resource| resource.annotations.madmall_secret.as_ref());
    let first = secrets.next();
    match secrets.all(|secret| Some(secret) == first) {
        true => Ok(()),
        false => Err("what is personal is keyed by more than one secret".to_owned()),
    }
}

/// Both digests of a resource that is a file; `None` if its digest set is another.
#[must_use]
pub fn file_digests(resource: &Resource) -> Option<Digests> {
    match resource.digest {
        DigestSet::File(digests) => Some(digests),
        _ => None,
    }
}

/// What the secret is called that digests of a receipt are keyed by; `None` if none are.
#[must_use]
pub fn secret_of(statement: &Statement) -> Option<SecretId> {
    let mut resources = statement.subject.iter().chain(statement.dependencies());
    let secret = resources.find_map(|resource| resource.annotations.madmall_secret.as_ref())?;
    SecretId::from_hex(secret).ok()
}

/// The keyed digests of a resource that is personal; `None` if its digest set is another.
#[must_use]
pub fn keyed_digests(resource: &Resource) -> Option<Commitment> {
    let DigestSet::Keyed { shape, blake3, sha256 } = resource.digest else {
        return None;
    };
    let key = Sha256::from_hex(resource.annotations.madmall_secret.as_ref()?).ok()?;
    Some(Commitment {
        shape,
        blake3,
        sha256,
        key,
    })
}

/// The digests of a resource that is a file or several; `None` if its digest set is another.
#[must_use]
pub fn artifact_digests(resource: &Resource) -> Option<ArtifactDigests> {
    match resource.digest {
        _ if resource.is_keyed() => keyed_digests(resource).map(ArtifactDigests::Keyed),
        DigestSet::File(digests) => Some(ArtifactDigests::File(digests)),
        DigestSet::Several(listing) => Some(ArtifactDigests::Folder(listing)),
        _ => None,
    }
}
