//! Attacks on a finished repository, and what `verify` must say of each; and changes that harm nobody.
//!
//! The repository is made once by the real binary and copied for each case ([`repo`]); an attack is a row of a table
//! ([`table`]): what is done to the copy, what is asked, the code that it must end with, and what must be found.

#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and read the environment as they please"
)]

#[path = "../common/archive.rs"]
mod archive;
mod archives;
mod bits;
mod bundles;
mod caches;
mod commits;
mod consent;
mod countersigned;
mod files;
mod folders;
#[path = "../common/forge.rs"]
mod forge;
mod harmless;
mod history;
mod json;
mod keys;
mod receipts;
mod repo;
mod rules;
#[path = "../cli/space.rs"]
mod space;
mod table;
