//! What a scalar means, where a typed value is wanted: YAML 1.2's core schema, with `010` left a text.

use super::parse::{Node, NodeKind};
use crate::plan::Number;

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'n> {
    /// Nothing, `~` or `null`, without quotes.
    Null,
    /// `true` or `false`, without quotes.
    Boolean(bool),
    /// A finite decimal number, without quotes and without a leading zero (a postal code is no number).
    Number(Number),
    /// Anything else.
    String(&'n str),
}

/// What the scalar `node` means; `None` if it is no scalar.
#[must_use]
pub fn scalar(node: &Node) -> Option<Scalar<'_>> {
    let NodeKind::Scalar { text, plain } = &node.kind else {
        return None;
    };
    Some(match plain {
        true => without_quotes(text),
        false => Scalar::String(text),
    })
}

/// What `text` means where it stands without quotes.
#[must_use]
pub fn without_quotes(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Boolean(true),
        "false" | "False" | "FALSE" => Scalar::Boolean(false),
        text => match Number::parse(text).filter(|_| !has_leading_zero(text)) {
            Some(number) => Scalar::Number(number),
            None => Scalar::String(text),
        },
    }
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;

    fn meaning(text: &str) -> String {
        let node = Node {
            span: Span::default(),
            kind: NodeKind::Scalar {
                text: text.to_owned(),
                plain: true,
            },
        };
        format!("{:?}", scalar(&node).expect("a scalar"))
    }

    #[test]
    fn scalars_mean_what_the_core_schema_says() {
        for text in [
            "no",
            "off",
            "010",
            "-007",
            "0x10",
            "1_000",
            ".inf",
            "12:30",
            "2026-01-01",
        ] {
            assert_eq!(meaning(text), format!("String({text:?})"));
        }
        for (text, wanted) in [
            ("", "Null"),
            ("~", "Null"),
            ("true", "Boolean(true)"),
            ("0", "Number(Number(\"0\"))"),
            ("0.50", "Number(Number(\"0.5\"))"),
            ("-1e3", "Number(Number(\"-1000\"))"),
        ] {
            assert_eq!(meaning(text), wanted, "{text}");
        }
    }
}
