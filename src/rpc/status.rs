//! Every error that a client can get: etcd's codes and texts, to the letter, as clients recognise errors by their text.

use http::StatusCode;
use tonic::Code;

use crate::auth::{AuthError, ChangeError};
use crate::store::{JournalError, OpError, ReadError, SubmitError};
use crate::telemetry::serve as limits;

/// Seconds after which a client may try again when there was too much of what others wanted.
const OVERLOADED: u64 = 5;

/// An error of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct EtcdError {
    code: Code,
    text: String,
    /// After how many seconds another try may do better, where that is known.
    retry_after: Option<u64>,
    /// Whether it is the server that has too much, and not the client.
    overloaded: bool,
}

impl EtcdError {
    /// An error with a code and a text of its own.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), retry_after: None, overloaded: false }
    }

    /// A request that the server cannot read.
    pub fn malformed(reason: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidArgument, reason.to_string())
    }

    /// A request above the limit, in etcd's words. Counts it.
    pub fn too_large() -> Self {
        limits::refused(limits::OF_REQUEST);
        Self::new(Code::InvalidArgument, "etcdserver: request is too large")
    }

    /// A message above what the transport accepts, in the words of etcd's transport. Counts it.
    pub fn message_too_large(got: usize, limit: usize) -> Self {
        limits::refused(limits::OF_REQUEST);
        Self::new(Code::ResourceExhausted, format!("grpc: received message larger than max ({got} vs. {limit})"))
    }

    /// An answer above what the transport sends, in the words of etcd's transport.
    pub fn answer_too_large(length: usize, limit: usize) -> Self {
        Self::new(
            Code::ResourceExhausted,
            format!("grpc: trying to send message larger than max ({length} vs. {limit})"),
        )
    }

    /// An answer of more bytes than answers may have.
    pub fn answer_above(most: usize) -> Self {
        let text = format!(
            "confcast: the answer has more than the {} MiB that it may have (--max-answer-mib); read the range page by \
             page, with a limit",
            most >> 20
        );
        Self::new(Code::ResourceExhausted, text)
    }

    /// The server has no complete configuration yet. An empty answer instead would make gateways drop their routes.
    pub fn not_loaded(waiting_for: &str) -> Self {
        Self::new(Code::Unavailable, format!("confcast: no complete configuration yet, waiting for {waiting_for}"))
    }

    /// There is too much of something.
    pub fn too_many(what: &str) -> Self {
        Self::new(Code::ResourceExhausted, format!("confcast: too many {what}"))
    }

    /// The server has no memory for another request of this size now. Without the word that APISIX takes for an idle
    /// connection; over HTTP it is 503, on which APISIX pauses.
    pub fn overloaded() -> Self {
        let text = "confcast: requests hold too much memory, try again later";
        Self { retry_after: Some(OVERLOADED), overloaded: true, ..Self::new(Code::ResourceExhausted, text) }
    }

    /// The error as etcd's locks and elections have it, which are clients of the rest, and pass on that there is no space
    /// with the text alone.
    #[must_use]
    pub fn of_recipe(self) -> Self {
        if self.code == Code::ResourceExhausted && self.text.ends_with("space exceeded") {
            return Self { code: Code::Unknown, ..self };
        }
        self
    }

    /// What is wrong with the body of a request: what was said of it, or something about the connection.
    pub fn of_body(error: &(dyn std::error::Error + 'static)) -> Self {
        error.downcast_ref::<Refused>().map_or_else(|| Self::malformed(error), |refused| refused.error.clone())
    }

    /// The server is on its way out.
    pub fn stopping() -> Self {
        Self::new(Code::Unavailable, "etcdserver: server stopped")
    }

    /// The client has waited for as long as it wanted to.
    pub fn deadline() -> Self {
        Self::new(Code::DeadlineExceeded, "context deadline exceeded")
    }

    /// Something that is not served.
    pub fn unimplemented(what: &str) -> Self {
        Self::new(Code::Unimplemented, format!("confcast: {what} is not supported"))
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// After how many seconds the client may try again, where that is known.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The HTTP status that the gateway gives, as etcd 3.5's.
    pub fn http_status(&self) -> StatusCode {
        if self.overloaded {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        match self.code {
            Code::Ok => StatusCode::OK,
            Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The end of the body of a request that is refused while it is read. Has the error in the form that tonic looks for.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refused {
    error: EtcdError,
    #[source]
    status: tonic::Status,
}

impl From<EtcdError> for Refused {
    fn from(error: EtcdError) -> Self {
        Self { status: error.clone().into(), error }
    }
}

impl From<EtcdError> for tonic::Status {
    fn from(error: EtcdError) -> Self {
        Self::new(error.code, error.text)
    }
}

impl From<ReadError> for EtcdError {
    fn from(error: ReadError) -> Self {
        Self::new(Code::OutOfRange, format!("etcdserver: mvcc: {error}"))
    }
}

impl From<OpError> for EtcdError {
    fn from(error: OpError) -> Self {
        let code = match error {
            OpError::Read(error) => return error.into(),
            OpError::EmptyKey
            | OpError::KeyNotFound
            | OpError::ValueProvided
            | OpError::LeaseProvided
            | OpError::TooManyOps
            | OpError::DuplicateKey => Code::InvalidArgument,
            OpError::LeaseNotFound => Code::NotFound,
            OpError::LeaseExists => Code::FailedPrecondition,
            OpError::LeaseTtlTooLarge => Code::OutOfRange,
            OpError::NoSpace => {
                limits::refused(limits::OF_SPACE);
                Code::ResourceExhausted
            }
            OpError::TooManyLeases => return Self::too_many("leases"),
            OpError::OwnedBySource(_) => {
                return Self::new(Code::PermissionDenied, format!("etcdserver: permission denied: {error}"));
            }
        };
        Self::new(code, format!("etcdserver: {error}"))
    }
}

impl From<AuthError> for EtcdError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::RootUserMissing
            | AuthError::RootRoleMissing
            | AuthError::UserExists
            | AuthError::UserNotFound
            | AuthError::RoleExists
            | AuthError::RoleNotFound
            | AuthError::RoleNotGranted
            | AuthError::PermissionNotGranted
            | AuthError::NotEnabled => Code::FailedPrecondition,
            AuthError::UserEmpty
            | AuthError::RoleEmpty
            | AuthError::Failed
            | AuthError::PermissionMissing
            | AuthError::InvalidManagement => Code::InvalidArgument,
            AuthError::Denied => Code::PermissionDenied,
            AuthError::InvalidToken => Code::Unauthenticated,
            AuthError::TooManyFailures { seconds } => {
                let refused = Self::new(Code::ResourceExhausted, format!("confcast: {error}"));
                return Self { retry_after: Some(seconds), ..refused };
            }
        };
        Self::new(code, format!("etcdserver: {error}"))
    }
}

impl From<ChangeError> for EtcdError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(error) => error.into(),
            ChangeError::Store(error) => error.into(),
            ChangeError::OfFile(_) => Self::new(Code::FailedPrecondition, format!("confcast: {error}")),
        }
    }
}

impl From<SubmitError> for EtcdError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Journal(error @ JournalError::Full) => {
                Self::new(Code::ResourceExhausted, format!("etcdserver: mvcc: {error}"))
            }
            SubmitError::Journal(error) => Self::new(Code::Unavailable, format!("confcast: {error}")),
            SubmitError::Stopped => Self::stopping(),
        }
    }
}

impl From<tonic::Status> for EtcdError {
    /// What another etcd has answered, in its words.
    fn from(status: tonic::Status) -> Self {
        Self::new(status.code(), status.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_are_those_of_etcd() {
        let cases: [(EtcdError, Code, u16, &str); 33] = [
            (
                SubmitError::Journal(JournalError::Full).into(),
                Code::ResourceExhausted,
                429,
                "etcdserver: mvcc: database space exceeded",
            ),
            (OpError::NoSpace.into(), Code::ResourceExhausted, 429, "etcdserver: mvcc: database space exceeded"),
            (OpError::EmptyKey.into(), Code::InvalidArgument, 400, "etcdserver: key is not provided"),
            (OpError::KeyNotFound.into(), Code::InvalidArgument, 400, "etcdserver: key not found"),
            (OpError::ValueProvided.into(), Code::InvalidArgument, 400, "etcdserver: value is provided"),
            (OpError::LeaseProvided.into(), Code::InvalidArgument, 400, "etcdserver: lease is provided"),
            (OpError::TooManyOps.into(), Code::InvalidArgument, 400, "etcdserver: too many operations in txn request"),
            (
                OpError::DuplicateKey.into(),
                Code::InvalidArgument,
                400,
                "etcdserver: duplicate key given in txn request",
            ),
            (OpError::LeaseNotFound.into(), Code::NotFound, 404, "etcdserver: requested lease not found"),
            (OpError::LeaseExists.into(), Code::FailedPrecondition, 400, "etcdserver: lease already exists"),
            (OpError::LeaseTtlTooLarge.into(), Code::OutOfRange, 400, "etcdserver: too large lease TTL"),
            (
                ReadError::Compacted.into(),
                Code::OutOfRange,
                400,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                ReadError::Future.into(),
                Code::OutOfRange,
                400,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (EtcdError::too_large(), Code::InvalidArgument, 400, "etcdserver: request is too large"),
            (AuthError::RootUserMissing.into(), Code::FailedPrecondition, 400, "etcdserver: root user does not exist"),
            (
                AuthError::RootRoleMissing.into(),
                Code::FailedPrecondition,
                400,
                "etcdserver: root user does not have root role",
            ),
            (AuthError::UserExists.into(), Code::FailedPrecondition, 400, "etcdserver: user name already exists"),
            (AuthError::UserEmpty.into(), Code::InvalidArgument, 400, "etcdserver: user name is empty"),
            (AuthError::UserNotFound.into(), Code::FailedPrecondition, 400, "etcdserver: user name not found"),
            (AuthError::RoleExists.into(), Code::FailedPrecondition, 400, "etcdserver: role name already exists"),
            (AuthError::RoleNotFound.into(), Code::FailedPrecondition, 400, "etcdserver: role name not found"),
            (AuthError::RoleEmpty.into(), Code::InvalidArgument, 400, "etcdserver: role name is empty"),
            (
                AuthError::Failed.into(),
                Code::InvalidArgument,
                400,
                "etcdserver: authentication failed, invalid user ID or password",
            ),
            (AuthError::PermissionMissing.into(), Code::InvalidArgument, 400, "etcdserver: permission not given"),
            (AuthError::Denied.into(), Code::PermissionDenied, 403, "etcdserver: permission denied"),
            (
                AuthError::RoleNotGranted.into(),
                Code::FailedPrecondition,
                400,
                "etcdserver: role is not granted to the user",
            ),
            (
                AuthError::PermissionNotGranted.into(),
                Code::FailedPrecondition,
                400,
                "etcdserver: permission is not granted to the role",
            ),
            (AuthError::NotEnabled.into(), Code::FailedPrecondition, 400, "etcdserver: authentication is not enabled"),
            (AuthError::InvalidToken.into(), Code::Unauthenticated, 401, "etcdserver: invalid auth token"),
            (AuthError::InvalidManagement.into(), Code::InvalidArgument, 400, "etcdserver: invalid auth management"),
            (EtcdError::stopping(), Code::Unavailable, 503, "etcdserver: server stopped"),
            (EtcdError::deadline(), Code::DeadlineExceeded, 504, "context deadline exceeded"),
            (
                EtcdError::message_too_large(3_000_008, 2_097_152),
                Code::ResourceExhausted,
                429,
                "grpc: received message larger than max (3000008 vs. 2097152)",
            ),
        ];
        for (error, code, http, text) in cases {
            assert_eq!((error.code(), error.http_status().as_u16(), error.text()), (code, http, text));
        }
        // APISIX takes this word in an error for an idle connection and retries without a pause.
        let own = [EtcdError::not_loaded("the first response"), EtcdError::stopping()];
        assert!(own.iter().all(|error| !error.text().contains("timeout")));
    }
}
