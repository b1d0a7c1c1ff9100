//! A flipped bit, whatever file it is in.

use crate::repo::Repo;
use crate::table::{Attack, attack, try_all};

/// One row for each of some places in a file, all over it.
fn flips(file: &str, places: usize) -> Vec<Attack> {
    let flip = |place: usize| {
        let file = file.to_owned();
        let change = move |repo: &Repo, file: &str| {
            repo.edit(file, |bytes| {
                let mut at = (bytes.len() - 1) * place / (places - 1);
                // This one character holds bits of who signed and of the signature: it can spoil both, and the checkpoint is a stranger's
                // then. That is no more than to remove it.
                let signature = bytes.iter().rposition(|byte| *byte == b' ');
                at += usize::from(file.contains("/checkpoint-") && signature.is_some_and(|start| start + 6 == at));
                bytes[at] ^= 1 << (place % 7);
            });
        };
        let named = file.clone();
        attack("a flipped bit", move |repo| change(repo, &file)).names(&named)
    };
    (0..places).map(flip).collect()
}

#[test]
fn of_receipts() {
    for file in ["{first}", "{second}", "{failed}", "{theirs}"] {
        try_all(flips(file, 10));
    }
}

#[test]
fn of_logs() {
    let logs = |repo: &Repo| [repo.log_files("{log}"), repo.log_files("{their_log}")].concat();
    // Kept to the end, for the names are those of one base.
    let kept = Repo::new();
    let files = logs(&kept);
    assert!(files.iter().any(|file| file.contains("/checkpoint-")));
    assert!(files.iter().any(|file| file.contains("/tile/0/")));
    assert!(files.iter().any(|file| file.contains("/tile/entries/")));
    try_all(files.iter().flat_map(|file| flips(file, 4)).collect());
}

#[test]
fn of_outputs() {
    for file in [
        "out/upper.txt",
        "out/joined.txt",
        "out/count.txt",
        "out/tool",
        "out/theirs.txt",
    ] {
        try_all(flips(file, 2));
    }
}
