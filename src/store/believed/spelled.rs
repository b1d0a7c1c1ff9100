//! An index of claims as it is put together: what is new is spelled, and what another has stays as it is spelled there.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::Claim;
use super::index::{Contents, END, Index, OfFile, ROOM};
use super::table::{self, ENTRY, Entry, Table};
use crate::digest::Digest;
use crate::store::sealed;

/// So many claims are spelled together, by any core.
const TOGETHER: usize = 128;
const TOO_MANY: &str = "fewer than four thousand million claims";

impl Index {
    /// Without any claim.
    pub(super) fn empty(context: Digest) -> Self {
        Parts::default().spelled(context, |_| &[]).into_index()
    }

    /// The index of `files`, sorted by name: each with what it claims, or with nothing if it claims what it does in `self`.
    pub(super) fn with(&self, files: &[(&str, Option<&[Claim]>)]) -> Spelled<'_> {
        let mut parts = Parts::default();
        let mut moved = vec![None; self.len()];
        for (name, claims) in files {
            if let Some(claims) = claims {
                parts.spell(name, claims);
            } else if let Some(file) = self.file(name) {
                let first = parts.copy(self, file);
                for (old, new) in file.numbers.clone().zip(first..) {
                    moved[old] = Some(new);
                }
            }
        }
        let stays = |(old, new): (u32, &Option<u32>)| *new == Some(old);
        if (0..).zip(&moved).all(stays) {
            return parts.spelled(self.context, |table| self.table(table));
        }
        // What is left stays in its order.
        let tables = Table::ALL.map(|table| {
            let renumbered = |old: &Entry| {
                let new = moved.get(table::number(old) as usize).copied().flatten()?;
                Some(table::renumbered(old, new))
            };
            self.table(table).iter().filter_map(renumbered).collect::<Vec<Entry>>()
        });
        parts.spelled(self.context, |table| &tables[table as usize])
    }

    /// As it is kept.
    pub(super) fn spelled(&self) -> Spelled<'_> {
        let (front, records) = self.bytes.split_at(self.ends.end);
        Spelled {
            context: self.context,
            front: front.to_vec(),
            records: vec![Cow::Borrowed(records)],
        }
    }
}

/// An index as it is kept: of which most may be as another has it.
pub(super) struct Spelled<'o> {
    context: Digest,
    /// Room for header and seal, and all that stands before the records.
    pub(super) front: Vec<u8>,
    pub(super) records: Vec<Cow<'o, [u8]>>,
}

impl Spelled<'_> {
    /// All of it, part by part.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.front).chain(self.records.iter().map(|records| &**records))
    }

    /// The index.
    pub(super) fn into_index(self) -> Index {
        let bytes = self.parts().collect::<Vec<_>>().concat();
        Index::read(bytes, self.context).expect("it was spelled just now")
    }
}

/// What an index is put together of, some of it as it is spelled in another.
#[derive(Default)]
struct Parts<'o> {
    files: Vec<(String, u32)>,
    records: Vec<Cow<'o, [u8]>>,
    /// The place in the other of the last records, if they are from there.
    last: Option<Range<usize>>,
    ends: Vec<usize>,
    /// What is new in each table.
    entries: [Vec<Entry>; Table::ALL.len()],
}

impl<'o> Parts<'o> {
    /// The number of the claim that comes next.
    fn next(&self) -> u32 {
        u32::try_from(self.ends.len()).expect(TOO_MANY)
    }

    /// How long all records so far are.
    fn length(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Appends a file.
    fn spell(&mut self, name: &str, claims: &[Claim]) {
        for (number, claim) in (self.next()..).zip(claims) {
            table::digests_of(claim, |table, digest| {
                self.entries[table as usize].push(table::entry(digest, number));
            });
        }
        let spelled = |claims: &[Claim]| {
            let mut records = Vec::new();
            let mut ends = Vec::with_capacity(claims.len());
            for claim in claims {
                records = postcard::to_extend(claim, records).expect("plain data has an encoding");
                ends.push(records.len());
            }
            (records, ends)
        };
        let spelled: Vec<_> = claims.par_chunks(TOGETHER).map(spelled).collect();
        for (records, ends) in spelled {
            let before = self.length();
            self.ends.extend(ends.iter().map(|end| before + end));
            self.records.push(Cow::Owned(records));
            self.last = None;
        }
        self.files
            .push((name.to_owned(), u32::try_from(claims.len()).expect(TOO_MANY)));
    }

    /// Appends a file of `index` as it is spelled there, and gives the number of its first claim.
    fn copy(&mut self, index: &'o Index, file: &OfFile) -> u32 {
        let (first, before) = (self.next(), self.length());
        let range = index.range(&file.numbers);
        let ends = file.numbers.clone().map(|number| index.end(number));
        self.ends.extend(ends.map(|end| end - range.start + before));
        // Files that follow each other there are one part here.
        let start = match self.last.take() {
            Some(last) if last.end == range.start => {
                self.records.pop();
                last.start
            }
            _ => range.start,
        };
        let range = start..range.end;
        self.records.push(Cow::Borrowed(&index.records()[range.clone()]));
        self.last = Some(range);
        let count = u32::try_from(file.numbers.len()).expect(TOO_MANY);
        self.files.push((file.name.clone(), count));
        first
    }

    /// The index, whose tables have what `old` says as well.
    fn spelled<'t>(self, context: Digest, old: impl Fn(Table) -> &'t [Entry]) -> Spelled<'o> {
        let mut tables = Vec::new();
        let mut entries = Vec::with_capacity(Table::ALL.len());
        for (table, new) in Table::ALL.into_iter().zip(self.entries) {
            let before = tables.len();
            table::merge(&mut tables, old(table), new);
            entries.push((tables.len() - before) / ENTRY);
        }
        let files = self.files;
        let contents = sealed::spelled(&Contents {
            context,
            files,
            entries,
        });
        let mut front = Vec::with_capacity(ROOM + contents.len() + tables.len() + self.ends.len() * END);
        front.resize(ROOM, 0);
        front.extend_from_slice(&contents);
        front.extend_from_slice(&tables);
        front.extend(self.ends.iter().flat_map(|end| (*end as u64).to_le_bytes()));
        Spelled {
            context,
            front,
            records: self.records,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commitment::{Commitment, Shape};
    use crate::consent::purposes::NONE;
    use crate::digest::{Digests, Sha256};
    use crate::listing::ArtifactDigests;
    use crate::receipt::run_file::RUN_FILE_SUFFIX;
    use crate::receipt::statement::ReceiptId;
    use crate::store::believed::{ClaimedOutput, table::stage_key};

    /// Files, each with what it claims.
    pub(in crate::store::believed) struct Files(Vec<(String, Vec<Claim>)>);

    impl Files {
        /// All of them, as nothing that is known.
        pub(in crate::store::believed) fn each(&self) -> Vec<(&str, Option<&[Claim]>)> {
            let each = self.0.iter();
            each.map(|(name, claims)| (name.as_str(), Some(claims.as_slice())))
                .collect()
        }
    }

    fn claim(run: &str, number: u32) -> Claim {
        let bytes = |what: &str| format!("{what} {}", number % 5).into_bytes();
        Claim {
            id: ReceiptId::of(&number.to_le_bytes()),
            run: run.into(),
            line: number,
            believed: !number.is_multiple_of(7),
            keyid: ReceiptId::of(b"key").into(),
            pipeline: "p".into(),
            stage: format!("s{}", number % 11),
            action: Digest::of(&bytes("action")),
            succeeded: !number.is_multiple_of(3),
            outputs: vec![ClaimedOutput {
                name: "o".into(),
                path: format!("out/{number}"),
                digests: match number % 4 {
                    0 => ArtifactDigests::Keyed(Commitment {
                        shape: Shape::File,
                        blake3: Digest::of(&bytes("output")),
                        sha256: Sha256::of(b"output"),
                        key: Sha256::of(b"secret"),
                    }),
                    _ => ArtifactDigests::File(Digests::of(&bytes("output"))),
                },
                executable: false,
                consent: number.is_multiple_of(6).then(|| NONE.to_owned()),
                is_declassified: false,
            }],
            tools: vec![("sh".into(), Digest::of(b"sh"))],
            raw: Vec::new(),
        }
    }

    /// Files with so many claims.
    pub(in crate::store::believed) fn files(counts: &[u32]) -> Files {
        let mut numbers = 0..;
        let file = |(at, count): (u32, &u32)| {
            let run = format!("{at:02}");
            let claims = numbers.by_ref().take(*count as usize);
            let claims = claims.map(|number| claim(&run, number)).collect();
            // A countersigned one is of the same run.
            let countersigner = if at % 2 == 0 { "" } else { ".0123abcd" };
            (format!("{run}{countersigner}{RUN_FILE_SUFFIX}"), claims)
        };
        Files((0..).zip(counts).map(file).collect())
    }

    /// The index of one file, of the run of this id.
    pub(in crate::store::believed) fn of_one_file(run: &str, claims: &[Claim]) -> Index {
        let name = format!("{run}{RUN_FILE_SUFFIX}");
        Index::empty(context()).with(&[(&name, Some(claims))]).into_index()
    }

    fn context() -> Digest {
        Digest::of(b"policy")
    }

    fn built(files: &Files) -> Index {
        Index::empty(context()).with(&files.each()).into_index()
    }

    #[test]
    fn claims_are_read_as_they_were_spelled_and_found_by_what_they_are_about() {
        for counts in [&[][..], &[0], &[1, 0, 3], &[127, 2, 300, 0], &[128], &[129, 128, 127]] {
            let files = files(counts);
            let index = Index::read(built(&files).bytes, context()).expect("it is whole");
            let claims: Vec<Claim> = files.0.iter().flat_map(|(_, claims)| claims.clone()).collect();
            assert_eq!(index.all().collect::<Vec<_>>(), claims, "{counts:?}");
            assert_eq!(Index::read(index.bytes.clone(), Digest::of(b"another policy")), None);
            let is_of = |table, digest: &[u8; 32], of: &dyn Fn(&Claim) -> bool| {
                let found: Vec<Claim> = index.about(table, digest).collect();
                let wanted = claims.iter().filter(|claim| of(claim)).cloned();
                assert_eq!(found, wanted.collect::<Vec<_>>(), "{counts:?} {table:?}");
            };
            for asked in claims.iter().take(25) {
                is_of(Table::Action, asked.action.as_bytes(), &|claim| {
                    claim.action == asked.action
                });
                let stage = stage_key("p", &asked.stage);
                is_of(Table::Stage, &stage, &|claim| claim.stage == asked.stage);
                is_of(Table::Receipt, asked.id.as_bytes(), &|claim| claim.id == asked.id);
                let output = asked.outputs[0].digests.blake3();
                let gives = |claim: &Claim| claim.believed && claim.outputs[0].digests.blake3() == output;
                is_of(Table::Output, output.as_bytes(), &|claim| {
                    gives(claim) && claim.succeeded
                });
                is_of(Table::Personal, output.as_bytes(), &|claim| {
                    gives(claim) && claim.succeeded && matches!(claim.outputs[0].digests, ArtifactDigests::Keyed(_))
                });
                is_of(Table::Carrier, output.as_bytes(), &|claim| {
                    gives(claim) && claim.outputs[0].consent.is_some()
                });
            }
            let has = |of: &dyn Fn(&Claim) -> bool| claims.iter().any(of);
            assert_eq!(
                index.knows(Table::Carrier),
                has(&|claim| claim.believed && claim.outputs[0].consent.is_some())
            );
        }
    }

    #[test]
    fn what_is_cut_off_longer_or_miscounted_is_none() {
        let files = files(&[3, 20]);
        let index = built(&files);
        let bytes = index.bytes.clone();
        for length in 0..bytes.len() {
            assert_eq!(Index::read(bytes[..length].to_vec(), context()), None, "{length}");
        }
        assert_eq!(Index::read([&bytes[..], &[0]].concat(), context()), None);
        let entries = Table::ALL.map(|table| index.table(table).len());
        let rest = &bytes[index.tables[0].start..];
        let miscounted = |counts: &[u32], entries: &[usize]| {
            let contents = Contents {
                context: context(),
                files: counts.iter().map(|count| ("file".to_owned(), *count)).collect(),
                entries: entries.to_vec(),
            };
            Index::read([&[0; ROOM], &*sealed::spelled(&contents), rest].concat(), context())
        };
        assert!(miscounted(&[23], &entries).is_some() && miscounted(&[20, 3], &entries).is_some());
        for counts in [&[22][..], &[24], &[], &[u32::MAX, 24]] {
            assert_eq!(miscounted(counts, &entries), None, "{counts:?}");
        }
        let more = entries.map(|count| count + 1);
        let many = [usize::MAX; Table::ALL.len()];
        for entries in [&more[..], &many, &entries[1..], &[]] {
            assert_eq!(miscounted(&[23], entries), None, "{entries:?}");
        }
    }

    proptest! {
        /// Whatever comes and goes, and in whatever order: the index is what it would be if all had come at once.
        #[test]
        fn an_index_is_the_same_however_it_came_to_be(
            counts in prop::collection::vec(0..6_u32, 1..7),
            steps in prop::collection::vec(prop::collection::vec(any::<bool>(), 7), 1..6),
        ) {
            let files = files(&counts);
            let each = files.each();
            let mut index = Index::empty(context());
            for wanted in steps {
                let wanted: Vec<_> = each.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(file, _)| *file).collect();
                let known: Vec<_> = wanted
                    .iter()
                    .map(|(name, claims)| (*name, claims.filter(|_| index.file(name).is_none())))
                    .collect();
                index = index.with(&known).into_index();
                let at_once = Index::empty(context()).with(&wanted).into_index();
                prop_assert_eq!(&index, &at_once);
                prop_assert_eq!(Index::read(index.bytes.clone(), context()), Some(at_once));
            }
        }
    }
}
