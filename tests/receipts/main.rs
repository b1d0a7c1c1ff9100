//! Receipts, keys, git and `verify`, through the library's public face.

#![expect(
    clippy::disallowed_methods,
    reason = "a test writes and damages files directly; nothing here must survive a crash"
)]

mod commit;
mod envelope;
mod frozen;
mod logs;
mod verify;
mod world;
