//! What running costs, beside the programs that people use for it, on the same work in the same minutes.
//!
//!     cargo bench --bench compare              # all work; a quarter of an hour and more
//!     cargo bench --bench compare -- a b e     # some of it
//!     cargo bench --bench compare -- --only ninja a b
//!
//! Peers that are not here are installed where that can be done without asking (from Python's and from Node's registry, below the
//! temporary folder), else left out. Each figure is the median of rounds in which all take turns, in an order of chance; ratios are over madmall's. Nothing here can fail for being slow.

#![expect(clippy::disallowed_methods, reason = "a benchmark writes its own files")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod measure;
mod peers;
mod random;
mod work;

use std::path::Path;

use measure::{Cost, median, milliseconds};
use peers::Peer;
use random::Random;
use work::Work;

/// How often each is measured, in turn; less where one round takes long.
const ROUNDS: usize = 21;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let only = arguments.iter().position(|word| word == "--only").map(|at| {
        let words: Vec<String> = arguments.drain(at..(at + 2).min(arguments.len())).collect();
        words.into_iter().nth(1).unwrap_or_default()
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let peers: Vec<Peer> = peers::all(folder.path(), only.as_deref());
    for peer in &peers {
        println!("{}", peer.version());
    }
    for work in Work::all()
        .iter()
        .filter(|work| arguments.is_empty() || arguments.contains(&work.letter.to_string()))
    {
        compare(work, &peers, &folder.path().join(work.letter.to_string()));
    }
}

/// Lets all do the work in turn, and prints a table.
fn compare(work: &Work, peers: &[Peer], folder: &Path) {
    println!("\n## ({}) {}\n", work.letter, work.what);
    println!("| what | who | wall | ratio | CPU | peak memory |\n| --- | --- | --- | --- | --- | --- |");
    let able: Vec<&Peer> = peers.iter().filter(|peer| peer.can_do(work)).collect();
    work.write_data(&folder.join("data"));
    for peer in &able {
        peer.prepare(work, &folder.join(peer.name()), &folder.join("data"));
    }
    let place = |peer: &Peer| folder.join(peer.name());
    // Of large data three are enough, for each of them takes long.
    let firsts = if work.can_change_nothing() { 9 } else { 3 };
    table("first run", &able, work.rounds(firsts), |peer| {
        peer.forget(work, &place(peer));
        peer.run(&place(peer))
    });
    // What the first run left is too new to vouch for, for a moment; the run after that learns what it can.
    std::thread::sleep(std::time::Duration::from_millis(100));
    for peer in &able {
        let _ = peer.run(&place(peer));
    }
    let calls = measure::calls(&able[0].command(&place(able[0])));
    // What remembers nothing has nothing to compare after the first run.
    let able: Vec<&Peer> = able.into_iter().filter(|peer| peer.remembers()).collect();
    table("nothing to do", &able, work.rounds(ROUNDS), |peer| {
        peer.run(&place(peer))
    });
    let strict: Vec<&Peer> = able
        .iter()
        .copied()
        .filter(|peer| peer.is_ours() || peer.name() == "ninja")
        .collect();
    table(
        "nothing to do, every byte hashed (`--strict`)",
        &strict,
        work.rounds(ROUNDS),
        |peer| peer.run_strictly(&place(peer)),
    );
    let mut number = 0;
    table("one source changed", &able, work.rounds(ROUNDS.min(11)), |peer| {
        number += 1;
        work.change(&place(peer), number);
        peer.run(&place(peer))
    });
    if work.can_change_nothing() {
        table(
            "one source changed, what is made of it is as before",
            &able,
            work.rounds(ROUNDS.min(11)),
            |peer| {
                number += 1;
                work.change_unseen(&place(peer), number);
                peer.run(&place(peer))
            },
        );
    }
    println!("\nsystem calls of madmall with nothing to do: {calls}");
}

/// Measures `rounds` of all peers in turn, in another order each time, and prints a line for each.
///
/// Who comes after a program that has filled the caches of the processor is slower than who comes after a small one.
fn table(what: &str, peers: &[&Peer], rounds: usize, mut run: impl FnMut(&Peer) -> Cost) {
    let mut costs: Vec<Vec<Cost>> = peers.iter().map(|_| Vec::new()).collect();
    let mut random = Random(1);
    let mut order: Vec<usize> = (0..peers.len()).collect();
    for _ in 0..rounds {
        order.sort_by_cached_key(|_| random.next());
        for at in &order {
            costs[*at].push(run(peers[*at]));
        }
    }
    let wall = |costs: &[Cost]| median(costs.iter().map(|cost| cost.wall.as_secs_f64()));
    let ours = wall(&costs[0]);
    for (peer, costs) in peers.iter().zip(&costs) {
        println!(
            "| {what} | {} | {} | {:.2} | {} | {:.0} MiB |",
            peer.name(),
            milliseconds(wall(costs)),
            wall(costs) / ours,
            milliseconds(median(costs.iter().map(|cost| cost.cpu.as_secs_f64()))),
            median(costs.iter().map(|cost| cost.peak_kib)) / 1024.0,
        );
    }
}
