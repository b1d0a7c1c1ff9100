//! Where in a text for `sh` a place stands: outside of quotes, where a quoted word can be put, or not.
//!
//! It follows the shell's quoting (POSIX, "Shell Command Language", sections 2.2 and 2.7.4) as far as that matters for
//! putting a word in: quotes, backslashes, comments, `$(…)`, backticks, `${…}`, `$((…))` and here-documents.

/// Why a word cannot be put at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    SingleQuotes,
    DoubleQuotes,
    Comment,
    Arithmetic,
    HereDocument,
    /// Right after a backslash.
    Escape,
}

impl Inside {
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::SingleQuotes | Self::DoubleQuotes => "stands inside quotes",
            Self::Comment => "stands in a comment",
            Self::Arithmetic => "stands in arithmetic",
            Self::HereDocument => "stands in a here-document",
            Self::Escape => "stands after a backslash",
        }
    }

    pub(super) const fn help(self) -> &'static str {
        match self {
            Self::SingleQuotes | Self::DoubleQuotes => {
                "remove the quotes: the value is quoted for the shell as it is put in"
            }
            Self::Comment => "take it out of the comment, or write `$${` for a literal `${`",
            Self::Arithmetic => "give it to a variable first: `n=${params.n}`, then `$((n + 1))`",
            Self::HereDocument => "give it to a variable before the here-document: `x=${inputs.x}`, then `$x` in it",
            Self::Escape => "remove the backslash, or write `$${` for a literal `${`",
        }
    }
}

/// Something that has been opened and not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Open {
    Single,
    Double,
    Backtick,
    Brace,
    /// `$(`, with parentheses opened in it.
    Substitution(usize),
    /// `$((`, with parentheses opened in it.
    Arithmetic(usize),
}

/// Reads a text for the shell from left to right.
#[derive(Debug, Default)]
pub(super) struct Shell {
    open: Vec<Open>,
    is_comment: bool,
    is_escaped: bool,
    /// Words that end here-documents which begin at the next line; and whether tabs before them are skipped.
    announced: Vec<(String, bool)>,
    /// The here-document that is being read, and its line so far.
    here: Option<(String, bool)>,
    line: String,
    /// The character before this one.
    last: Option<char>,
}

impl Shell {
    /// Why no word can be put at the present place, if so.
    pub(super) fn inside(&self) -> Option<Inside> {
        if self.here.is_some() {
            return Some(Inside::HereDocument);
        }
        if self.is_comment {
            return Some(Inside::Comment);
        }
        if self.is_escaped {
            return Some(Inside::Escape);
        }
        for open in self.open.iter().rev() {
            match open {
                Open::Single => return Some(Inside::SingleQuotes),
                Open::Double => return Some(Inside::DoubleQuotes),
                Open::Arithmetic(_) => return Some(Inside::Arithmetic),
                Open::Substitution(_) | Open::Backtick => return None,
                Open::Brace => {}
            }
        }
        None
    }

    /// Reads a word that is put in: nothing in it has a meaning.
    pub(super) fn word(&mut self) {
        self.last = Some('\'');
        self.is_escaped = false;
    }

    /// Reads `c`, after which `rest` follows.
    pub(super) fn read(&mut self, c: char, rest: &str) {
        if self.here.is_some() {
            self.read_here(c);
            return;
        }
        if c == '\n' && !matches!(self.open.last(), Some(Open::Single)) {
            self.is_comment = false;
            self.is_escaped = false;
            self.last = Some(c);
            self.begin_here();
            return;
        }
        if self.is_comment {
            return;
        }
        if self.is_escaped {
            self.is_escaped = false;
            self.last = Some('\\');
            return;
        }
        match self.open.last() {
            Some(Open::Single) => {
                if c == '\'' {
                    self.open.pop();
                }
            }
            _ => self.read_open(c, rest),
        }
        self.last = Some(c);
    }

    fn read_open(&mut self, c: char, rest: &str) {
        let in_double = self.inside() == Some(Inside::DoubleQuotes);
        let top = self.open.last().cloned();
        match c {
            '\\' => self.is_escaped = true,
            '"' if top == Some(Open::Double) => {
                self.open.pop();
            }
            '"' => self.open.push(Open::Double),
            '\'' if !in_double => self.open.push(Open::Single),
            '`' => match self.open.iter().rposition(|open| *open == Open::Backtick) {
                Some(at) => self.open.truncate(at),
                None => self.open.push(Open::Backtick),
            },
            '{' if self.last == Some('$') => self.open.push(Open::Brace),
            '}' if top == Some(Open::Brace) => {
                self.open.pop();
            }
            '(' if self.last == Some('$') && rest.starts_with('(') => self.open.push(Open::Arithmetic(0)),
            '(' if self.last == Some('$') => self.open.push(Open::Substitution(0)),
            '(' | ')' if !in_double => self.parenthesis(c),
            '#' if !in_double && self.begins_word() => self.is_comment = true,
            '<' if !in_double && self.last != Some('<') && rest.starts_with('<') && !rest.starts_with("<<") => {
                self.announce(&rest[1..]);
            }
            _ => {}
        }
    }

    fn parenthesis(&mut self, c: char) {
        let Some(Open::Substitution(depth) | Open::Arithmetic(depth)) = self.open.last_mut() else {
            return;
        };
        match (c, *depth) {
            ('(', _) => *depth += 1,
            (_, 0) => {
                self.open.pop();
            }
            _ => *depth -= 1,
        }
    }

    fn begins_word(&self) -> bool {
        self.last
            .is_none_or(|last| last.is_whitespace() || matches!(last, ';' | '&' | '|' | '(' | ')' | '`'))
    }

    /// Takes the word after `<<`: the line that ends the here-document.
    fn announce(&mut self, rest: &str) {
        if matches!(self.open.last(), Some(Open::Arithmetic(_))) {
            return;
        }
        let skips_tabs = rest.starts_with('-');
        let word = rest.trim_start_matches('-').trim_start_matches([' ', '\t']);
        let end = word
            .find(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>'))
            .unwrap_or(word.len());
        let word: String = word[..end]
            .chars()
            .filter(|c| !matches!(c, '\'' | '"' | '\\'))
            .collect();
        if !word.is_empty() {
            self.announced.push((word, skips_tabs));
        }
    }

    fn begin_here(&mut self) {
        if !self.announced.is_empty() {
            self.here = Some(self.announced.remove(0));
            self.line.clear();
        }
    }

    fn read_here(&mut self, c: char) {
        if c != '\n' {
            self.line.push(c);
            return;
        }
        let ends = self.here.as_ref().is_some_and(|(word, skips_tabs)| {
            let line = match skips_tabs {
                true => self.line.trim_start_matches('\t'),
                false => &self.line,
            };
            line == word
        });
        self.line.clear();
        if ends {
            self.here = None;
            self.last = Some('\n');
            self.begin_here();
        }
    }
}

/// `text` as one word for the shell.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands at the `@`.
    fn inside(text: &str) -> Option<Inside> {
        let mut shell = Shell::default();
        for (at, c) in text.char_indices() {
            if c == '@' {
                return shell.inside();
            }
            shell.read(c, &text[at + c.len_utf8()..]);
        }
        panic!("no @ in {text:?}");
    }

    #[test]
    fn a_word_can_be_put_where_the_shell_takes_one() {
        for text in [
            "cat @",
            "echo 'a' \"b\" @",
            "echo it\\'s @",
            "x=$(cat @)",
            "echo \"$(cat @)\"",
            "echo `cat @`",
            "echo a#b @",
            "echo # it's\ncat @",
            "cat <<EOF\nit's\nEOF\ncat @",
            "cat <<-'E'\n\tit's\n\tE\ncat @",
            "(cd x; (cat @))",
            "echo $(( (1 + 2) )) @",
            "echo ${x:-@}",
            "echo ${x:-'y'} @",
            "echo \"${x:-it's}\" @",
            "cat <<<'x' @",
            "echo \"a\\\"b\" @",
        ] {
            assert_eq!(inside(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_word_cannot_be_put_elsewhere() {
        for (text, wanted) in [
            ("echo '@'", Inside::SingleQuotes),
            ("echo \"@\"", Inside::DoubleQuotes),
            ("echo \"a 'b' @\"", Inside::DoubleQuotes),
            ("echo \"$(cat '@')\"", Inside::SingleQuotes),
            ("echo \"${x:-@}\"", Inside::DoubleQuotes),
            ("echo # @", Inside::Comment),
            ("echo $((@ + 1))", Inside::Arithmetic),
            ("cat <<EOF\n@\nEOF\n", Inside::HereDocument),
            ("cat <<A <<'B'\nA\n@", Inside::HereDocument),
            ("echo \\@", Inside::Escape),
        ] {
            assert_eq!(inside(text), Some(wanted), "{text:?}");
        }
    }

    #[test]
    fn quoted_words_hold_anything() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
