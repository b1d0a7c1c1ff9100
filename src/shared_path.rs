//! A path that many hold.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path in normal form that a list of files, what is known of them and what was seen of them have in common: of a hundred thousand files it
/// is there once. It is compared, put in order and hashed as a text, byte by byte: to compare names takes longer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedPath(Arc<str>);

impl SharedPath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Utf8Path {
        Utf8Path::new(&*self.0)
    }
}

impl Deref for SharedPath {
    type Target = Utf8Path;

    fn deref(&self) -> &Utf8Path {
        self.as_path()
    }
}

impl AsRef<Utf8Path> for SharedPath {
    fn as_ref(&self) -> &Utf8Path {
        self.as_path()
    }
}

impl Borrow<str> for SharedPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SharedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for SharedPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl From<&str> for SharedPath {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl From<&Utf8Path> for SharedPath {
    fn from(path: &Utf8Path) -> Self {
        path.as_str().into()
    }
}

impl From<Utf8PathBuf> for SharedPath {
    fn from(path: Utf8PathBuf) -> Self {
        path.as_str().into()
    }
}

impl From<SharedPath> for Utf8PathBuf {
    fn from(path: SharedPath) -> Self {
        path.as_path().to_owned()
    }
}

impl From<&SharedPath> for SharedPath {
    fn from(path: &SharedPath) -> Self {
        path.clone()
    }
}

impl Serialize for SharedPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SharedPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = SharedPath;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a path")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<SharedPath, E> {
                Ok(path.into())
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_in_the_order_of_their_bytes_and_not_of_their_names() {
        let mut paths = ["a/b", "a", "a b", "a.b"].map(SharedPath::from);
        paths.sort();
        assert_eq!(paths, ["a", "a b", "a.b", "a/b"].map(SharedPath::from));
    }

    #[test]
    fn it_is_kept_like_any_text() {
        let path = SharedPath::from("data/ä \"b\".csv");
        let kept = postcard::to_stdvec(&path).expect("plain data");
        assert_eq!(kept, postcard::to_stdvec(path.as_str()).expect("plain data"));
        assert_eq!(postcard::from_bytes(&kept), Ok(path.clone()));
        // From what a reader has to unescape first, too.
        let json = serde_json::to_string(&path).expect("plain data");
        assert_eq!(serde_json::from_str::<SharedPath>(&json).expect("a text"), path);
    }
}
