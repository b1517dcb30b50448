//! Keys of a provider that are given, in the form in which APISIX takes one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use serde_json::Value;

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    /// The only algorithm of signatures that it is for.
    pub(super) algorithm: String,
    /// As APISIX takes it: SubjectPublicKeyInfo (RFC 5280 §4.1) as PEM.
    pub(super) pem: String,
}

/// rsaEncryption with no parameters (RFC 8017 §A.1), and id-ecPublicKey with prime256v1 (RFC 5480 §2.1.1).
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Tags of DER.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Reads a set of keys (RFC 7517) of which there is one. The error says why APISIX cannot be given it.
pub(super) fn take(source: &DataSource) -> Result<Key, String> {
    let text = match &source.specifier {
        Some(Specifier::InlineString(text)) => text.as_bytes(),
        Some(Specifier::InlineBytes(bytes)) => bytes,
        _ => return Err("keys that are not inline".into()),
    };
    let set: Value = serde_json::from_slice(text).map_err(|_| "no JSON")?;
    let [key] = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err("APISIX takes one key".into());
    };
    let number = |name: &str| {
        let text = key[name].as_str().unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap_or_default();
        if bytes.is_empty() { Err(format!("a key without {name}")) } else { Ok(bytes) }
    };
    let named = |default: &str| key["alg"].as_str().unwrap_or(default).to_owned();
    let (algorithm, of, bits) = match key["kty"].as_str() {
        Some("RSA") => {
            let numbers = [integer(&number("n")?), integer(&number("e")?)].concat();
            (named("RS256"), RSA, wrap(SEQUENCE, &numbers))
        }
        Some("EC") if key["crv"] == "P-256" => (named("ES256"), P256, point(&number("x")?, &number("y")?)?),
        _ => return Err("a kind of key that APISIX has not".into()),
    };
    if !["RS256", "RS512", "ES256"].contains(&algorithm.as_str()) {
        return Err(format!("the algorithm {algorithm}"));
    }
    let unused_bits = [0];
    let key = [wrap(SEQUENCE, of), wrap(BIT_STRING, &[&unused_bits[..], &bits].concat())].concat();
    Ok(Key { algorithm, pem: pem(&wrap(SEQUENCE, &key)) })
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(x: &[u8], y: &[u8]) -> Result<Vec<u8>, String> {
    if x.len() != 32 || y.len() != 32 {
        return Err("a point that is not on the curve".into());
    }
    Ok([&[4][..], x, y].concat())
}

/// A positive number.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros.min(bytes.len() - 1)..];
    let sign: &[u8] = if bytes[0] >= 0x80 { &[0] } else { &[] };
    wrap(INTEGER, &[sign, bytes].concat())
}

/// A tag, a length and what it holds.
fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let mut out = vec![tag];
    match &length[zeros..] {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            out.extend(long);
        }
    }
    out.extend(content);
    out
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use x509_parser::pem::Pem;
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::PublicKey;
    use x509_parser::x509::SubjectPublicKeyInfo;

    use super::*;

    fn read(keys: &Value) -> Result<Key, String> {
        let text = json!({"keys": keys}).to_string();
        take(&DataSource { specifier: Some(Specifier::InlineString(text)), ..DataSource::default() })
    }

    fn text(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn what_is_written_is_the_key_that_was_given() {
        for modulus in [vec![0x81; 256], vec![0x01; 512]] {
            let key = read(&json!([{"kty": "RSA", "n": text(&modulus), "e": "AQAB", "kid": "1"}])).expect("a key");
            let pem = Pem::iter_from_buffer(key.pem.as_bytes()).next().expect("one").expect("PEM");
            let (rest, info) = SubjectPublicKeyInfo::from_der(&pem.contents).expect("DER");
            let PublicKey::RSA(parsed) = info.parsed().expect("a key") else { panic!("{info:?}") };
            assert_eq!((rest, parsed.try_exponent().expect("small")), (&[][..], 65537));
            let digits: Vec<_> = parsed.modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
            assert_eq!((digits, key.algorithm.as_str()), (modulus, "RS256"));
        }
        let (x, y) = ([7; 32], [9; 32]);
        let key = read(&json!([{"kty": "EC", "crv": "P-256", "x": text(&x), "y": text(&y)}])).expect("a key");
        let pem = Pem::iter_from_buffer(key.pem.as_bytes()).next().expect("one").expect("PEM");
        let (_, info) = SubjectPublicKeyInfo::from_der(&pem.contents).expect("DER");
        let PublicKey::EC(parsed) = info.parsed().expect("a key") else { panic!("{info:?}") };
        assert_eq!(parsed.data(), [&[4][..], &x, &y].concat());
        assert_eq!(key.algorithm, "ES256");
    }

    #[test]
    fn what_apisix_cannot_be_given_is_refused() {
        let rsa = json!({"kty": "RSA", "n": text(&[1; 256]), "e": "AQAB"});
        for keys in [
            json!([]),
            json!([rsa, rsa]),
            json!([{"kty": "oct", "k": "AAAA"}]),
            json!([{"kty": "RSA", "n": "", "e": "AQAB"}]),
            json!([{"kty": "RSA", "n": text(&[1; 256]), "e": "AQAB", "alg": "PS256"}]),
            json!([{"kty": "EC", "crv": "P-384", "x": text(&[1; 48]), "y": text(&[1; 48])}]),
            json!([{"kty": "EC", "crv": "P-256", "x": text(&[1; 31]), "y": text(&[1; 32])}]),
        ] {
            assert!(read(&keys).is_err(), "{keys}");
        }
    }
}
