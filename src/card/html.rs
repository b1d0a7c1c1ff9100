//! A card as one page of HTML: no script, nothing from elsewhere, for light and dark screens and for paper.

use super::Block;
use crate::markup::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1c1e;--dim:#5b6168;--line:#d5d9dd;--page:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e6e8;--dim:#9aa1a9;--line:#3a4046;--page:#16181a}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:52rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}\
div{overflow-x:auto}div+div{margin-top:1.25rem}th{white-space:nowrap}table:not(.n) td:first-child{min-width:5.5rem}table{border-collapse:collapse;font-size:.9rem}\
th,td{text-align:left;vertical-align:top;padding:.25rem 1rem .25rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
th{color:var(--dim);font-weight:600}.n th+th,.n td+td{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
@media print{:root{--ink:#000;--dim:#333;--line:#999;--page:#fff}body{margin:0;max-width:none;font-size:10pt}\
h2{break-after:avoid}tr{break-inside:avoid}div{overflow:visible}}";

/// The page.
#[must_use]
pub fn page(title: &str, blocks: &[Block]) -> String {
    let title = escape(title);
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for block in blocks {
        match block {
            Block::Heading(heading) => text.push_str(&format!("<h2>{}</h2>\n", escape(heading))),
            Block::Text(paragraph) => text.push_str(&format!("<p>{}</p>\n", escape(paragraph))),
            Block::List(points) => {
                let points: String = points
                    .iter()
                    .map(|point| format!("<li>{}</li>\n", escape(point)))
                    .collect();
                text.push_str(&format!("<ul>\n{points}</ul>\n"));
            }
            Block::Table { head, rows, numbers } => {
                let class = if *numbers { " class=\"n\"" } else { "" };
                text.push_str(&format!(
                    "<div><table{class}>\n<thead>{}</thead>\n<tbody>\n",
                    row(head, "th")
                ));
                text.extend(rows.iter().map(|cells| row(cells, "td") + "\n"));
                text.push_str("</tbody>\n</table></div>\n");
            }
        }
    }
    text.push_str("</body>\n</html>\n");
    text
}

fn row(cells: &[String], tag: &str) -> String {
    let cells: String = cells
        .iter()
        .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)))
        .collect();
    format!("<tr>{cells}</tr>")
}
