//! `envoy.filters.http.grpc_json_transcoder`: requests in JSON become calls of gRPC.
//!
//! APISIX's `grpc-transcode` makes other calls of them: it fills a message only with what a body of `application/json`, or
//! else the query, has under the very names of the definition. It leaves out without a word the names that JSON has for
//! these, variables of the path and parameters for fields inside of others, and takes bytes, maps and types like
//! `Timestamp` for what they are not in JSON; and without its definition it lets a request pass as it came. So what Envoy
//! would transcode is answered by the gateway, rather than by a backend that takes it for another call or for none.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3::GrpcJsonTranscoder;
use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3::grpc_json_transcoder::DescriptorSet;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ReflectMessage, Value};

use super::{Branch, Effect, Plugins};
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};
use crate::translate::filters::Filter;
use crate::translate::matchers;
use crate::translate::report::Notes;

/// The field of which the notes are.
const FIELD: &str = "grpc_json_transcoder";

/// The option of a method that says which requests are for it.
const OPTION: &str = "google.api.http";

/// How a binding is answered.
const BODY: &str = "requests in JSON for this method are not made calls of gRPC here\n";

/// Methods of HTTP with the templates of the paths that are for a method of gRPC; `*` for any method.
type Bindings = BTreeMap<String, Vec<String>>;

/// What the filter does; none if it cannot be told for which requests it is.
pub(in crate::translate) fn take(filter: &GrpcJsonTranscoder, notes: &mut Notes) -> Option<Filter> {
    if filter.services.is_empty() {
        return Some(Filter::Off);
    }
    match bindings(filter).and_then(|bindings| condition(&bindings)) {
        Ok(bound) => {
            let reason = "APISIX makes other calls of JSON than Envoy";
            notes.not_expressible(
                FIELD,
                reason,
                "what Envoy would transcode is answered 501, or 404 where no route is for it as it came",
            );
            let call = Expr::is("http_content_type", Op::Matches, "^application/grpc");
            let bound = Expr::All(vec![call.negated(), bound]);
            Some(Filter::Does(Effect::of([Branch::answer_if(bound, 501, BODY), Branch::pass(Plugins::new())])))
        }
        Err(reason) => {
            notes.not_expressible(FIELD, &reason, "requests in JSON pass as they are");
            None
        }
    }
}

/// For which requests the filter is. The error says why that is not known.
fn bindings(filter: &GrpcJsonTranscoder) -> Result<Bindings, String> {
    let set = match &filter.descriptor_set {
        Some(DescriptorSet::ProtoDescriptorBin(set)) => set,
        Some(DescriptorSet::ProtoDescriptor(_)) => {
            return Err("the definition of its services is a file beside Envoy".into());
        }
        None => return Err("it has no definition of its services".into()),
    };
    let pool =
        DescriptorPool::decode(set.as_slice()).map_err(|error| format!("the definition is not valid: {error}"))?;
    let mut bindings = Bindings::new();
    for name in &filter.services {
        let service = pool.get_service_by_name(name).ok_or_else(|| format!("the definition has no service {name}"))?;
        for method in service.methods() {
            match rule(&method) {
                Some(rule) => of_rule(&rule, &mut bindings),
                None if filter.auto_mapping => {
                    let path = format!("/{name}/{}", method.name());
                    bindings.entry("POST".into()).or_default().push(path);
                }
                None => {}
            }
        }
    }
    Ok(bindings)
}

/// What a method's option says, if it has one.
fn rule(method: &MethodDescriptor) -> Option<DynamicMessage> {
    let option = method.parent_pool().get_extension_by_name(OPTION)?;
    let options = method.options();
    if !options.has_extension(&option) {
        return None;
    }
    options.get_extension(&option).as_message().cloned()
}

fn of_rule(rule: &DynamicMessage, bindings: &mut Bindings) {
    for field in rule.descriptor().fields().filter(|field| rule.has_field(field)) {
        match (field.name(), rule.get_field(&field).as_ref()) {
            ("get" | "put" | "post" | "delete" | "patch", Value::String(path)) => {
                bindings.entry(field.name().to_ascii_uppercase()).or_default().push(path.clone());
            }
            ("custom", Value::Message(custom)) => {
                let text = |name: &str| {
                    custom
                        .get_field_by_name(name)
                        .and_then(|value| value.as_str().map(str::to_owned))
                        .unwrap_or_default()
                };
                bindings.entry(text("kind")).or_default().push(text("path"));
            }
            // They have no further ones inside.
            ("additional_bindings", Value::List(more)) => {
                more.iter().filter_map(Value::as_message).for_each(|rule| of_rule(rule, bindings));
            }
            _ => {}
        }
    }
}

/// The condition that a request is for a method of gRPC.
fn condition(bindings: &Bindings) -> Result<Expr, String> {
    let read =
        |template: &String| Template::read(template).ok_or_else(|| format!("the path {template:?} is not valid"));
    let mut read_all = BTreeMap::new();
    for (method, templates) in bindings {
        read_all.insert(method, templates.iter().map(read).collect::<Result<Vec<_>, _>>()?);
    }
    let verbs: BTreeSet<_> = read_all.values().flatten().filter_map(|template| template.verb.as_deref()).collect();
    let verbs = verbs.into_iter().map(expr::literal).collect::<Vec<_>>().join("|");
    let mut any = Vec::new();
    for (method, templates) in read_all {
        let path = |with_verb: bool| {
            let some = templates.iter().filter(|template| template.verb.is_some() == with_verb);
            let some: Vec<_> = some.map(Template::regex).collect();
            (!some.is_empty()).then(|| sent(&some.join("|"))).transpose()
        };
        let mut paths: Vec<_> = path(true)?.into_iter().collect();
        if let Some(plain) = path(false)? {
            // What is a verb somewhere is never a part of a segment.
            let ends = (!verbs.is_empty()).then(|| sent(&format!("[^?]*:(?:{verbs})"))).transpose()?;
            paths.push(Expr::All([plain].into_iter().chain(ends.map(Expr::negated)).collect()));
        }
        let path = Expr::Any(paths);
        any.push(match method.as_str() {
            "*" => path,
            method => Expr::All(vec![Expr::is("request_method", Op::Eq, method), path]),
        });
    }
    Ok(Expr::Any(any))
}

/// The condition that a path is like this, as it was sent.
fn sent(path: &str) -> Result<Expr, String> {
    let whole = matchers::full_match(&format!("(?:{path})(?:[?](?s:.*))?"))?;
    Ok(Expr::is("real_request_uri", Op::Matches, whole))
}

/// A template of paths.
#[derive(Debug)]
struct Template {
    /// Segments: a star stands for one, two of them for any number, and all else for itself.
    segments: Vec<String>,
    /// What follows a colon at the end.
    verb: Option<String>,
}

impl Template {
    /// Reads a template; none if it is not valid.
    fn read(template: &str) -> Option<Self> {
        let mut flat = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (variable, after) = after.split_once('}')?;
            flat.push_str(before);
            flat.push_str(variable.split_once('=').map_or("*", |(_, segments)| segments));
            rest = after;
        }
        flat.push_str(rest);
        let path = flat.strip_prefix('/')?;
        let (path, verb) = match path.rsplit_once(':') {
            Some((path, verb)) if !verb.contains('/') => (path, Some(verb.to_owned())),
            _ => (path, None),
        };
        Some(Self { segments: path.split('/').map(str::to_owned).collect(), verb })
    }

    /// A regular expression for its paths. Slashes at the end do not matter.
    fn regex(&self) -> String {
        let segment = |segment: &String| match segment.as_str() {
            "*" => "/[^/?]+".to_owned(),
            "**" => "(?:/[^?]*)?".to_owned(),
            literal => format!("/{}", expr::literal(literal)),
        };
        let path: String = self.segments.iter().map(segment).collect();
        match &self.verb {
            Some(verb) => format!("{path}:{}/*", expr::literal(verb)),
            None => format!("{path}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_stand_for_paths() {
        for (template, fits, others) in [
            (
                "/v1/shelves",
                &["/v1/shelves", "/v1/shelves/"][..],
                &["/v1/shelves/1", "/v1/shelvesx", "/x/v1/shelves"][..],
            ),
            ("/v1/{id}/x", &["/v1/a:b/x", "/v1/a%2Fb/x"], &["/v1/x", "/v1/a/b/x"]),
            ("/v1/{name=shelves/*}/b", &["/v1/shelves/1/b"], &["/v1/other/1/b"]),
            ("/v1/{rest=**}", &["/v1/", "/v1", "/v1/a/b"], &["/v1x"]),
            ("/v1/{name=a/*}:go", &["/v1/a/1:go"], &["/v1/a/1", "/v1/a/1:gone"]),
            ("/a.b/*", &["/a.b/c"], &["/axb/c"]),
        ] {
            let regex = Template::read(template).expect("valid").regex();
            let regex = regex::Regex::new(&format!("^(?:{regex})$")).expect("valid");
            assert!(fits.iter().all(|path| regex.is_match(path)), "{template}");
            assert!(!others.iter().any(|path| regex.is_match(path)), "{template}");
        }
        for wrong in ["v1", "/v1/{a", ""] {
            assert!(Template::read(wrong).is_none(), "{wrong}");
        }
    }
}
