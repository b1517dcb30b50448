//! The content of an `apisix.yaml`.

use serde_json::{Map, Value};

use crate::apisix::{Kind, Object, ObjectKey, schema};

/// What APISIX wants as the last line, so that it never reads half of a file.
const END: &str = "#END";

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The last line is missing.
    #[error("the last line is not #END: the file may be written only in part")]
    Unfinished,
    /// It is no YAML.
    #[error("{0}")]
    Yaml(String),
    /// A list that cannot be served.
    #[error("{name}: {reason}")]
    List {
        /// Name of the list.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An object that cannot be served.
    #[error("{name}, object {position}: {reason}")]
    Object {
        /// Name of the list.
        name: String,
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the objects of a file. All or nothing: half of a file is no state that anybody wanted.
pub fn read(content: &[u8]) -> Result<Vec<Object>, DocumentError> {
    let text = std::str::from_utf8(content).map_err(|error| DocumentError::Yaml(format!("not UTF-8: {error}")))?;
    if text.trim_end().lines().next_back().map(str::trim) != Some(END) {
        return Err(DocumentError::Unfinished);
    }
    let lists: Option<Map<String, Value>> =
        serde_saphyr::from_str(text).map_err(|error| DocumentError::Yaml(error.to_string()))?;
    let mut objects: Vec<Object> = Vec::new();
    for (name, list) in lists.unwrap_or_default() {
        let fail = |reason: &str| DocumentError::List { name: name.clone(), reason: reason.to_owned() };
        let kind =
            kind_of(&name).ok_or_else(|| fail("no such list; plugins are switched on in APISIX's config.yaml"))?;
        let list = match list {
            Value::Null => continue,
            Value::Array(list) => list,
            _ => return Err(fail("not a list")),
        };
        for (position, value) in list.into_iter().enumerate() {
            let fail = |reason| DocumentError::Object { name: name.clone(), position: position + 1, reason };
            let object = object(kind, position + 1, value).map_err(fail)?;
            if objects.iter().rev().take_while(|other| other.key.kind == kind).any(|other| other.key == object.key) {
                return Err(fail(format!("{:?} comes twice", object.key.id)));
            }
            objects.push(object);
        }
    }
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

/// The kind of a list, by the names of APISIX 3 and of 2.
fn kind_of(name: &str) -> Option<Kind> {
    match name {
        "ssl" => Some(Kind::Ssl),
        "proto" => Some(Kind::Proto),
        _ => Kind::ALL.into_iter().find(|kind| kind.directory() == name),
    }
}

fn object(kind: Kind, position: usize, value: Value) -> Result<Object, String> {
    let Value::Object(mut fields) = value else { return Err("not an object".into()) };
    let id = match fields.get(if kind == Kind::Consumer { "username" } else { "id" }) {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(_) => return Err("its id is neither text nor a number".into()),
        // APISIX numbers them as well.
        None if matches!(kind, Kind::Consumer | Kind::PluginMetadata | Kind::Secret) => {
            return Err("it has no name: username for consumers, id for others".into());
        }
        None => format!("unnamed-{position}"),
    };
    if !matches!(kind, Kind::Consumer | Kind::Secret) {
        fields.insert("id".into(), Value::from(id.clone()));
    }
    let value = serde_json::to_vec(&Value::Object(fields)).map_err(|error| error.to_string())?;
    if value.windows(3).any(|bytes| bytes == b"${{") {
        return Err("${{…}} is not replaced here; write the value".into());
    }
    let object = Object { key: ObjectKey::new(kind, id), value: value.into() };
    schema::check_foreign(&object)?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_standalone_apisix_reads() {
        let text = "
routes:
  - uri: /a
    upstream_id: 1
  - {id: r, uris: [/b*], plugins: {some-plugin: {x: 1}}}
upstreams:
  - {id: 1, type: roundrobin, nodes: {'127.0.0.1:1980': 1}}
consumers: [{username: jack, plugins: {key-auth: {key: k}}}]
ssl:
global_rules: []
#END
";
        let objects = read(text.as_bytes()).expect("good");
        let keys: Vec<_> = objects.iter().map(|object| object.key.etcd_key("/p")).collect();
        assert_eq!(keys, ["/p/upstreams/1", "/p/consumers/jack", "/p/routes/r", "/p/routes/unnamed-1"]);
        assert_eq!(objects[0].value, r#"{"id":"1","nodes":{"127.0.0.1:1980":1},"type":"roundrobin"}"#);
        assert_eq!(read(b"#END").map(|objects| objects.len()), Ok(0));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let is = |text: &str, expected: &str| {
            let error = read(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        };
        is("routes: []\n", "#END");
        is("routes: {a\n#END", "line");
        is("routers: []\n#END", "routers: no such list");
        is("plugins: [{name: x}]\n#END", "config.yaml");
        is("routes: 3\n#END", "routes: not a list");
        is("routes: [{uri: /}, 3]\n#END", "routes, object 2: not an object");
        is("routes: [{id: a, uri: /}, {id: a, uri: /b}]\n#END", "\"a\" comes twice");
        is("routes: [{id: 'a/b', uri: /}]\n#END", "id \"a/b\"");
        is("consumers: [{plugins: {}}]\n#END", "it has no name");
        is("routes: [{uri: /, vars: [[[a], '==', 1]]}]\n#END", "vars");
        is("routes: [{uri: '${{PATH}}'}]\n#END", "write the value");
    }
}
