//! One value of a JSON object, and what it may be.

use std::ops::RangeInclusive;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use crate::number::{self, Unfit};

/// A JSON value as it stood in the body. Each reader says in one sentence what is
/// wrong, without naming the field: the pointer beside it does.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a>(&'a str);

impl<'a> Field<'a> {
    pub(crate) fn new(raw: &'a RawValue) -> Self {
        Self(raw.get())
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// One line of text, so many characters long as Postgres counts them: Unicode
    /// scalar values. Blank text counts as none.
    ///
    /// # Errors
    ///
    /// Says which of this it is not.
    pub fn line(self, length: RangeInclusive<usize>) -> Result<String, String> {
        let text = self.string()?;
        if text.contains(char::is_control) {
            return Err("must not contain control characters".into());
        }
        if *length.start() > 0 && text.trim().is_empty() {
            return Err("must not be blank".into());
        }
        within(text, &length)
    }

    /// A secret that a user chose: any characters at all, so many of them. What is wrong
    /// with it is told without repeating it.
    ///
    /// # Errors
    ///
    /// Says which of this it is not.
    pub fn secret(self, length: RangeInclusive<usize>) -> Result<String, String> {
        let text = self.string()?;
        let (least, most) = (*length.start(), *length.end());
        match length.contains(&text.chars().count()) {
            true => Ok(text),
            false => Err(format!("must have {least} to {most} characters")),
        }
    }

    /// Text of any number of lines, up to so many characters.
    ///
    /// # Errors
    ///
    /// Says which of this it is not.
    pub fn prose(self, length_max: usize) -> Result<String, String> {
        let text = self.string()?;
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err("must not contain control characters other than tabs and line breaks".into());
        }
        within(text, &(0..=length_max))
    }

    /// A whole number. `5.0` and `5e0` are one too: JSON has only one kind of number.
    ///
    /// # Errors
    ///
    /// Says which of this it is not.
    pub fn integer(self, range: RangeInclusive<i32>) -> Result<i32, String> {
        let (least, most) = (*range.start(), *range.end());
        let outside = || format!("must be from {least} to {most}");
        let value = self.decimal(0, "must be a whole number", &outside)?;
        i32::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(outside)
    }

    /// A list of so many values.
    ///
    /// # Errors
    ///
    /// Says which of this it is not.
    pub fn list(self, length: RangeInclusive<usize>) -> Result<Vec<Self>, String> {
        if !self.0.starts_with('[') {
            return Err("must be a list".into());
        }
        let values: Vec<&RawValue> = serde_json::from_str(self.0).map_err(|_| "must be a list")?;
        let (least, most, count) = (*length.start(), *length.end(), values.len());
        match length.contains(&count) {
            true => Ok(values.into_iter().map(Self::new).collect()),
            false => Err(format!("must have {least} to {most} entries; has {count}")),
        }
    }

    /// The value as it stood in the body.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// A number with at most so many decimals, exact.
    pub(crate) fn decimal(
        self,
        decimals_max: u32,
        too_fine: &str,
        too_large: &dyn Fn() -> String,
    ) -> Result<Decimal, String> {
        if !self.0.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err("must be a number".into());
        }
        match number::exact(self.0) {
            Ok(value) if value.scale() <= decimals_max => Ok(value),
            Ok(_) | Err(Unfit::TooFine) => Err(too_fine.into()),
            Err(Unfit::TooLarge) => Err(too_large()),
        }
    }

    fn string(self) -> Result<String, String> {
        if !self.0.starts_with('"') {
            return Err("must be a string".into());
        }
        // What is left to go wrong is an escape that names half a character.
        serde_json::from_str(self.0).map_err(|_| "must be valid Unicode".into())
    }
}

fn within(text: String, length: &RangeInclusive<usize>) -> Result<String, String> {
    let count = text.chars().count();
    match (length.contains(&count), *length.start(), *length.end()) {
        (true, ..) => Ok(text),
        (false, 0, most) => Err(format!("must have at most {most} characters; has {count}")),
        (false, least, most) => Err(format!("must have {least} to {most} characters; has {count}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_measured_in_characters() {
        assert_eq!(Field("\"añb\"").line(1..=3), Ok("añb".into()));
        assert_eq!(Field("\"añbc\"").line(1..=3), Err("must have 1 to 3 characters; has 4".into()));
        assert_eq!(Field(r#""\ud83d\ude00""#).line(1..=1), Ok("😀".into()));
        for text in ["\"\"", "\"  \"", "\"a\\nb\"", "\"a\\u0000\"", "\"\\ud800\"", "1", "null", "[\"a\"]"] {
            assert!(Field(text).line(1..=3).is_err(), "{text}");
        }
    }

    #[test]
    fn prose_may_have_lines_and_nothing_hidden() {
        assert_eq!(Field("\"a\\n\\tb\"").prose(10), Ok("a\n\tb".into()));
        assert_eq!(Field("\"\"").prose(10), Ok(String::new()));
        assert!(Field("\"a\\u0000\"").prose(10).is_err());
        assert!(Field("\"\\u001b[0m\"").prose(10).is_err());
        assert_eq!(Field("\"abc\"").prose(2), Err("must have at most 2 characters; has 3".into()));
    }

    #[test]
    fn a_secret_is_any_text_and_is_never_repeated() {
        assert_eq!(Field("\" \\u0000\\n\"").secret(3..=4), Ok(" \0\n".into()));
        for text in ["\"ab\"", "\"abcde\"", "17", "null"] {
            let fault = Field(text).secret(3..=4).expect_err(text);
            assert!(!fault.contains("ab") && !fault.contains("17"), "{fault}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_in_several_ways() {
        for text in ["50", "50.0", "5e1", "5.0E+1", "500e-1"] {
            assert_eq!(Field(text).integer(1..=100), Ok(50), "{text}");
        }
        assert_eq!(Field("-0").integer(0..=1), Ok(0));
        assert_eq!(Field("1.5").integer(1..=100), Err("must be a whole number".into()));
        assert_eq!(Field("1e-99999999999999999999").integer(1..=9), Err("must be a whole number".into()));
        for text in ["0", "101", "-5", "99999999999999999999999999", "1e999999999999999999999999"] {
            assert_eq!(Field(text).integer(1..=100), Err("must be from 1 to 100".into()), "{text}");
        }
        for text in ["\"5\"", "true", "null", "{}"] {
            assert_eq!(Field(text).integer(1..=100), Err("must be a number".into()), "{text}");
        }
    }
}
