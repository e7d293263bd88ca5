//! Where the next page begins, in a form that nobody takes apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use utoipa::openapi::{ObjectBuilder, Schema, Type};

/// The first byte of a cursor, so that one form can be told from the other.
const FORM: u8 = 1;
/// That of a place in a list by rank.
const RANKED_FORM: u8 = 2;

/// What a cursor looks like; the id in it is not 0.
const PATTERN: &str = "^A(?!QAAAAA$)[Q-X][A-Za-z0-9_-]{4}[AEIMQUYcgkosw048]$";
/// The same of a place by rank, in a list of number 0 or 1.
const RANKED_PATTERN: &str = "^Ag[ABEF][A-Za-z0-9_-]{5}(?!A{6}$)[A-Za-f][A-Za-z0-9_-]{4}[AQgw]$";

/// The schema of a cursor. Its example is no example of the parameter: forms would begin with it.
pub(crate) fn schema() -> Schema {
    described(PATTERN, &after(2))
}

fn described(pattern: &str, example: &str) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    text.examples([example]).build().into()
}

/// The cursor of the page after this id.
pub(crate) fn after(id: i32) -> String {
    let [a, b, c, d] = id.to_be_bytes();
    URL_SAFE_NO_PAD.encode([FORM, a, b, c, d])
}

/// The id that a cursor stands for; `None` for anything that [`after`] never made.
pub(crate) fn read(cursor: &str) -> Option<i32> {
    match *URL_SAFE_NO_PAD.decode(cursor).ok()? {
        [FORM, a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d])).filter(|id| *id > 0),
        _ => None,
    }
}

/// A place in a list that is ordered by rank, the highest first, and then by id. A page
/// that begins after it repeats nothing and leaves nothing out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankedPlace {
    /// Which of the service's lists by rank it is a place in.
    pub list: u8,
    /// The rank of the last item of the page before, from 0.
    pub rank: i32,
    /// That item's id.
    pub id: i32,
}

impl RankedPlace {
    /// The schema of such a cursor, for `#[param(schema_with = …)]`.
    pub fn schema() -> Schema {
        described(RANKED_PATTERN, &Self { list: 0, rank: 607_927, id: 1 }.cursor())
    }

    /// The place as a cursor.
    pub fn cursor(self) -> String {
        let numbers = self.rank.to_be_bytes().into_iter().chain(self.id.to_be_bytes());
        let bytes: Vec<u8> = [RANKED_FORM, self.list].into_iter().chain(numbers).collect();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a cursor stands for; `None` for what was never handed out.
    pub fn read(cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let [RANKED_FORM, list, a, b, c, d, e, f, g, h] = *bytes else { return None };
        let (rank, id) = (i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]));
        (rank >= 0 && id > 0).then_some(Self { list, rank, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_by_rank_comes_back_and_no_other_cursor_is_one() {
        for (list, rank, id) in [(0, 0, 1), (1, 607_927, 100), (255, i32::MAX, i32::MAX)] {
            let place = RankedPlace { list, rank, id };
            assert_eq!(RankedPlace::read(&place.cursor()), Some(place));
            assert_eq!(read(&place.cursor()), None);
        }
        let below = RankedPlace { list: 0, rank: -1, id: 1 };
        let nobody = RankedPlace { list: 0, rank: 1, id: 0 };
        for cursor in ["", "5", &after(7), "' OR 1=1--", &below.cursor(), &nobody.cursor()] {
            assert_eq!(RankedPlace::read(cursor), None, "{cursor}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_its_id() {
        for id in [1, 100, 65_536, i32::MAX] {
            let cursor = after(id);
            assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            assert_eq!(read(&cursor), Some(id));
        }
    }

    #[test]
    fn what_was_never_handed_out_is_refused() {
        let flipped = after(5).replace('A', "B");
        for cursor in ["", "5", "AAAAAAA", "AQAAAA==", "AQAAAAU=", "AQAAAAV", "🦀", "' OR 1=1--", &after(0)]
        {
            assert_eq!(read(cursor), None, "{cursor}");
        }
        assert_ne!(read(&flipped), Some(5));
        assert_eq!(read(&after(-1)), None);
    }
}
