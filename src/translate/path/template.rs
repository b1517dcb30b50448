//! URI templates, as regular expressions.

use crate::apisix::expr;

/// Characters that a wildcard stands for, beside the slash, as Envoy's `uri_template_lib` has them: those of a path
/// segment in RFC 3986.
const CHARACTER: &str = "[a-zA-Z0-9-._~%!$&'()*+,;=:@]";

/// As [`CHARACTER`], with the slash.
const CHARACTER_OR_SLASH: &str = "[a-zA-Z0-9-._~%!$&'()*+,;=:@/]";

/// The regular expression of the paths that a template matches. The error says what is wrong with it.
pub(super) fn regex(template: &str) -> Result<String, String> {
    let fail = |why: &str| format!("the URI template {template:?} {why}");
    let mut regex = String::new();
    let mut rest = template;
    if !template.starts_with('/') {
        return Err(fail("does not begin with a slash"));
    }
    while let Some(at) = rest.find(['*', '{', '}']) {
        regex.push_str(&expr::literal(&rest[..at]));
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| fail("has a brace that is not closed"))?;
            // A variable without a pattern is one segment.
            let pattern = after[..end].split_once('=').map_or("*", |(_, pattern)| pattern);
            if pattern.contains('{') {
                return Err(fail("has a variable inside of another"));
            }
            regex.push_str(&wildcards(pattern));
            rest = &after[end + 1..];
        } else if rest.starts_with('}') {
            return Err(fail("has a brace that was not opened"));
        } else {
            let stars = rest.len() - rest.trim_start_matches('*').len();
            regex.push_str(&wildcards(&rest[..stars]));
            rest = &rest[stars..];
        }
    }
    regex.push_str(&expr::literal(rest));
    Ok(regex)
}

/// A pattern without variables.
fn wildcards(pattern: &str) -> String {
    let parts: Vec<_> = pattern.split("**").collect();
    let single = |part: &&str| part.split('*').map(expr::literal).collect::<Vec<_>>().join(&format!("{CHARACTER}+"));
    parts.iter().map(single).collect::<Vec<_>>().join(&format!("{CHARACTER_OR_SLASH}*"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn wildcards_stand_for_segments_and_more() {
        let matches = |template: &str, path: &str| {
            regex::Regex::new(&format!("^(?:{})$", super::regex(template).expect("valid")))
                .expect("valid")
                .is_match(path)
        };
        assert!(
            matches("/videos/*/*/*.m4s", "/videos/1/hls/a.m4s") && !matches("/videos/*/*/*.m4s", "/videos/1/a.m4s")
        );
        assert!(matches("/videos/{file}", "/videos/a.m4s") && !matches("/videos/{file}", "/videos/"));
        assert!(matches("/**.mpd", "/a/b/c.mpd") && !matches("/**.mpd", "/a/b/c.mp4"));
        assert!(matches("/{a=b/*}/c/{rest=**}", "/b/x/c/") && !matches("/{a=b/*}/c/{rest=**}", "/x/x/c/"));
        assert!(matches("/v{version}/x.json", "/v2/x.json") && !matches("/v{version}/x.json", "/v2/xyjson"));
        for bad in ["a/*", "/{a", "/a}", "/{a={b}}"] {
            assert!(super::regex(bad).is_err(), "{bad}");
        }
    }
}
