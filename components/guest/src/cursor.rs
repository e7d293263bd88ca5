//! Where the next page begins, in a form that nobody takes apart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first byte of a cursor, so that another form can be told apart later.
const FORM: u8 = 1;

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

#[cfg(test)]
mod tests {
    use super::*;

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
