//! Watching over the gateway.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Frame;
use tokio::time::Sleep;

use super::answer;
use super::push::Push;
use super::requests::Requests;
use super::routes::Call;
use crate::auth::Credentials;
use crate::pb::etcdserverpb::WatchRequest;
use crate::rpc::ending::Ending;
use crate::rpc::watch::Watching;
use crate::rpc::{EtcdError, Node};
use crate::serve::body::{AppBody, Stream};
use crate::serve::rope::Rope;
use crate::serve::takeover::Takeover;
use crate::telemetry::calls;
use crate::watch::{Message, Protocol};
use crate::wire::Identity;

/// Starts a watch stream. Errors up to the first request are answered with an HTTP status, on which APISIX pauses,
/// while it comes back at once after a stream that ended.
pub(super) async fn watch(mut call: Call) -> Result<Response<AppBody>, EtcdError> {
    let counted = call.counted.take();
    let (head, body) = call.request.into_parts();
    let takeover = head.extensions.get::<Takeover>().cloned();
    let mut requests = Requests::new(body, &call.node);
    let (watching, counted) = match open(&call.node, call.credentials, &head.extensions, &mut requests).await {
        Ok(watching) => (watching, counted),
        Err(error) => {
            if let Some(counted) = counted {
                counted.end(error.code());
            }
            return Err(error);
        }
    };
    // Nearly every client has said with its first request all that it will say.
    if let Some(takeover) = takeover.filter(|_| call.deadline.is_none() && requests.is_over()) {
        let push = Push::new(watching.session, counted, &call.node);
        match takeover.take(move |socket| Box::pin(push.run(socket))).await {}
    }
    Ok(answer::call(AppBody::stream(WatchBody {
        requests: Some(requests),
        watching,
        counted,
        identity: call.node.identity(),
        ending: call.node.stopping.ending(),
        deadline: call.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
        ended: false,
    })))
}

/// The stream of the first request.
async fn open(
    node: &Node,
    credentials: Credentials,
    extensions: &http::Extensions,
    requests: &mut Requests,
) -> Result<Watching, EtcdError> {
    node.read()?;
    let first: WatchRequest = requests.next().await?.ok_or_else(|| EtcdError::malformed("no watch request"))?;
    let mut watching = Watching::new(node, Protocol::Gateway, credentials, extensions)?;
    watching.apply(first);
    Ok(watching)
}

struct WatchBody {
    /// None once the client has said all it wants to say, which does not end the watch.
    requests: Option<Requests>,
    watching: Watching,
    counted: Option<calls::Call>,
    identity: Identity,
    ending: Ending,
    deadline: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl WatchBody {
    /// Reads requests until there is an answer to be sent or nothing more to read.
    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        while !self.watching.session.has_answers()
            && let Some(requests) = &mut self.requests
        {
            match requests.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(Some(request))) => self.watching.apply(request),
                // After a request that cannot be read etcd reads no more and the watch lives on.
                Poll::Ready(Ok(None) | Err(_)) => self.requests = None,
            }
        }
    }

    /// Whether the stream is over, and why.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<EtcdError> {
        if self.ending.poll(cx).is_ready() {
            return Some(EtcdError::stopping());
        }
        let deadline = self.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then(EtcdError::deadline)
    }
}

impl Stream for WatchBody {
    /// One message and its newline are one piece, and so one HTTP chunk: old clients read no other framing.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame<Rope>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(error) = self.poll_end(cx) {
            self.ended = true;
            if let Some(counted) = &mut self.counted {
                counted.note(error.code());
            }
            return Poll::Ready(Some(Frame::data(answer::stream_error(&error).into())));
        }
        self.poll_requests(cx);
        let message: Message = std::task::ready!(self.watching.session.poll_next(cx));
        let line: Rope = message.json_chunk(&self.identity).line().into();
        self.watching.session.sent(line.len());
        Poll::Ready(Some(Frame::data(line)))
    }
}
