//! Calls with many answers, other than watching: one line of JSON for each.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use http_body::Frame;
use serde::Serialize;
use tokio::time::Sleep;
use tokio_stream::Stream as Answers;
use tokio_stream::StreamExt;

use super::answer;
use super::requests::Requests;
use super::routes::{Call, read};
use crate::pb::etcdserverpb::LeaseKeepAliveRequest;
use crate::rpc::EtcdError;
use crate::serve::body::{AppBody, Stream};
use crate::serve::rope::Rope;

type Line = Result<Vec<u8>, EtcdError>;

/// Renews leases: one line for each request, until the requests end.
pub(super) async fn keep_alive(call: Call) -> Result<Response<AppBody>, EtcdError> {
    let (node, caller, token) = (call.node.clone(), call.caller(), call.credentials.token.clone());
    let mut requests = Requests::new(call.request.into_body(), &node);
    let most = node.live.get().limits.message_bytes();
    let mut lines = Vec::new();
    loop {
        let request: LeaseKeepAliveRequest = match requests.next().await {
            Ok(Some(request)) => request,
            Ok(None) => break,
            // What came before it is answered.
            Err(_) if !lines.is_empty() => break,
            Err(error) => return Err(error),
        };
        let response = match node.answered_by("/etcdserverpb.Lease/LeaseKeepAlive")? {
            Some(upstream) => upstream.keep_alive(request, token.as_deref()).await?,
            None => node.lease_keep_alive(&caller, request).await?,
        };
        lines.extend(line(&response)?);
        if lines.len() > most {
            return Err(EtcdError::too_large());
        }
    }
    // Without a message there is nothing that gRPC has said.
    Ok(if lines.is_empty() { answer::json_text(StatusCode::OK, String::new()) } else { answer::message(lines) })
}

/// Follows an election.
pub(super) async fn observe(call: Call) -> Result<Response<AppBody>, EtcdError> {
    let (node, caller, deadline) = (call.node.clone(), call.caller(), call.deadline);
    let request = read(&node, call.request).await?;
    if let Some(upstream) = node.answered_by("/v3electionpb.Election/Observe")? {
        // The etcd says nothing before there is a leader.
        let answers = tokio::select! {
            answers = upstream.observe(request, call.credentials.token.as_deref()) => answers?,
            () = node.stopping.token.cancelled() => return Err(EtcdError::stopping()),
        };
        let lines = answers.map(|response| line(&response?));
        let lines = futures_util::StreamExt::take_until(lines, node.stopping.token.cancelled_owned());
        return Ok(respond(lines.chain(tokio_stream::once(Err(EtcdError::stopping()))), deadline));
    }
    let lines = node.observe(&caller, &request)?.map(|response| line(&response?));
    Ok(respond(lines, deadline))
}

/// Sends a snapshot of everything, in pieces.
pub(super) fn snapshot(call: &Call) -> Result<Response<AppBody>, EtcdError> {
    let pieces = call.node.snapshot_pieces(&call.caller())?;
    Ok(respond(tokio_stream::iter(pieces).map(|piece| line(&piece)), call.deadline))
}

fn respond(
    lines: impl Answers<Item = Line> + Send + 'static,
    deadline: Option<tokio::time::Instant>,
) -> Response<AppBody> {
    let deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
    answer::call(AppBody::stream(Lines { lines: Some(Box::pin(lines)), deadline }))
}

/// `{"result":…}` and a newline.
fn line(response: &impl Serialize) -> Line {
    let mut line = b"{\"result\":".to_vec();
    serde_json::to_writer(&mut line, response).map_err(EtcdError::malformed)?;
    line.extend_from_slice(b"}\n");
    Ok(line)
}

struct Lines {
    lines: Option<Pin<Box<dyn Answers<Item = Line> + Send>>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Stream for Lines {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame<Rope>>> {
        let Some(lines) = &mut self.lines else { return Poll::Ready(None) };
        let error = match lines.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(line))) => return Poll::Ready(Some(Frame::data(line.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => error,
            Poll::Pending => {
                let Some(deadline) = &mut self.deadline else { return Poll::Pending };
                std::task::ready!(deadline.as_mut().poll(cx));
                EtcdError::deadline()
            }
        };
        self.lines = None;
        Poll::Ready(Some(Frame::data(answer::stream_error(&error).into())))
    }
}
