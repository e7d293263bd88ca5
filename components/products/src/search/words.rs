//! The words of a search, and the one that may still be growing.

/// Characters of a word. A longer one is in no name, and Postgres refuses words of more
/// than 2,046 bytes, which folding an accent may lengthen.
const WORD_LENGTH_MAX: usize = 100;

/// Words that are looked for; more than any name has that is pasted whole. Each one may
/// stand behind an `or` and be in every product, and Postgres walks all of them for each
/// product that it comes to.
const WORDS_MAX: usize = 16;

/// A client's words, parted for Postgres: its own search language (quotes, `or`, `-`)
/// has no sign for the beginning of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// All of them.
    pub(super) whole: String,
    /// Those that must be there beside the last one, when that may be the beginning of a
    /// word: the ones before it, from the last `or` on.
    pub(super) before: String,
    /// The last one as a prefix in the language of `to_tsquery`; empty when it is in
    /// quotes, excluded, or none.
    pub(super) begun: String,
}

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let text = without_idle_dashes(first_words(text));
        let whole: Vec<String> =
            text.split_whitespace().map(|word| word.chars().take(WORD_LENGTH_MAX).collect()).collect();
        let whole = whole.join(" ");
        let start = whole.rfind(|letter| !is_of_word(letter)).map_or(0, |at| at + 1);
        let (before, last) = whole.split_at(start);
        // `laptop -gam` is about what is not wanted, and `e-boo` about a word of two parts.
        let excluded = before.strip_suffix('-').is_some_and(|rest| !rest.ends_with(is_of_word));
        if last.is_empty() || excluded {
            return Self { whole, before: String::new(), begun: String::new() };
        }
        Self {
            before: last_alternative(before).to_owned(),
            begun: format!("'{last}':*"),
            whole: whole.clone(),
        }
    }
}

/// The text up to its first [`WORDS_MAX`] words, counted as Postgres may part them: at every
/// sign. Where it takes a sign for a part of a word that this does not, fewer words count.
fn first_words(text: &str) -> &str {
    let mut words = 0;
    let mut inside = false;
    for (at, letter) in text.char_indices() {
        let begins = letter.is_alphanumeric() && !inside;
        if begins && words == WORDS_MAX {
            return &text[..at];
        }
        words += usize::from(begins);
        inside = letter.is_alphanumeric() || (inside && is_accent(letter));
    }
    text
}

/// Whether a character is an accent of the letter before it. Those are meant that are
/// written on letters of any script; the signs of a single one are mostly letters of it.
fn is_accent(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}')
}

/// What follows the last `or` that stands outside quotes, by itself.
fn last_alternative(before: &str) -> &str {
    let mut start = 0;
    let mut quoted = false;
    let mut word_start = None;
    for (at, letter) in before.char_indices() {
        let parts = letter.is_whitespace() || letter == '"';
        if let Some(from) = word_start.filter(|_| parts) {
            let is_or = before[from..at].eq_ignore_ascii_case("or");
            if is_or && !quoted && letter.is_whitespace() {
                start = at;
            }
            word_start = None;
        } else if word_start.is_none() && !parts {
            word_start = Some(at);
        }
        quoted ^= letter == '"';
    }
    before[start..].trim_start()
}

/// The text with a space for each dash that neither excludes what follows it at once nor
/// joins two words. To Postgres each dash is a negation, of the next one too, and more
/// than 32 of them within each other are an internal error.
fn without_idle_dashes(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        let works = rest.peek().is_some_and(|next| is_of_word(*next) || *next == '"');
        kept.push(if letter == '-' && !works { ' ' } else { letter });
    }
    kept
}

/// Whether a character can stand between the quotes of a term as it is. Beyond ASCII
/// nothing has a meaning to Postgres, and accents may follow their letters there.
fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || (!letter.is_ascii() && !letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_may_be_a_beginning() {
        for (text, before, begun) in [
            ("lap", "", "'lap':*"),
            ("gaming  lap", "gaming ", "'lap':*"),
            ("caf\u{e9} cr", "caf\u{e9} ", "'cr':*"),
            ("cafe\u{301}", "", "'cafe\u{301}':*"),
            ("wi-fi", "wi-", "'fi':*"),
            ("\"gaming lap", "\"gaming ", "'lap':*"),
            ("\"gaming laptop\"", "", ""),
            ("laptop -gam", "", ""),
            ("-gam", "", ""),
            ("!!!", "", ""),
            ("it's", "it'", "'s':*"),
            ("a' | 'b\\", "", ""),
            ("laptop --gam", "", ""),
            ("(-gam", "", ""),
            ("- - lap", "", "'lap':*"),
            ("yoga or kni", "", "'kni':*"),
            ("a b OR c  d kni", "c d ", "'kni':*"),
            ("a or b or kni", "", "'kni':*"),
            ("or kni", "", "'kni':*"),
            ("\"yoga or\" kni", "\"yoga or\" ", "'kni':*"),
            ("\"yoga or kni", "\"yoga or ", "'kni':*"),
            ("\"a b\" or \"c d\" kni", "\"c d\" ", "'kni':*"),
            ("for kni", "for ", "'kni':*"),
            ("-or kni", "-or ", "'kni':*"),
        ] {
            let words = Words::of(text);
            assert_eq!((words.before.as_str(), words.begun.as_str()), (before, begun), "{text}");
        }
    }

    #[test]
    fn a_term_holds_nothing_that_could_end_it() {
        for code in 0..=0x2_ffff {
            let Some(letter) = char::from_u32(code) else { continue };
            let begun = Words::of(&format!("a{letter}")).begun;
            let inside =
                begun.strip_prefix('\'').and_then(|rest| rest.strip_suffix("':*")).unwrap_or_default();
            assert!(!inside.contains(['\'', '\\', ' ', ':', '&', '|', '!', '(', ')', '<']), "{begun}");
        }
    }

    #[test]
    fn a_dash_with_nothing_to_do_is_a_space() {
        for (text, whole) in [
            ("----", ""),
            ("- -!-(-laptop", "! (-laptop"),
            ("--\"a b\"", "-\"a b\""),
            ("wi-fi 14-inch -e-book", "wi-fi 14-inch -e-book"),
        ] {
            assert_eq!(Words::of(text).whole, whole, "{text}");
        }
    }

    #[test]
    fn so_many_words_count_and_what_follows_does_not() {
        let whole = |text: &str| Words::of(text).whole;
        let most = "wo ".repeat(WORDS_MAX);
        assert_eq!(whole(&format!("{most}more and more")), most.trim());
        assert_eq!(Words::of(&format!("{most}more")).begun, "'wo':*");
        for sign in [",", " or ", "-", "|", "\"", "\u{2014}", "\u{1f980}", "\u{3000}"] {
            let words = whole(&["x"; 100].join(sign));
            let kept = words.matches('x').count();
            assert!(kept <= WORDS_MAX && (kept == WORDS_MAX || sign == " or "), "{words}");
        }
        // An accent ends no word.
        let accents = "e\u{301}e\u{301} ".repeat(WORDS_MAX);
        assert_eq!(whole(&accents), accents.trim());
    }

    #[test]
    fn a_word_without_end_is_cut() {
        let words = Words::of(&format!("gaming {}", "\u{10400}".repeat(993)));
        assert_eq!(words.whole.chars().count(), 107);
        assert_eq!(words.begun.chars().count(), 104);
    }
}
