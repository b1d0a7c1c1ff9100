//! The index of receipts as a file: sealed, its claims spelled and read by all cores.
//!
//! ```text
//! header │ seal │ contents │ claims │ claims │ …          claims: of as many as are spelled together, whichever files they are of
//! ```

use std::sync::Arc;

use camino::Utf8Path;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Claim;
use crate::digest::Digest;
use crate::receipt::run_file::RunFileName;
use crate::stamp::Stamp;
use crate::store::sealed;

const HEADER: &[u8] = b"madmall believed v8\n";
/// So many claims are spelled, and read, together: by any core.
const TOGETHER: usize = 128;

/// What the sealed index holds: the names of the runs' files, sorted and so by time, each with what its receipts claim.
pub(super) type Files = Vec<FileClaims>;

/// The name of a run's file, and what its receipts claim.
type FileClaims = (String, Vec<Claim>);

/// The index of `files`, made under the policy `context`, sealed.
pub(super) fn sealed(seal_key: &[u8; 32], context: Digest, files: &[&FileClaims]) -> Vec<u8> {
    sealed::seal(HEADER, seal_key, &spell(context, files))
}

/// What the file of the index held when it was read.
pub struct Kept {
    stamp: Stamp,
    context: Digest,
    seal_key: [u8; 32],
    files: Files,
}

impl Kept {
    /// Reads the sealed index at `file`; `None` if it does not open (see [`load`]).
    pub(super) fn read(file: &Utf8Path, seal_key: &[u8; 32], context: Digest) -> Option<Self> {
        let stamp = Stamp::of(file).ok()?;
        let files = load(file, seal_key, context)?;
        Some(Self {
            stamp,
            context,
            seal_key: *seal_key,
            files,
        })
    }

    /// What reading the index at `file` would give now, if that is known.
    pub(super) fn if_still(self, file: &Utf8Path, seal_key: &[u8; 32], context: Digest) -> Option<Files> {
        let is_still = self.context == context && self.seal_key == *seal_key;
        (is_still && Stamp::of(file).is_ok_and(|now| now == self.stamp)).then_some(self.files)
    }
}

/// Opens the sealed index, or gives `None` if it is absent, damaged, of another version, sealed by another key or made under
/// another policy.
pub(super) fn load(file: &Utf8Path, seal_key: &[u8; 32], context: Digest) -> Option<Files> {
    sealed::open(file, HEADER, seal_key, |body| read_spelled(body, context))
}

/// What stands before the claims of all files, which follow each other [`TOGETHER`] by [`TOGETHER`].
#[derive(Serialize, Deserialize)]
struct Contents {
    context: Digest,
    /// The files, each with how many claims it has.
    files: Vec<(String, usize)>,
    /// How many bytes those take that are spelled together.
    lengths: Vec<usize>,
}

fn spell(context: Digest, files: &[&FileClaims]) -> Vec<u8> {
    let claims: Vec<&Claim> = files.iter().flat_map(|(_, claims)| claims).collect();
    let parts: Vec<Vec<u8>> = claims
        .par_chunks(TOGETHER)
        .map(|claims| sealed::spelled(&claims))
        .collect();
    let contents = Contents {
        context,
        files: files
            .iter()
            .map(|(name, claims)| (name.clone(), claims.len()))
            .collect(),
        lengths: parts.iter().map(Vec::len).collect(),
    };
    let mut body = sealed::spelled(&contents);
    parts.iter().for_each(|part| body.extend_from_slice(part));
    body
}

fn read_spelled(body: &[u8], context: Digest) -> Option<Files> {
    let (contents, mut rest): (Contents, _) = postcard::take_from_bytes(body).ok()?;
    if contents.context != context {
        return None;
    }
    let mut parts = Vec::with_capacity(contents.lengths.len());
    for length in contents.lengths {
        let (part, after) = rest.split_at_checked(length)?;
        parts.push(part);
        rest = after;
    }
    let claims: Option<Vec<Vec<Claim>>> = parts
        .into_par_iter()
        .map(|part| postcard::from_bytes(part).ok())
        .collect();
    let claims = claims?;
    let mut counts = contents.files.iter().map(|(_, count)| *count);
    let count = counts.try_fold(0_usize, usize::checked_add)?;
    if count != claims.iter().map(Vec::len).sum::<usize>() || !rest.is_empty() {
        return None;
    }
    let mut claims = claims.into_iter().flatten();
    let file = |(name, count): (String, usize)| {
        let run: Arc<str> = RunFileName::parse(&name).map_or(&*name, |parsed| parsed.run).into();
        let mut of_file = Vec::with_capacity(count);
        of_file.extend(claims.by_ref().take(count).map(|claim| {
            let run = Arc::clone(&run);
            Claim { run, ..claim }
        }));
        (name, of_file)
    };
    Some(contents.files.into_iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::run_file::RUN_FILE_SUFFIX;
    use crate::receipt::statement::ReceiptId;
    use crate::store::atomic;

    fn claim(number: u32) -> Claim {
        Claim {
            id: ReceiptId::of(&number.to_le_bytes()),
            run: "run".into(),
            line: number,
            believed: true,
            keyid: ReceiptId::of(b"key").into(),
            pipeline: "p".into(),
            stage: format!("s{number}"),
            action: Digest::of(&number.to_be_bytes()),
            succeeded: true,
            outputs: Vec::new(),
            tools: vec![("sh".into(), Digest::of(b"sh"))],
            raw: Vec::new(),
        }
    }

    /// Files with so many claims.
    fn files(counts: &[u32]) -> Files {
        let mut numbers = 0..;
        let claims = |count: &u32| numbers.by_ref().take(*count as usize).map(claim).collect();
        let claims: Vec<Vec<Claim>> = counts.iter().map(claims).collect();
        (0..)
            .zip(claims)
            .map(|(at, mut claims): (u32, _)| {
                claims.iter_mut().for_each(|claim| claim.run = format!("{at}").into());
                // A countersigned one is of the same run.
                let countersigner = if at % 2 == 0 { "" } else { ".0123abcd" };
                (format!("{at}{countersigner}{RUN_FILE_SUFFIX}"), claims)
            })
            .collect()
    }

    #[test]
    fn files_of_any_number_of_claims_are_read_as_they_were_spelled() {
        let context = Digest::of(b"policy");
        for counts in [&[][..], &[0], &[1, 0, 3], &[127, 2, 300, 0], &[128], &[129, 128, 127]] {
            let files = files(counts);
            let body = spell(context, &files.iter().collect::<Vec<_>>());
            assert_eq!(read_spelled(&body, context), Some(files), "{counts:?}");
            assert_eq!(read_spelled(&body, Digest::of(b"another policy")), None);
        }
    }

    #[test]
    fn what_was_read_before_counts_while_its_file_key_and_policy_are_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Utf8Path::from_path(folder.path()).expect("UTF-8").join("believed");
        let (key, context) = ([7; 32], Digest::of(b"policy"));
        let keep = |counts: &[u32]| {
            let files = files(counts);
            let sealed = sealed(&key, context, &files.iter().collect::<Vec<_>>());
            atomic::write_cache(&file, &sealed).expect("written");
            files
        };
        let read = || Kept::read(&file, &key, context);
        assert!(read().is_none(), "there is none yet");
        let kept = keep(&[3, 200]);
        assert_eq!(
            read().expect("it opens").if_still(&file, &key, context),
            Some(kept.clone())
        );
        let others = [([8; 32], context), (key, Digest::of(b"another policy"))];
        for (other_key, other_context) in others {
            assert!(Kept::read(&file, &other_key, other_context).is_none());
            let before = read().expect("it opens");
            assert_eq!(before.if_still(&file, &other_key, other_context), None);
        }
        // The same bytes in another file: nobody knows what was there between.
        let before = read().expect("it opens");
        keep(&[3, 200]);
        assert_eq!(before.if_still(&file, &key, context), None);
        let before = read().expect("it opens");
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(before.if_still(&file, &key, context), None);
    }

    #[test]
    fn what_is_cut_off_longer_or_miscounted_is_none() {
        let context = Digest::of(b"policy");
        let files = files(&[3, 200]);
        let body = spell(context, &files.iter().collect::<Vec<_>>());
        for length in 0..body.len() {
            assert_eq!(read_spelled(&body[..length], context), None, "{length}");
        }
        assert_eq!(read_spelled(&[&body[..], &[0]].concat(), context), None);
        let claims: Vec<&Claim> = files.iter().flat_map(|(_, claims)| claims).collect();
        let part = sealed::spelled(&claims);
        let miscounted = |counts: &[usize]| {
            let contents = Contents {
                context,
                files: counts.iter().map(|count| ("file".to_owned(), *count)).collect(),
                lengths: vec![part.len()],
            };
            read_spelled(&[sealed::spelled(&contents), part.clone()].concat(), context)
        };
        assert!(miscounted(&[203]).is_some() && miscounted(&[200, 3]).is_some());
        for counts in [&[202][..], &[204], &[], &[usize::MAX, 204]] {
            assert_eq!(miscounted(counts), None, "{counts:?}");
        }
    }
}
