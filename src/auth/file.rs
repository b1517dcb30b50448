//! Users from a file: names, hashes of passwords, and what they may read and write.
//!
//! Every user has one role of its own, which nobody else can have, so that all that holds for users and roles of
//! etcd holds for these.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use argon2::password_hash::phc::PasswordHash;
use serde::Deserialize;

use super::{Access, Permission, ROOT, State};

/// Most memory in KiB, and most passes over it, that a hash may ask for: each log-in costs that.
const MOST_MEMORY: u32 = 1 << 18;
const MOST_PASSES: u32 = 16;

/// Where users are, and what else they may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFile {
    /// The file.
    pub path: PathBuf,
    /// Whether clients can show certificates. Without that, every user needs a password.
    pub certificates: bool,
}

/// What is wrong with a file of users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct UsersFileError {
    path: PathBuf,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    user: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    password_hash: Option<String>,
    #[serde(default)]
    root: bool,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    write: Vec<String>,
}

impl UsersFile {
    /// Reads the file.
    pub fn read(&self) -> Result<State, UsersFileError> {
        let wrong = |reason: String| UsersFileError { path: self.path.clone(), reason };
        let text = std::fs::read_to_string(&self.path).map_err(|error| wrong(error.to_string()))?;
        parse(&text, self.certificates).map_err(wrong)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The users in a text. An error says which user and which field, and nothing of the values of hashes.
fn parse(text: &str, certificates: bool) -> Result<State, String> {
    let content: Content = toml::from_str(text).map_err(|error| {
        // Not the error as it is, which shows the line, or the value, and with it what may be a password.
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error.message().lines().next().unwrap_or_default();
        match message.split_once(", expected ") {
            Some((what, expected)) if what.starts_with("invalid") => {
                format!("line {line}: the value is of another type than {expected}")
            }
            _ => format!("line {line}: {message}"),
        }
    })?;
    if content.user.is_empty() {
        return Err("there is no [[user]] in it; without users nobody could do anything".into());
    }
    let mut state = State { enabled: true, ..State::default() };
    for (number, entry) in content.user.into_iter().enumerate() {
        let who = match entry.name.as_str() {
            "" => return Err(format!("[[user]] number {}: name: is empty", number + 1)),
            name => format!("user {name:?}"),
        };
        add(&mut state, entry, certificates).map_err(|reason| format!("{who}: {reason}"))?;
    }
    Ok(state)
}

fn add(state: &mut State, entry: Entry, certificates: bool) -> Result<(), String> {
    match &entry.password_hash {
        Some(hash) => check(hash).map_err(|reason| format!("password_hash: {reason}"))?,
        None if certificates => {}
        None => {
            let reason = "is missing; only with --client-ca can a user come without, by the certificate of this name";
            return Err(format!("password_hash: {reason}"));
        }
    }
    if entry.root != (entry.name == ROOT) && entry.name == ROOT {
        return Err("root: must be true for a user of this name, whom tools take for one who may do everything".into());
    }
    state.add_user(entry.name.clone(), entry.password_hash).map_err(|_| "name: is there twice")?;
    // A name that no user of etcd's tools gives to a role, and never `root`.
    let role = format!("file/{}", entry.name);
    state.add_role(role.clone()).expect("users have different names");
    for permission in permissions(&entry.read, &entry.write) {
        state.grant_permission(&role, permission).expect("a prefix has keys, and the role is there");
    }
    let granted = if entry.root { ROOT } else { &role };
    state.grant_role(&entry.name, granted).expect("both are there");
    Ok(())
}

/// What may be done below prefixes.
fn permissions(read: &[String], write: &[String]) -> impl Iterator<Item = Permission> {
    let mut by_prefix = BTreeMap::new();
    for (prefixes, access) in [(read, Access::Read), (write, Access::Write)] {
        for prefix in prefixes {
            let merged = by_prefix.entry(prefix.as_bytes()).or_insert(access);
            if *merged != access {
                *merged = Access::ReadWrite;
            }
        }
    }
    let permission = |(prefix, access)| {
        let (key, range_end) = range_of(prefix);
        Permission { access, key, range_end }
    };
    by_prefix.into_iter().map(permission).collect::<Vec<_>>().into_iter()
}

/// All keys that begin with a prefix, as in requests. The empty one is for all keys.
fn range_of(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    // The bytes of a text are never the last there is.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => return (vec![0], vec![0]),
    }
    (prefix.to_vec(), end)
}

/// Whether a text is a hash that passwords can be held against in bearable time.
fn check(text: &str) -> Result<(), String> {
    let advice = "make one with: confcast hash-password";
    let hash = PasswordHash::new(text).map_err(|_| format!("is no hash in the PHC format; {advice}"))?;
    if hash.algorithm.as_str() != "argon2id" {
        return Err(format!("is one of {}, and not of argon2id; {advice}", hash.algorithm));
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(format!("has no salt or no hash in it; {advice}"));
    }
    let params = argon2::Params::try_from(&hash).map_err(|error| format!("{error}; {advice}"))?;
    if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES {
        return Err(format!(
            "asks for more than 256 MiB (m={MOST_MEMORY}) or {MOST_PASSES} passes (t) with each log-in"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password;

    fn of(text: &str) -> Result<State, String> {
        parse(text, false)
    }

    fn range(key: &'static str, end: &'static str) -> crate::store::KeyRange {
        crate::store::KeyRange::from_wire(key.into(), end.into())
    }

    #[test]
    fn users_may_what_the_file_says_and_nothing_else() {
        let hash = password::hash_of("secret");
        let text = format!(
            "[[user]]\nname = \"apisix\"\npassword_hash = \"{hash}\"\nread = [\"/apisix\"]\n\
             [[user]]\nname = \"admin\"\npassword_hash = \"{hash}\"\nread = [\"/apisix\", \"\"]\nwrite = [\"/apisix\"]\n\
             [[user]]\nname = \"root\"\nroot = true\npassword_hash = \"{hash}\"\n"
        );
        let state = of(&text).expect("good");
        assert!(state.enabled);
        let cases = [
            ("apisix", Access::Read, range("/apisix", "/apisiy"), true),
            ("apisix", Access::Read, range("/apisix/routes/1", ""), true),
            ("apisix", Access::Read, range("/apisix", "/apisiz"), false),
            ("apisix", Access::Read, range("\0", "\0"), false),
            ("apisix", Access::Write, range("/apisix/routes/1", ""), false),
            ("admin", Access::Read, range("\0", "\0"), true),
            ("admin", Access::Write, range("/apisix/", "/apisix0"), true),
            ("admin", Access::Write, range("/other", ""), false),
            ("root", Access::Write, range("\0", "\0"), true),
            ("nobody", Access::Read, range("/apisix", ""), false),
        ];
        for (user, access, range, may) in cases {
            assert_eq!(state.permits(user, access, &range), may, "{user} {access:?} {range:?}");
        }
        let root = |user| state.is_root(user);
        assert_eq!([root("apisix"), root("admin"), root("root")], [false, false, true]);
    }

    #[test]
    fn errors_name_the_user_and_the_field_and_no_secret() {
        let hash = password::hash_of("secret");
        let user = |fields: &str| format!("[[user]]\nname = \"a\"\n{fields}\n");
        let with = |hash: &str| user(&format!("password_hash = \"{hash}\""));
        let cases = [
            (String::new(), "there is no [[user]]"),
            ("[[user]]\nname = \"\"\n".into(), "[[user]] number 1: name: is empty"),
            (user(""), "user \"a\": password_hash: is missing; only with --client-ca"),
            (user("password_hash = \"hunter2\""), "user \"a\": password_hash: is no hash"),
            (with(&hash.replace("argon2id", "argon2i")), "is one of argon2i, and not of argon2id"),
            (with(&hash.replace("m=19456", "m=999999")), "256 MiB"),
            (with(&hash.replace("t=2", "t=17")), "16 passes"),
            (with("$argon2id$v=19$m=19456,t=2,p=1"), "no salt or no hash"),
            (user("password = \"hunter2\""), "line 3: unknown field `password`"),
            (user("password_hash = 12345"), "line 3: the value is of another type than a string"),
            (
                user(&format!("password_hash = \"{hash}\"\nread = \"/a\"")),
                "line 4: the value is of another type than a sequence",
            ),
            (
                user(&format!("password_hash = \"{hash}\"\n{}", user(&format!("password_hash = \"{hash}\"")))),
                "name: is there twice",
            ),
            (format!("[[user]]\nname = \"root\"\npassword_hash = \"{hash}\""), "user \"root\": root: must be true"),
        ];
        for (text, part) in cases {
            let error = of(&text).expect_err(&text);
            assert!(error.contains(part), "{error} should say {part}");
            let secret = ["hunter2", "12345", "$v=19"].iter().find(|part| error.contains(**part));
            assert_eq!(secret, None, "{error}");
        }
        assert!(parse(&user(""), true).is_ok(), "one who comes with a certificate");
    }
}
