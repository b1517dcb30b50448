//! Changes of headers, as the `headers` of APISIX's plugins.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use serde_json::{Value, json};

use super::report::Notes;

/// A change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is taken away.
    Remove(String),
    /// It gets a value.
    Put { name: String, value: String, how: How },
    /// It becomes something else than here, where it stays as it is; any header if this is a star.
    Other(String),
}

/// What becomes of the values that a header has when it gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// They go.
    Set,
    /// They stay, and if there are any the new one does not come.
    IfAbsent,
    /// They stay, beside the new one.
    Append,
}

impl Change {
    /// The header that is changed.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Put { name, .. } | Self::Other(name) => name,
        }
    }
}

/// Changes of the headers of requests and of responses, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) request: Vec<Change>,
    pub(super) response: Vec<Change>,
}

/// Which headers are changed, and the field that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) field: &'static str,
    pub(super) response: bool,
}

impl Of {
    /// What the configuration of routes says of requests.
    pub(super) const REQUEST: Self = Self { field: "request_headers_to_add", response: false };
    /// What the configuration of routes says of responses.
    pub(super) const RESPONSE: Self = Self { field: "response_headers_to_add", response: true };

    /// The changes of one level of configuration, where Envoy takes headers away first, and replaces before it adds.
    pub(super) fn level(self, add: &[HeaderValueOption], remove: &[String], notes: &mut Notes) -> Vec<Change> {
        let mut changes: Vec<_> = remove.iter().map(|name| Change::Remove(name.to_ascii_lowercase())).collect();
        let mut put: Vec<_> = add.iter().filter_map(|option| self.put(option, notes)).collect();
        put.sort_by_key(|change| match change {
            Change::Put { how, .. } => Some(*how),
            Change::Remove(_) | Change::Other(_) => None,
        });
        changes.append(&mut put);
        changes
    }

    /// One header that gets a value.
    pub(super) fn put(self, option: &HeaderValueOption, notes: &mut Notes) -> Option<Change> {
        let header = option.header.as_ref()?;
        let name = header.key.to_ascii_lowercase();
        let value = match value_of(&header.value, self.response) {
            Ok(value) if !value.is_empty() && !name.starts_with(':') && name != "host" => value,
            refused => {
                let reason = "an empty value, or a header that APISIX sets itself".to_owned();
                notes.not_expressible(self.field, &refused.err().unwrap_or(reason), "the header is left as it is");
                return Some(Change::Other(name));
            }
        };
        let how = how(option, self.field, notes);
        Some(Change::Put { name, value, how })
    }

    /// The `headers` of a plugin that makes these changes one after the other, or none if nothing is changed. APISIX
    /// adds, then sets, then removes.
    pub(super) fn headers<'a>(self, changes: impl IntoIterator<Item = &'a Change>, notes: &mut Notes) -> Option<Value> {
        let mut ends: BTreeMap<&str, End> = BTreeMap::new();
        for change in changes {
            let end = match change {
                Change::Other(_) => continue,
                Change::Remove(_) => End::Removed,
                Change::Put { value, how: How::Set, .. } => End::Set(value.clone()),
                Change::Put { name, value, how: How::IfAbsent } => match ends.remove(name.as_str()) {
                    Some(End::Removed) => End::Set(value.clone()),
                    Some(present) => present,
                    None => End::Set(self.or_own(name, value, notes)),
                },
                Change::Put { name, value, how: How::Append } => match ends.remove(name.as_str()) {
                    Some(End::Removed) => End::Set(value.clone()),
                    Some(End::Set(before)) => End::Set(self.joined(name, &before, value, notes)),
                    Some(End::Added(before)) => End::Added(self.joined(name, &before, value, notes)),
                    None if !self.response => End::Added(value.clone()),
                    None => {
                        let reason = "APISIX cannot add every value to a response";
                        notes.approximate(self.field, reason, "the header is replaced");
                        End::Set(value.clone())
                    }
                },
            };
            ends.insert(change.name(), end);
        }
        let mut headers = json!({});
        for (name, end) in ends {
            match end {
                End::Added(value) => headers["add"][name] = json!(value),
                End::Set(value) => headers["set"][name] = json!(value),
                End::Removed => match headers["remove"].as_array_mut() {
                    Some(names) => names.push(json!(name)),
                    None => headers["remove"] = json!([name]),
                },
            }
        }
        headers.as_object().is_some_and(|headers| !headers.is_empty()).then_some(headers)
    }

    /// The value that a header has, or else this one.
    fn or_own(self, name: &str, value: &str, notes: &mut Notes) -> String {
        let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        if !self.response && plain(name, "-") && plain(value, "-._/:=") {
            return format!("${{http_{} ?? {value}}}", name.replace('-', "_"));
        }
        notes.approximate(self.field, NOT_ASKED, "the header is set");
        value.to_owned()
    }

    /// Two values of one header.
    fn joined(self, name: &str, before: &str, value: &str, notes: &mut Notes) -> String {
        if name == "set-cookie" {
            notes.not_expressible(self.field, "APISIX gives a header one value", "only the last cookie is set");
            return value.to_owned();
        }
        notes.approximate(self.field, "APISIX gives a header one value", "values are joined by a comma");
        format!("{before},{value}")
    }
}

/// What becomes of a header.
enum End {
    /// It has this value beside those that it had.
    Added(String),
    Set(String),
    Removed,
}

/// Has the plugins of a route make changes; of requests only if they go on.
pub(super) fn change<'a>(
    plugins: &mut BTreeMap<&'static str, Value>,
    goes_on: bool,
    request: impl IntoIterator<Item = &'a Change>,
    response: impl IntoIterator<Item = &'a Change>,
    notes: &mut Notes,
) {
    if goes_on && let Some(headers) = Of::REQUEST.headers(request, notes) {
        plugins.entry("proxy-rewrite").or_insert_with(|| json!({}))["headers"] = headers;
    }
    if let Some(headers) = Of::RESPONSE.headers(response, notes) {
        plugins.insert("response-rewrite", json!({"headers": headers}));
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

/// Why a header is set that Envoy would leave.
const NOT_ASKED: &str = "APISIX does not look whether the header is there";

fn how(option: &HeaderValueOption, field: &str, notes: &mut Notes) -> How {
    #[expect(deprecated, reason = "control planes still send it")]
    if let Some(append) = option.append {
        return if append.value { How::Append } else { How::Set };
    }
    match option.append_action() {
        HeaderAppendAction::AppendIfExistsOrAdd => How::Append,
        HeaderAppendAction::OverwriteIfExistsOrAdd => How::Set,
        HeaderAppendAction::AddIfAbsent => How::IfAbsent,
        HeaderAppendAction::OverwriteIfExists => {
            notes.approximate(field, NOT_ASKED, "the header is set");
            How::Set
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
    use crate::envoy::ResourceType;

    #[test]
    fn changes_one_after_the_other_become_one() {
        let with = |name: &str, value: &str, how| Change::Put { name: name.into(), value: value.into(), how };
        let put = |name: &str, value: &str, append| with(name, value, if append { How::Append } else { How::Set });
        let absent = |value: &str| with("x-a", value, How::IfAbsent);
        let remove = |name: &str| Change::Remove(name.into());
        let check = |changes: &[Change], response: bool, expected: Value, said: usize| {
            let mut notes = Notes::of(ResourceType::Route, "r");
            let of = if response { Of::RESPONSE } else { Of::REQUEST };
            let headers = of.headers(changes, &mut notes).unwrap_or_default();
            assert_eq!((headers, notes.entries().len()), (expected, said), "{changes:?}");
        };
        check(&[], false, Value::Null, 0);
        check(&[Change::Other("a".into())], false, Value::Null, 0);
        check(&[put("a", "1", true), put("b", "2", false)], false, json!({"add": {"a": "1"}, "set": {"b": "2"}}), 0);
        check(&[put("a", "1", true), put("a", "2", false)], false, json!({"set": {"a": "2"}}), 0);
        check(&[put("a", "1", false), put("a", "2", true)], false, json!({"set": {"a": "1,2"}}), 1);
        check(&[put("a", "1", true), put("a", "2", true)], false, json!({"add": {"a": "1,2"}}), 1);
        check(&[remove("b"), put("b", "1", true), remove("a")], false, json!({"set": {"b": "1"}, "remove": ["a"]}), 0);
        check(&[put("b", "1", true), remove("b"), remove("a")], false, json!({"remove": ["a", "b"]}), 0);
        let own = json!({"set": {"x-a": "${http_x_a ?? 1}"}});
        check(&[absent("1")], false, own, 0);
        check(&[absent("$x")], false, json!({"set": {"x-a": "$x"}}), 1);
        check(&[absent("1")], true, json!({"set": {"x-a": "1"}}), 1);
        check(&[put("x-a", "0", false), absent("1")], false, json!({"set": {"x-a": "0"}}), 0);
        check(&[put("x-a", "0", true), absent("1")], false, json!({"add": {"x-a": "0"}}), 0);
        check(&[remove("x-a"), absent("1")], false, json!({"set": {"x-a": "1"}}), 0);
        check(&[put("a", "1", true)], true, json!({"set": {"a": "1"}}), 1);
        let cookies = [put("set-cookie", "1", false), put("set-cookie", "2", true)];
        check(&cookies, true, json!({"set": {"set-cookie": "2"}}), 1);
    }

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
