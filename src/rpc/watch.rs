//! The Watch service over gRPC: a body that reads requests and writes events, without a task or a buffer of its own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use prost::Message as _;

use super::ending::Ending;
use super::node::{Node, credentials};
use super::router::WATCH;
use super::status::EtcdError;
use crate::auth::{Auth, Credentials, Standing};
use crate::config::live::Live;
use crate::pb::etcdserverpb::watch_create_request::FilterType;
use crate::pb::etcdserverpb::watch_request::RequestUnion;
use crate::pb::etcdserverpb::{WatchCreateRequest, WatchRequest};
use crate::serve::body::{AppBody, Stream};
use crate::serve::grpc::{self, Messages};
use crate::serve::request::RequestBody;
use crate::serve::rope::Rope;
use crate::serve::streams::{Place, Streams};
use crate::store::KeyRange;
use crate::telemetry::calls::Call;
use crate::telemetry::serve as limits;
use crate::upstream::{MIRROR, Upstream};
use crate::watch::{Create, DENIED, Message, Permit, Protocol, Session, WatchId};
use crate::wire::Identity;

/// Messages are packed into one piece up to about this many bytes, so that a stream with many events needs few writes.
const PACK: usize = 16 << 10;

/// Starts a watch stream.
pub fn watch(node: &Node, request: Request<RequestBody>) -> Response<AppBody> {
    let call = Call::start(WATCH);
    let whose = credentials(request.headers(), request.extensions());
    let opened = node.read().and_then(|_| Watching::new(node, Protocol::Grpc, whose, request.extensions()));
    let mut watching = match opened {
        Ok(watching) => watching,
        Err(error) => {
            call.end(error.code());
            return grpc::error(&error);
        }
    };
    if request.headers().contains_key(MIRROR) {
        watching.session.be_exact();
    }
    grpc::answer(AppBody::stream(WatchBody {
        messages: Messages::new(node.live.get().limits.message_bytes()).counted(&node.memory),
        watching,
        requests: Some(request.into_body().uncounted()),
        identity: node.identity(),
        ending: node.stopping.ending(),
        head: Vec::new(),
        call,
        ended: false,
    }))
}

/// Why a watcher is refused at a mirror that does not keep all of its range.
const NOT_KEPT: &str = "rpc error: code = InvalidArgument desc = confcast: this mirror has only the keys below its \
                        --upstream-prefix; the etcd has the others";

/// Why a watcher is refused where there are too many.
const TOO_MANY: &str = "confcast: too many watchers on one stream";

impl Permit for Standing {
    fn has_changed(&mut self) -> bool {
        Standing::has_changed(self)
    }

    fn covers(&self, range: &KeyRange) -> bool {
        self.may_read(range)
    }
}

/// A watch stream and who has opened it.
#[derive(Debug)]
pub struct Watching {
    /// The stream.
    pub session: Session,
    auth: Auth,
    upstream: Option<Upstream>,
    credentials: Credentials,
    /// Has the number of watchers that it may have.
    live: Live,
    _place: Option<Place>,
}

impl Watching {
    /// A stream without watchers, unless its connection has too many streams.
    pub fn new(
        node: &Node,
        protocol: Protocol,
        credentials: Credentials,
        extensions: &http::Extensions,
    ) -> Result<Self, EtcdError> {
        let place = match extensions.get::<Streams>() {
            None => None,
            Some(streams) => Some(streams.enter().ok_or_else(|| {
                limits::refused(limits::OF_STREAMS);
                EtcdError::too_many("watch streams on one connection")
            })?),
        };
        let client = credentials.peer.as_ref().map(|peer| peer.address);
        let mut session = node.hub.session_of(protocol, client);
        if let Some(standing) = node.auth.standing(&credentials) {
            session.hold_to(Box::new(standing));
        }
        let (auth, upstream, live) = (node.auth.clone(), node.upstream.clone(), node.live.clone());
        Ok(Self { session, auth, upstream, credentials, live, _place: place })
    }

    /// Does what a request asks for.
    pub fn apply(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => self.session.cancel(WatchId(cancel.watch_id)),
            Some(RequestUnion::ProgressRequest(_)) => self.session.request_progress(),
            // etcd ignores what it does not know.
            None => {}
        }
    }

    fn create(&mut self, create: &WatchCreateRequest) {
        if self.session.watchers() >= self.live.get().limits.watchers {
            limits::refused(limits::OF_WATCHERS);
            return self.session.refuse(TOO_MANY);
        }
        let filters: Vec<_> = create.filters().collect();
        let create = Create {
            // Copies, as a watcher outlives the request by far.
            key: Bytes::copy_from_slice(&create.key),
            range_end: Bytes::copy_from_slice(&create.range_end),
            start_revision: create.start_revision,
            watch_id: create.watch_id,
            no_put: filters.contains(&FilterType::Noput),
            no_delete: filters.contains(&FilterType::Nodelete),
            prev_kv: create.prev_kv,
            progress_notify: create.progress_notify,
            fragment: create.fragment,
        };
        if self.upstream.as_ref().is_some_and(|upstream| !upstream.prefixes().cover(&create.range())) {
            return self.session.refuse(NOT_KEPT);
        }
        // The range as it will be watched, and the user as it is now.
        match self.auth.caller(&self.credentials).may_read(&create.range()) {
            Ok(()) => self.session.create(&create),
            Err(_) => self.session.refuse(DENIED),
        }
    }
}

struct WatchBody {
    /// None once the client has said all it wants to say, which does not end the watch.
    requests: Option<RequestBody>,
    messages: Messages,
    watching: Watching,
    identity: Identity,
    ending: Ending,
    /// Where heads are put together, kept for its allocation.
    head: Vec<u8>,
    call: Call,
    ended: bool,
}

impl WatchBody {
    /// Reads requests until there is an answer to be sent or nothing more to read.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<(), EtcdError> {
        while !self.watching.session.has_answers() {
            if let Some(message) = self.messages.take()? {
                let request = WatchRequest::decode(message)
                    .map_err(|error| EtcdError::new(tonic::Code::Internal, format!("grpc: {error}")))?;
                self.watching.apply(request);
                continue;
            }
            let Some(requests) = &mut self.requests else { return Ok(()) };
            match Pin::new(requests).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        self.messages.feed(data);
                    }
                }
                // An end, and an error of the connection, which ends the response as well.
                Poll::Ready(None | Some(Err(_))) => self.requests = None,
            }
        }
        Ok(())
    }

    fn push(&mut self, rope: &mut Rope, message: &Message) -> Result<(), EtcdError> {
        self.head.clear();
        let events = message.put_proto(&self.identity, &mut self.head);
        let length = self.head.len() + events.as_ref().map_or(0, Bytes::len);
        self.head.splice(0..0, grpc::prefix(length)?);
        rope.push_copy(&self.head);
        if let Some(events) = events {
            rope.push_shared(events);
        }
        Ok(())
    }

    fn end(&mut self, error: &EtcdError) -> Poll<Option<Frame<Rope>>> {
        self.ended = true;
        self.call.note(error.code());
        Poll::Ready(Some(Frame::trailers(grpc::trailers(Some(error)))))
    }
}

impl Stream for WatchBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame<Rope>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if this.ending.poll(cx).is_ready() {
            return this.end(&EtcdError::stopping());
        }
        let mut rope = Rope::default();
        while rope.len() < PACK {
            if let Err(error) = this.poll_requests(cx) {
                return this.end(&error);
            }
            let Poll::Ready(message) = this.watching.session.poll_next(cx) else { break };
            if let Err(error) = this.push(&mut rope, &message) {
                return this.end(&error);
            }
        }
        if rope.is_empty() {
            return Poll::Pending;
        }
        this.watching.session.sent(rope.len());
        Poll::Ready(Some(Frame::data(rope)))
    }
}
