//! Bundles: one file with the receipts of a run and what it takes to verify them elsewhere.
//!
//! ```text
//! audit.tar.zst                        one zstd frame, in it one tar archive
//!   bundle.json                        the list of all that follows: names, sizes, both digests; what was left out, and why
//!   keys/<keyid>.pem                   public keys, for information: nobody is trusted for lying here
//!   proofs/<receipt id>.tlog-proof     for tools that know logs and not madmall
//!   workspace/…                        files under the names that they have in the workspace, `runs/` among them
//! ```
//!
//! There is one spelling: given `bundle.json` and the bytes of the members, every other byte of the archive is known. So a reader
//! compares where others would interpret, and what it does not expect it refuses. [`Bundle::open`] reads in one pass, in bounded
//! memory, and writes nothing; a [`Bundle`] is then verified as a folder is. The format is explained in `docs/formats/bundle.md`.

mod collisions;
mod evidence;
mod gather;
mod header;
pub mod manifest;
mod proofs;
mod read;
mod site;
mod write;

pub use gather::{GatherError, Place, Wanted, gather};
pub use read::{Bundle, BundleError, Limits, Looks, looks};
pub use write::{Planned, Source, WriteError, write};

/// The name of the list, the first member.
pub const MANIFEST: &str = "bundle.json";
/// The folder of public keys.
pub const KEYS: &str = "keys";
/// The folder of proofs.
pub const PROOFS: &str = "proofs";
/// The folder that holds what is in the workspace. Nothing in a workspace can then have the name of something of the bundle's own,
/// and the folder can be verified by itself once it is unpacked.
pub const WORKSPACE: &str = "workspace";

/// What an archive ends with: two blocks of zeros.
const END: [u8; 2 * header::BLOCK] = [0; 2 * header::BLOCK];

#[cfg(test)]
mod tests;
