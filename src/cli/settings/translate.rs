//! Settings of the translation, checked.

use super::{SettingsError, wrong};
use crate::apisix::Generation;
use crate::translate::{Servers, Tokens};

/// How servers are asked whether a request may pass.
pub(in crate::cli) fn servers(how: Option<&str>) -> Result<Servers, SettingsError> {
    match how {
        None | Some("closed") => Ok(Servers::Closed),
        Some("forward-auth") => Ok(Servers::ForwardAuth),
        Some(other) => Err(wrong("--ext-authz", format!("{other:?} is not known; use closed or forward-auth"))),
    }
}

/// How tokens are checked, for an APISIX of this version.
pub(in crate::cli) fn tokens(how: Option<&str>, apisix: Option<Generation>) -> Result<Tokens, SettingsError> {
    match how {
        None | Some("closed") => Ok(Tokens::Closed),
        Some("openid-connect") => match apisix.filter(|apisix| !apisix.refuses_unknown_tokens()) {
            None => Ok(Tokens::OpenidConnect),
            Some(apisix) => Err(wrong(
                "--jwt openid-connect",
                format!(
                    "APISIX {apisix} does not check all that is needed; use --apisix 3.18 or later, or --jwt closed"
                ),
            )),
        },
        Some(other) => Err(wrong("--jwt", format!("{other:?} is not known; use closed or openid-connect"))),
    }
}
