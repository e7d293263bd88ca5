//! A product's text around the words that were found, as HTML.

/// Characters of a snippet, the marks not counted: about two lines of a list.
const LENGTH_MAX: usize = 160;
/// Characters before the first word that was found, where there are more than fit.
const LEAD_LENGTH: usize = 40;
/// What the statement puts before a marked word, and after it.
const OPEN: char = '\u{2}';
const CLOSE: char = '\u{3}';

/// Name and description around the first word found, safe to be put into HTML: every
/// character that has a meaning there is escaped, and only then are marks set.
///
/// The `marked` texts are the same with marks in them, character for character but for
/// those that the search reads as spaces. One that is not is ignored.
pub(super) fn snippet(name: &str, description: Option<&str>, marked: [Option<&str>; 2]) -> String {
    let text: Vec<char> = match description {
        Some(description) => name.chars().chain(" – ".chars()).chain(description.chars()).collect(),
        None => name.chars().collect(),
    };
    let mut marks = vec![false; text.len()];
    for places in marked.into_iter().flatten().filter_map(|marked| marks_of(&text, marked)) {
        marks.iter_mut().zip(places).for_each(|(mark, place)| *mark |= place);
    }
    let (start, end) = window(&text, marks.iter().position(|mark| *mark).unwrap_or(0));

    let mut html = String::with_capacity(2 * LENGTH_MAX);
    html.push_str(if start > 0 { "…" } else { "" });
    let mut open = false;
    for (letter, mark) in text[start..end].iter().zip(&marks[start..end]) {
        if *mark != open {
            html.push_str(if *mark { "<mark>" } else { "</mark>" });
            open = *mark;
        }
        escape(*letter, &mut html);
    }
    html.push_str(if open { "</mark>" } else { "" });
    html.push_str(if end < text.len() { "…" } else { "" });
    html
}

/// Which characters of the text are marked; `None` when the two are not the same text.
fn marks_of(text: &[char], marked: &str) -> Option<Vec<bool>> {
    let mut marks = Vec::with_capacity(text.len());
    let mut inside = false;
    for letter in marked.chars() {
        match letter {
            OPEN => inside = true,
            CLOSE => inside = false,
            _ => {
                let original = *text.get(marks.len())?;
                if letter != original && letter != ' ' {
                    return None;
                }
                marks.push(inside);
            }
        }
    }
    (marks.len() == text.len()).then_some(marks)
}

/// Where the snippet begins and ends: at a word, some way before the first one found.
fn window(text: &[char], first: usize) -> (usize, usize) {
    if text.len() <= LENGTH_MAX {
        return (0, text.len());
    }
    let start = if first + LEAD_LENGTH < LENGTH_MAX { 0 } else { first.saturating_sub(LEAD_LENGTH) };
    let word = text[start..first].iter().position(|letter| letter.is_whitespace());
    let start = if start == 0 { 0 } else { word.map_or(start, |space| start + space + 1) };
    (start, text.len().min(start + LENGTH_MAX))
}

/// What may stand between tags, and between the quotes of an attribute.
fn escape(letter: char, html: &mut String) {
    match letter {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' => html.push_str("&quot;"),
        '\'' => html.push_str("&#39;"),
        _ => html.push(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_marked_in_name_and_description() {
        let marked = "\u{2}Laptop\u{3} – 14-inch \u{2}laptop\u{3} with 16 GB";
        assert_eq!(
            snippet("Laptop", Some("14-inch laptop with 16 GB"), [Some(marked), None]),
            "<mark>Laptop</mark> – 14-inch <mark>laptop</mark> with 16 GB"
        );
        assert_eq!(snippet("Laptop", None, [None, None]), "Laptop");
    }

    #[test]
    fn two_readings_are_marked_together() {
        let (stems, words) = ("\u{2}running\u{3} shoes", "running \u{2}shoes\u{3}");
        let html = snippet("running shoes", None, [Some(stems), Some(words)]);
        assert_eq!(html, "<mark>running</mark> <mark>shoes</mark>");
    }

    #[test]
    fn no_text_becomes_html() {
        let name = "<script>alert('1')</script> & \"x\"";
        let marked = " \u{2}script\u{3} alert('1')  \u{2}script\u{3}    \"x\"";
        let html = snippet(name, None, [Some(marked), None]);
        assert_eq!(
            html,
            "&lt;<mark>script</mark>&gt;alert(&#39;1&#39;)&lt;/<mark>script</mark>&gt; &amp; &quot;x&quot;"
        );
    }

    #[test]
    fn marks_that_are_not_of_this_text_are_not_set() {
        for marked in ["\u{2}Laptop", "\u{2}Laptop\u{3}s", "\u{2}Tablet\u{3}", ""] {
            let html = snippet("Laptop", None, [Some(marked), None]);
            let whole = marked == "\u{2}Laptop";
            assert_eq!(html, if whole { "<mark>Laptop</mark>" } else { "Laptop" }, "{marked:?}");
        }
        // A name that was written past the service may hold the very characters.
        assert_eq!(snippet("a\u{2}b<", None, [Some("a\u{2}b\u{3} "), None]), "a\u{2}b&lt;");
    }

    #[test]
    fn a_long_text_is_cut_around_what_was_found() {
        let before = "word ".repeat(100);
        let (text, marked) = (
            format!("{before}laptop{}", " word".repeat(100)),
            format!("{before}\u{2}laptop\u{3}{}", " word".repeat(100)),
        );
        let html = snippet("N", Some(&text), [Some(&format!("N – {marked}")), None]);
        assert!(html.starts_with("…word ") && html.ends_with('…'), "{html}");
        assert!(html.contains("word <mark>laptop</mark> word"), "{html}");
        let length = html.replace("<mark>", "").replace("</mark>", "").chars().count();
        assert!(length <= LENGTH_MAX + 2, "{length}");
    }
}
