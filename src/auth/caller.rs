//! Who makes a request, and what that allows.

use std::sync::Arc;

use super::AuthError;
use super::permission::Access;
use super::state::State;
use crate::store::KeyRange;

/// The maker of a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Anybody: nothing is asked, or the request is the server's own.
    Trusted,
    /// Nobody: a token is needed, and none came.
    Anonymous,
    /// A token came that says nothing.
    Invalid,
    /// A user.
    User(String, Arc<State>),
}

impl Caller {
    /// The user's name, if there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User(name, _) => Some(name),
            Self::Trusted | Self::Anonymous | Self::Invalid => None,
        }
    }

    /// Passes whoever has shown who it is.
    pub fn must_be_known(&self) -> Result<(), AuthError> {
        match self {
            Self::Trusted | Self::User(..) => Ok(()),
            Self::Anonymous => Err(AuthError::UserEmpty),
            Self::Invalid => Err(AuthError::InvalidToken),
        }
    }

    /// Passes those who may do everything.
    pub fn must_be_root(&self) -> Result<(), AuthError> {
        self.must_be_known()?;
        match self {
            Self::User(name, state) if !state.is_root(name) => Err(AuthError::Denied),
            _ => Ok(()),
        }
    }

    /// Passes those who may do everything, and users who ask about themselves.
    pub fn must_be_root_or(&self, is_own: impl FnOnce(&str, &State) -> bool) -> Result<(), AuthError> {
        match self {
            Self::User(name, state) if is_own(name, state) => Ok(()),
            _ => self.must_be_root(),
        }
    }

    /// Passes those who may read all of `range`.
    pub fn may_read(&self, range: &KeyRange) -> Result<(), AuthError> {
        self.may(Access::Read, range)
    }

    /// Passes those who may write all of `range`.
    pub fn may_write(&self, range: &KeyRange) -> Result<(), AuthError> {
        self.may(Access::Write, range)
    }

    fn may(&self, access: Access, range: &KeyRange) -> Result<(), AuthError> {
        self.must_be_known()?;
        match self {
            Self::User(name, state) if !state.permits(name, access, range) => Err(AuthError::Denied),
            _ => Ok(()),
        }
    }
}
