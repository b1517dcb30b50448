//! Users, roles and permissions against a plain model that looks at every key one by one.
#![allow(clippy::print_stdout, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use confcast::auth::{Access, AuthError, Permission, ROOT, State};
use confcast::store::KeyRange;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    AddUser(u8),
    DeleteUser(u8),
    AddRole(u8),
    DeleteRole(u8),
    GrantRole(u8, u8),
    RevokeRole(u8, u8),
    Grant(u8, Access, u8, u8),
    Revoke(u8, u8, u8),
    Enable(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..4_u8;
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::ReadWrite)];
    prop_oneof![
        3 => name().prop_map(Step::AddUser),
        1 => name().prop_map(Step::DeleteUser),
        3 => name().prop_map(Step::AddRole),
        1 => name().prop_map(Step::DeleteRole),
        5 => (name(), name()).prop_map(|(user, role)| Step::GrantRole(user, role)),
        1 => (name(), name()).prop_map(|(user, role)| Step::RevokeRole(user, role)),
        6 => (name(), access, 0..8_u8, 0..9_u8).prop_map(|(role, access, from, to)| Step::Grant(role, access, from, to)),
        1 => (name(), 0..8_u8, 0..9_u8).prop_map(|(role, from, to)| Step::Revoke(role, from, to)),
        1 => any::<bool>().prop_map(Step::Enable),
    ]
}

/// The first name is root's.
fn name(number: u8) -> String {
    if number == 0 { ROOT.into() } else { format!("n{number}") }
}

/// Keys a to h, and ranges between them; the largest end is no end, the smallest none.
fn wire(from: u8, to: u8) -> Wire {
    let end = match to {
        0 => Vec::new(),
        8 => vec![0],
        to => vec![b'a' + to],
    };
    (vec![b'a' + from], end)
}

fn range(from: u8, to: u8) -> KeyRange {
    let (key, end) = wire(from, to);
    KeyRange::from_wire(key.into(), end.into())
}

/// Keys that tell ranges apart: the ends themselves, what is right after them, and what is far beyond.
fn keys() -> Vec<Bytes> {
    let ends = (b'a'..=b'h').flat_map(|byte| [vec![byte], vec![byte, 0], vec![byte, b'x']]);
    ends.chain([vec![b'z', b'z']]).map(Bytes::from).collect()
}

/// A range as in requests.
type Wire = (Vec<u8>, Vec<u8>);

#[derive(Default)]
struct Model {
    enabled: bool,
    users: BTreeMap<String, BTreeSet<String>>,
    roles: BTreeMap<String, BTreeMap<Wire, Access>>,
}

impl Model {
    fn expect(&mut self, step: &Step) -> Result<(), AuthError> {
        let guarded = |model: &Self, number: u8| model.enabled && number == 0;
        match *step {
            Step::AddUser(user) => {
                if self.users.contains_key(&name(user)) {
                    return Err(AuthError::UserExists);
                }
                self.users.insert(name(user), BTreeSet::new());
            }
            Step::DeleteUser(user) if guarded(self, user) => return Err(AuthError::InvalidManagement),
            Step::DeleteUser(user) => drop(self.users.remove(&name(user)).ok_or(AuthError::UserNotFound)?),
            Step::AddRole(role) => {
                if self.roles.contains_key(&name(role)) {
                    return Err(AuthError::RoleExists);
                }
                self.roles.insert(name(role), BTreeMap::new());
            }
            Step::DeleteRole(role) if guarded(self, role) => return Err(AuthError::InvalidManagement),
            Step::DeleteRole(role) => {
                self.roles.remove(&name(role)).ok_or(AuthError::RoleNotFound)?;
                for roles in self.users.values_mut() {
                    roles.remove(&name(role));
                }
            }
            Step::GrantRole(user, role) => {
                let known = role == 0 || self.roles.contains_key(&name(role));
                let roles = self.users.get_mut(&name(user)).ok_or(AuthError::UserNotFound)?;
                if !known {
                    return Err(AuthError::RoleNotFound);
                }
                roles.insert(name(role));
            }
            Step::RevokeRole(0, 0) if self.enabled => return Err(AuthError::InvalidManagement),
            Step::RevokeRole(user, role) => {
                let roles = self.users.get_mut(&name(user)).ok_or(AuthError::UserNotFound)?;
                if !roles.remove(&name(role)) {
                    return Err(AuthError::RoleNotGranted);
                }
            }
            Step::Grant(_, _, from, to) if range(from, to).is_empty() => return Err(AuthError::InvalidManagement),
            Step::Grant(role, access, from, to) => {
                let permissions = self.roles.get_mut(&name(role)).ok_or(AuthError::RoleNotFound)?;
                permissions.insert(wire(from, to), access);
            }
            Step::Revoke(role, from, to) => {
                let permissions = self.roles.get_mut(&name(role)).ok_or(AuthError::RoleNotFound)?;
                permissions.remove(&wire(from, to)).ok_or(AuthError::PermissionNotGranted)?;
            }
            Step::Enable(false) => self.enabled = false,
            Step::Enable(true) => {
                let root = self.users.get(ROOT).ok_or(AuthError::RootUserMissing)?;
                if !root.contains(ROOT) {
                    return Err(AuthError::RootRoleMissing);
                }
                self.enabled = true;
            }
        }
        Ok(())
    }

    fn permits(&self, user: &str, access: Access, key: &[u8]) -> bool {
        let Some(roles) = self.users.get(user) else { return false };
        roles.contains(ROOT)
            || roles.iter().filter_map(|role| self.roles.get(role)).flatten().any(|((from, end), granted)| {
                let range = KeyRange::from_wire(from.clone().into(), end.clone().into());
                granted.includes(access) && range.contains(key)
            })
    }
}

fn apply(state: &mut State, step: &Step) -> Result<(), AuthError> {
    match *step {
        Step::AddUser(user) => state.add_user(name(user), None),
        Step::DeleteUser(user) => state.delete_user(&name(user)),
        Step::AddRole(role) => state.add_role(name(role)),
        Step::DeleteRole(role) => state.delete_role(&name(role)),
        Step::GrantRole(user, role) => state.grant_role(&name(user), &name(role)),
        Step::RevokeRole(user, role) => state.revoke_role(&name(user), &name(role)),
        Step::Grant(role, access, from, to) => {
            let (key, range_end) = wire(from, to);
            state.grant_permission(&name(role), Permission { access, key, range_end })
        }
        Step::Revoke(role, from, to) => {
            let (key, range_end) = wire(from, to);
            state.revoke_permission(&name(role), &key, &range_end)
        }
        Step::Enable(true) => state.enable(),
        Step::Enable(false) => {
            state.enabled = false;
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_may_more_than_was_granted(steps in prop::collection::vec(step(), 1..50)) {
        let (mut state, mut model) = (State::default(), Model::default());
        for step in &steps {
            let before = state.clone();
            let outcome = apply(&mut state, step);
            prop_assert_eq!(outcome, model.expect(step), "{:?}", step);
            if outcome.is_err() {
                prop_assert_eq!(&before, &state, "what is refused changes nothing");
            }
        }
        let kept: State = serde_json::from_slice(&serde_json::to_vec(&state).expect("written")).expect("read");
        prop_assert_eq!(&kept, &state);
        let keys = keys();
        for user in (0..4).map(name) {
            for access in [Access::Read, Access::Write] {
                for (from, to) in (0..8).flat_map(|from| (0..9).map(move |to| (from, to))) {
                    let range = range(from, to);
                    // A range without keys counts as its first key.
                    let wanted = |key: &&Bytes| range.contains(key) || (range.is_empty() && *key == range.start());
                    let each = keys.iter().filter(wanted).all(|key| model.permits(&user, access, key));
                    // Keys between those that were looked at have no permission of their own.
                    prop_assert_eq!(state.permits(&user, access, &range), each, "{} {:?} {:?}", user, access, range);
                }
            }
        }
    }
}
