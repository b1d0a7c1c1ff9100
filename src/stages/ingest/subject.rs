//! Where events name the person that they came from.

use std::str::FromStr;

use serde_json::Value;

/// A JSON pointer (RFC 6901) to a member of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPointer {
    text: String,
    /// The names on the way, unescaped; at least one.
    members: Vec<String>,
}

/// A text that is no pointer to a member.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "is no JSON pointer to a member of an event: write `/subject`, or `/person/id`; in names `~` is `~0` and `/` is `~1`"
)]
pub struct NoPointer;

impl SubjectPointer {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names on the way to the member.
    #[must_use]
    pub fn members(&self) -> Vec<&str> {
        self.members.iter().map(String::as_str).collect()
    }

    /// The text that stands there in `event`.
    #[must_use]
    pub fn of<'a>(&self, event: &'a Value) -> Option<&'a str> {
        event.pointer(&self.text)?.as_str()
    }
}

impl FromStr for SubjectPointer {
    type Err = NoPointer;

    fn from_str(text: &str) -> Result<Self, NoPointer> {
        let below = text.strip_prefix('/').ok_or(NoPointer)?;
        let members: Option<Vec<String>> = below.split('/').map(unescaped).collect();
        Ok(Self {
            text: text.to_owned(),
            members: members.ok_or(NoPointer)?,
        })
    }
}

/// A name without its escapes; nothing if a `~` stands before anything but `0` and `1`.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('~');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(1)?;
        text.push(match escape {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_a_text_and_nothing_else() {
        let event = json!({"subject": "p1", "a/b": {"~": "p2", "": "p3"}, "ids": ["p4"], "n": 5});
        for (pointer, members, found) in [
            ("/subject", vec!["subject"], Some("p1")),
            ("/a~1b/~0", vec!["a/b", "~"], Some("p2")),
            ("/a~1b/", vec!["a/b", ""], Some("p3")),
            ("/ids/0", vec!["ids", "0"], Some("p4")),
            ("/ids", vec!["ids"], None),
            ("/n", vec!["n"], None),
            ("/none", vec!["none"], None),
        ] {
            let pointer: SubjectPointer = pointer.parse().expect("a pointer");
            assert_eq!((pointer.members(), pointer.of(&event)), (members, found));
        }
        for text in ["", "subject", "#/subject", "/a~", "/a~2b", "/~é"] {
            assert_eq!(text.parse::<SubjectPointer>(), Err(NoPointer), "{text}");
        }
    }
}
