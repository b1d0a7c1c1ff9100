//! Patterns of inputs: `*`, `?`, `[..]`, `{a,b}` and, alone between slashes, `**`.
//!
//! As in a shell, nothing but a written dot finds a name that begins with one.

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobMatcher};

use super::paths;
use crate::tree::{EntryKind, Tree};

/// `{a,b}{c,d}` is four patterns; more than this are refused.
const MOST_ALTERNATIVES: usize = 256;

/// What is wrong with a pattern, and what to do.
type PatternFault = (String, &'static str);

/// A pattern.
pub(super) struct Glob {
    alternatives: Vec<Alternative>,
}

/// A pattern without braces.
struct Alternative {
    /// The folder that everything it finds lies in.
    base: Utf8PathBuf,
    names: Vec<Name>,
}

/// What finds one name of a path.
enum Name {
    /// `**`: any number of names.
    Any,
    /// A name as written.
    Literal(String),
    /// Names that match.
    Pattern { matcher: GlobMatcher, finds_hidden: bool },
}

/// Whether `text`, as an input, is a pattern and no path.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

impl Glob {
    /// Takes `text` apart, or says what is wrong with it and what to do.
    pub(super) fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let mut alternatives = Vec::new();
        for text in braces(text)? {
            let path = paths::normalise(&text).map_err(|fault| (fault.message().to_owned(), fault.help()))?;
            alternatives.push(Alternative::parse(&path)?);
        }
        Ok(Self { alternatives })
    }

    /// The folders that have to be listed.
    pub(super) fn bases(&self) -> impl Iterator<Item = &Utf8Path> {
        self.alternatives.iter().map(|alternative| alternative.base.as_path())
    }

    /// Whether it finds `path`.
    pub(super) fn finds(&self, path: &Utf8Path) -> bool {
        let names: Vec<&str> = path.as_str().split('/').collect();
        self.alternatives
            .iter()
            .any(|alternative| finds(&alternative.names, &names))
    }
}

/// The files of `tree` that the folder or pattern `text` stands for, sorted, each with whether it may be executed; `None`
/// if it is no pattern, or there is something that is no file. Whether a stage writes one of them is not asked.
#[must_use]
pub fn find_files(tree: &dyn Tree, text: &Utf8Path) -> Option<Vec<(Utf8PathBuf, bool)>> {
    let glob = match is_pattern(text.as_str()) {
        true => Some(Glob::parse(text.as_str()).ok()?),
        false => None,
    };
    let mut bases: Vec<&Utf8Path> = glob.as_ref().map_or_else(|| vec![text], |glob| glob.bases().collect());
    bases.sort_unstable();
    bases.dedup();
    let mut files = Vec::new();
    for base in bases {
        for (path, kind) in tree.files_below(base).ok()? {
            if glob.as_ref().is_some_and(|glob| !glob.finds(&path)) {
                continue;
            }
            let EntryKind::File { executable } = kind else {
                return None;
            };
            files.push((path, executable));
        }
    }
    files.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    files.dedup();
    Some(files)
}

impl Alternative {
    fn parse(path: &Utf8Path) -> Result<Self, PatternFault> {
        let mut names = Vec::new();
        for name in path.as_str().split('/') {
            names.push(Name::parse(name)?);
        }
        let literal = names.iter().take_while(|name| matches!(name, Name::Literal(_))).count();
        let base: Vec<&str> = names[..literal.min(names.len() - 1)]
            .iter()
            .filter_map(|name| match name {
                Name::Literal(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        Ok(Self {
            base: base.join("/").into(),
            names,
        })
    }
}

impl Name {
    fn parse(name: &str) -> Result<Self, PatternFault> {
        if name == "**" {
            return Ok(Self::Any);
        }
        if name.contains("**") {
            let message = format!("`**` in `{name}` does not stand alone");
            return Err((message, "put `**` between slashes, as in `data/**/*.csv`"));
        }
        if !name.contains(['*', '?', '[', '\\']) {
            return Ok(Self::Literal(name.to_owned()));
        }
        let glob = GlobBuilder::new(name)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| {
                (
                    format!("the pattern is malformed: {}", error.kind()),
                    "close every `[` with a `]`",
                )
            })?;
        Ok(Self::Pattern {
            matcher: glob.compile_matcher(),
            finds_hidden: name.starts_with('.') || name.starts_with("\\."),
        })
    }
}

/// Whether `pattern` finds `names`; a table of which beginnings find which, so that `**` costs no more than its length.
fn finds(pattern: &[Name], names: &[&str]) -> bool {
    let mut reached = vec![false; names.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; names.len() + 1];
        match part {
            Name::Any => {
                next[0] = reached[0];
                for at in 0..names.len() {
                    next[at + 1] = reached[at + 1] || (next[at] && !names[at].starts_with('.'));
                }
            }
            Name::Literal(literal) => {
                for at in 0..names.len() {
                    next[at + 1] = reached[at] && names[at] == literal;
                }
            }
            Name::Pattern { matcher, finds_hidden } => {
                for at in 0..names.len() {
                    let is_found = (*finds_hidden || !names[at].starts_with('.')) && reached[at];
                    next[at + 1] = is_found && matcher.is_match(names[at]);
                }
            }
        }
        reached = next;
    }
    reached[names.len()]
}

/// `a{b,c}d` as `abd` and `acd`.
fn braces(text: &str) -> Result<Vec<String>, PatternFault> {
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(text) = open.pop() {
        match first_brace(&text)? {
            None => done.push(text),
            Some((start, commas, end)) => {
                let mut begin = start + 1;
                for stop in commas.into_iter().chain([end]) {
                    open.push(format!("{}{}{}", &text[..start], &text[begin..stop], &text[end + 1..]));
                    begin = stop + 1;
                }
            }
        }
        if done.len() + open.len() > MOST_ALTERNATIVES {
            let message = format!("the pattern stands for more than {MOST_ALTERNATIVES} patterns");
            return Err((message, "use fewer `{…}`"));
        }
    }
    Ok(done)
}

/// A `{`, its commas and its `}`, as places in a text.
type Brace = (usize, Vec<usize>, usize);

/// Where the first `{` is, the commas that belong to it, and its `}`.
fn first_brace(text: &str) -> Result<Option<Brace>, PatternFault> {
    let mut start = None;
    let mut commas = Vec::new();
    let mut depth = 0_usize;
    let mut is_class = false;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match c {
            '\\' => is_escaped = true,
            ']' => is_class = false,
            _ if is_class => {}
            '[' => is_class = true,
            '{' => {
                start = start.or(Some(at));
                depth += 1;
            }
            ',' if depth == 1 => commas.push(at),
            '}' if depth > 1 => depth -= 1,
            '}' => {
                if let Some(start) = start {
                    return Ok(Some((start, commas, at)));
                }
            }
            _ => {}
        }
    }
    match start {
        Some(_) => Err((
            "the pattern has a `{` without a `}`".to_owned(),
            "close it, or write `\\{` for the character",
        )),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'p>(pattern: &str, paths: &[&'p str]) -> Vec<&'p str> {
        let glob = Glob::parse(pattern).expect("a pattern");
        paths
            .iter()
            .copied()
            .filter(|path| glob.finds(Utf8Path::new(path)))
            .collect()
    }

    const PATHS: &[&str] = &[
        "data/a.csv",
        "data/b.csv",
        "data/.hidden.csv",
        "data/sub/c.csv",
        "data/sub/deep/d.csv",
        "data/.git/e.csv",
        "other/a.txt",
    ];

    #[test]
    fn patterns_find_what_a_shell_would() {
        for (pattern, wanted) in [
            ("data/*.csv", &["data/a.csv", "data/b.csv"][..]),
            ("data/[!a].csv", &["data/b.csv"]),
            ("data/?.csv", &["data/a.csv", "data/b.csv"]),
            ("data/.*.csv", &["data/.hidden.csv"]),
            ("./data//*.csv", &["data/a.csv", "data/b.csv"]),
            (
                "**/*.csv",
                &["data/a.csv", "data/b.csv", "data/sub/c.csv", "data/sub/deep/d.csv"],
            ),
            ("data/**/d.csv", &["data/sub/deep/d.csv"]),
            ("data/**/**/c.csv", &["data/sub/c.csv"]),
            ("{data,other}/a.{csv,txt}", &["data/a.csv", "other/a.txt"]),
            ("data/{a,sub/{c,x}}.csv", &["data/a.csv", "data/sub/c.csv"]),
            ("*", &[]),
        ] {
            assert_eq!(found(pattern, PATHS), wanted, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["a[", "a{b", "../*", "/x/*", "a**/b", &"{a,b}".repeat(20)] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_base_is_the_folder_before_the_first_pattern() {
        let bases = |pattern: &str| -> Vec<String> {
            Glob::parse(pattern)
                .expect("a pattern")
                .bases()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(bases("data/raw/*.csv"), ["data/raw"]);
        assert_eq!(bases("**/x"), [""]);
        assert_eq!(bases("a/b{c,d}"), ["a", "a"]);
    }

    #[test]
    fn many_stars_cost_no_more_than_their_number() {
        let pattern = format!("{}x", "**/".repeat(500));
        let path = format!("{}y", "a/".repeat(500));
        assert!(found(&pattern, &[&path]).is_empty());
    }
}
