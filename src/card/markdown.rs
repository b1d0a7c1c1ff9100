//! A card in Markdown (CommonMark, with the tables of GitHub).

use super::Block;

/// The page.
#[must_use]
pub fn page(title: &str, blocks: &[Block]) -> String {
    let mut text = format!("# {}\n", escaped(title));
    for block in blocks {
        text.push('\n');
        match block {
            Block::Heading(heading) => text.push_str(&format!("## {}\n", escaped(heading))),
            Block::Text(paragraph) => text.push_str(&format!("{}\n", escaped(paragraph))),
            Block::List(points) => {
                for point in points {
                    text.push_str(&format!("- {}\n", escaped(point)));
                }
            }
            Block::Table { head, rows, numbers } => {
                let rule = |column: usize| if *numbers && column > 0 { " ---: |" } else { " --- |" };
                text.push_str(&row(head));
                text.push('|');
                text.extend((0..head.len()).map(rule));
                text.push('\n');
                text.extend(rows.iter().map(|cells| row(cells)));
            }
        }
    }
    text
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// A text that means nothing but itself: whatever could be markup is escaped, and so is what GitHub would make a link of.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for (place, char) in text.char_indices() {
        match char {
            ':' if text[place..].starts_with("://") => safe.push_str("\\:"),
            '.' if is_www(&text.as_bytes()[..place]) => safe.push_str("\\."),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' | '!' => {
                safe.push('\\');
                safe.push(char);
            }
            _ => safe.push(char),
        }
    }
    safe
}

fn is_www(before: &[u8]) -> bool {
    before.len() >= 3 && before[before.len() - 3..].eq_ignore_ascii_case(b"www")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        for (text, safe) in [
            (
                "a|b *c* [d](e) <f> & `g`",
                "a\\|b \\*c\\* \\[d\\](e) \\<f\\> \\& \\`g\\`",
            ),
            ("https://a.example, ftp://b", "https\\://a.example, ftp\\://b"),
            ("www.a.example wWw.b www", "www\\.a.example wWw\\.b www"),
            ("größe: 1.5:2", "größe: 1.5:2"),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }
}
