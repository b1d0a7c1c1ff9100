//! The end of a secret.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use camino::Utf8Path;

use super::{MAX_FILE, SECRET_FILE, SecretError, SecretId, SecretSources, failed, load};

/// What there was to destroy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// The secret that is called so.
    Secret(SecretId),
    /// What was left of one when destroying it was cut short: it could not be read any more.
    Remains,
    /// Nothing.
    Nothing,
}

/// Destroys the secret in the configuration folder: its file is overwritten, made durable so, and removed. What a journal, a snapshot or a
/// backup has of it is beyond this.
///
/// # Errors
///
/// [`SecretError`] if what is there is no secret, or cannot be removed: it is then there still, or can no longer be read.
pub fn destroy(config_dir: &Utf8Path) -> Result<Destroyed, SecretError> {
    let path = config_dir.join(SECRET_FILE);
    let destroyed = match is_overwritten(&path) {
        true => Destroyed::Remains,
        false => {
            let sources = SecretSources {
                secret: None,
                config_dir: Some(config_dir),
            };
            let Some(loaded) = load(sources)? else {
                return Ok(Destroyed::Nothing);
            };
            overwrite(&path, loaded.secret.to_text().len()).map_err(|source| failed("overwrite", &path, source))?;
            Destroyed::Secret(loaded.secret.id())
        }
    };
    std::fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
    let synced = File::open(config_dir).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("sync", config_dir, source))?;
    Ok(destroyed)
}

fn overwrite(path: &Utf8Path, length: usize) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(&vec![OVERWRITTEN; length])?;
    file.sync_all()
}

/// What a secret that is destroyed is overwritten with.
const OVERWRITTEN: u8 = b'0';

/// Whether the file at `path` is what is left when a secret was being destroyed, and that was cut short before it was removed.
fn is_overwritten(path: &Utf8Path) -> bool {
    let mut bytes = Vec::new();
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    is_file
        && File::open(path)
            .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
            .is_ok_and(|length| length > 0)
        && bytes.iter().all(|byte| *byte == OVERWRITTEN)
}

#[cfg(test)]
mod tests {
    use super::super::{
        load_or_make,
        tests::{folder, kept},
    };
    use super::*;

    #[test]
    fn what_was_cut_short_while_a_secret_was_destroyed_is_ended_by_the_next_try() {
        let (_temp, path) = folder();
        let made = load_or_make(kept(&path)).expect("a secret");
        let file = path.join(SECRET_FILE);
        let zeros = vec![OVERWRITTEN; made.secret.to_text().len()];
        let mut overwritten = File::options().write(true).open(&file).expect("own file");
        overwritten.write_all(&zeros).expect("written");
        assert!(load(kept(&path)).is_err());
        assert_eq!(destroy(&path).expect("ended"), Destroyed::Remains);
        assert!(!file.exists());
        load_or_make(kept(&path)).expect("another");
    }
}
