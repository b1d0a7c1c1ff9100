//! How many threads share what is done by all cores.

use super::surroundings::Surroundings;

/// More than machines have cores. Each thread costs memory and time to begin: with a hundred thousand a run does not end.
const MOST_THREADS: usize = 512;

/// Holds `RAYON_NUM_THREADS`, which the library that shares the work reads for itself, within bounds.
pub(super) fn bound(surroundings: &Surroundings) {
    let asked = surroundings.variable("RAYON_NUM_THREADS");
    if asked.is_some_and(is_too_many) {
        // It can only be asked for once, and nobody has begun to share work yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(MOST_THREADS).build_global();
    }
}

/// What is no number of threads is passed over by the library.
fn is_too_many(asked: &str) -> bool {
    asked.parse::<usize>().is_ok_and(|threads| threads > MOST_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_beyond_the_bound_is_bounded() {
        for fine in ["0", "1", "512", "-1", "abc", "", "99999999999999999999999"] {
            assert!(!is_too_many(fine), "{fine}");
        }
        for many in ["513", "99999"] {
            assert!(is_too_many(many), "{many}");
        }
    }
}
