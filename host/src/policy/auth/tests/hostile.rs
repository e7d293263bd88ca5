//! Tokens that somebody made up, each of which must speak for nobody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

use super::access::{access, admit};
use super::*;
use crate::limits::ACCESS_TOKEN_BYTES_MAX;
use crate::manifest::AuthLevel;

/// The forger knows everything that is public, has a key of their own, and in some cases
/// even gets the host's key to sign what they like: then the content must give them away.
struct Forger {
    authority: Authority,
    own: SigningKey,
}

impl Forger {
    async fn new() -> Self {
        Self { authority: alone().await.without_pause(), own: SigningKey::generate().unwrap().0 }
    }

    fn kid(&self) -> String {
        self.authority.keys().current().kid().to_owned()
    }

    /// The host's own header, with these members changed; `null` leaves one out.
    fn header(&self, changes: &Value) -> Value {
        changed(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.kid() }), changes)
    }

    /// Claims that the host would have written, with these changed.
    fn claims(&self, changes: &Value) -> Value {
        let now = now();
        let own = json!({
            "iss": "wasmyard", "aud": "wasmyard", "sub": "1", "exp": now + 900, "iat": now,
            "jti": "0a3f", "role": "admin",
        });
        changed(own, changes)
    }

    /// Signed with the host's key.
    fn signed(&self, header: &str, claims: &str) -> String {
        sign(self.authority.keys().current(), header, claims)
    }

    fn with_header(&self, changes: &Value) -> String {
        self.signed(&self.header(changes).to_string(), &self.claims(&json!({})).to_string())
    }

    fn with_claims(&self, changes: &Value) -> String {
        self.signed(&self.header(&json!({})).to_string(), &self.claims(changes).to_string())
    }

    /// Signed with the forger's own key.
    fn forged(&self, changes: &Value) -> String {
        sign(&self.own, &self.header(changes).to_string(), &self.claims(&json!({})).to_string())
    }

    /// Signed with HMAC under something that is public (CVE-2015-9235 and its kin).
    fn hmac(&self, secret: &[u8]) -> String {
        let signed = format!(
            "{}.{}",
            encode(self.header(&json!({ "alg": "HS256" })).to_string()),
            encode(self.claims(&json!({})).to_string())
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    }

    fn unsigned(&self, alg: &str) -> String {
        let header = self.header(&json!({ "alg": alg })).to_string();
        format!("{}.{}.", encode(header), encode(self.claims(&json!({})).to_string()))
    }

    /// A good token but for its signature, which has the letters of base64 in the place of
    /// those of base64url.
    fn in_other_alphabet(&self) -> String {
        (0..)
            .find_map(|number| {
                let good = self.with_claims(&json!({ "jti": format!("{number}") }));
                let (signed, signature) = good.rsplit_once('.')?;
                let other = signature.replace('-', "+").replace('_', "/");
                (other != signature).then(|| format!("{signed}.{other}"))
            })
            .expect("most signatures have one of them")
    }

    fn jwk(&self) -> Value {
        serde_json::to_value(self.own.jwk()).unwrap()
    }

    fn public_key(&self) -> Value {
        let jwks: Value = serde_json::from_slice(self.authority.keys().jwks()).unwrap();
        jwks["keys"][0].clone()
    }
}

fn changed(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            // A `null` that is meant is written so.
            Value::String(text) if text == "(null)" => {
                object.as_object_mut().unwrap().insert(name.clone(), Value::Null)
            }
            _ => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(key: &SigningKey, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap()
}

#[tokio::test]
async fn no_forged_token_speaks_for_anybody() {
    let forger = Forger::new().await;
    let own_kid = forger.own.kid().to_owned();
    let good = forger.with_claims(&json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let x = forger.public_key()["x"].as_str().unwrap().to_owned();
    let raw = URL_SAFE_NO_PAD.decode(&x).unwrap();
    let jwks = forger.authority.keys().jwks().clone();
    let now = now();
    let object = |text: &str| text.strip_suffix('}').unwrap().to_owned();
    let (plain_header, plain_claims) =
        (forger.header(&json!({})).to_string(), forger.claims(&json!({})).to_string());
    let claims_with = |raw: &str| forger.signed(&plain_header, &format!("{},{raw}}}", object(&plain_claims)));
    let header_with = |raw: &str| forger.signed(&format!("{},{raw}}}", object(&plain_header)), &plain_claims);

    let mut cases: Vec<(&str, String)> = vec![
        // The form.
        ("nothing", String::new()),
        ("one dot", ".".into()),
        ("two dots", "..".into()),
        ("two parts", signed.into()),
        ("not base64", "a.b.c".into()),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as an encrypted token has", format!("{good}.a.b")),
        ("a part before", format!("x.{good}")),
        ("padded", format!("{good}==")),
        ("a space inside", good.replacen('.', ". ", 1)),
        ("a line break after", format!("{good}\n")),
        ("the other alphabet", forger.in_other_alphabet()),
        ("too long", claims_with(&format!(r#""pad":"{}""#, "x".repeat(ACCESS_TOKEN_BYTES_MAX)))),
        // The signature.
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..40])),
        ("a signature of zeros", format!("{signed}.{}", encode([0; 64]))),
        ("the identity as R and zero as S", format!("{signed}.{}", encode([&[1][..], &[0; 63]].concat()))),
        ("the signature with the group's order added to S", format!("{signed}.{}", malleable(signature))),
        (
            "another message's signature",
            format!("{signed}.{}", forger.with_claims(&json!({ "sub": "2" })).rsplit_once('.').unwrap().1),
        ),
        (
            "other claims",
            format!("{header}.{}.{signature}", encode(forger.claims(&json!({ "sub": "2" })).to_string())),
        ),
        ("another header", format!("{}.{claims}.{signature}", encode(format!("{plain_header} ")))),
        ("the forger's signature", forger.forged(&json!({}))),
        // The algorithm.
        ("alg none", forger.unsigned("none")),
        ("alg None", forger.unsigned("None")),
        ("alg NONE", forger.unsigned("NONE")),
        ("alg nOnE", forger.unsigned("nOnE")),
        ("alg none, and signed", forger.with_header(&json!({ "alg": "none" }))),
        ("unsigned, and alg right", forger.unsigned("EdDSA")),
        ("HS256 under the public key's bytes", forger.hmac(&raw)),
        ("HS256 under the public key's text", forger.hmac(x.as_bytes())),
        ("HS256 under the JWK", forger.hmac(forger.public_key().to_string().as_bytes())),
        ("HS256 under the JWK set", forger.hmac(&jwks)),
        ("HS256 under nothing", forger.hmac(b"")),
        ("alg RS256", forger.with_header(&json!({ "alg": "RS256" }))),
        ("alg ES256", forger.with_header(&json!({ "alg": "ES256" }))),
        ("alg Ed25519", forger.with_header(&json!({ "alg": "Ed25519" }))),
        ("alg in lower case", forger.with_header(&json!({ "alg": "eddsa" }))),
        ("no alg", forger.with_header(&json!({ "alg": null }))),
        ("alg null", forger.with_header(&json!({ "alg": "(null)" }))),
        ("alg a list", forger.with_header(&json!({ "alg": ["EdDSA"] }))),
        ("alg twice", header_with(r#""alg":"none""#)),
        // The key.
        ("the forger's kid", forger.forged(&json!({ "kid": own_kid }))),
        ("the forger's JWK", forger.forged(&json!({ "kid": own_kid, "jwk": forger.jwk() }))),
        ("the forger's JWK under the host's kid", forger.forged(&json!({ "jwk": forger.jwk() }))),
        ("a JWK, and the host's signature", forger.with_header(&json!({ "jwk": forger.jwk() }))),
        ("jku", forger.forged(&json!({ "jku": "https://evil.example/jwks.json" }))),
        (
            "jku, and the host's signature",
            forger.with_header(&json!({ "jku": "https://evil.example/jwks.json" })),
        ),
        ("x5u", forger.with_header(&json!({ "x5u": "https://evil.example/chain.pem" }))),
        ("x5c", forger.with_header(&json!({ "x5c": ["MIIB"] }))),
        ("x5t", forger.with_header(&json!({ "x5t": "x" }))),
        ("crit", forger.with_header(&json!({ "crit": ["exp"] }))),
        ("b64", forger.with_header(&json!({ "b64": false, "crit": ["b64"] }))),
        ("zip", forger.with_header(&json!({ "zip": "DEF" }))),
        ("cty", forger.with_header(&json!({ "cty": "JWT" }))),
        ("no kid", forger.with_header(&json!({ "kid": null }))),
        ("kid empty", forger.with_header(&json!({ "kid": "" }))),
        ("kid null", forger.with_header(&json!({ "kid": "(null)" }))),
        ("kid a number", forger.with_header(&json!({ "kid": 0 }))),
        ("kid a list", forger.with_header(&json!({ "kid": [forger.kid()] }))),
        ("kid a path", forger.with_header(&json!({ "kid": "../../../../dev/null" }))),
        ("kid an absolute path", forger.with_header(&json!({ "kid": "/proc/sys/kernel/ostype" }))),
        ("kid a path to the right one", forger.with_header(&json!({ "kid": format!("./{}", forger.kid()) }))),
        ("kid an address", forger.with_header(&json!({ "kid": "https://evil.example/key" }))),
        ("kid an injection", forger.with_header(&json!({ "kid": "' UNION SELECT 'x" }))),
        ("kid a command", forger.with_header(&json!({ "kid": "|whoami" }))),
        ("kid with a NUL", forger.with_header(&json!({ "kid": format!("{}\0", forger.kid()) }))),
        ("kid with a space", forger.with_header(&json!({ "kid": format!("{} ", forger.kid()) }))),
        ("kid twice", header_with(&format!(r#""kid":"{own_kid}""#))),
        // The type.
        ("no typ", forger.with_header(&json!({ "typ": null }))),
        ("typ JWT", forger.with_header(&json!({ "typ": "JWT" }))),
        ("typ of an ID token", forger.with_header(&json!({ "typ": "id+jwt" }))),
        ("typ in upper case", forger.with_header(&json!({ "typ": "AT+JWT" }))),
        ("typ of a media type", forger.with_header(&json!({ "typ": "application/at+jwt" }))),
        // What is no object, or no JSON.
        (
            "header a list",
            forger.signed(&json!(["EdDSA", "at+jwt", forger.kid()]).to_string(), &plain_claims),
        ),
        ("header cut off", forger.signed(&object(&plain_header), &plain_claims)),
        ("header with more behind it", forger.signed(&format!("{plain_header}{{}}"), &plain_claims)),
        ("header after a byte order mark", forger.signed(&format!("\u{feff}{plain_header}"), &plain_claims)),
        (
            "claims a list",
            forger.signed(
                &plain_header,
                &json!(["wasmyard", "wasmyard", "1", now + 900, now, now, "x", "admin"]).to_string(),
            ),
        ),
        ("claims a token", forger.signed(&plain_header, &good)),
        ("claims empty", forger.signed(&plain_header, "{}")),
        ("claims null", forger.signed(&plain_header, "null")),
        ("claims twice", forger.signed(&plain_header, &format!("{plain_claims}{plain_claims}"))),
    ];
    for (name, changes) in [
        // The times.
        ("no exp", json!({ "exp": null })),
        ("exp null", json!({ "exp": "(null)" })),
        ("exp text", json!({ "exp": (now + 900).to_string() })),
        ("exp a fraction", json!({ "exp": now as f64 + 900.5 })),
        ("exp a float", json!({ "exp": 1e300 })),
        ("exp true", json!({ "exp": true })),
        ("exp a list", json!({ "exp": [now + 900] })),
        ("exp an object", json!({ "exp": {} })),
        ("exp negative", json!({ "exp": -1 })),
        ("exp 0", json!({ "exp": 0, "iat": 0 })),
        ("exp the largest number", json!({ "exp": u64::MAX })),
        ("exp and iat the largest number", json!({ "exp": u64::MAX, "iat": u64::MAX })),
        ("expired, beyond the leeway", json!({ "exp": now - 61, "iat": now - 900 })),
        ("longer than the host gives", json!({ "exp": now + 901 })),
        ("no iat", json!({ "iat": null })),
        ("iat text", json!({ "iat": now.to_string() })),
        ("iat after exp", json!({ "iat": now + 30, "exp": now + 29 })),
        ("issued in the future", json!({ "iat": now + 120, "exp": now + 900 })),
        ("nbf text", json!({ "nbf": now.to_string() })),
        ("nbf null", json!({ "nbf": "(null)" })),
        ("nbf a fraction", json!({ "nbf": 0.5 })),
        ("nbf false", json!({ "nbf": false })),
        ("not valid yet", json!({ "nbf": now + 120 })),
        // For whom, and by whom.
        ("no aud", json!({ "aud": null })),
        ("another aud", json!({ "aud": "bank" })),
        ("aud empty", json!({ "aud": "" })),
        ("aud longer", json!({ "aud": "wasmyard.evil.example" })),
        ("aud a list", json!({ "aud": ["bank", "wasmyard"] })),
        ("no iss", json!({ "iss": null })),
        ("another iss", json!({ "iss": "https://evil.example" })),
        ("iss in upper case", json!({ "iss": "WASMYARD" })),
        ("iss with a space", json!({ "iss": "wasmyard " })),
        ("iss a list", json!({ "iss": ["wasmyard"] })),
        // Of whom.
        ("no sub", json!({ "sub": null })),
        ("sub empty", json!({ "sub": "" })),
        ("sub a number", json!({ "sub": 1 })),
        ("no jti", json!({ "jti": null })),
        ("jti empty", json!({ "jti": "" })),
        ("no role", json!({ "role": null })),
        ("role empty", json!({ "role": "" })),
        ("role a list", json!({ "role": ["admin"] })),
    ] {
        cases.push((name, forger.with_claims(&changes)));
    }
    cases.push(("exp twice", claims_with(&format!(r#""exp":{}"#, now + 800))));
    cases.push(("sub twice", claims_with(r#""sub":"2""#)));
    let endless = object(&forger.claims(&json!({ "exp": null })).to_string());
    cases.push((
        "exp beyond any number",
        forger.signed(&plain_header, &format!(r#"{endless},"exp":1e999}}"#)),
    ));
    cases.push(("nbf beyond any number", claims_with(r#""nbf":1e999"#)));
    cases.push(("another host's token", alone().await.issue("1", "admin").token));

    assert!(cases.len() >= 40, "{}", cases.len());
    let required = access(AuthLevel::Required, None);
    for (name, token) in &cases {
        let verified = forger.authority.verify(token).await;
        assert_eq!(verified, Err(reason(name).into()), "{name}: {token}");
        // What no header can carry never comes this far.
        if !token.contains('\n') {
            let admitted = admit(&required, &forger.authority, &[&format!("Bearer {token}")]).await;
            let refused = (401, r#"Bearer error="invalid_token""#.to_owned());
            assert_eq!(admitted, Err(refused), "{name}: {token}");
        }
    }
}

/// What gives a forgery away: with most of them it is the form, as soon as a part has been
/// read that the host would not have written.
fn reason(name: &str) -> Invalid {
    match name {
        "four parts"
        | "a space inside"
        | "no signature"
        | "half a signature"
        | "a signature of zeros"
        | "the identity as R and zero as S"
        | "the signature with the group's order added to S"
        | "another message's signature"
        | "other claims"
        | "another header"
        | "the forger's signature"
        | "unsigned, and alg right" => Invalid::BadSignature,
        "the forger's kid"
        | "kid empty"
        | "kid a path"
        | "kid an absolute path"
        | "kid a path to the right one"
        | "kid an address"
        | "kid an injection"
        | "kid a command"
        | "kid with a NUL"
        | "kid with a space"
        | "another host's token" => Invalid::UnknownKey,
        "exp 0" | "expired, beyond the leeway" => Invalid::Expired,
        "exp and iat the largest number" | "issued in the future" | "not valid yet" => Invalid::TooEarly,
        "another aud" | "aud empty" | "aud longer" | "another iss" | "iss in upper case"
        | "iss with a space" => Invalid::NotForUs,
        _ => Invalid::Malformed,
    }
}

/// Otherwise the test above would be one of an authority that refuses everything.
#[tokio::test]
async fn what_the_host_itself_might_have_written_is_taken() {
    let forger = Forger::new().await;
    let now = now();
    for (name, changes) in [
        ("as it is", json!({})),
        ("expired, within the leeway", json!({ "exp": now - 50, "iat": now - 900 })),
        ("not valid yet, within the leeway", json!({ "nbf": now + 50 })),
        ("issued by a clock that is fast", json!({ "iat": now + 50 })),
        ("a claim of a later host", json!({ "scope": "orders" })),
        ("of the longest life", json!({ "exp": now + 900 })),
    ] {
        let verified = forger.authority.verify(&forger.with_claims(&changes)).await;
        assert!(verified.is_ok(), "{name}: {verified:?}");
    }
}

/// One more run of the same mutations: `WASMYARD_SEED=… cargo test -p wasmyard mutations`.
#[tokio::test]
async fn no_mutation_of_a_good_token_speaks_for_anybody() {
    const MUTATIONS: usize = 100_000;
    let given = std::env::var("WASMYARD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("WASMYARD_SEED={seed}");
    let authority = alone().await.without_pause();
    let good = authority.issue("1", "admin").token;
    let mut chance = Chance(seed);
    let mut tried = 0;
    while tried < MUTATIONS {
        let mutated = chance.mutate(good.as_bytes());
        // Two mutations may undo each other, and what is no text never reaches the verifier.
        let Some(mutated) = String::from_utf8(mutated).ok().filter(|mutated| *mutated != good) else {
            continue;
        };
        let verified = authority.verify(&mutated).await;
        let refused = matches!(verified, Err(Denied::InvalidToken(_)));
        assert!(refused, "WASMYARD_SEED={seed}: {verified:?} for {mutated} instead of {good}");
        tried += 1;
    }
    authority.verify(&good).await.unwrap();
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % below as u64).unwrap()
    }

    /// One to three changes, most of which leave the form of a token as it is.
    fn mutate(&mut self, token: &[u8]) -> Vec<u8> {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut token = token.to_vec();
        for _ in 0..=self.next(3) {
            let at = self.next(token.len());
            let letter = LETTERS[self.next(LETTERS.len())];
            match self.next(10) {
                0..4 => token[at] = letter,
                4 => token[at] ^= 1 << self.next(7),
                5 => token.insert(at, letter),
                6 if token.len() > 1 => drop(token.remove(at)),
                7 => {
                    let other = self.next(token.len());
                    token.swap(at, other);
                }
                8 => token.insert(at, b".=+/ %\0\n"[self.next(8)]),
                _ => {
                    // The end matters most: bits that base64 leaves over stand there.
                    let last = token.len() - 1;
                    token[last] = letter;
                }
            }
        }
        token
    }
}

/// The same signature with the order of the group added to S: valid in the arithmetic, and
/// refused by RFC 8032, section 5.1.7, so that a message has one signature.
fn malleable(signature: &str) -> String {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    encode(signature)
}
