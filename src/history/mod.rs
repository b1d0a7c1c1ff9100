//! What receipts tell of past runs: which there are, what each used and gave, what is different between two.
//!
//! Whether what they tell is true is for [`crate::verify`] to say.

pub mod affected;
pub mod artifact;
pub mod cause;
pub mod diff;
pub mod metrics;
pub mod named;
pub mod numbers;
pub mod past;
pub mod runs;
