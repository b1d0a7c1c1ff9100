//! From the ingests along the receipts to everything that was made of what they let in.

use std::collections::{BTreeSet, HashMap};

use camino::Utf8Path;

use crate::commitment::PersonalKey;
use crate::digest::Digest;
use crate::listing::{ArtifactDigests, ListedFile};
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{ReceiptId, Resource, Role, Statement};

/// A receipt: what its stage has read and made. A run has read and made nothing itself.
#[derive(Debug)]
pub struct Step {
    /// The receipt.
    pub id: ReceiptId,
    /// Whether a trusted key signed it: only then can it speak for others.
    pub is_believed: bool,
    /// What was read.
    pub read: Vec<Read>,
    /// Its outputs; none of a stage that failed.
    pub made: Vec<ArtifactDigests>,
    /// The files of folders among these, as far as it is known which they are.
    pub parts: Vec<Digest>,
}

/// What a stage has read.
#[derive(Debug)]
pub struct Read {
    /// What it is called.
    pub digest: Digest,
    /// The receipt of the stage that made it; none for a source.
    pub maker: Option<ReceiptId>,
}

impl Step {
    /// What a receipt says. `files_of` tells which files were in a folder, by its path and digests, if that is known: another pipeline may have
    /// read one of them.
    #[must_use]
    pub fn of(
        id: ReceiptId,
        statement: &Statement,
        is_believed: bool,
        files_of: &dyn Fn(&Utf8Path, &ArtifactDigests) -> Option<Vec<ListedFile>>,
    ) -> Self {
        let subject = statement.subject.iter().filter(|_| statement.is_stage_success());
        let subject = subject.filter(|made| matches!(made.role(), Role::Output { .. }));
        let mut made = Vec::new();
        let mut parts = Vec::new();
        for (path, digests) in subject.filter_map(|made| Some((&made.name, artifact_digests(made)?))) {
            if digests.is_folder() {
                let files = files_of(Utf8Path::new(path), &digests).into_iter().flatten();
                parts.extend(files.map(|file| file.digests.blake3));
            }
            made.push(digests);
        }
        Self {
            id,
            is_believed,
            read: statement.dependencies().iter().filter_map(Read::of).collect(),
            made,
            parts,
        }
    }
}

impl Read {
    fn of(used: &Resource) -> Option<Self> {
        let maker = match used.role() {
            Role::Input { receipt, .. } => receipt.as_deref(),
            Role::Member { .. } => None,
            _ => return None,
        };
        Some(Self {
            digest: artifact_digests(used)?.blake3(),
            maker: maker.and_then(|id| id.parse().ok()),
        })
    }
}

/// Whether something withdrawn is in what a receipt speaks of. The worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is.
    Clean,
    /// That cannot be told.
    Unknown,
    /// Something is.
    Affected,
}

/// Receipts, and who made which bytes.
pub struct Steps<'a> {
    steps: &'a [Step],
    by_id: &'a HashMap<ReceiptId, usize>,
    /// Who made these bytes, of the believed receipts.
    makers: HashMap<Digest, Vec<usize>>,
}

impl<'a> Steps<'a> {
    /// Of receipts and their places among them. With `key`, what is personal is the same as what is not.
    #[must_use]
    pub fn of(steps: &'a [Step], by_id: &'a HashMap<ReceiptId, usize>, key: Option<&PersonalKey>) -> Self {
        let makers = makers(steps, key);
        Self { steps, by_id, makers }
    }

    /// The state of every receipt. `ingests` has those of ingests, which let in what they let in, whatever they have read.
    ///
    /// Any other stage is as bad as the worst that it has read. But the same bytes are as good as the best that made them: what comes out bit for
    /// bit the same without the withdrawn events does not hold them. Only believed receipts can say that.
    #[must_use]
    pub fn spread(&self, ingests: &HashMap<usize, State>) -> Vec<State> {
        let spread = Spread { of: self, ingests };
        // First everything that was made of it in any way: states only get worse. Then what else made the same: they only get better. In
        // this order, because of files that are copied in a circle: a copy of a source is not bad for being its own source, and
        // a copy of a model is not good for it.
        let worst = spread.settle(vec![State::Clean; self.steps.len()], Spread::worst_of);
        spread.settle(worst, Spread::best_of)
    }

    /// Who made these bytes, of the believed receipts.
    pub fn makers_of(&self, digest: Digest) -> impl Iterator<Item = usize> {
        // Of an empty file nothing can be told apart.
        let makers = self.makers.get(&digest).filter(|_| digest != Digest::of(b""));
        makers.into_iter().flatten().copied()
    }

    /// `roots` and all that they rest on: the receipts that are named as makers, and of a source all that made its bytes.
    pub fn rested_on(&self, roots: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let named = |read: &Read| match read.maker {
            Some(maker) => self.by_id.get(&maker).copied().into_iter().collect(),
            None => self.makers_of(read.digest).collect(),
        };
        self.follow(roots, |_| true, named)
    }

    /// The same with all else that made the same bytes, as far as `goes_on` says.
    pub fn reached(&self, roots: impl IntoIterator<Item = usize>, goes_on: impl Fn(usize) -> bool) -> BTreeSet<usize> {
        let any = |read: &Read| {
            let named = read.maker.and_then(|id| self.by_id.get(&id).copied());
            named.into_iter().chain(self.makers_of(read.digest)).collect()
        };
        self.follow(roots, goes_on, any)
    }

    fn follow(
        &self,
        roots: impl IntoIterator<Item = usize>,
        goes_on: impl Fn(usize) -> bool,
        makers: impl Fn(&Read) -> Vec<usize>,
    ) -> BTreeSet<usize> {
        let mut waiting: Vec<usize> = roots.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(index) = waiting.pop() {
            if goes_on(index) && seen.insert(index) {
                waiting.extend(self.steps[index].read.iter().flat_map(&makers));
            }
        }
        seen
    }
}

struct Spread<'a> {
    of: &'a Steps<'a>,
    ingests: &'a HashMap<usize, State>,
}

fn makers(steps: &[Step], key: Option<&PersonalKey>) -> HashMap<Digest, Vec<usize>> {
    let mut makers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.is_believed) {
        let is_plain = |made: &ArtifactDigests| !matches!(made, ArtifactDigests::Keyed(_));
        let made = step.made.iter().map(|made| (made.blake3(), is_plain(made)));
        for (name, is_plain) in made.chain(step.parts.iter().map(|part| (*part, true))) {
            makers.entry(name).or_default().push(index);
            // Another stage may have read it as personal.
            if let Some(key) = key.filter(|_| is_plain) {
                makers.entry(key.name(name)).or_default().push(index);
            }
        }
    }
    makers
}

impl Spread<'_> {
    /// Judges each receipt by what it has read until nothing changes. Receipts mostly stand after those that they rest on.
    fn settle(&self, mut states: Vec<State>, of: fn(&Self, &Read, &[State]) -> State) -> Vec<State> {
        loop {
            let mut has_changed = false;
            for (index, step) in self.of.steps.iter().enumerate() {
                let state = match self.ingests.get(&index) {
                    Some(state) => *state,
                    None => worst(step.read.iter().map(|read| of(self, read, &states))),
                };
                has_changed |= std::mem::replace(&mut states[index], state) != state;
            }
            if !has_changed {
                return states;
            }
        }
    }

    /// By the receipt that is named as its maker; a source by all that made these bytes.
    fn worst_of(&self, read: &Read, states: &[State]) -> State {
        match read.maker {
            Some(maker) => self.of_named(maker, states),
            None => worst(self.of.makers_of(read.digest).map(|maker| states[maker])),
        }
    }

    /// By whichever made these bytes with the least harm.
    fn best_of(&self, read: &Read, states: &[State]) -> State {
        let named = read.maker.map(|maker| self.of_named(maker, states));
        let best = self
            .of
            .makers_of(read.digest)
            .map(|maker| states[maker])
            .chain(named)
            .min();
        best.unwrap_or(State::Clean)
    }

    fn of_named(&self, maker: ReceiptId, states: &[State]) -> State {
        // If it is not here, it may be anything.
        let index = self.of.by_id.get(&maker);
        index.map_or(State::Unknown, |index| states[*index])
    }
}

fn worst(states: impl Iterator<Item = State>) -> State {
    states.max().unwrap_or(State::Clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Digests, Sha256};

    fn id(name: &str) -> ReceiptId {
        Sha256::of(name.as_bytes())
    }

    /// A receipt `name` that has read these (bytes, and by which receipt) and made these.
    fn step(name: &'static str, read: &[(&str, Option<&str>)], made: &[&str]) -> (&'static str, Step) {
        let made = made.iter().map(|bytes| {
            ArtifactDigests::File(Digests {
                blake3: Digest::of(bytes.as_bytes()),
                sha256: Sha256::of(bytes.as_bytes()),
            })
        });
        let read = read.iter().map(|(bytes, maker)| Read {
            digest: Digest::of(bytes.as_bytes()),
            maker: maker.map(id),
        });
        let step = Step {
            id: id(name),
            is_believed: !name.starts_with('?'),
            read: read.collect(),
            made: made.collect(),
            parts: Vec::new(),
        };
        (name, step)
    }

    #[test]
    fn what_is_made_of_it_is_affected_and_what_comes_out_the_same_without_it_is_not() {
        let steps = vec![
            step("bad", &[], &["E"]),
            step("good", &[], &["E2"]),
            step("lost", &[], &["E3"]),
            // The name of what is read is no matter; its bytes are.
            step("features", &[("E", Some("bad"))], &["F"]),
            step("copy", &[("E", None)], &["C"]),
            step("model", &[("F", Some("features")), ("x", None)], &["M"]),
            step("clean", &[("E2", Some("good"))], &["F2"]),
            // Made with it and without: the same bytes.
            step("first line", &[("E", Some("bad"))], &["L"]),
            step("first line again", &[("E2", Some("good"))], &["L"]),
            step("of the line", &[("L", Some("first line"))], &["T"]),
            // A stranger says that these bytes are made of nothing.
            step("?liar", &[], &["M"]),
            step("of the model", &[("M", Some("model"))], &["R"]),
            step("of what is not here", &[("Q", Some("gone"))], &["S"]),
            step("of both", &[("E3", Some("lost")), ("E", Some("bad"))], &[]),
            step("of the lost", &[("E3", None)], &[]),
            step("of nothing", &[("", None)], &[""]),
            step("empty", &[("E", Some("bad"))], &[""]),
            step("of an empty file", &[("", None)], &["Z"]),
            // Its output is what it has read, which is a source.
            step("same", &[("x", None)], &["x"]),
            // Copies of a model by the path at which it lies, one of the other.
            step("there", &[("M", None)], &["M"]),
            step("and back", &[("M", None)], &["M"]),
        ];
        let (names, steps): (Vec<&str>, Vec<Step>) = steps.into_iter().unzip();
        let by_id = steps.iter().enumerate().map(|(index, step)| (step.id, index)).collect();
        let ingests = HashMap::from([(0, State::Affected), (1, State::Clean), (2, State::Unknown)]);
        let steps = Steps::of(&steps, &by_id, None);
        let states = steps.spread(&ingests);
        let of = |wanted: State| -> Vec<&str> {
            let all = names.iter().zip(&states);
            all.filter(|(_, state)| **state == wanted)
                .map(|(name, _)| *name)
                .collect()
        };
        assert_eq!(
            of(State::Affected),
            [
                "bad",
                "features",
                "copy",
                "model",
                "first line",
                "of the model",
                "of both",
                "empty",
                "there",
                "and back"
            ]
        );
        assert_eq!(of(State::Unknown), ["lost", "of what is not here", "of the lost"]);
        let at = |name: &str| names.iter().position(|other| *other == name).expect("it is one");
        let reached = steps.reached([at("of the line")], |_| true);
        let of_line = ["bad", "good", "first line", "first line again", "of the line"];
        assert!(reached.into_iter().eq(of_line.map(at)));
        let rested = steps.rested_on([at("of the line")]);
        assert!(rested.into_iter().eq(["bad", "first line", "of the line"].map(at)));
        let reached = steps.reached([at("copy")], |index| states[index] == State::Affected);
        assert!(reached.into_iter().eq([at("bad"), at("copy")]));
    }
}
