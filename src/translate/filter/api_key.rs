//! `envoy.filters.http.api_key_auth`: requests need one of the keys that are given.

use envoy_types::pb::envoy::extensions::filters::http::api_key_auth::v3::{Credential, KeySource};

use super::bound::any;
use super::{Branch, Effect, header, is_word};
use crate::apisix::Expr;
use crate::apisix::expr::Op;

/// Reads keys and where they are looked for. None if a place is one that APISIX does not see.
pub(in crate::translate) fn take(credentials: &[Credential], sources: &[KeySource]) -> Option<Effect> {
    let keys: Vec<_> = credentials.iter().map(|credential| credential.key.clone()).collect();
    let mut found = Vec::new();
    for source in sources {
        if is_word(&source.header) {
            // Envoy takes the key from behind the word Bearer as well.
            let both = keys.iter().cloned().chain(keys.iter().map(|key| format!("Bearer {key}")));
            found.push(Expr::is(header(&source.header), Op::In, both.collect::<Vec<_>>()));
        } else if !source.query.is_empty() {
            found.push(Expr::is(format!("arg_{}", source.query), Op::In, keys.clone()));
        } else if is_word(&source.cookie) {
            found.push(Expr::is(format!("cookie_{}", source.cookie), Op::In, keys.clone()));
        } else {
            return None;
        }
    }
    let answer = Branch::answer(401, "Client authentication failed.");
    if keys.is_empty() || found.is_empty() {
        return Some(Effect::of([answer]));
    }
    Some(Effect::of([Branch::pass_if(any(found)), answer]))
}
