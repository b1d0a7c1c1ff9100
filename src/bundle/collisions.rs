//! Names of members that some file system takes for one another.

use std::collections::{HashMap, HashSet};

use camino::Utf8Path;

use super::manifest::{Member, require, shown};
use crate::digest::Digest;
use crate::plan::folded;

/// No two names may be one, and no file a folder, on any file system.
pub(super) fn check_collisions(members: &[Member]) -> Result<(), String> {
    let mut files = HashSet::with_capacity(members.len());
    for member in members {
        require(files.insert(as_one(&folded(member.path.as_str()))), || {
            format!(
                "`{}` is, on some file systems, the same name as another",
                shown(&member.path)
            )
        })?;
    }
    let mut folders = Folders {
        files,
        known: HashMap::new(),
    };
    let mut before = Utf8Path::new("");
    for member in members {
        let folder = member.path.parent().unwrap_or(before);
        if folder != before {
            folders.add(folder)?;
            before = folder;
        }
    }
    Ok(())
}

/// What is known of a name, by how a file system that folds names knows it: a digest, for names can be long and many.
fn as_one(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// The folders of members.
struct Folders {
    /// All members, as such file systems know them.
    files: HashSet<Digest>,
    /// The folders so far, each as such file systems know it, with how it is spelled.
    known: HashMap<Digest, Digest>,
}

impl Folders {
    /// Adds a folder and those that it lies in. Returns how many were looked at: not those above one that is known, which were when it
    /// was added.
    fn add(&mut self, folder: &Utf8Path) -> Result<usize, String> {
        // A part is folded as if it stood alone: nothing composes with `/`.
        let all_folded = folded(folder.as_str());
        let folded = Utf8Path::new(&all_folded).ancestors();
        let both = folder.ancestors().zip(folded);
        let mut looked_at = 0;
        for (above, folded) in both.filter(|(above, _)| !above.as_str().is_empty()) {
            looked_at += 1;
            let (folded, spelled) = (as_one(folded.as_str()), as_one(above.as_str()));
            require(!self.files.contains(&folded), || {
                format!("`{}` is a file and a folder", shown(above))
            })?;
            match self.known.insert(folded, spelled) {
                None => {}
                Some(known) if known == spelled => break,
                Some(_) => {
                    let name = shown(above);
                    return Err(format!(
                        "the folder `{name}` is, on some file systems, the same as another"
                    ));
                }
            }
        }
        Ok(looked_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above_one_that_is_known_are_not_looked_at_again() {
        let mut folders = Folders {
            files: HashSet::new(),
            known: HashMap::new(),
        };
        let deep = "workspace/".to_owned() + &"\u{e9}/".repeat(90);
        for (name, looked_at) in [("0", 92), ("1", 2), ("2/\u{338}x", 3), ("2/\u{338}x", 1), ("2", 1)] {
            assert_eq!(
                folders.add((deep.clone() + name).as_str().into()),
                Ok(looked_at),
                "{name}"
            );
        }
        assert!(folders.add((deep + "2/\u{338}X").as_str().into()).is_err());
    }
}
