//! What somebody was allowed when a stream was opened, to be looked at again when the users have changed.

use std::sync::Arc;

use super::token::Generation;
use super::{Access, Auth, State};
use crate::store::KeyRange;

/// A user who has opened a stream.
#[derive(Debug)]
pub struct Standing {
    auth: Auth,
    name: String,
    /// The password that was shown for the token; none for a certificate.
    generation: Option<Generation>,
    state: Arc<State>,
}

impl Standing {
    pub(super) fn new(auth: Auth, name: String, generation: Option<Generation>, state: Arc<State>) -> Self {
        Self { auth, name, generation, state }
    }

    /// Whether the users have changed since this was last asked.
    pub fn has_changed(&mut self) -> bool {
        let now = self.auth.state();
        let changed = !Arc::ptr_eq(&now, &self.state);
        self.state = now;
        changed
    }

    /// Whether the user may read all of a range, and still has the password. That the token has run out meanwhile does
    /// not matter, as to etcd.
    pub fn may_read(&self, range: &KeyRange) -> bool {
        if !self.state.enabled {
            return true;
        }
        let same = self.generation.is_none_or(|generation| self.auth.generation(&self.state, &self.name) == generation);
        same && self.state.permits(&self.name, Access::Read, range)
    }
}
