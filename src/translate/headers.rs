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
                let Some(value) = value_of(&header.value) else {
                    notes.not_expressible(
                        field,
                        "a value made of the request or response",
                        "the header is left as it is",
                    );
                    continue;
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

/// A value as APISIX must be given it. None for one with Envoy's substitutions.
fn value_of(text: &str) -> Option<String> {
    let plain = text.replace("%%", "\u{0}");
    (!plain.contains('%')).then(|| literal(&plain.replace('\u{0}', "%")))
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
