//! Patterns of inputs: `*`, `?`, `[..]`, `{a,b}` and, alone between slashes, `**`.
//!
//! As in a shell, nothing but a written dot finds a name that begins with one. A path without any of these, as one of the
//! alternatives between braces, finds the file; with a `/` at its end it finds all that is in the folder, as an input that is
//! a folder does.

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobMatcher};

use super::paths;
use crate::tree::{Below, EntryKind, Tree};

/// `{a,b}{c,d}` is four patterns; more than this are refused.
pub(super) const MOST_ALTERNATIVES: usize = 256;

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
    /// Whether it is a folder with all that is in it.
    is_folder: bool,
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
            alternatives.push(Alternative::parse(&path, text.ends_with('/'))?);
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
        self.alternatives.iter().any(|alternative| alternative.finds(&names))
    }
}

/// One pattern that finds what any of `parts` does.
pub(super) fn alternatives_of(parts: &[String]) -> String {
    format!("{{{}}}", parts.join(","))
}

/// The path `path` as a part of [`alternatives_of`].
pub(super) fn part_of_path(path: &Utf8Path) -> String {
    let mut part = String::with_capacity(path.as_str().len());
    for c in path.as_str().chars() {
        if matches!(c, '\\' | '*' | '?' | '[' | ']' | '{' | '}' | ',') {
            part.push('\\');
        }
        part.push(c);
    }
    part
}

/// The pattern `pattern` as a part of [`alternatives_of`]: a comma that separated nothing must not begin to.
pub(super) fn part_of_pattern(pattern: &str) -> String {
    let mut part = String::with_capacity(pattern.len());
    let (mut depth, mut is_class, mut is_escaped) = (0_usize, false, false);
    for c in pattern.chars() {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            _ if was_escaped => {}
            '\\' => is_escaped = true,
            ']' => is_class = false,
            _ if is_class => {}
            '[' => is_class = true,
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => part.push('\\'),
            _ => {}
        }
        part.push(c);
    }
    part
}

/// Whether the folder or pattern `text`, as an input, stands for the file `path` too.
#[must_use]
pub fn stands_for(text: &Utf8Path, path: &Utf8Path) -> bool {
    let is_found = || Glob::parse(text.as_str()).is_ok_and(|glob| glob.finds(path));
    (path != text && path.starts_with(text)) || (is_pattern(text.as_str()) && is_found())
}

/// The files of `tree` that the folder or pattern `text` stands for, sorted, each with whether it may be executed; `None`
/// if it is no pattern, or there is something that is no file. What lies in git's folder, `.madmall` or `runs` is never an input.
/// Whether a stage writes one of them is not asked.
#[must_use]
pub fn find_files(tree: &dyn Tree, text: &Utf8Path) -> Option<Vec<(Utf8PathBuf, bool)>> {
    let glob = match is_pattern(text.as_str()) {
        true => Some(Glob::parse(text.as_str()).ok()?),
        false => None,
    };
    let mut files = Vec::new();
    let mut bases = vec![text];
    if let Some(glob) = &glob {
        bases.clear();
        for alternative in &glob.alternatives {
            // To list all of a folder for one file may take long.
            match alternative.as_file() {
                None => bases.push(&alternative.base),
                Some(path) => match tree.kind(&path).ok()? {
                    Some(EntryKind::File { executable }) => files.push((path, executable)),
                    Some(EntryKind::Folder) | None => {}
                    Some(EntryKind::BadLink | EntryKind::Other) => return None,
                },
            }
        }
    }
    bases.sort_unstable();
    bases.dedup();
    for base in bases {
        for Below { path, kind, .. } in tree.files_below(base).ok()? {
            if glob.as_ref().is_some_and(|glob| !glob.finds(&path)) || paths::private_folder(&path).is_some() {
                continue;
            }
            let kind = match kind {
                None => tree.kind(&path).ok()?,
                asked => asked,
            };
            let Some(EntryKind::File { executable }) = kind else {
                return None;
            };
            files.push((path.into(), executable));
        }
    }
    files.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    files.dedup();
    Some(files)
}

impl Alternative {
    fn parse(path: &Utf8Path, ends_in_slash: bool) -> Result<Self, PatternFault> {
        let mut names = Vec::new();
        for name in path.as_str().split('/') {
            names.push(Name::parse(name)?);
        }
        let literal = names.iter().take_while(|name| matches!(name, Name::Literal(_))).count();
        let is_folder = ends_in_slash && literal == names.len();
        let base: Vec<&str> = names[..literal.min(names.len() - usize::from(!is_folder))]
            .iter()
            .filter_map(|name| match name {
                Name::Literal(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        Ok(Self {
            base: base.join("/").into(),
            names,
            is_folder,
        })
    }

    /// Whether it finds the path of these names.
    fn finds(&self, names: &[&str]) -> bool {
        match self.is_folder {
            true => names.len() > self.names.len() && finds(&self.names, &names[..self.names.len()]),
            false => finds(&self.names, names),
        }
    }

    /// The one file that it can find, if there is only one.
    fn as_file(&self) -> Option<Utf8PathBuf> {
        let names = self.names.iter().map(|name| match name {
            Name::Literal(name) if !self.is_folder => Some(name.as_str()),
            _ => None,
        });
        Some(names.collect::<Option<Vec<_>>>()?.join("/").into())
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
        if let Some(literal) = literal(name) {
            return Ok(Self::Literal(literal));
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

/// The one name that `name` finds, without the backslashes, if it is no pattern.
fn literal(name: &str) -> Option<String> {
    let mut literal = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return None,
            '\\' => literal.push(chars.next()?),
            _ => literal.push(c),
        }
    }
    Some(literal)
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
mod tests;
