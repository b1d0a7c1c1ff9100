//! Whatever bytes come in, a stage ends with an answer.

use std::io::Write as _;

use proptest::prelude::*;
use serde_json::json;

use crate::bench::{Bench, Params, params, small_events, small_params};
use madmall::model::Model;
use madmall::stages::StageError;

/// Both stages may take or refuse what they are given, and nothing else.
fn must_answer<T>(result: Result<T, StageError>) {
    match result {
        Ok(_) | Err(StageError::Refused(_)) => {}
        Err(other) => panic!("neither taken nor refused: {other:?}"),
    }
}

/// A change to some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Word(prop::sample::Index, i64),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        6 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        3 => (at(), prop_oneof![any::<i64>(), Just(i64::MAX), Just(-1), 0i64..100_000]).prop_map(|(at, word)| Change::Word(at, word)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), 1usize..64).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    match change {
        Change::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Change::Word(at, word) => {
            let at = at.index(bytes.len()) & !7;
            let end = bytes.len().min(at + 8);
            (&mut bytes[at..end])
                .write_all(&word.to_le_bytes()[..end - at])
                .expect("the slice is as long");
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Remove(at, length) => {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            bytes.drain(at..end);
        }
        Change::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
    }
}

/// A small file that is good, so that changes reach beyond its first check.
fn good_features() -> Vec<u8> {
    let events = small_events();
    let lines: Vec<&[u8]> = events.split_inclusive(|byte| *byte == b'\n').take(40).collect();
    let outputs = Bench::new().featurize(&[&lines.concat()], &small_params());
    outputs.expect("good events").remove("features").expect("written")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_features_file_is_trained_on_or_refused(changes in prop::collection::vec(change(), 1..4)) {
        thread_local!(static GOOD: (Bench, Vec<u8>) = (Bench::new(), good_features()));
        GOOD.with(|(bench, good)| {
            let mut bytes = good.clone();
            for change in &changes {
                apply(&mut bytes, change);
            }
            must_answer(bench.train(&bytes, &params(json!({"holdout": 0})), 1));
        });
    }

    #[test]
    fn any_bytes_are_no_features_file(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        thread_local!(static BENCH: Bench = Bench::new());
        BENCH.with(|bench| must_answer(bench.train(&bytes, &Params::new(), 1)));
    }

    #[test]
    fn changed_events_are_taken_or_refused(changes in prop::collection::vec(change(), 1..4)) {
        thread_local!(static BENCH: (Bench, Vec<u8>) = (Bench::new(), small_events()[..1000].to_vec()));
        BENCH.with(|(bench, good)| {
            let mut bytes = good.clone();
            for change in &changes {
                apply(&mut bytes, change);
            }
            must_answer(bench.featurize(&[&bytes], &Params::new()));
        });
    }

    #[test]
    fn a_changed_model_reads_back_as_itself_or_not_at_all(changes in prop::collection::vec(change(), 1..4)) {
        let model = br#"{"bias":-0.25,"feature_keys":["a","a:a"],"format":"madmall-model/v2","kind":"logreg","labels":{"negative":"n","positive":"p"},"preparation":{"categories":[],"format":"madmall-preparation/v1","interactions":[["a","a"]],"numbers":[{"impute":0.5,"indicator":false,"key":"a","range":[0,1],"scaling":null}]},"standardisation":{"means":[0,1],"scales":[1,2.5]},"weights":[0.1,-1e-7]}"#;
        let mut bytes = model.to_vec();
        for change in &changes {
            apply(&mut bytes, change);
        }
        if let Ok(model) = Model::parse(&bytes) {
            let written = model.to_bytes().expect("what is read can be written");
            prop_assert_eq!(Model::parse(&written).expect("and read again"), model);
        }
    }
}
