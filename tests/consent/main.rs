//! Consent that travels with the data: what a receipt commits to, and what can be shown by it.

#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and read the environment as they please"
)]

#[path = "../cli/space.rs"]
mod space;

mod population;
mod project;
mod proofs;
mod vectors;
