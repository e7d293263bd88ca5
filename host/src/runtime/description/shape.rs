//! The form of an OpenAPI 3.1 document, in what the host takes of it.
//!
//! A component may write anything, and one that writes nonsense must not spoil the document
//! that is merged of all services'. So each object is held against the members that the
//! specification gives it (section 4.8), and each schema against the keywords that every
//! reader looks at.

use serde_json::{Map, Value};

use super::{KINDS, component_of};

/// What a value may be.
pub(super) enum Shape {
    /// Anything: nobody takes it apart, or it is left out.
    Any,
    /// Nothing: there must be none.
    None,
    Text,
    Bool,
    Number,
    /// A whole number from 0.
    Count,
    /// One of these words.
    Word(&'static [&'static str]),
    List(&'static Shape),
    /// The same, with at least one item.
    Some(&'static Shape),
    /// An object whose members have names of this form, and all one shape.
    Map(Name, &'static Shape),
    /// An object of the specification: these members, and some that begin with `x-`.
    Object(&'static Object),
    /// Such an object, or a reference to a component of this kind.
    Or(&'static str, &'static Object),
    /// A JSON Schema, or `true` or `false`.
    Schema,
    /// A type's name, or several.
    Types,
    /// A reference to a schema.
    SchemaReference,
}

pub(super) struct Object {
    /// Members that must be there.
    required: &'static [&'static str],
    /// Of these, one must be there.
    either: &'static [&'static str],
    members: &'static [(&'static str, Shape)],
}

/// What the name of a member may be.
pub(super) enum Name {
    Any,
    /// A path.
    Path,
    /// A status, a range of them, or `default`.
    Status,
    /// Of a component (section 4.8.7.1).
    Component,
}

/// Where in a document something is not as it should be: names and numbers, the innermost
/// first.
pub(super) type Misfit = Vec<String>;

/// Checks a document. The error is a JSON Pointer (RFC 6901) to what does not fit.
pub(super) fn check(document: &Map<String, Value>) -> Result<(), String> {
    members(document, &DOCUMENT, true).map_err(|misfit| {
        let escaped = misfit.iter().rev().map(|name| name.replace('~', "~0").replace('/', "~1"));
        escaped.flat_map(|name| ["/".to_owned(), name]).collect()
    })
}

static DOCUMENT: Object = Object {
    required: &["info", "paths"],
    either: &[],
    members: &[
        ("info", Shape::Object(&INFO)),
        ("paths", Shape::Map(Name::Path, &Shape::Object(&PATH_ITEM))),
        ("components", Shape::Object(&COMPONENTS)),
    ],
};

static INFO: Object = Object {
    required: &["title"],
    either: &[],
    members: &[
        ("title", Shape::Text),
        ("summary", Shape::Text),
        ("description", Shape::Text),
        ("version", Shape::Text),
        ("termsOfService", Shape::Text),
        ("contact", Shape::Any),
        ("license", Shape::Any),
    ],
};

static COMPONENTS: Object = Object {
    required: &[],
    either: &[],
    members: &[
        ("schemas", Shape::Map(Name::Component, &Shape::Schema)),
        ("responses", Shape::Map(Name::Component, &Shape::Object(&RESPONSE))),
        ("parameters", Shape::Map(Name::Component, &Shape::Object(&PARAMETER))),
        ("examples", Shape::Map(Name::Component, &Shape::Object(&EXAMPLE))),
        ("requestBodies", Shape::Map(Name::Component, &Shape::Object(&REQUEST_BODY))),
        ("headers", Shape::Map(Name::Component, &Shape::Object(&HEADER))),
        ("links", Shape::Map(Name::Component, &Shape::Object(&LINK))),
        // Nothing refers to these, and they are left out.
        ("securitySchemes", Shape::Any),
        ("callbacks", Shape::Any),
        ("pathItems", Shape::Any),
    ],
};

static PATH_ITEM: Object = Object {
    required: &[],
    either: &[],
    members: &[
        // What is routed has to be seen.
        ("$ref", Shape::None),
        ("summary", Shape::Text),
        ("description", Shape::Text),
        ("servers", Shape::Any),
        ("parameters", Shape::List(&Shape::Or("parameters", &PARAMETER))),
        ("get", Shape::Object(&OPERATION)),
        ("put", Shape::Object(&OPERATION)),
        ("post", Shape::Object(&OPERATION)),
        ("delete", Shape::Object(&OPERATION)),
        ("options", Shape::Object(&OPERATION)),
        ("head", Shape::Object(&OPERATION)),
        ("patch", Shape::Object(&OPERATION)),
        ("trace", Shape::Object(&OPERATION)),
    ],
};

static OPERATION: Object = Object {
    required: &[],
    either: &[],
    members: &[
        ("tags", Shape::List(&Shape::Text)),
        ("summary", Shape::Text),
        ("description", Shape::Text),
        ("externalDocs", Shape::Object(&EXTERNAL_DOCS)),
        ("operationId", Shape::Text),
        ("parameters", Shape::List(&Shape::Or("parameters", &PARAMETER))),
        ("requestBody", Shape::Or("requestBodies", &REQUEST_BODY)),
        ("responses", Shape::Map(Name::Status, &Shape::Or("responses", &RESPONSE))),
        ("deprecated", Shape::Bool),
        ("callbacks", Shape::Any),
        ("security", Shape::Any),
        ("servers", Shape::Any),
    ],
};

static EXTERNAL_DOCS: Object = Object {
    required: &["url"],
    either: &[],
    members: &[("url", Shape::Text), ("description", Shape::Text)],
};

static PARAMETER: Object = Object {
    required: &["name", "in"],
    either: &["schema", "content"],
    members: &[
        ("name", Shape::Text),
        ("in", Shape::Word(&["query", "header", "path", "cookie"])),
        ("description", Shape::Text),
        ("required", Shape::Bool),
        ("deprecated", Shape::Bool),
        ("allowEmptyValue", Shape::Bool),
        ("allowReserved", Shape::Bool),
        ("style", Shape::Text),
        ("explode", Shape::Bool),
        ("schema", Shape::Schema),
        ("example", Shape::Any),
        ("examples", Shape::Map(Name::Any, &Shape::Or("examples", &EXAMPLE))),
        ("content", Shape::Map(Name::Any, &Shape::Object(&MEDIA_TYPE))),
    ],
};

static HEADER: Object = Object {
    required: &[],
    either: &["schema", "content"],
    members: &[
        ("description", Shape::Text),
        ("required", Shape::Bool),
        ("deprecated", Shape::Bool),
        ("style", Shape::Text),
        ("explode", Shape::Bool),
        ("schema", Shape::Schema),
        ("example", Shape::Any),
        ("examples", Shape::Map(Name::Any, &Shape::Or("examples", &EXAMPLE))),
        ("content", Shape::Map(Name::Any, &Shape::Object(&MEDIA_TYPE))),
    ],
};

static REQUEST_BODY: Object = Object {
    required: &["content"],
    either: &[],
    members: &[
        ("description", Shape::Text),
        ("content", Shape::Map(Name::Any, &Shape::Object(&MEDIA_TYPE))),
        ("required", Shape::Bool),
    ],
};

static RESPONSE: Object = Object {
    required: &["description"],
    either: &[],
    members: &[
        ("description", Shape::Text),
        ("headers", Shape::Map(Name::Any, &Shape::Or("headers", &HEADER))),
        ("content", Shape::Map(Name::Any, &Shape::Object(&MEDIA_TYPE))),
        ("links", Shape::Map(Name::Component, &Shape::Or("links", &LINK))),
    ],
};

static MEDIA_TYPE: Object = Object {
    required: &[],
    either: &[],
    members: &[
        ("schema", Shape::Schema),
        ("example", Shape::Any),
        ("examples", Shape::Map(Name::Any, &Shape::Or("examples", &EXAMPLE))),
        ("encoding", Shape::Map(Name::Any, &Shape::Object(&ENCODING))),
    ],
};

static ENCODING: Object = Object {
    required: &[],
    either: &[],
    members: &[
        ("contentType", Shape::Text),
        ("headers", Shape::Map(Name::Any, &Shape::Or("headers", &HEADER))),
        ("style", Shape::Text),
        ("explode", Shape::Bool),
        ("allowReserved", Shape::Bool),
    ],
};

static EXAMPLE: Object = Object {
    required: &[],
    either: &[],
    members: &[
        ("summary", Shape::Text),
        ("description", Shape::Text),
        ("value", Shape::Any),
        ("externalValue", Shape::Text),
    ],
};

static LINK: Object = Object {
    required: &[],
    either: &["operationRef", "operationId"],
    members: &[
        // It would lead to another document, or to where nothing is after the merge.
        ("operationRef", Shape::None),
        ("operationId", Shape::Text),
        ("parameters", Shape::Map(Name::Any, &Shape::Any)),
        ("requestBody", Shape::Any),
        ("description", Shape::Text),
        ("server", Shape::Any),
    ],
};

/// Keywords of JSON Schema 2020-12, and those that OpenAPI adds. A schema may have others.
static SCHEMA: Object = Object {
    required: &[],
    either: &[],
    members: &[
        ("$ref", Shape::SchemaReference),
        // These change what a reference means.
        ("$id", Shape::None),
        ("$schema", Shape::None),
        ("$vocabulary", Shape::None),
        ("$anchor", Shape::None),
        ("$dynamicAnchor", Shape::None),
        ("$dynamicRef", Shape::None),
        ("$comment", Shape::Text),
        ("$defs", Shape::Map(Name::Any, &Shape::Schema)),
        ("type", Shape::Types),
        ("enum", Shape::List(&Shape::Any)),
        ("title", Shape::Text),
        ("description", Shape::Text),
        ("format", Shape::Text),
        ("pattern", Shape::Text),
        ("contentEncoding", Shape::Text),
        ("contentMediaType", Shape::Text),
        ("contentSchema", Shape::Schema),
        ("minimum", Shape::Number),
        ("maximum", Shape::Number),
        ("exclusiveMinimum", Shape::Number),
        ("exclusiveMaximum", Shape::Number),
        ("multipleOf", Shape::Number),
        ("minLength", Shape::Count),
        ("maxLength", Shape::Count),
        ("minItems", Shape::Count),
        ("maxItems", Shape::Count),
        ("minContains", Shape::Count),
        ("maxContains", Shape::Count),
        ("minProperties", Shape::Count),
        ("maxProperties", Shape::Count),
        ("uniqueItems", Shape::Bool),
        ("readOnly", Shape::Bool),
        ("writeOnly", Shape::Bool),
        ("deprecated", Shape::Bool),
        ("required", Shape::List(&Shape::Text)),
        ("dependentRequired", Shape::Map(Name::Any, &Shape::List(&Shape::Text))),
        ("properties", Shape::Map(Name::Any, &Shape::Schema)),
        ("patternProperties", Shape::Map(Name::Any, &Shape::Schema)),
        ("dependentSchemas", Shape::Map(Name::Any, &Shape::Schema)),
        ("additionalProperties", Shape::Schema),
        ("unevaluatedProperties", Shape::Schema),
        ("propertyNames", Shape::Schema),
        ("items", Shape::Schema),
        ("unevaluatedItems", Shape::Schema),
        ("contains", Shape::Schema),
        ("prefixItems", Shape::Some(&Shape::Schema)),
        ("allOf", Shape::Some(&Shape::Schema)),
        ("anyOf", Shape::Some(&Shape::Schema)),
        ("oneOf", Shape::Some(&Shape::Schema)),
        ("not", Shape::Schema),
        ("if", Shape::Schema),
        ("then", Shape::Schema),
        ("else", Shape::Schema),
        ("examples", Shape::List(&Shape::Any)),
        ("externalDocs", Shape::Object(&EXTERNAL_DOCS)),
        ("xml", Shape::Map(Name::Any, &Shape::Any)),
        ("discriminator", Shape::Object(&DISCRIMINATOR)),
    ],
};

static DISCRIMINATOR: Object = Object {
    required: &["propertyName"],
    either: &[],
    members: &[("propertyName", Shape::Text), ("mapping", Shape::Map(Name::Any, &Shape::SchemaReference))],
};

const TYPES: &[&str] = &["null", "boolean", "object", "array", "number", "string", "integer"];

fn fit(value: &Value, shape: &Shape) -> Result<(), Misfit> {
    let fits = |fits: bool| if fits { Ok(()) } else { Err(Vec::new()) };
    match shape {
        Shape::Any => Ok(()),
        Shape::None => fits(false),
        Shape::Text => fits(value.is_string()),
        Shape::Bool => fits(value.is_boolean()),
        Shape::Number => fits(value.is_number()),
        Shape::Count => fits(value.is_u64()),
        Shape::Word(words) => fits(value.as_str().is_some_and(|word| words.contains(&word))),
        Shape::List(item) => items(value, item),
        Shape::Some(item) => match value.as_array().is_some_and(Vec::is_empty) {
            true => fits(false),
            false => items(value, item),
        },
        Shape::Map(name, member) => {
            let all = value.as_object().ok_or_else(Vec::new)?;
            all.iter().try_for_each(|(key, value)| match name.fits(key) {
                true => fit(value, member).map_err(|misfit| within(misfit, key)),
                false if key.starts_with("x-") => Ok(()),
                false => Err(vec![key.clone()]),
            })
        }
        Shape::Object(object) => members(value.as_object().ok_or_else(Vec::new)?, object, false),
        Shape::Or(kind, object) => match value.get("$ref") {
            None => members(value.as_object().ok_or_else(Vec::new)?, object, false),
            Some(reference) => {
                let target = reference.as_str().and_then(component_of);
                fits(target.is_some_and(|(of, name)| of == *kind && !name.contains('/')))
            }
        },
        Shape::Schema if value.is_boolean() => Ok(()),
        Shape::Schema => members(value.as_object().ok_or_else(Vec::new)?, &SCHEMA, true),
        Shape::Types => match value {
            Value::Array(types) => fits(!types.is_empty()).and_then(|()| items(value, &Shape::Word(TYPES))),
            _ => fit(value, &Shape::Word(TYPES)),
        },
        Shape::SchemaReference => {
            let target = value.as_str().and_then(component_of);
            fits(target.is_some_and(|(kind, _)| kind == KINDS[0]))
        }
    }
}

fn items(value: &Value, shape: &Shape) -> Result<(), Misfit> {
    let items = value.as_array().ok_or_else(Vec::new)?;
    let mut numbered = items.iter().enumerate();
    numbered
        .try_for_each(|(number, item)| fit(item, shape).map_err(|misfit| within(misfit, &number.to_string())))
}

/// `open`: it may have other members too.
fn members(value: &Map<String, Value>, object: &Object, open: bool) -> Result<(), Misfit> {
    let lacks = |name: &&&str| !value.contains_key(**name);
    if let Some(name) = object.required.iter().find(lacks) {
        return Err(vec![(*name).to_owned()]);
    }
    if !object.either.is_empty() && object.either.iter().all(|name| lacks(&name)) {
        return Err(vec![object.either[0].to_owned()]);
    }
    value.iter().try_for_each(|(name, member)| match object.members.iter().find(|(known, _)| known == name) {
        Some((_, shape)) => fit(member, shape).map_err(|misfit| within(misfit, name)),
        None if open || name.starts_with("x-") => Ok(()),
        None => Err(vec![name.clone()]),
    })
}

fn within(mut misfit: Misfit, name: &str) -> Misfit {
    misfit.push(name.to_owned());
    misfit
}

impl Name {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Path => name.starts_with('/'),
            Self::Status => {
                let [class, rest @ ..] = name.as_bytes() else { return false };
                let rest = rest == b"XX" || rest.len() == 2 && rest.iter().all(u8::is_ascii_digit);
                name == "default" || (b'1'..=b'5').contains(class) && rest
            }
            Self::Component => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                !name.is_empty() && name.bytes().all(plain)
            }
        }
    }
}
