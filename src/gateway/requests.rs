//! The requests of a call that goes on, as they come in.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::json::Messages;
use crate::rpc::{EtcdError, Node};
use crate::serve::request::RequestBody;

/// The requests in the body of one HTTP request.
pub(super) struct Requests {
    body: RequestBody,
    messages: Messages,
}

impl Requests {
    pub(super) fn new(body: RequestBody, node: &Node) -> Self {
        let limits = node.live.get().limits;
        let messages = Messages::new(limits.message_bytes(), limits.json_depth).counted(&node.memory);
        Self { body: body.uncounted(), messages }
    }

    /// Whether all has been read and taken.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream() && self.messages.is_empty()
    }

    /// The next request; none when there are no more.
    pub(super) async fn next<T: DeserializeOwned + Default>(&mut self) -> Result<Option<T>, EtcdError> {
        loop {
            if let Some(request) = self.messages.take()? {
                return Ok(Some(request));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.messages.feed(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(EtcdError::malformed(error)),
                None => return self.messages.finish(),
            }
        }
    }

    /// As [`next`](Self::next), for a body that is being polled.
    pub(super) fn poll_next<T: DeserializeOwned + Default>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<T>, EtcdError>> {
        loop {
            if let Some(request) = self.messages.take()? {
                return Poll::Ready(Ok(Some(request)));
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.messages.feed(frame.data_ref().map_or(&[], |data| data)),
                // An error of the connection ends the response as well.
                None | Some(Err(_)) => return Poll::Ready(Ok(None)),
            }
        }
    }
}
