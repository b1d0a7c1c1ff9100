//! The index of receipts as a file, which is sealed.

use camino::Utf8Path;

use super::index::{HEADER, Index};
use super::spelled::Spelled;
use crate::digest::Digest;
use crate::stamp::Stamp;
use crate::store::sealed;

/// An index as its file has it.
pub struct Sealed<'o>(Spelled<'o>);

impl<'o> Sealed<'o> {
    pub(super) fn of(mut spelled: Spelled<'o>, seal_key: &[u8; 32]) -> Self {
        let records: Vec<&[u8]> = spelled.records.iter().map(|records| &**records).collect();
        sealed::seal(&mut spelled.front, &records, HEADER, seal_key);
        Self(spelled)
    }

    /// What the file holds, part by part.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.parts()
    }
}

/// What the file of the index held when it was read.
pub struct Kept {
    stamp: Stamp,
    context: Digest,
    seal_key: [u8; 32],
    index: Index,
}

impl Kept {
    /// Reads the sealed index at `file`; `None` if it does not open (see [`load`]).
    pub(super) fn read(file: &Utf8Path, seal_key: &[u8; 32], context: Digest) -> Option<Self> {
        let stamp = Stamp::of(file).ok()?;
        let index = load(file, seal_key, context)?;
        Some(Self {
            stamp,
            context,
            seal_key: *seal_key,
            index,
        })
    }

    /// What reading the index at `file` would give now, if that is known.
    pub(super) fn if_still(self, file: &Utf8Path, seal_key: &[u8; 32], context: Digest) -> Option<Index> {
        let is_still = self.context == context && self.seal_key == *seal_key;
        (is_still && Stamp::of(file).is_ok_and(|now| now == self.stamp)).then_some(self.index)
    }
}

/// Opens the sealed index, or gives `None` if it is absent, damaged, of another version, sealed by another key or made under
/// another policy.
pub(super) fn load(file: &Utf8Path, seal_key: &[u8; 32], context: Digest) -> Option<Index> {
    Index::read(sealed::open_whole(file, HEADER, seal_key)?, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;
    use crate::store::believed::spelled::tests::files;

    #[test]
    fn what_was_read_before_counts_while_its_file_key_and_policy_are_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Utf8Path::from_path(folder.path()).expect("UTF-8").join("believed");
        let (key, context) = ([7; 32], Digest::of(b"policy"));
        let keep = |counts: &[u32]| {
            let index = Index::empty(context).with(&files(counts).each()).into_index();
            let sealed = Sealed::of(index.spelled(), &key);
            atomic::write_cache(&file, sealed.parts()).expect("written");
            drop(sealed);
            index
        };
        let has = |index: &Index| index.all().collect::<Vec<_>>();
        let read = || Kept::read(&file, &key, context);
        assert!(read().is_none(), "there is none yet");
        let kept = keep(&[3, 200]);
        let still = read().expect("it opens").if_still(&file, &key, context);
        assert_eq!(still.as_ref().map(has), Some(has(&kept)));
        let others = [([8; 32], context), (key, Digest::of(b"another policy"))];
        for (other_key, other_context) in others {
            assert!(Kept::read(&file, &other_key, other_context).is_none());
            let before = read().expect("it opens");
            assert!(before.if_still(&file, &other_key, other_context).is_none());
        }
        // The same bytes in another file: nobody knows what was there between.
        let before = read().expect("it opens");
        keep(&[3, 200]);
        assert!(before.if_still(&file, &key, context).is_none());
        let before = read().expect("it opens");
        std::fs::remove_file(&file).expect("removed");
        assert!(before.if_still(&file, &key, context).is_none());
    }
}
