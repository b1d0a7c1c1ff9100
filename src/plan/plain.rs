//! Texts for the shell that are one program with its words, for which the shell has nothing to do but to start it.
//!
//! What is taken for such a text means the same to every shell that follows POSIX ("Shell Command Language", sections 2.2 to 2.7): words
//! of characters that no shell does anything to, quoted texts without expansions, and at most one file for the program's input and
//! one for its output. Whatever else stands in it is for the shell.

/// A program with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain<'a> {
    /// What the program is called by. It stands first in the text, and outside of quotes.
    pub program: &'a str,
    /// The words that it is given.
    pub arguments: Vec<String>,
    /// The file that its standard input is (`< file`).
    pub stdin: Option<String>,
    /// The file that its standard output is, which is emptied first (`> file`).
    pub stdout: Option<String>,
}

/// What shells have under these names is theirs, whatever lies in `PATH`: reserved words, and built-in commands of those that are
/// installed as `sh`. Sorted.
const OF_SHELLS: &[&str] = &[
    ".",
    ":",
    "[",
    "[[",
    "alias",
    "autoload",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "float",
    "for",
    "function",
    "getopts",
    "global",
    "hash",
    "help",
    "hist",
    "history",
    "if",
    "in",
    "integer",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "nameref",
    "newgrp",
    "nohup",
    "popd",
    "print",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "rename",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "sleep",
    "source",
    "stop",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "whence",
    "which",
    "while",
];

/// The program that `text` is, with its words; `None` if the shell has more to do than to start it.
#[must_use]
pub fn plain(text: &str) -> Option<Plain<'_>> {
    let text = text.trim_matches(is_between_commands);
    let (program, rest) = text.split_at(text.find(|c| !is_itself(c)).unwrap_or(text.len()));
    let is_whole = rest.is_empty() || rest.starts_with(is_blank);
    if program.is_empty() || !is_whole || program.contains('=') || OF_SHELLS.binary_search(&program).is_ok() {
        return None;
    }
    let mut reader = Reader { rest };
    let (mut arguments, mut stdin, mut stdout) = (Vec::new(), None, None);
    loop {
        reader.rest = reader.rest.trim_start_matches(is_blank);
        let file = match reader.rest.chars().next() {
            None => break,
            Some('<') => &mut stdin,
            Some('>') => &mut stdout,
            Some(_) => {
                arguments.push(reader.word()?);
                continue;
            }
        };
        reader.rest = reader.rest[1..].trim_start_matches(is_blank);
        let name = reader.word()?;
        if file.replace(name).is_some() {
            return None;
        }
    }
    Some(Plain {
        program,
        arguments,
        stdin,
        stdout,
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_between_commands(c: char) -> bool {
    is_blank(c) || c == '\n'
}

/// What means itself, unquoted, wherever in a word it stands.
fn is_itself(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./,:+@%=".contains(c)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// The word that begins here, up to a blank or the end. `None` if the shell would do anything to it, or there is none.
    fn word(&mut self) -> Option<String> {
        let mut word = String::new();
        let mut is_begun = false;
        while let Some(c) = self.rest.chars().next().filter(|c| !is_blank(*c)) {
            is_begun = true;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '\'' => word.push_str(self.up_to('\'')?),
                '"' => {
                    let quoted = self.up_to('"')?;
                    if quoted.contains(['$', '`', '\\', '!']) {
                        return None;
                    }
                    word.push_str(quoted);
                }
                // As a quote is put into a quoted text: `'it'\''s'`.
                '\\' => {
                    self.rest = self.rest.strip_prefix('\'')?;
                    word.push('\'');
                }
                c if is_itself(c) => word.push(c),
                _ => return None,
            }
        }
        is_begun.then_some(word)
    }

    fn up_to(&mut self, end: char) -> Option<&str> {
        let (before, after) = self.rest.split_once(end)?;
        self.rest = after;
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn arguments(text: &str) -> Option<Vec<String>> {
        plain(text).map(|plain| plain.arguments)
    }

    #[test]
    fn names_of_shells_are_sorted() {
        assert!(OF_SHELLS.is_sorted());
    }

    #[test]
    fn a_program_with_its_words_is_plain() {
        let found = plain("  cat 'out/l1_0' \"b c\" -n=1 > 'out/l2 0'\n").expect("plain");
        assert_eq!(
            (found.program, &found.arguments[..]),
            ("cat", &["out/l1_0", "b c", "-n=1"].map(str::to_owned)[..])
        );
        assert_eq!((found.stdin, found.stdout), (None, Some("out/l2 0".to_owned())));
        let found = plain("tr <in a-z A-Z >out").expect("plain");
        assert_eq!(found.arguments, ["a-z", "A-Z"]);
        assert_eq!(
            (found.stdin.as_deref(), found.stdout.as_deref()),
            (Some("in"), Some("out"))
        );
        assert_eq!(arguments(r"x 'it'\''s' '' ''y").expect("plain"), ["it's", "", "y"]);
        assert_eq!(arguments("x '$HOME\n`id`*é'").expect("plain"), ["$HOME\n`id`*é"]);
        assert_eq!(arguments("./x").expect("plain"), [""; 0]);
    }

    #[test]
    fn what_a_shell_has_more_to_do_for_is_not() {
        for text in [
            "",
            " \n",
            "echo x",
            "'echo' x",
            "a=1 b",
            "a=1",
            "cat a; b",
            "cat a\nb",
            "a | b",
            "a && b",
            "a &",
            "cat *",
            "cat a?",
            "cat [a]",
            "cat ~",
            "cat {a,b}",
            "cat $x",
            "cat \"$x\"",
            "cat \"`x`\"",
            "cat `x`",
            "cat a\\ b",
            "cat \"a\\\"\"",
            "a # b",
            "! a",
            "(a)",
            "{ a; }",
            "if a",
            "time a",
            "a > b > c",
            "a >> b",
            "a >& b",
            "a >| b",
            "a 2>b",
            "a b>c",
            "a<b",
            "a < b < c",
            "a << E",
            "a <> b",
            "a > ",
            "a >",
            "> b",
            "< b",
            "<a b",
            "'' a",
            "'a' b",
            "a'b' c",
            "x é",
            "é",
            "a 'b",
            "a \"b",
            "a > *",
            "cat a\rb",
            "cat \u{a0}",
            ". x",
            "[ a ]",
            "printf x",
            "sleep 1",
        ] {
            assert_eq!(plain(text), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// What the shell makes of it is asked of the one that is here.
        #[test]
        fn the_shell_makes_the_same_words_of_it(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "-b", "=", "%d", "1", "'", "\"", "\\'", "'c d'", "\"e  f\"", "''", "' $HOME `id` * \\n'", "'\n'", " ", " ", "  ", "\t", "é", "'é'",
                    "~", "*", "{x,y}", "#", "!", "$", "\\", ">", "<", "2>", "&", ";", "|", "(", "[", "]", "?", "^", "\r",
                ]),
                0..12,
            ),
        ) {
            let text = format!("/usr/bin/env -i /usr/bin/printf '%s\\0' - {}", pieces.concat());
            let Some(found) = plain(&text) else { return Ok(()) };
            prop_assume!(found.stdin.is_none() && found.stdout.is_none());
            let ran = Command::new("sh").args(["-eu", "-c", &text]).stdin(Stdio::null()).output().expect("a shell");
            let said = String::from_utf8(ran.stdout).expect("UTF-8");
            let words: Vec<&str> = said.strip_suffix('\0').expect("words").split('\0').collect();
            prop_assert_eq!(&found.arguments[3..], &words[..], "{}", text);
        }
    }
}
