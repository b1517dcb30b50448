//! APISIX's configuration objects: their kinds, where they live in etcd, and the rules they must satisfy.
//!
//! Knows nothing of Envoy, of the store or of any I/O.

pub mod expr;
pub mod generation;
#[cfg(any(test, feature = "testing"))]
pub mod matching;
pub mod object;
pub mod placeholders;
pub mod references;
pub mod route;
pub mod schema;
pub mod ssl;
pub mod stream_route;
pub mod upstream;

pub use expr::Expr;
pub use generation::Generation;
pub use object::{Kind, Object, ObjectKey};
pub use references::references;
pub use route::Route;
pub use ssl::Ssl;
pub use stream_route::StreamRoute;
pub use upstream::{Node, Upstream};
