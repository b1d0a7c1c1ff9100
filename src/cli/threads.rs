//! How many threads share what is done by all cores.

use std::error::Error as _;

use super::surroundings::Surroundings;
use super::terminal::{Failure, with_causes};
use crate::exit_code::ExitCode;

/// More than machines have cores. Each thread costs memory and time to begin: with a hundred thousand a run does not end.
const MOST_THREADS: usize = 512;

/// What the library that shares the work reads for itself: the first that is a number. The second is an older name.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"];

/// Starts the threads that a command shares its work among, as many as the caller's variables say within bounds, else one for each core. Left to
/// themselves they begin with the first work, and where the system has none to give that would be taken for a bug.
///
/// # Errors
///
/// [`Failure`] with code 7 if the system has none to give.
pub(super) fn start(surroundings: &Surroundings) -> Result<(), Failure> {
    let mut threads = rayon::ThreadPoolBuilder::new();
    if is_too_many(VARIABLES.map(|name| surroundings.variable(name))) {
        threads = threads.num_threads(MOST_THREADS);
    }
    // Only what the system said has a source: that they were started before is none.
    threads.build_global().or_else(|error| {
        if error.source().is_none() {
            return Ok(());
        }
        let message = format!("cannot start threads: {}", with_causes(&error));
        let help =
            "let this user have more (`ulimit -u`, or the limit of the container), or start fewer: RAYON_NUM_THREADS=1";
        Err(Failure::new(ExitCode::Environment, message, Some(help)))
    })
}

/// What is no number of threads is passed over by the library.
fn is_too_many(asked: [Option<&str>; 2]) -> bool {
    let asked = asked.into_iter().flatten();
    let mut numbers = asked.filter_map(|asked| asked.parse::<usize>().ok());
    numbers.next().is_some_and(|threads| threads > MOST_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_beyond_the_bound_is_bounded() {
        for fine in ["0", "1", "512", "-1", "abc", "", "99999999999999999999999"] {
            assert!(!is_too_many([Some(fine), None]), "{fine}");
        }
        for many in ["513", "99999"] {
            assert!(is_too_many([Some(many), None]), "{many}");
            assert!(is_too_many([Some("abc"), Some(many)]), "{many}");
            assert!(!is_too_many([Some("0"), Some(many)]), "{many}");
        }
    }
}
