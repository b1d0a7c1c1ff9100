//! What looks say of a folder whose names were listed, so that it need not be listed again.

use std::sync::PoisonError;

use camino::Utf8Path;

use super::{Looks, Noted, Seen};
use crate::shared_path::SharedPath;
use crate::stamp::{Moment, Stamp};
use crate::workspace::Workspace;

impl Looks {
    /// Which of `files`, all of them found when the names in `folder` were listed, may be links; `None` if that is not known.
    #[must_use]
    pub fn may_be_links<'f>(
        &self,
        folder: &Utf8Path,
        files: impl Iterator<Item = &'f Utf8Path>,
    ) -> Option<Vec<&'f Utf8Path>> {
        self.listed(folder, |noted| match noted.not_plain.is_empty() {
            true => Vec::new(),
            false => files.filter(|file| noted.not_plain.contains(file.as_str())).collect(),
        })
    }

    /// Whether there are just the names in `folder`, and in all folders below it, that there were when they were listed. If not, nothing is
    /// known.
    #[must_use]
    pub fn have_same_names(&self, workspace: &Workspace, folder: &Utf8Path) -> bool {
        // By text: to compare names takes longer, and there may be a million.
        let is_below = |path: &str| {
            let rest = path.strip_prefix(folder.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.as_str().is_empty())
        };
        let folders = self.listed(folder, |noted| {
            let listed = noted.looks.iter().filter_map(|(path, (seen, at))| match seen {
                Seen::Folder(stamp) if is_below(path.as_str()) => Some((path.clone(), *stamp, *at)),
                _ => None,
            });
            listed.collect::<Vec<(SharedPath, Stamp, Moment)>>()
        });
        // A name that was made in the tick in which the folder was listed leaves no trace.
        folders.is_some_and(|folders| {
            folders.iter().all(|(path, stamp, at)| {
                !stamp.is_fresh(*at) && workspace.stamp_of_folder(path).is_ok_and(|now| now == *stamp)
            })
        })
    }

    /// What `say` says of the looks, if the names in `folder` were listed and all was noted.
    fn listed<T>(&self, folder: &Utf8Path, say: impl FnOnce(&Noted) -> T) -> Option<T> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = seen.as_ref()?;
        let was_listed = matches!(noted.looks.get(folder.as_str()), Some((Seen::Folder(_), _)));
        was_listed.then(|| say(noted))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A workspace with a folder `d` that has `d/a` and `d/e/b`, beside which `d2` lies.
    fn workspace() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8").to_owned();
        for file in ["d/a", "d/e/b", "d2/c"] {
            crate::store::atomic::write(&root.join(file), b"1").expect("written");
        }
        (folder, Workspace::at(root))
    }

    /// What is noted when the folders are listed at the time `at`.
    fn listed(workspace: &Workspace, folders: &[&str], at: Moment) -> Looks {
        let looks = Looks::begin();
        for folder in folders.iter().map(Utf8Path::new) {
            let stamp = workspace.stamp_of_folder(folder).expect("it is there");
            looks.note(folder, Seen::Folder(stamp), at);
        }
        looks
    }

    #[test]
    fn names_are_the_same_while_no_folder_has_another_stamp() {
        // By then all stamps are old.
        let later = Moment::now() + Duration::from_secs(5);
        let changes: [(&str, bool, bool); 5] = [
            ("d/new", false, true),
            ("d/e/new", false, true),
            ("d2/new", true, false),
            ("d/e", false, true),
            ("d/a", true, true),
        ];
        for (change, is_same, others_differ) in changes {
            let (_guard, workspace) = workspace();
            let looks = listed(&workspace, &["d", "d/e", "d2"], later);
            let same = |folder: &str| looks.have_same_names(&workspace, Utf8Path::new(folder));
            assert!(same("d") && same("d2"));
            let place = workspace.absolute(Utf8Path::new(change));
            std::thread::sleep(Duration::from_millis(25));
            match place.exists() {
                true if place.is_dir() => std::fs::rename(&place, place.with_file_name("f")).expect("moved"),
                // What a file holds is no name.
                true => {
                    let file = std::fs::File::options().write(true).open(&place).expect("opened");
                    file.set_len(9).expect("changed");
                }
                false => drop(std::fs::File::create_new(&place).expect("made")),
            }
            assert_eq!((same("d"), same("d2")), (is_same, others_differ), "{change}");
        }
    }

    #[test]
    fn of_what_was_not_listed_or_listed_too_soon_nothing_is_known() {
        let (_guard, workspace) = workspace();
        let (now, later) = (Moment::now(), Moment::now() + Duration::from_secs(5));
        let d = Utf8Path::new("d");
        let same = |looks: &Looks| looks.have_same_names(&workspace, d);
        assert!(same(&listed(&workspace, &["d", "d/e"], later)));
        assert!(
            !same(&listed(&workspace, &["d", "d/e"], now)),
            "in the tick in which it was made"
        );
        assert!(!same(&listed(&workspace, &["d/e", "d2"], later)));
        let looks = listed(&workspace, &["d", "d/e"], later);
        looks.give_up();
        assert!(!same(&looks));
        assert_eq!(looks.may_be_links(d, std::iter::empty()), None);
    }

    #[test]
    fn what_may_be_a_link_stays_so_whatever_is_read_of_it() {
        let (_guard, workspace) = workspace();
        let later = Moment::now() + Duration::from_secs(5);
        let (d, [a, b]) = (Utf8Path::new("d"), ["d/a", "d/e/b"].map(Utf8Path::new));
        let looks = listed(&workspace, &["d", "d/e"], later);
        let links = || looks.may_be_links(d, [a, b].into_iter());
        assert_eq!(links(), Some(vec![]));
        let stamp = workspace.stamp_of(b).expect("there");
        looks.note(b, Seen::Entry(stamp), later);
        assert_eq!(links(), Some(vec![b]));
        looks.note(b, Seen::File(stamp, crate::digest::Digest::of(b"1")), later);
        assert_eq!(links(), Some(vec![b]));
        // Of a folder that was not listed it would be no news that nothing was noted.
        assert_eq!(looks.may_be_links(Utf8Path::new("d2"), std::iter::once(a)), None);
    }
}
