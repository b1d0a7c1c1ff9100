//! Text in HTML and in XML.

/// Appends `text` to `out` as text of an element, or of an attribute in quotes of either kind. XML 1.0 cannot hold every
/// character (section 2.2), and its readers change some: what becomes of a control character, U+FFFE and U+FFFF, line breaks
/// among them, is for `control` to say.
///
/// # Errors
///
/// What `control` gives.
pub(crate) fn escape_with<E>(
    out: &mut String,
    text: &str,
    mut control: impl FnMut(&mut String, char) -> Result<(), E>,
) -> Result<(), E> {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => control(out, c)?,
            c => out.push(c),
        }
    }
    Ok(())
}

/// The text of an element or an attribute, lines and tabs as they are; no other control character reaches a page.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let shown = |out: &mut String, c| {
        out.push(if matches!(c, '\n' | '\t') {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        });
        Ok::<(), std::convert::Infallible>(())
    };
    match escape_with(&mut out, text, shown) {
        Ok(()) => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escape("<a href='x' b=\"y\">&amp;\n\u{1b}[0m\u{85}\u{ffff}größe"),
            "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;amp;\n\u{fffd}[0m\u{fffd}\u{fffd}größe"
        );
    }

    #[test]
    fn what_cannot_be_held_is_for_the_caller_to_say() {
        let mut out = String::new();
        let refuse = |_: &mut String, c: char| Err(c);
        assert_eq!(escape_with(&mut out, "a\tb", refuse), Err('\t'));
    }
}
