//! What a failure of etcd means to a publisher: whether what was asked for may have happened nevertheless.

use tonic::{Code, Status};

use super::exchange::Failure;

/// Texts are those of etcd's `rpctypes`.
pub(super) fn failure(status: &Status) -> Failure {
    let text = status.message();
    let says = |part: &str| text.contains(part);
    if says("requested lease not found") {
        return Failure::LeaseGone;
    }
    if says("request is too large") || says("too many operations in txn") || says("larger than max") {
        return Failure::TooLarge(text.to_owned());
    }
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::Aborted
        | Code::DataLoss
        | Code::Ok => Failure::Unknown(format!("{}: {text}", status.code())),
        _ => Failure::Refused(format!("{}: {text}", status.code())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_did_not_happen_is_told_as_such() {
        let lost = Status::unavailable("etcdserver: request timed out");
        assert!(matches!(failure(&lost), Failure::Unknown(_)));
        assert!(matches!(failure(&Status::unknown("h2 protocol error")), Failure::Unknown(_)));
        assert_eq!(failure(&Status::not_found("etcdserver: requested lease not found")), Failure::LeaseGone);
        let large = Status::invalid_argument("etcdserver: request is too large");
        assert!(matches!(failure(&large), Failure::TooLarge(_)));
        assert!(matches!(failure(&Status::permission_denied("etcdserver: permission denied")), Failure::Refused(_)));
    }
}
