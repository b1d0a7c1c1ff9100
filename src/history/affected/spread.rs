//! From the ingests along the receipts to everything that was made of what they let in.

use std::collections::HashMap;

use super::ledger::{Ledger, Read};
use crate::commitment::PersonalKey;
use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::receipt::statement::ReceiptId;

/// Whether something withdrawn is in what a receipt speaks of. The worse is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Nothing is.
    Clean,
    /// That cannot be told.
    Unknown,
    /// Something is.
    Affected,
}

/// The state of every receipt of `ledger`. `ingests` has those of ingests, which let in what they let in, whatever they have read.
///
/// Any other stage is as bad as the worst that it has read. But the same bytes are as good as the best that made them: what comes out bit for
/// bit the same without the withdrawn events does not hold them. Only believed receipts can say that.
pub(super) fn spread(ledger: &Ledger, ingests: &HashMap<usize, State>, key: Option<&PersonalKey>) -> Vec<State> {
    let spread = Spread {
        ledger,
        ingests,
        makers: makers(ledger, key),
    };
    // First everything that was made of it in any way: states only get worse. Then what else made the same: they only get better. In
    // this order, because of files that are copied in a circle: a copy of a source is not bad for being its own source, and
    // a copy of a model is not good for it.
    let worst = spread.settle(vec![State::Clean; ledger.nodes.len()], Spread::worst_of);
    spread.settle(worst, Spread::best_of)
}

struct Spread<'a> {
    ledger: &'a Ledger,
    ingests: &'a HashMap<usize, State>,
    /// Who made these bytes, of the believed receipts.
    makers: HashMap<Digest, Vec<usize>>,
}

fn makers(ledger: &Ledger, key: Option<&PersonalKey>) -> HashMap<Digest, Vec<usize>> {
    let mut makers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (index, node) in ledger.nodes.iter().enumerate().filter(|(_, node)| node.is_believed) {
        for made in &node.made {
            let name = made.digests.blake3();
            makers.entry(name).or_default().push(index);
            // Another stage may have read it as personal.
            if let (ArtifactDigests::File(_) | ArtifactDigests::Folder(_), Some(key)) = (&made.digests, key) {
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
            for (index, node) in self.ledger.nodes.iter().enumerate() {
                let state = match self.ingests.get(&index) {
                    Some(state) => *state,
                    None => worst(node.read.iter().map(|read| of(self, read, &states))),
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
            None => worst(self.same(read).map(|maker| states[maker])),
        }
    }

    /// By whichever made these bytes with the least harm.
    fn best_of(&self, read: &Read, states: &[State]) -> State {
        let named = read.maker.map(|maker| self.of_named(maker, states));
        let best = self.same(read).map(|maker| states[maker]).chain(named).min();
        best.unwrap_or(State::Clean)
    }

    fn of_named(&self, maker: ReceiptId, states: &[State]) -> State {
        // If it is not here, it may be anything.
        let index = self.ledger.by_id.get(&maker);
        index.map_or(State::Unknown, |index| states[*index])
    }

    fn same(&self, read: &Read) -> impl Iterator<Item = usize> {
        // Of an empty file nothing can be told apart.
        let makers = self.makers.get(&read.digest).filter(|_| read.digest != Digest::of(b""));
        makers.into_iter().flatten().copied()
    }
}

fn worst(states: impl Iterator<Item = State>) -> State {
    states.max().unwrap_or(State::Clean)
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Made, Node};
    use super::*;
    use crate::digest::{Digests, Sha256};

    fn id(name: &str) -> ReceiptId {
        Sha256::of(name.as_bytes())
    }

    /// A receipt `name` that has read these (bytes, and by which receipt) and made these.
    fn node(name: &str, read: &[(&str, Option<&str>)], made: &[&str]) -> Node {
        let made = made.iter().map(|bytes| Made {
            output: "o".to_owned(),
            path: "o".into(),
            digests: ArtifactDigests::File(Digests {
                blake3: Digest::of(bytes.as_bytes()),
                sha256: Sha256::of(bytes.as_bytes()),
            }),
            is_model: false,
        });
        let read = read.iter().map(|(bytes, maker)| Read {
            digest: Digest::of(bytes.as_bytes()),
            maker: maker.map(id),
        });
        Node {
            id: id(name),
            run: String::new(),
            pipeline: String::new(),
            pipeline_file: "p.yaml".into(),
            stage: name.to_owned(),
            is_believed: !name.starts_with('?'),
            ingest: None,
            population: None,
            read: read.collect(),
            made: made.collect(),
        }
    }

    #[test]
    fn what_is_made_of_it_is_affected_and_what_comes_out_the_same_without_it_is_not() {
        let nodes = vec![
            node("bad", &[], &["E"]),
            node("good", &[], &["E2"]),
            node("lost", &[], &["E3"]),
            // The name of what is read is no matter; its bytes are.
            node("features", &[("E", Some("bad"))], &["F"]),
            node("copy", &[("E", None)], &["C"]),
            node("model", &[("F", Some("features")), ("x", None)], &["M"]),
            node("clean", &[("E2", Some("good"))], &["F2"]),
            // Made with it and without: the same bytes.
            node("first line", &[("E", Some("bad"))], &["L"]),
            node("first line again", &[("E2", Some("good"))], &["L"]),
            node("of the line", &[("L", Some("first line"))], &["T"]),
            // A stranger says that these bytes are made of nothing.
            node("?liar", &[], &["M"]),
            node("of the model", &[("M", Some("model"))], &["R"]),
            node("of what is not here", &[("Q", Some("gone"))], &["S"]),
            node("of both", &[("E3", Some("lost")), ("E", Some("bad"))], &[]),
            node("of the lost", &[("E3", None)], &[]),
            node("of nothing", &[("", None)], &[""]),
            node("empty", &[("E", Some("bad"))], &[""]),
            node("of an empty file", &[("", None)], &["Z"]),
            // Its output is what it has read, which is a source.
            node("same", &[("x", None)], &["x"]),
            // Copies of a model by the path at which it lies, one of the other.
            node("there", &[("M", None)], &["M"]),
            node("and back", &[("M", None)], &["M"]),
        ];
        let by_id = nodes.iter().enumerate().map(|(index, node)| (node.id, index)).collect();
        let ledger = Ledger {
            nodes,
            by_id,
            ..Ledger::default()
        };
        let ingests = HashMap::from([(0, State::Affected), (1, State::Clean), (2, State::Unknown)]);
        let states = spread(&ledger, &ingests, None);
        let of = |wanted: State| -> Vec<&str> {
            let all = ledger.nodes.iter().zip(&states);
            all.filter(|(_, state)| **state == wanted)
                .map(|(node, _)| node.stage.as_str())
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
    }
}
