//! `${params.x}`, `${inputs.x}`, `${outputs.x}`, `${matrix.x}` and `${foreach.x}`: all the interpolation there is.
//!
//! In an argument and in a parameter every `${` is ours and `$${` stands for a literal one. In a text for the shell only
//! a name with a dot in it is ours (the shell has no such names); any other `$` is the shell's.

use super::shell::{Inside, Shell};
use crate::diagnostic::{nearest, quoted};

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Literal(String),
    /// A value to put in; the bytes `start..end` of the text.
    Reference(Reference),
}

/// A value to put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) start: usize,
    pub(super) end: usize,
    /// In a text for the shell: why it cannot be put there.
    pub(super) inside: Option<Inside>,
}

/// What a reference refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Params,
    Inputs,
    Outputs,
    /// The value of an axis of `matrix:`.
    Matrix,
    /// The value of an axis of `foreach:`.
    Foreach,
    /// `${foreach.x.stem}`: the name of that file, without folder and extension.
    Stem,
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("params", Self::Params),
        ("inputs", Self::Inputs),
        ("outputs", Self::Outputs),
        ("matrix", Self::Matrix),
        ("foreach", Self::Foreach),
    ];

    /// One of it, for messages.
    pub(super) const fn singular(self) -> &'static str {
        match self {
            Self::Params => "parameter",
            Self::Inputs => "input",
            Self::Outputs => "output",
            Self::Matrix | Self::Foreach | Self::Stem => "axis",
        }
    }

    /// Whether it is the value of an axis.
    pub(super) const fn is_axis(self) -> bool {
        matches!(self, Self::Matrix | Self::Foreach | Self::Stem)
    }
}

/// Something in a text that is no reference but looks like one: the bytes `start..end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TemplateFault {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) message: String,
    pub(super) help: String,
}

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// An argument or a parameter.
    Plain,
    /// A text for the shell.
    Shell,
}

/// Takes `text` apart.
pub(super) fn pieces(text: &str, dialect: Dialect) -> (Vec<Piece>, Vec<TemplateFault>) {
    let mut reader = Reader {
        pieces: Vec::new(),
        faults: Vec::new(),
        literal: String::new(),
        shell: Shell::default(),
    };
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with("$${") {
            for (offset, c) in "${".char_indices() {
                reader.shell.read(c, &rest[offset + 2..]);
            }
            reader.literal.push_str("${");
            at += 3;
        } else if rest.starts_with("${") && (dialect == Dialect::Plain || is_ours(rest)) {
            at += reader.reference(rest, at, dialect);
        } else {
            reader.shell.read(c, &rest[c.len_utf8()..]);
            reader.literal.push(c);
            at += c.len_utf8();
        }
    }
    reader.flush();
    (reader.pieces, reader.faults)
}

/// Whether what follows `${` is a word and a dot: no name that the shell could have.
fn is_ours(rest: &str) -> bool {
    let word = rest[2..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    word.starts_with('.') && word.len() < rest.len() - 2
}

struct Reader {
    pieces: Vec<Piece>,
    faults: Vec<TemplateFault>,
    literal: String,
    shell: Shell,
}

impl Reader {
    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.pieces.push(Piece::Literal(std::mem::take(&mut self.literal)));
        }
    }

    /// Reads the reference that `rest` begins with. Gives its length.
    fn reference(&mut self, rest: &str, start: usize, dialect: Dialect) -> usize {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let inner_length = rest[2..].find(|c| !is_part(c)).unwrap_or(rest.len() - 2);
        let inner = &rest[2..2 + inner_length];
        if !rest[2 + inner_length..].starts_with('}') {
            let meant = self.kind(inner).map(|_| format!("write `${{{inner}}}`"));
            let help = match (meant, dialect) {
                (Ok(write), Dialect::Plain) => format!("{write}, or `$${{` for a literal `${{`"),
                (Ok(write), Dialect::Shell) => format!("{write} with nothing else in the braces"),
                (Err(help), _) => help,
            };
            let message = format!("`${{{inner}` is not closed by a `}}`");
            self.fault(start, 2 + inner_length, message, help);
            return 2 + inner_length;
        }
        let length = inner_length + 3;
        match self.kind(inner) {
            Ok((kind, name)) => {
                self.flush();
                let inside = match dialect {
                    Dialect::Plain => None,
                    Dialect::Shell => self.shell.inside(),
                };
                self.shell.word();
                self.pieces.push(Piece::Reference(Reference {
                    kind,
                    name: name.to_owned(),
                    start,
                    end: start + length,
                    inside,
                }));
            }
            Err(help) => self.fault(start, length, format!("unknown name {}", quoted(&rest[..length])), help),
        }
        length
    }

    /// What `inner` refers to, or what to do.
    fn kind<'t>(&self, inner: &'t str) -> Result<(Kind, &'t str), String> {
        const FORMS: &str = "there are `${params.name}`, `${inputs.name}`, `${outputs.name}`, and, for a stage that has axes, \
             `${matrix.name}`, `${foreach.name}` and `${foreach.name.stem}`; a literal `${` is `$${`";
        let Some((prefix, name)) = inner.split_once('.') else {
            return Err(FORMS.to_owned());
        };
        if let Some(name) = name.strip_suffix(".stem")
            && prefix == "foreach"
            && crate::spec::is_name(name)
        {
            return Ok((Kind::Stem, name));
        }
        if let Some((_, kind)) = Kind::ALL.into_iter().find(|(known, _)| *known == prefix) {
            return match crate::spec::is_name(name) {
                true => Ok((kind, name)),
                false => Err(FORMS.to_owned()),
            };
        }
        Err(match nearest(prefix, Kind::ALL.map(|(known, _)| known)) {
            Some(known) => format!("did you mean `${{{known}.{name}}}`?"),
            None => FORMS.to_owned(),
        })
    }

    fn fault(&mut self, start: usize, length: usize, message: String, help: String) {
        self.faults.push(TemplateFault {
            start,
            end: start + length,
            message,
            help,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References in angle brackets, literals as they are.
    fn shown(text: &str, dialect: Dialect) -> String {
        let (pieces, faults) = pieces(text, dialect);
        let pieces = pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => text,
            Piece::Reference(reference) => format!("<{} {}>", reference.kind.singular(), reference.name),
        });
        let faults = faults.into_iter().map(|fault| format!(" !{}", fault.message));
        pieces.chain(faults).collect()
    }

    #[test]
    fn in_an_argument_every_brace_is_ours() {
        for (text, wanted) in [
            ("--l2=${params.l2}", "--l2=<parameter l2>"),
            ("$${params.l2} $x", "${params.l2} $x"),
            ("${HOME}", " !unknown name `${HOME}`"),
            ("${params.l2", " !`${params.l2` is not closed by a `}`"),
            ("${params.X}", " !unknown name `${params.X}`"),
            ("${inputs.a}${outputs.b}", "<input a><output b>"),
        ] {
            assert_eq!(shown(text, Dialect::Plain), wanted);
        }
    }

    #[test]
    fn of_what_is_not_closed_it_is_said_what_was_meant() {
        for (text, dialect, wanted) in [
            (
                "${inputs.b",
                Dialect::Plain,
                "write `${inputs.b}`, or `$${` for a literal `${`",
            ),
            (
                "${inputs.b > x",
                Dialect::Shell,
                "write `${inputs.b}` with nothing else in the braces",
            ),
            (
                "${params.l2:-1}",
                Dialect::Shell,
                "write `${params.l2}` with nothing else in the braces",
            ),
            ("${input.b", Dialect::Plain, "did you mean `${inputs.b}`?"),
            ("${HOME", Dialect::Plain, "there are `${params.name}`"),
        ] {
            let (_, faults) = pieces(text, dialect);
            let helps: Vec<&str> = faults.iter().map(|fault| fault.help.as_str()).collect();
            assert!(
                matches!(helps[..], [help] if help.starts_with(wanted)),
                "{text}: {helps:?}"
            );
        }
    }

    #[test]
    fn in_a_shell_text_only_names_with_a_dot_are_ours() {
        for (text, wanted) in [
            ("echo ${HOME} $x ${inputs.a}", "echo ${HOME} $x <input a>"),
            ("echo ${x%.*} ${x:-a.b}", "echo ${x%.*} ${x:-a.b}"),
            ("echo $$ $${inputs.a}", "echo $$ ${inputs.a}"),
            ("echo ${input.a}", "echo  !unknown name `${input.a}`"),
        ] {
            assert_eq!(shown(text, Dialect::Shell), wanted);
        }
    }
}
