//! A category, whichever way its name is written.

use utoipa::openapi::{ObjectBuilder, Schema, Type};

/// Characters, as in the schema.
pub(crate) const LENGTH_MAX: usize = 50;

/// The schema of a category that is asked for: any text of one line, since one that no product
/// has finds nothing. The example is no example of the parameter: forms would begin with it.
pub(crate) fn schema() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\x00-\x1F\x7F-\x9F]*$"));
    text.examples(["Electronics"]).build().into()
}

/// A category without its case: `electronics` and `ELECTRONICS` are the same one,
/// share one key of the cache, and are one list.
///
/// The list under a key is that of the rows where SQL's `lower(category)` equals
/// [`Category::folded`]. Both are made from the folded name alone, and no two of
/// those share a key, so a key never holds another list than its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    folded: String,
}

impl Category {
    /// The category of that name; `None` when no product can have it.
    pub fn named(name: &str) -> Option<Self> {
        let folded: String = name.chars().map(folded).collect();
        (1..=LENGTH_MAX).contains(&folded.chars().count()).then_some(Self { folded })
    }

    /// The name in lower case, as `lower(category)` has it.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The key of its list, each word's first letter in upper case as the lab writes
    /// it. Only ASCII letters change: other scripts have letters that become the
    /// same in upper case, and their categories would share a key.
    pub fn key(&self) -> String {
        let mut key = String::from("products:category:");
        let mut starts_word = true;
        for letter in self.folded.chars() {
            key.push(if starts_word { letter.to_ascii_uppercase() } else { letter });
            starts_word = letter == ' ';
        }
        key
    }
}

/// A letter in lower case as SQL has it: each one by itself, and one for one. A sigma at the
/// end of a word is like any other there, and 'İ' loses its dot.
fn folded(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Option<String> {
        Category::named(name).map(|category| category.key())
    }

    #[test]
    fn the_case_of_a_name_does_not_matter() {
        for name in ["Electronics", "electronics", "ELECTRONICS", "eLeCtRoNiCs"] {
            assert_eq!(key(name).as_deref(), Some("products:category:Electronics"), "{name}");
        }
        assert_eq!(key("home & KITCHEN").as_deref(), Some("products:category:Home & Kitchen"));
        assert_eq!(key("BÜCHER").as_deref(), Some("products:category:Bücher"));
        assert_eq!(key("CAFÉ"), key("café"));
        assert_eq!(key("КНИГИ"), key("Книги"));
        assert_eq!(Category::named("ΟΔΟΣ").expect("a category").folded(), "οδοσ");
    }

    #[test]
    fn different_categories_have_different_keys() {
        // 'ſ', the long s, is an S in upper case and itself in lower case.
        assert_ne!(key("ſports"), key("sports"));
        assert_ne!(key("ßa"), key("ssa"));
        assert_ne!(key("a b"), key("a  b"));
        // To SQL these are two categories, so they are two lists.
        assert_ne!(key("ΟΔΟΣ"), key("οδος"));
    }

    #[test]
    fn a_name_that_no_product_can_have_is_no_category() {
        assert_eq!(key(""), None);
        assert_eq!(key(&"a".repeat(51)), None);
        assert_eq!(key(&"İ".repeat(50)), key(&"i".repeat(50)));
        assert!(key(&"é".repeat(50)).is_some());
    }
}
