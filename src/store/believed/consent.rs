//! What believed receipts say of the consent of a file: by its bytes, and where no receipt lists them by its place (decision 0100).

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::table::{Table, folder_key};
use super::{Believed, Claim, ClaimedOutput};
use crate::consent::purposes::NONE;
use crate::digest::Digest;
use crate::plan::stands_for;

impl Believed {
    /// The consents that believed receipts give a file at `path` whose bytes are called this (or that, by those to whom they are personal): those of all that made them, and of the folders that
    /// it lies in, of which `near` says more (see [`Believed::near`]). [`NONE`] if it was only ever read as raw events, or lies where these lie. Copies of raw events
    /// that an ingest has let through whole are no longer raw.
    #[must_use]
    pub fn consents_of(&self, names: &[Digest], path: &Utf8Path, near: &[Claim]) -> Vec<String> {
        let of_folders = self.consents_of_folders(names, path, near);
        let mut made_as: Vec<String> = Vec::new();
        let mut is_raw = of_folders.is_empty() && self.lies_with_raw(path, near);
        let (mut is_raw_elsewhere, mut is_judged) = (false, false);
        for name in names {
            let mut declassified = None;
            for claim in self.index.about(Table::Carrier, name.as_bytes()) {
                for made in claim.outputs_of(*name) {
                    let declassified = declassified.get_or_insert_with(|| self.declassified(*name));
                    // What one that knew less of its inputs says, without a word of that, is not believed against an earlier one.
                    if declassified
                        .get(&word(&claim, made))
                        .is_some_and(|last| last.place() > claim.place())
                    {
                        continue;
                    }
                    is_judged |= made.consent.is_some() && Utf8Path::new(&made.path) == path;
                    made_as.extend(made.consent.clone());
                }
                for raw in claim.raw.iter().filter(|raw| raw.digest == *name) {
                    is_raw |= Utf8Path::new(&raw.path) == path;
                    is_raw_elsewhere |= !raw.is_made;
                }
            }
        }
        // Another ingest may read what one has let through; that it does makes nothing raw.
        match (is_raw && !is_judged) || (is_raw_elsewhere && made_as.is_empty()) {
            true => vec![NONE.to_owned()],
            false => of_folders.into_iter().chain(made_as).collect(),
        }
    }

    /// The consents of the folders that a file with these bytes lies in, but for those that a stage had made before it made the file itself.
    fn consents_of_folders(&self, names: &[Digest], path: &Utf8Path, near: &[Claim]) -> Vec<String> {
        let mut folders = folders_of(path, near);
        folders.retain(|(_, folder)| folder.consent.is_some());
        for name in names {
            if folders.is_empty() {
                break;
            }
            for file in self.index.about(Table::Output, name.as_bytes()) {
                if file.outputs_of(*name).any(|made| Utf8Path::new(&made.path) == path) {
                    folders.retain(|(claim, _)| claim.stage() != file.stage() || file.place() < claim.place());
                }
            }
        }
        let consents = folders.into_iter().filter_map(|(_, folder)| folder.consent.clone());
        consents.collect()
    }

    /// Whether `path` lies where an ingest has read raw events that no receipt lists, by the claims `near` it.
    fn lies_with_raw(&self, path: &Utf8Path, near: &[Claim]) -> bool {
        near.iter().any(|claim| {
            let mut unlisted = claim.raw.iter().filter(|raw| raw.is_unlisted);
            // Where an ingest reads other files now, what lies there is raw no more.
            unlisted.any(|raw| stands_for(Utf8Path::new(&raw.path), path)) && self.is_newest_of_stage(claim)
        })
    }

    /// The claims about files that no receipt lists, in `folder` and those that it lies in; each folder's oldest first.
    #[must_use]
    pub fn near(&self, folder: &Utf8Path) -> Vec<Claim> {
        if !self.index.knows(Table::Folder) {
            return Vec::new();
        }
        let about = |folder: &Utf8Path| self.index.about(Table::Folder, &folder_key(folder.as_str()));
        let near = folder.ancestors().flat_map(about);
        // Of one ingest that was often run there are many that say nothing any more.
        near.filter(|claim| claim.makes_folder() || self.is_newest_of_stage(claim))
            .collect()
    }

    /// The last claims by which these bytes are declassified.
    fn declassified(&self, digest: Digest) -> BTreeMap<Word, Claim> {
        let mut last = BTreeMap::new();
        for claim in self.index.about(Table::Output, digest.as_bytes()) {
            let made = claim.outputs_of(digest).filter(|made| made.is_declassified);
            let words: Vec<Word> = made.map(|made| word(&claim, made)).collect();
            last.extend(words.into_iter().map(|word| (word, claim.clone())));
        }
        last
    }

    /// Whether no later success of the same stage is here. One that failed has not changed what lies where.
    fn is_newest_of_stage(&self, claim: &Claim) -> bool {
        let mut newest_first = self.of_stage(&claim.pipeline, &claim.stage);
        let newest = newest_first.find(|claim| claim.succeeded);
        newest.is_none_or(|newest| newest.place() <= claim.place())
    }

    /// Whether the folders that it gave are still what receipts say of their names. If not, they may be put back only with a receipt that is the latest
    /// again: no other says what the files in them are.
    pub(super) fn is_last_word(&self, claim: &Claim) -> bool {
        let mut folders = claim.outputs.iter().filter(|made| made.digests.is_folder());
        folders.all(|made| self.says_the_same_of(made) && !self.is_overlapped(claim, made))
    }

    /// Whether the last claim about a folder gives it the same consent.
    fn says_the_same_of(&self, folder: &ClaimedOutput) -> bool {
        let mut newest_first = self.index.about(Table::Folder, &folder_key(&folder.path)).rev();
        let same = newest_first.find_map(|newest| {
            let mut outputs = newest.outputs.iter();
            let same = outputs.find(|other| other.path == folder.path && other.digests.is_folder())?;
            Some(same.consent == folder.consent && same.is_personal() == folder.is_personal())
        });
        same.unwrap_or(true)
    }

    /// Whether the stage of a claim has made later what lies in this folder of it, or what this lies in, and one of the two is of persons.
    fn is_overlapped(&self, claim: &Claim, folder: &ClaimedOutput) -> bool {
        let of_stage = self.of_stage(&claim.pipeline, &claim.stage);
        let mut later = of_stage.take_while(|other| other.place() > claim.place());
        later.any(|other| {
            other.outputs.iter().any(|made| {
                let (path, around) = (Utf8Path::new(&made.path), Utf8Path::new(&folder.path));
                let lie_in_each_other = path != around && (path.starts_with(around) || around.starts_with(path));
                lie_in_each_other && (made.is_of_persons() || folder.is_of_persons())
            })
        })
    }

    /// The claim that gives these bytes their consent.
    #[must_use]
    pub fn consent_giver(&self, digest: Digest) -> Option<Claim> {
        let gives = |claim: &Claim, made: bool| {
            let mut carriers = claim.carriers();
            carriers.any(|(carrier, output)| carrier == digest && output.is_some() == made)
        };
        let mut newest_first = self.index.about(Table::Carrier, digest.as_bytes()).rev();
        let made = newest_first.find(|claim| gives(claim, true));
        let mut newest_first = self.index.about(Table::Carrier, digest.as_bytes()).rev();
        made.or_else(|| newest_first.find(|claim| gives(claim, false)))
    }

    /// The claim that gives consent to the folders that `path` lies in, of which `near` says more.
    #[must_use]
    pub fn folder_giver<'c>(&self, path: &Utf8Path, near: &'c [Claim]) -> Option<&'c Claim> {
        let mut folders = folders_of(path, near).into_iter();
        let (giver, _) = folders.find(|(_, folder)| folder.consent.is_some())?;
        Some(giver)
    }

    /// Whether `path` lies in a personal folder, by the claims `near` it.
    #[must_use]
    pub fn is_in_personal_folder(&self, path: &Utf8Path, near: &[Claim]) -> bool {
        folders_of(path, near).iter().any(|(_, folder)| folder.is_personal())
    }
}

/// Of what a claim speaks: pipeline, stage and output.
type Word = (String, String, String);

fn word(claim: &Claim, made: &ClaimedOutput) -> Word {
    (claim.pipeline.clone(), claim.stage.clone(), made.name.clone())
}

/// The folders that `path` lies in and that a stage made, each as the newest of the claims `near` it has it. Of several that one stage has made
/// after each other the last: folders do not lie in each other that a stage makes at once.
fn folders_of<'c>(path: &Utf8Path, near: &'c [Claim]) -> Vec<(&'c Claim, &'c ClaimedOutput)> {
    let mut newest: BTreeMap<&str, (&Claim, &ClaimedOutput)> = BTreeMap::new();
    for claim in near {
        for output in claim.outputs.iter().filter(|output| output.digests.is_folder()) {
            let folder = Utf8Path::new(&output.path);
            if path != folder && path.starts_with(folder) {
                newest.insert(&output.path, (claim, output));
            }
        }
    }
    let is_last = |(claim, _): &(&Claim, &ClaimedOutput)| {
        let mut others = newest.values();
        !others.any(|(other, _)| other.stage() == claim.stage() && claim.place() < other.place())
    };
    newest.values().copied().filter(is_last).collect()
}
