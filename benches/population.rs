//! What it costs to commit to a set of a million events, and to show that one is in it.
//!
//!     cargo bench --bench population

#![expect(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use madmall::consent::map::{Map, MapBuilder};
use madmall::consent::population::{Form, KeptPopulation, PopulationWriter};
use madmall::consent::secret::ConsentSecret;
use madmall::consent::token::{Token, Tokens};
use rayon::prelude::*;
use sha2::Digest as _;

/// How many events there are.
const EVENTS: u32 = 1_000_000;
/// So often each is timed; the median counts.
const ROUNDS: usize = 5;
/// How many proofs are made and checked.
const PROOFS: u32 = 1000;

fn main() {
    let by = Tokens::by(&ConsentSecret::from_bytes([7; 32]));
    let ids: Vec<String> = (0..EVENTS).map(|number| format!("evt-{number:09}")).collect();
    let mut tokens: Vec<Token> = ids.par_iter().map(|id| by.token(id)).collect();
    tokens.par_sort_unstable();
    let hash = |token: &Token| -> [u8; 32] { sha2::Sha256::digest(token.as_bytes()).into() };
    let cores = rayon::current_num_threads();
    println!("{EVENTS} events, {cores} cores, median of {ROUNDS} rounds");
    let report = |what: &str, time: Duration, beside: Duration| {
        let ratio = time.as_secs_f64() / beside.as_secs_f64();
        println!("  {what:<44} {:>8.1} ms {ratio:>6.2}", time.as_secs_f64() * 1000.0);
    };
    let one = median(|| tokens.iter().for_each(|token| use_up(hash(token))));
    let all = median(|| tokens.par_iter().for_each(|token| use_up(hash(token))));
    let made = median(|| ids.iter().for_each(|id| use_up(by.token(id))));
    report("SHA-256 of each token, one core", one, one);
    report(
        "root, one core, token by token",
        median(|| use_up(streamed(&tokens).root())),
        one,
    );
    report("SHA-256 of each token, all cores", all, all);
    report(
        "root, all cores",
        median(|| use_up(Map::of(&tokens).expect("in order").root())),
        all,
    );
    report("tokens of their ids, one core", made, one);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = Utf8Path::from_path(folder.path()).expect("UTF-8").join("population");
    let mut writer = PopulationWriter::create(&file, Form::Tokens).expect("made");
    writer.extend(&tokens, |token| (*token, None)).expect("written");
    let (root, size) = writer.finish().expect("written");
    let began = Instant::now();
    let mut bytes = 0;
    let paths: Vec<_> = (0..PROOFS)
        .map(|number| {
            let token = by.token(&format!("evt-{:09}", number * 1500));
            let kept = KeptPopulation::open_file(&file, root).expect("whole");
            let path = kept.path(&token).expect("read");
            bytes = bytes.max(path.siblings.len());
            (token, path)
        })
        .collect();
    let proof = began.elapsed() / PROOFS;
    let began = Instant::now();
    for (token, path) in &paths {
        black_box(path.check(token, size, &root).expect("it holds"));
    }
    let check = began.elapsed() / PROOFS;
    println!(
        "  a proof, from the file                       {:>8.3} ms, at most {bytes} siblings",
        millis(proof)
    );
    println!(
        "  its check                                    {:>8.3} ms",
        millis(check)
    );
}

fn use_up<T>(value: T) {
    let _ = black_box(value);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn streamed(tokens: &[Token]) -> Map {
    let mut builder = MapBuilder::default();
    for token in tokens {
        builder.push(*token).expect("in order");
    }
    builder.finish()
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}
