//! The binary: arguments in, exit code out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = catch_unwind(AssertUnwindSafe(|| madmall::cli::run(std::env::args_os())));
    // The panic's own message is on standard error by now.
    ExitCode::from(ended.unwrap_or(madmall::exit_code::ExitCode::Bug.number()))
}
