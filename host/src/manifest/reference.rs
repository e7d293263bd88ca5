//! `${NAME}` and `${NAME:-default}` in the manifest's strings.

/// What is wrong with a reference.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReferenceError {
    /// No such variable in the environment, and no default.
    Unset(String),
    /// `${` without its `}`.
    Unclosed,
    /// Not a name of an environment variable.
    BadName(String),
}

/// A string with its references resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The result. Never shown in an error when `references` is not empty.
    pub(super) value: String,
    /// The variables it refers to.
    pub(super) references: Vec<String>,
}

/// Resolves every reference in `text`. `$${` stands for a literal `${`. A default
/// is taken when the variable is unset or empty, as in a shell, and runs to the
/// first `}`.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, ReferenceError> {
    let mut value = String::with_capacity(text.len());
    let mut references = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        if rest[..dollar].ends_with('$') {
            value.push_str(&rest[..dollar - 1]);
            value.push_str("${");
            rest = &rest[dollar + 2..];
            continue;
        }
        value.push_str(&rest[..dollar]);
        let inner = &rest[dollar + 2..];
        let close = inner.find('}').ok_or(ReferenceError::Unclosed)?;
        let (name, default) = match inner[..close].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..close], None),
        };
        if !is_name(name) {
            return Err(ReferenceError::BadName(name.to_owned()));
        }
        match (env(name), default) {
            (Some(set), default) if !set.is_empty() || default.is_none() => value.push_str(&set),
            (_, Some(default)) => value.push_str(default),
            (_, None) => return Err(ReferenceError::Unset(name.to_owned())),
        }
        references.push(name.to_owned());
        rest = &inner[close + 1..];
    }
    value.push_str(rest);
    Ok(Expanded { value, references })
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("8443".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_resolved() {
        let cases = [
            ("plain", Ok("plain")),
            ("${PORT}", Ok("8443")),
            (":${PORT}/${PORT}", Ok(":8443/8443")),
            ("${PORT:-1}", Ok("8443")),
            ("${NONE:-1}", Ok("1")),
            ("${NONE:-}", Ok("")),
            ("${EMPTY:-1}", Ok("1")),
            ("${EMPTY}", Ok("")),
            ("$${PORT}", Ok("${PORT}")),
            ("$5 and $", Ok("$5 and $")),
            ("${NONE}", Err(ReferenceError::Unset("NONE".into()))),
            ("${PORT", Err(ReferenceError::Unclosed)),
            ("${A-B}", Err(ReferenceError::BadName("A-B".into()))),
            ("${1A}", Err(ReferenceError::BadName("1A".into()))),
            ("${}", Err(ReferenceError::BadName(String::new()))),
        ];
        for (text, expected) in cases {
            let found = expand(text, &env).map(|expanded| expanded.value);
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }
}
