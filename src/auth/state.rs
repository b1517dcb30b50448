//! Users and roles, and the changes that etcd allows on them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::permission::{Access, Permission, covers};
use super::{AuthError, ROOT};
use crate::store::KeyRange;

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Hash of the password; none for a user that cannot log in with one.
    pub password: Option<String>,
    /// Names of the roles.
    pub roles: BTreeSet<String>,
}

/// All users and roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whether anything is asked of anybody.
    pub enabled: bool,
    /// Counts changes, from 1.
    pub revision: u64,
    /// Users by name.
    pub users: BTreeMap<String, User>,
    /// Permissions by role, each list in the order of keys.
    pub roles: BTreeMap<String, Vec<Permission>>,
}

impl Default for State {
    fn default() -> Self {
        Self { enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl State {
    /// Asks for users from now on.
    pub fn enable(&mut self) -> Result<(), AuthError> {
        let root = self.users.get(ROOT).ok_or(AuthError::RootUserMissing)?;
        if !root.roles.contains(ROOT) {
            return Err(AuthError::RootRoleMissing);
        }
        self.enabled = true;
        Ok(())
    }

    /// Adds a user with the hash of a password.
    pub fn add_user(&mut self, name: String, password: Option<String>) -> Result<(), AuthError> {
        if name.is_empty() {
            return Err(AuthError::UserEmpty);
        }
        if self.users.contains_key(&name) {
            return Err(AuthError::UserExists);
        }
        self.users.insert(name, User { password, roles: BTreeSet::new() });
        Ok(())
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Result<&User, AuthError> {
        self.users.get(name).ok_or(AuthError::UserNotFound)
    }

    /// Removes a user.
    pub fn delete_user(&mut self, name: &str) -> Result<(), AuthError> {
        if self.enabled && name == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        self.users.remove(name).map(drop).ok_or(AuthError::UserNotFound)
    }

    /// Gives a user another password.
    pub fn change_password(&mut self, name: &str, password: Option<String>) -> Result<(), AuthError> {
        self.users.get_mut(name).ok_or(AuthError::UserNotFound)?.password = password;
        Ok(())
    }

    /// Gives a user a role. The role `root` need not exist.
    pub fn grant_role(&mut self, user: &str, role: &str) -> Result<(), AuthError> {
        let known = role == ROOT || self.roles.contains_key(role);
        let user = self.users.get_mut(user).ok_or(AuthError::UserNotFound)?;
        if !known {
            return Err(AuthError::RoleNotFound);
        }
        user.roles.insert(role.into());
        Ok(())
    }

    /// Takes a role from a user.
    pub fn revoke_role(&mut self, name: &str, role: &str) -> Result<(), AuthError> {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        let user = self.users.get_mut(name).ok_or(AuthError::UserNotFound)?;
        if user.roles.remove(role) { Ok(()) } else { Err(AuthError::RoleNotGranted) }
    }

    /// Adds a role without permissions.
    pub fn add_role(&mut self, name: String) -> Result<(), AuthError> {
        if name.is_empty() {
            return Err(AuthError::RoleEmpty);
        }
        if self.roles.contains_key(&name) {
            return Err(AuthError::RoleExists);
        }
        self.roles.insert(name, Vec::new());
        Ok(())
    }

    /// The permissions of a role.
    pub fn role(&self, name: &str) -> Result<&[Permission], AuthError> {
        self.roles.get(name).map(Vec::as_slice).ok_or(AuthError::RoleNotFound)
    }

    /// Removes a role, and takes it from the users that have it.
    pub fn delete_role(&mut self, name: &str) -> Result<(), AuthError> {
        if self.enabled && name == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        self.roles.remove(name).ok_or(AuthError::RoleNotFound)?;
        for user in self.users.values_mut() {
            user.roles.remove(name);
        }
        Ok(())
    }

    /// Gives a role a permission; one on the very same range is replaced.
    pub fn grant_permission(&mut self, role: &str, permission: Permission) -> Result<(), AuthError> {
        if !permission.is_valid() {
            return Err(AuthError::InvalidManagement);
        }
        let permissions = self.roles.get_mut(role).ok_or(AuthError::RoleNotFound)?;
        let place = |old: &Permission| (&old.key, &old.range_end).cmp(&(&permission.key, &permission.range_end));
        match permissions.binary_search_by(place) {
            Ok(position) => permissions[position] = permission,
            Err(position) => permissions.insert(position, permission),
        }
        Ok(())
    }

    /// Takes the permission on this very range from a role.
    pub fn revoke_permission(&mut self, role: &str, key: &[u8], range_end: &[u8]) -> Result<(), AuthError> {
        let permissions = self.roles.get_mut(role).ok_or(AuthError::RoleNotFound)?;
        let position = permissions.iter().position(|old| old.key == key && old.range_end == range_end);
        permissions.remove(position.ok_or(AuthError::PermissionNotGranted)?);
        Ok(())
    }

    /// Whether the user may do everything.
    pub fn is_root(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.roles.contains(ROOT))
    }

    /// Whether the user may do this on all keys of `range`.
    pub fn permits(&self, user: &str, access: Access, range: &KeyRange) -> bool {
        let Some(found) = self.users.get(user) else { return false };
        if found.roles.contains(ROOT) {
            return true;
        }
        let granted = found.roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        covers(granted.filter(|permission| permission.access.includes(access)).map(Permission::range), range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(access: Access, key: &str, end: &str) -> Permission {
        Permission { access, key: key.into(), range_end: end.into() }
    }

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_wire(key.into(), end.into())
    }

    #[test]
    fn permissions_of_all_roles_count_together() {
        let mut state = State::default();
        state.add_user("u".into(), None).expect("new");
        for (role, access, key, end) in [("r", Access::Read, "a", "c"), ("w", Access::ReadWrite, "c", "e")] {
            state.add_role(role.into()).expect("new");
            state.grant_permission(role, permission(access, key, end)).expect("valid");
            state.grant_role("u", role).expect("both exist");
        }
        assert!(state.permits("u", Access::Read, &range("a", "e")));
        assert!(!state.permits("u", Access::Write, &range("a", "e")));
        assert!(state.permits("u", Access::Write, &range("c", "e")));
        assert!(!state.permits("nobody", Access::Read, &range("a", "")));
        state.revoke_permission("w", b"c", b"e").expect("granted");
        assert!(!state.permits("u", Access::Read, &range("a", "e")));
        state.delete_role("r").expect("there");
        assert_eq!(state.user("u").expect("there").roles, BTreeSet::from(["w".to_owned()]));
        assert!(!state.is_root("u"));
        state.grant_role("u", ROOT).expect("needs no such role");
        assert!(state.is_root("u") && state.permits("u", Access::Write, &range("\0", "\0")));
    }

    #[test]
    fn root_cannot_be_lost_while_it_is_needed() {
        let mut state = State::default();
        assert_eq!(state.enable(), Err(AuthError::RootUserMissing));
        state.add_user(ROOT.into(), None).expect("new");
        assert_eq!(state.enable(), Err(AuthError::RootRoleMissing));
        state.add_role(ROOT.into()).expect("new");
        state.grant_role(ROOT, ROOT).expect("both exist");
        state.enable().expect("complete");
        assert_eq!(state.delete_user(ROOT), Err(AuthError::InvalidManagement));
        assert_eq!(state.revoke_role(ROOT, ROOT), Err(AuthError::InvalidManagement));
        assert_eq!(state.delete_role(ROOT), Err(AuthError::InvalidManagement));
        state.enabled = false;
        state.delete_user(ROOT).expect("nothing needs it now");
    }

    #[test]
    fn a_permission_on_nothing_is_refused() {
        let mut state = State::default();
        state.add_role("r".into()).expect("new");
        for (key, end) in [("", ""), ("b", "a"), ("b", "b")] {
            let refused = state.grant_permission("r", permission(Access::Read, key, end));
            assert_eq!(refused, Err(AuthError::InvalidManagement), "{key}..{end}");
        }
    }
}
