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

/// A text that means nothing but itself: whatever could be markup is escaped.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for char in text.chars() {
        match char {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' | '!' => {
                safe.push('\\');
                safe.push(char);
            }
            _ => safe.push(char),
        }
    }
    safe
}
