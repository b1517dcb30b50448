//! Taking a connection of HTTP/1.1 out of hyper's hands.
//!
//! A watch stream has one request and an answer that never ends, so that nothing is left for an HTTP library to do once
//! the request has been read. What it would cost, for each stream, is two buffers and the state of a parser; and for
//! each event a look at the socket, a body to be asked and a vectored write of four parts. Without it, an event is one
//! write of bytes that all streams share.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use super::socket::Socket;

/// What goes on with a connection after it was taken over, until the connection ends.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes the task.
type Make = Box<dyn FnOnce(Socket) -> Task + Send>;

/// Where a handler says that it takes the connection over. In the extensions of every request that could be its
/// connection's last.
#[derive(Clone, Default)]
pub struct Takeover(Arc<Mutex<Option<Make>>>);

impl std::fmt::Debug for Takeover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Takeover")
    }
}

impl Takeover {
    /// Takes the connection over: `make` gets the socket, on which nothing has been answered yet.
    ///
    /// Never returns. The caller must have read the whole request.
    pub async fn take(self, make: impl FnOnce(Socket) -> Task + Send + 'static) -> std::convert::Infallible {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(make));
        // The connection looks here after it has polled the handler, and then drops it.
        std::future::pending().await
    }

    pub(super) fn taken(&self) -> Option<Make> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
