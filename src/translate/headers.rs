//! Changes of headers, as the `headers` of APISIX's plugins.

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use serde_json::{Map, Value, json};

use super::report::Notes;

/// Changes of the headers of a request or a response, from the innermost level of configuration to the outermost.
#[derive(Clone, Debug, Default)]
pub(super) struct Mutation<'a> {
    levels: Vec<(&'a [HeaderValueOption], &'a [String])>,
}

impl<'a> Mutation<'a> {
    /// Adds what a level further out does.
    pub(super) fn level(&mut self, add: &'a [HeaderValueOption], remove: &'a [String]) {
        self.levels.push((add, remove));
    }

    /// Lets the innermost level have the last word.
    pub(super) fn reverse(&mut self) {
        self.levels.reverse();
    }

    /// The `headers` of a plugin, or none if nothing is changed. APISIX adds, then sets, then removes, while Envoy
    /// removes first and lets the outer level have the last word.
    pub(super) fn headers(&self, field: &str, response: bool, notes: &mut Notes) -> Option<Value> {
        let mut add = Map::new();
        let mut set = Map::new();
        let mut remove = Vec::new();
        for (options, removed) in &self.levels {
            for name in *removed {
                let name = name.to_ascii_lowercase();
                add.remove(&name);
                set.remove(&name);
                if !remove.contains(&name) {
                    remove.push(name);
                }
            }
            for option in *options {
                let Some(header) = &option.header else { continue };
                let name = header.key.to_ascii_lowercase();
                let value = match value_of(&header.value, response) {
                    Ok(value) => value,
                    Err(reason) => {
                        notes.not_expressible(field, &reason, "the header is left as it is");
                        continue;
                    }
                };
                if value.is_empty() || name.starts_with(':') || name == "host" {
                    notes.not_expressible(
                        field,
                        "an empty value, or a header that APISIX sets itself",
                        "the header is left as it is",
                    );
                    continue;
                }
                let was_removed = remove.iter().position(|other| *other == name).map(|at| remove.remove(at)).is_some();
                if appends(option, field, notes) && !was_removed && !response {
                    add.insert(name, json!(value));
                } else {
                    if appends(option, field, notes) && response && !was_removed {
                        notes.approximate(
                            field,
                            "APISIX cannot add every value to a response",
                            "the header is replaced",
                        );
                    }
                    add.remove(&name);
                    set.insert(name, json!(value));
                }
            }
        }
        let mut headers = Map::new();
        if !add.is_empty() {
            headers.insert("add".into(), Value::Object(add));
        }
        if !set.is_empty() {
            headers.insert("set".into(), Value::Object(set));
        }
        if !remove.is_empty() {
            remove.sort();
            headers.insert("remove".into(), json!(remove));
        }
        (!headers.is_empty()).then_some(Value::Object(headers))
    }
}

/// Has a `proxy-rewrite` also remove the headers that another one removes.
pub(super) fn also_remove(plugin: &mut Value, other: &Value) {
    let more = other["headers"]["remove"].as_array().cloned().unwrap_or_default();
    let is_changed = |headers: &Value, name: &Value| {
        let named = name.as_str().unwrap_or_default();
        ["add", "set"].iter().any(|how| headers[how].get(named).is_some())
    };
    for name in more {
        // What the route puts there comes after the filter that takes it away.
        if is_changed(&plugin["headers"], &name) {
            continue;
        }
        match plugin["headers"]["remove"].as_array_mut() {
            Some(names) if names.contains(&name) => {}
            Some(names) => names.push(name),
            None => plugin["headers"]["remove"] = json!([name]),
        }
    }
}

fn appends(option: &HeaderValueOption, field: &str, notes: &mut Notes) -> bool {
    #[expect(deprecated, reason = "control planes still send it")]
    if let Some(append) = option.append {
        return append.value;
    }
    match option.append_action() {
        HeaderAppendAction::AppendIfExistsOrAdd => true,
        HeaderAppendAction::OverwriteIfExistsOrAdd => false,
        HeaderAppendAction::AddIfAbsent | HeaderAppendAction::OverwriteIfExists => {
            notes.approximate(field, "APISIX does not look whether the header is there", "the header is set");
            false
        }
    }
}

/// A value as APISIX must be given it. The error says what of Envoy's substitutions has no equal.
fn value_of(text: &str, response: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(&literal(before));
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (operator, after) = after.split_once('%').ok_or_else(|| format!("a lone percent sign in {text:?}"))?;
        let variable = variable(operator, response).ok_or_else(|| format!("APISIX has no %{operator}%"))?;
        // The name of a variable goes on as far as it can.
        if after.starts_with(|next: char| next.is_ascii_alphanumeric() || "_.".contains(next)) {
            return Err(format!("what follows %{operator}% would be read as a part of the variable's name"));
        }
        if out.ends_with('$') {
            return Err(format!("a dollar sign before %{operator}%"));
        }
        out.push('$');
        out.push_str(&variable);
        rest = after;
    }
    out.push_str(&literal(rest));
    Ok(out)
}

/// The variable of APISIX for an operator of Envoy. One that is not there is empty in both.
fn variable(operator: &str, response: bool) -> Option<String> {
    let named = match operator {
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => "remote_addr",
        "DOWNSTREAM_REMOTE_PORT" | "DOWNSTREAM_DIRECT_REMOTE_PORT" => "remote_port",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => "server_addr",
        "DOWNSTREAM_LOCAL_PORT" => "server_port",
        "DOWNSTREAM_TLS_VERSION" => "ssl_protocol",
        "REQUESTED_SERVER_NAME" => "ssl_server_name",
        "HOSTNAME" => "hostname",
        "RESPONSE_CODE" if response => "status",
        _ => {
            let header = operator.strip_prefix("REQ(")?.strip_suffix(')')?.to_ascii_lowercase();
            let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            return match header.as_str() {
                ":method" => Some("request_method".into()),
                ":authority" | "host" => Some("http_host".into()),
                ":path" => Some("real_request_uri".into()),
                ":scheme" => Some("scheme".into()),
                name if !name.is_empty() && plain(name) => Some(format!("http_{}", name.replace('-', "_"))),
                _ => None,
            };
        }
    };
    Some(named.to_owned())
}

/// Text in which APISIX finds no variable.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let begins_a_name = |c: &char| c.is_ascii_alphanumeric() || "_.{".contains(*c);
        if c == '$' && rest.peek().is_some_and(begins_a_name) {
            // The default of a variable that never exists.
            out.push_str("${nil ?? $}");
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_envoy_puts_into_values_is_a_variable_where_there_is_one() {
        let is = |text: &str, expected: &str| assert_eq!(value_of(text, false).as_deref(), Ok(expected), "{text}");
        is("plain 50%%", "plain 50%");
        is("%REQ(X-User)%", "$http_x_user");
        is("a=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%; b=%REQ(:METHOD)%", "a=$remote_addr; b=$request_method");
        is("$x%%y", "${nil ?? $}x%y");
        for text in
            ["%REQ(X?Y)%", "%START_TIME%", "%", "%REQ(x)%1", "%RESPONSE_CODE%", "%REQ(a b)%", "%REQ(x):5%", "$%REQ(x)%"]
        {
            assert!(value_of(text, false).is_err(), "{text}");
        }
        assert_eq!(value_of("%RESPONSE_CODE%", true).as_deref(), Ok("$status"));
    }
}
