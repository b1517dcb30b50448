//! Streams of the gateway: watch, and the renewal of leases.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::answer;
use super::json::Messages;
use crate::pb::etcdserverpb::{LeaseKeepAliveRequest, WatchRequest};
use crate::rpc::node::MAX_MESSAGE;
use crate::rpc::watch::apply;
use crate::rpc::{EtcdError, Node};
use crate::serve::body::{AppBody, Stream};
use crate::serve::rope::Rope;
use crate::watch::{Message, Session};
use crate::wire::Identity;

/// Starts a watch stream. Errors up to the first request are answered with an HTTP status, on which APISIX pauses,
/// while it comes back at once after a stream that ended.
pub async fn watch(node: &Node, request: Request<Incoming>) -> Result<Response<AppBody>, EtcdError> {
    node.read()?;
    let mut requests = Requests::new(request.into_body());
    let first: WatchRequest = requests.next().await?.ok_or_else(|| EtcdError::malformed("no watch request"))?;
    let mut session = node.hub.session();
    apply(&mut session, first);
    Ok(answer::call(AppBody::stream(WatchBody {
        requests: Some(requests),
        session,
        identity: node.identity,
        stopping: Box::pin(node.stopping.clone().cancelled_owned()),
        ended: false,
    })))
}

/// Renews leases: one line for each request, until the requests end.
pub async fn keep_alive(node: &Node, request: Request<Incoming>) -> Result<Response<AppBody>, EtcdError> {
    let mut requests = Requests::new(request.into_body());
    let mut lines = Vec::new();
    while let Some(request) = requests.next::<LeaseKeepAliveRequest>().await? {
        let response = node.lease_keep_alive(request).await?;
        lines.extend_from_slice(b"{\"result\":");
        serde_json::to_writer(&mut lines, &response).map_err(EtcdError::malformed)?;
        lines.extend_from_slice(b"}\n");
        if lines.len() > MAX_MESSAGE {
            return Err(EtcdError::too_large());
        }
    }
    Ok(answer::message(lines))
}

/// The requests of a stream as they come in.
struct Requests {
    body: Incoming,
    messages: Messages,
}

impl Requests {
    fn new(body: Incoming) -> Self {
        Self { body, messages: Messages::new(MAX_MESSAGE) }
    }

    /// The next request; none when there are no more.
    async fn next<T: serde::de::DeserializeOwned + Default>(&mut self) -> Result<Option<T>, EtcdError> {
        loop {
            if let Some(request) = self.messages.take()? {
                return Ok(Some(request));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.messages.feed(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(EtcdError::malformed(error)),
                None => return Ok(None),
            }
        }
    }

    /// As [`next`](Self::next), for a body that is being polled.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<WatchRequest>, EtcdError>> {
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

struct WatchBody {
    /// None once the client has said all it wants to say, which does not end the watch.
    requests: Option<Requests>,
    session: Session,
    identity: Identity,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl WatchBody {
    /// Reads requests until there is an answer to be sent or nothing more to read.
    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        while !self.session.has_answers()
            && let Some(requests) = &mut self.requests
        {
            match requests.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(Some(request))) => apply(&mut self.session, request),
                // After a request that cannot be read etcd reads no more and the watch lives on.
                Poll::Ready(Ok(None) | Err(_)) => self.requests = None,
            }
        }
    }
}

impl Stream for WatchBody {
    /// One message and its newline are one piece, and so one HTTP chunk: old clients read no other framing.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame<Rope>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stopping.as_mut().poll(cx).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Frame::data(answer::stream_error(&EtcdError::stopping()).into())));
        }
        self.poll_requests(cx);
        let message: Message = std::task::ready!(self.session.poll_next(cx));
        Poll::Ready(Some(Frame::data(message.json_line(&self.identity).into())))
    }
}
