//! Who may do what: users, roles, permissions on key ranges, passwords and tokens.
//!
//! Follows etcd's model: a user has roles, a role has permissions on ranges of keys, and a user with the role `root`
//! may do everything. Nothing is asked of anybody until it is enabled.
//!
//! A *token* names the user and is signed; nothing is kept of it. So every replica with the same signing key accepts
//! it, also after a restart, and it costs one HMAC to check. What the user may do is looked up with each request, so
//! that a change of roles is felt at once; a new password or the deletion of the user ends the user's tokens.
//!
//! The users are one small immutable [`State`] behind a pointer; changes go through the store's sequencer into the
//! journal before they are seen. Or they are those of a file, which is followed, and calls do not change them.

pub mod attempts;
pub mod caller;
pub mod file;
pub mod keeper;
pub mod password;
pub mod peer;
pub mod permission;
pub mod standing;
pub mod state;
pub mod token;

pub use caller::Caller;
pub use file::{UsersFile, UsersFileError};
pub use keeper::{Auth, ChangeError};
pub use peer::{Credentials, Peer};
pub use permission::{Access, Permission};
pub use standing::Standing;
pub use state::{State, User};
pub use token::SigningKey;

/// Name of the user that must exist, and of the role that may do everything.
pub const ROOT: &str = "root";

/// Why something about users was refused. The edge maps each to etcd's code and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Authentication cannot be enabled without a user `root`.
    #[error("root user does not exist")]
    RootUserMissing,
    /// Authentication cannot be enabled while the user `root` has no role `root`.
    #[error("root user does not have root role")]
    RootRoleMissing,
    /// The name is taken.
    #[error("user name already exists")]
    UserExists,
    /// A request without a user's name, or without a token where one is needed.
    #[error("user name is empty")]
    UserEmpty,
    /// No such user.
    #[error("user name not found")]
    UserNotFound,
    /// The name is taken.
    #[error("role name already exists")]
    RoleExists,
    /// No such role.
    #[error("role name not found")]
    RoleNotFound,
    /// A request without a role's name.
    #[error("role name is empty")]
    RoleEmpty,
    /// Unknown user or wrong password; which of them is not told.
    #[error("authentication failed, invalid user ID or password")]
    Failed,
    /// A grant without a permission.
    #[error("permission not given")]
    PermissionMissing,
    /// The user may not do this.
    #[error("permission denied")]
    Denied,
    /// The user does not have the role that is to be taken away.
    #[error("role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have the permission that is to be taken away.
    #[error("permission is not granted to the role")]
    PermissionNotGranted,
    /// A password was sent to a server that asks for none.
    #[error("authentication is not enabled")]
    NotEnabled,
    /// The token is not one of ours, has run out, or its user has changed.
    #[error("invalid auth token")]
    InvalidToken,
    /// A change that would lock everybody out, or a permission on a range that has no keys.
    #[error("invalid auth management")]
    InvalidManagement,
    /// Too many log-ins failed.
    #[error("too many failed log-ins, try again in {seconds} s")]
    TooManyFailures {
        /// When they are forgotten.
        seconds: u64,
    },
}
