//! What a run looked at in order to decide: the same looks again, with the same answers, give the same decision.

mod folders;

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::Utf8Path;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::stat_cache::{SHORT, blake3_as_stamped};
use crate::digest::{Digest, whole};
use crate::shared_path::SharedPath;
use crate::stamp::{Kind, Moment, Stamp};
use crate::workspace::Workspace;

/// What was found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A file or a folder; what is in it was not looked at.
    Entry(#[serde(with = "whole")] Stamp),
    /// The same, and the path is its real one: no link leads to it. Whether it is a folder.
    Plain(#[serde(with = "whole")] Stamp, bool),
    /// A file that was read.
    File(#[serde(with = "whole")] Stamp, #[serde(with = "whole")] Digest),
    /// A folder whose names were listed.
    Folder(#[serde(with = "whole")] Stamp),
}

impl Seen {
    /// How much of it was looked at.
    fn depth(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Entry(_) | Self::Plain(..) => 1,
            Self::File(..) | Self::Folder(_) => 2,
        }
    }

    /// Whether both can be true of one path at the same time.
    fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one, is_folder), Self::Plain(two, other)) => one.is_same_entry(two) && is_folder == other,
            (Self::Entry(one) | Self::Plain(one, _), other) | (other, Self::Entry(one) | Self::Plain(one, _)) => {
                other.stamp().is_some_and(|two| one.is_same_entry(two))
            }
            (one, other) => one == other,
        }
    }

    fn stamp(&self) -> Option<&Stamp> {
        match self {
            Self::Absent => None,
            Self::Entry(stamp) | Self::Plain(stamp, _) | Self::File(stamp, _) | Self::Folder(stamp) => Some(stamp),
        }
    }

    /// Whether a look at `path` in `workspace` shows the same.
    #[must_use]
    pub fn is_still_at(&self, workspace: &Workspace, path: &Utf8Path, rigour: Rigour) -> bool {
        let entry = || workspace.stamp_of_entry(path);
        match self {
            Self::Absent => matches!(entry(), Ok(None)),
            Self::Entry(stamp) => entry().is_ok_and(|now| now.is_some_and(|now| now.is_same_entry(stamp))),
            Self::Plain(stamp, is_folder) => {
                plain_at(workspace, path).is_some_and(|(now, is_now)| is_now == *is_folder && now.is_same_entry(stamp))
            }
            Self::Folder(stamp) => workspace.stamp_of_folder(path).is_ok_and(|now| now == *stamp),
            Self::File(stamp, digest) => match rigour {
                Rigour::Stamps => workspace.stamp_of(path).is_ok_and(|now| now == *stamp),
                Rigour::EveryByte => has_bytes(workspace, path, stamp, digest).unwrap_or(false),
            },
        }
    }

    /// What is at `path` now, if a pipeline that is resolved with it comes out the same: of what was not read, another file in the
    /// same place does as well. (That its folders are the same is a look of its own.)
    #[must_use]
    pub fn resolves_alike_at(&self, workspace: &Workspace, path: &Utf8Path) -> Option<Self> {
        match self {
            Self::Plain(stamp, false) => {
                let (now, is_folder) = plain_at(workspace, path)?;
                let is_alike = !is_folder && now.is_executable() == stamp.is_executable();
                is_alike.then_some(Self::Plain(now, false))
            }
            other => other.is_still_at(workspace, path, Rigour::Stamps).then_some(*other),
        }
    }
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rigour {
    /// Stamps vouch for files.
    Stamps,
    /// Every file is hashed again.
    EveryByte,
}

/// The file or folder at `path`, and whether it is a folder; `None` if it is neither, as a link is.
pub(super) fn plain_at(workspace: &Workspace, path: &Utf8Path) -> Option<(Stamp, bool)> {
    let found = workspace.found_at(path).ok()?;
    matches!(found.kind, Kind::File | Kind::Folder).then_some((found.stamp, found.kind == Kind::Folder))
}

/// Whether the file at `path` has these bytes, and may be executed as it might. One that a link leads to, its own or that of a
/// folder on the way, must be the file that it was, for else the link may be a new one: where that may lead is not judged here.
fn has_bytes(workspace: &Workspace, path: &Utf8Path, stamp: &Stamp, digest: &Digest) -> io::Result<bool> {
    let plain = workspace.plainly_at(path);
    let now = match &plain {
        Some(found) => found.file()?,
        None => workspace.stamp_of(path)?,
    };
    if plain.is_none() && now != *stamp {
        return Ok(false);
    }
    if now.size() != stamp.size() || now.is_executable() != stamp.is_executable() {
        return Ok(false);
    }
    if now.size() > SHORT {
        return Ok(blake3_as_stamped(workspace, path, now)? == *digest);
    }
    let mut bytes = vec![0; usize::try_from(now.size()).unwrap_or(0)];
    workspace.open(path)?.read_exact(&mut bytes)?;
    Ok(Digest::of(&bytes) == *digest)
}

/// For so long what was seen need not be looked at again: it is what stood there when the run began.
const JUST_NOW: Duration = Duration::from_millis(100);

/// A look: what was seen, and when.
type Look = (Seen, Moment);

/// Collects looks, from whatever thread.
#[derive(Debug, Default)]
pub struct Looks {
    /// `None` once something was seen that cannot be vouched for.
    seen: Mutex<Option<Noted>>,
}

/// Looks that were noted.
#[derive(Debug, Default)]
struct Noted {
    /// By path, in the order in which they were first taken: mostly that of the paths.
    looks: IndexMap<SharedPath, Look, RandomState>,
    /// Paths that may be links, or may be reached through one.
    not_plain: HashSet<Box<str>>,
}

impl Looks {
    /// Nothing was looked at yet.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            seen: Mutex::new(Some(Noted::default())),
        }
    }

    /// Notes what was seen at `path` (relative to the workspace, or absolute) at the time `at`, before it was used.
    pub fn note(&self, path: &Utf8Path, seen: Seen, at: Moment) {
        self.note_all([(path, seen)], at);
    }

    /// Notes all that was seen, each at its path, at the time `at`.
    pub(crate) fn note_all<P: Into<SharedPath> + AsRef<Utf8Path>>(
        &self,
        all: impl IntoIterator<Item = (P, Seen)>,
        at: Moment,
    ) {
        self.hold().note_all(all, at);
    }

    /// Makes room for so many more.
    pub(crate) fn make_room_for(&self, more: usize) {
        if let Some(noted) = self.hold().0.as_mut() {
            noted.looks.reserve(more);
        }
    }

    /// Holds them, for whoever asks about many: nobody else notes any meanwhile.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        Held(self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The stamp of the file at `path`, and when it was looked at, if that was a moment ago and no link leads there.
    #[must_use]
    pub fn just_seen(&self, path: &Utf8Path) -> Option<(Stamp, Moment)> {
        self.hold().just_seen(path, Moment::now())
    }

    /// Notes that the names in `folder` are about to be listed, if there is such a folder.
    pub fn note_folder(&self, workspace: &Workspace, folder: &Utf8Path) {
        let at = Moment::now();
        match workspace.stamp_of_folder(folder) {
            Ok(stamp) => self.note(folder, Seen::Folder(stamp), at),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.note(folder, Seen::Absent, at),
            Err(_) => self.give_up(),
        }
    }

    /// Something was seen that cannot be vouched for: these looks decide nothing.
    pub fn give_up(&self) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Once in a run, while all else may wait for it: what was seen of a hundred thousand files is not freed one by one.
        std::mem::forget(seen);
    }

    /// Notes looks that hold now: what others have seen, as if it had been seen here at the time `at`.
    pub fn adopt(&self, looks: &[(SharedPath, Seen)], at: Moment) {
        self.note_all(looks.iter().map(|(path, seen)| (path, *seen)), at);
    }

    /// All looks so far, sorted by path. If one of them cannot be vouched for there are none, and it is given up: that the same is
    /// seen again later does not say that it was so before.
    #[must_use]
    pub fn settle(&self) -> Option<Vec<(SharedPath, Seen)>> {
        let mut guard = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = &guard.as_ref()?.looks;
        let is_fresh = |(seen, at): &Look| match seen {
            Seen::File(stamp, _) | Seen::Folder(stamp) => stamp.is_fresh(*at),
            Seen::Absent | Seen::Entry(_) | Seen::Plain(..) => false,
        };
        if looks.values().any(is_fresh) {
            *guard = None;
            return None;
        }
        let looks = looks.iter().map(|(path, (seen, _))| (path.clone(), *seen));
        let mut looks: Vec<(SharedPath, Seen)> = looks.collect();
        looks.par_sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
        Some(looks)
    }
}

/// Looks, held.
pub struct Held<'l>(MutexGuard<'l, Option<Noted>>);

impl Held<'_> {
    /// Like [`Looks::just_seen`]; `now` is a time that was now after they were held.
    #[must_use]
    pub fn just_seen(&self, path: &Utf8Path, now: Moment) -> Option<(Stamp, Moment)> {
        match self.0.as_ref()?.looks.get(path.as_str()) {
            Some((Seen::Plain(stamp, false), at)) if at.until(now).is_some_and(|since| since < JUST_NOW) => {
                Some((*stamp, *at))
            }
            _ => None,
        }
    }

    /// Like [`Looks::note`].
    pub fn note(&mut self, path: &Utf8Path, seen: Seen, at: Moment) {
        self.note_all([(path, seen)], at);
    }

    fn note_all<P: Into<SharedPath> + AsRef<Utf8Path>>(
        &mut self,
        all: impl IntoIterator<Item = (P, Seen)>,
        at: Moment,
    ) {
        let Some(Noted { looks, not_plain }) = self.0.as_mut() else {
            return;
        };
        let all = all.into_iter();
        let (least, most) = all.size_hint();
        looks.reserve(most.unwrap_or(least));
        for (path, seen) in all {
            if matches!(seen, Seen::Entry(_)) {
                not_plain.insert(path.as_ref().as_str().into());
            }
            match looks.get_mut(path.as_ref().as_str()) {
                None => drop(looks.insert(path.into(), (seen, at))),
                Some((before, when)) if before.agrees_with(&seen) => {
                    let is_again = matches!((&*before, seen), (Seen::Folder(_), Seen::Folder(_)));
                    // The later look at the same bytes is the one that vouches: by then a change would have left a trace. Not so of names: who
                    // listed them first goes by what was there then.
                    if seen.depth() >= before.depth() && !is_again {
                        (*before, *when) = (seen, at);
                    }
                }
                // It changed meanwhile.
                Some(_) => {
                    *self.0 = None;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn only_a_file_that_no_link_leads_to_was_just_seen_and_only_for_a_moment() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let (workspace, path) = (Workspace::at(root.to_owned()), Utf8Path::new("f"));
        crate::store::atomic::write(&workspace.absolute(path), b"1").expect("written");
        let stamp = workspace.stamp_of(path).expect("stamped");
        let (now, long_ago) = (Moment::now(), SystemTime::now() - Duration::from_secs(1));
        let looks = Looks::begin();
        assert_eq!(looks.just_seen(path), None);
        for other in [Seen::Absent, Seen::Entry(stamp), Seen::Plain(stamp, true)] {
            let looks = Looks::begin();
            looks.note(path, other, now);
            assert_eq!(looks.just_seen(path), None, "{other:?}");
        }
        looks.note(path, Seen::Plain(stamp, false), long_ago.into());
        assert_eq!(looks.just_seen(path), None, "that was long ago");
        looks.note(path, Seen::Plain(stamp, false), now + Duration::from_secs(60));
        assert_eq!(looks.just_seen(path), None, "the clock was set back");
        let (looks, now) = (Looks::begin(), Moment::now());
        looks.note(path, Seen::Plain(stamp, false), now);
        assert_eq!(looks.just_seen(path), Some((stamp, now)));
    }

    #[test]
    fn a_later_look_vouches_for_bytes_but_not_for_names_that_were_listed_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let workspace = Workspace::at(root.to_owned());
        let file = Utf8Path::new("f");
        crate::store::atomic::write(&workspace.absolute(file), b"1").expect("written");
        let names = Seen::Folder(workspace.stamp_of_folder(Utf8Path::new("")).expect("there"));
        let bytes = Seen::File(workspace.stamp_of(file).expect("there"), Digest::of(b"1"));
        let (now, later) = (Moment::now(), Moment::now() + Duration::from_secs(5));
        for (path, seen, looks_at, is_vouched_for) in [
            ("", names, [now, later], false),
            ("", names, [later, later], true),
            ("f", bytes, [now, later], true),
            ("f", bytes, [now, now], false),
        ] {
            let looks = Looks::begin();
            for at in looks_at {
                looks.note(Utf8Path::new(path), seen, at);
            }
            assert_eq!(looks.settle().is_some(), is_vouched_for, "{seen:?}");
            // Once it was asked for, nothing that comes later can say what was so before.
            looks.note(Utf8Path::new(path), seen, later);
            assert_eq!(looks.settle().is_some(), is_vouched_for, "{seen:?}");
        }
    }
}
