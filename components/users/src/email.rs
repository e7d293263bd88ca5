//! What is taken for an e-mail address.

use wasmyard_guest::Field;

/// Characters, as in the schema.
const LENGTH_MAX: usize = 100;
/// RFC 5321, section 4.5.3.1.1.
const LOCAL_PART_MAX: usize = 64;
/// RFC 1035, section 2.3.4.
const LABEL_MAX: usize = 63;

/// Reads an address: the syntax that HTML has for `<input type=email>`, which leaves
/// out of RFC 5322 what nobody's address has (quoted local parts, comments, address
/// literals), with three rules more, because mail to other addresses does not arrive:
/// the local part's dots separate something, the domain has at least two labels, and
/// the last one is not a number.
pub(crate) fn read(field: Field<'_>) -> Result<String, String> {
    let address = field.line(1..=LENGTH_MAX)?;
    if is_address(&address) { Ok(address) } else { Err("must be an e-mail address".into()) }
}

fn is_address(address: &str) -> bool {
    address.split_once('@').is_some_and(|(local, domain)| is_local_part(local) && is_domain(domain))
}

fn is_local_part(local: &str) -> bool {
    const MARKS: &[u8] = b"!#$%&'*+/=?^_`{|}~-";
    let is_atom = |atom: &str| {
        !atom.is_empty() && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || MARKS.contains(&byte))
    };
    local.len() <= LOCAL_PART_MAX && local.split('.').all(is_atom)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    domain.contains('.') && domain.split('.').all(is_label) && !top.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_people_have_are_taken() {
        for address in [
            "eddie@example.com",
            "first.last+tag@sub.example.co.uk",
            "o'brien@example.ie",
            "x@xn--bcher-kva.example",
            "a@b.c",
            "1@2.com",
        ] {
            assert!(is_address(address), "{address}");
        }
    }

    #[test]
    fn what_mail_would_not_reach_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_label = format!("a@{}.com", "b".repeat(64));
        for address in [
            "",
            "@",
            "plain",
            "a@",
            "@example.com",
            "a@b@example.com",
            "a b@example.com",
            ".a@example.com",
            "a.@example.com",
            "a..b@example.com",
            "a@localhost",
            "a@example..com",
            "a@.example.com",
            "a@example.com.",
            "a@-example.com",
            "a@example-.com",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "\"a b\"@example.com",
            "a@exam_ple.com",
            "a@bücher.example",
            "Eddie <eddie@example.com>",
            "a@example.com,b@example.com",
            &long_local,
            &long_label,
        ] {
            assert!(!is_address(address), "{address}");
        }
    }
}
