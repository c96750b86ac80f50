//! SCRAM verifiers as PostgreSQL keeps them (`pg_authid.rolpassword`, RFC 5803):
//! `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, the last three in base64.

use crate::config::ScramVerifier;

/// How every verifier begins.
pub const PREFIX: &str = "SCRAM-SHA-256$";

/// Reads a verifier.
pub fn parse(text: &str) -> Option<ScramVerifier> {
    let (first, second) = text.trim().strip_prefix(PREFIX)?.split_once('$')?;
    let (iterations, salt) = first.split_once(':')?;
    let (stored_key, server_key) = second.split_once(':')?;
    let verifier = ScramVerifier {
        iterations: iterations.parse().ok()?,
        salt: base64(salt)?,
        stored_key: base64(stored_key)?,
        server_key: base64(server_key)?,
    };
    let sound = verifier.iterations > 0
        && !verifier.salt.is_empty()
        && verifier.stored_key.len() == 32
        && verifier.server_key.len() == 32;
    sound.then_some(verifier)
}

/// Padded standard base64 (RFC 4648 section 4): too little to be worth a dependency.
fn base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let data = text.trim_end_matches('=');
    if text.len() - data.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for byte in data.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}
