//! Messages inside `google.protobuf.Any`.

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

/// A message of a type that the sender knows and Envoy does not, as a tree of values.
#[derive(Clone, PartialEq, Message)]
struct TypedStruct {
    /// The type that it stands for.
    #[prost(string, tag = "1")]
    type_url: String,
}

/// Type of the message that stands for one of a type that nobody here knows, in either of its two names.
const TYPED_STRUCTS: [&str; 2] = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];

/// The message in `any`, if it is a `T` that can be read.
pub fn unpack<T: Message + Name + Default>(any: &Any) -> Option<T> {
    (type_name(&any.type_url) == T::full_name()).then(|| T::decode(any.value.as_slice()).ok()).flatten()
}

/// Full name of the type of the message in `any`; for a `TypedStruct`, of the type that it stands for.
pub fn type_of(any: &Any) -> String {
    let name = type_name(&any.type_url);
    if TYPED_STRUCTS.contains(&name)
        && let Ok(inner) = TypedStruct::decode(any.value.as_slice())
    {
        return type_name(&inner.type_url).to_owned();
    }
    name.to_owned()
}

/// The name behind the last slash of a type URL.
fn type_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}
