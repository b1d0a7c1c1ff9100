//! The names in a folder, each with what the folder says that it is.

use std::io;

use camino::Utf8Path;

use super::Workspace;
use crate::stamp::Kind;

/// How many bytes of names are taken at once: a name has at most 255.
#[cfg(target_os = "linux")]
const TOGETHER: usize = 64 * 1024;

impl Workspace {
    /// Gives each name in `folder` to `take`, in no certain order, until that fails. No name is copied.
    ///
    /// # Errors
    ///
    /// What `take` gives, or `failed` makes of what the system gives.
    #[cfg(target_os = "linux")]
    pub(super) fn each_name<E>(
        &self,
        folder: &Utf8Path,
        failed: impl Fn(io::Error) -> E,
        mut take: impl FnMut(&[u8], Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        use rustix::fs::{AtFlags, FileType, RawDir, statat};

        use crate::stamp::Found;

        let opened = self.open(folder).map_err(&failed)?;
        let mut buffer = Vec::with_capacity(TOGETHER);
        let mut names = RawDir::new(&opened, buffer.spare_capacity_mut());
        while let Some(entry) = names.next() {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = entry.file_name();
            let kind = match entry.file_type() {
                _ if matches!(name.to_bytes(), b"." | b"..") => continue,
                // Not all file systems say it.
                FileType::Unknown => {
                    let found = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW);
                    Found::from_stat(&found.map_err(|error| failed(error.into()))?).kind
                }
                kind => kind.into(),
            };
            take(name.to_bytes(), kind)?;
        }
        Ok(())
    }

    /// Gives each name in `folder` to `take`, in no certain order, until that fails.
    ///
    /// # Errors
    ///
    /// What `take` gives, or `failed` makes of what the system gives.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn each_name<E>(
        &self,
        folder: &Utf8Path,
        failed: impl Fn(io::Error) -> E,
        mut take: impl FnMut(&[u8], Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        for entry in self.absolute(folder).read_dir().map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let kind = entry.file_type().map_err(&failed)?;
            take(entry.file_name().as_encoded_bytes(), kind.into())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn more_names_than_are_taken_at_once_are_each_given_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let workspace = Workspace::at(root.canonicalize_utf8().expect("it is there"));
        let long: BTreeSet<String> = (0..1000).map(|number| format!("{number:0>255}")).collect();
        for name in &long {
            std::fs::File::create_new(root.join(name)).expect("made");
        }
        std::fs::create_dir(root.join("..d")).expect("made");
        let mut found = Vec::new();
        let take = |name: &[u8], kind| {
            found.push((String::from_utf8(name.to_vec()).expect("UTF-8"), kind));
            Ok::<(), io::Error>(())
        };
        workspace
            .each_name(Utf8Path::new(""), |error| error, take)
            .expect("listed");
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let files = long.into_iter().map(|name| (name, Kind::File));
        let expected: Vec<_> = std::iter::once(("..d".to_owned(), Kind::Folder)).chain(files).collect();
        assert!(found == expected, "{} of {}", found.len(), expected.len());

        let mut taken = 0;
        let stop = |_: &[u8], _| {
            taken += 1;
            Err(io::Error::from(io::ErrorKind::Interrupted))
        };
        let stopped = workspace.each_name(Utf8Path::new(""), |error| error, stop);
        assert_eq!(stopped.expect_err("stopped").kind(), io::ErrorKind::Interrupted);
        assert_eq!(taken, 1);
        let file = workspace.each_name(Utf8Path::new("..d/absent"), |error| error, |_, _| Ok(()));
        assert_eq!(file.expect_err("nothing there").kind(), io::ErrorKind::NotFound);
    }
}
