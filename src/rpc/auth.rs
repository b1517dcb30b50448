//! The Auth service: users, roles, and tokens.

use tonic::{Request, Response, Status};

use super::node::{Node, credentials};
use super::status::EtcdError;
use crate::auth::{Access, AuthError, Caller, Peer, Permission, State};
use crate::pb::authpb::permission::Type;
use crate::pb::authpb::{Permission as WirePermission, UserAddOptions};
use crate::pb::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest, AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse,
    AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest,
    AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse, ResponseHeader,
};

type Header = Option<ResponseHeader>;

impl Node {
    /// Gives a token for a name and a password to who is at the other end of a connection.
    pub async fn log_in(
        &self,
        peer: Option<&Peer>,
        request: AuthenticateRequest,
    ) -> Result<AuthenticateResponse, EtcdError> {
        let token = self.auth.authenticate(peer, &request.name, &request.password).await?;
        Ok(AuthenticateResponse { header: self.header_now(), token })
    }

    /// Tells whether authentication is on. Anybody may ask, as since etcd 3.7.
    pub async fn auth_status(&self, _: &Caller, _: AuthStatusRequest) -> Result<AuthStatusResponse, EtcdError> {
        let state = self.auth.state();
        Ok(AuthStatusResponse { header: self.header_now(), enabled: state.enabled, auth_revision: state.revision })
    }

    /// Asks for users from now on.
    pub async fn auth_enable(&self, _: &Caller, _: AuthEnableRequest) -> Result<AuthEnableResponse, EtcdError> {
        if self.auth.state().enabled {
            return Ok(AuthEnableResponse { header: self.header_now() });
        }
        let header = self.change_users(State::enable).await?;
        tracing::info!(durable = self.durable, "authentication is enabled");
        if !self.durable {
            tracing::warn!("users are kept in memory alone: after a restart authentication is off; see --data-dir");
        }
        Ok(AuthEnableResponse { header })
    }

    /// Asks nothing of anybody from now on.
    pub async fn auth_disable(&self, caller: &Caller, _: AuthDisableRequest) -> Result<AuthDisableResponse, EtcdError> {
        caller.must_be_root()?;
        if !self.auth.state().enabled {
            return Ok(AuthDisableResponse { header: self.header_now() });
        }
        let disable = |state: &mut State| {
            state.enabled = false;
            Ok(())
        };
        let header = self.change_users(disable).await?;
        tracing::warn!("authentication is disabled");
        Ok(AuthDisableResponse { header })
    }

    /// Adds a user.
    pub async fn user_add(
        &self,
        caller: &Caller,
        request: AuthUserAddRequest,
    ) -> Result<AuthUserAddResponse, EtcdError> {
        caller.must_be_root()?;
        let without = request.options.is_some_and(|UserAddOptions { no_password }| no_password);
        let password = if without { None } else { Some(self.auth.hash(&request.name, request.password).await) };
        let header = self.change_users(|state| state.add_user(request.name, password)).await?;
        Ok(AuthUserAddResponse { header })
    }

    /// Tells the roles of a user; everybody may ask for their own.
    pub async fn user_get(
        &self,
        caller: &Caller,
        request: AuthUserGetRequest,
    ) -> Result<AuthUserGetResponse, EtcdError> {
        caller.must_be_root_or(|name, _| name == request.name)?;
        let roles = self.auth.state().user(&request.name)?.roles.iter().cloned().collect();
        Ok(AuthUserGetResponse { header: self.header_now(), roles })
    }

    /// Lists the users.
    pub async fn user_list(&self, caller: &Caller, _: AuthUserListRequest) -> Result<AuthUserListResponse, EtcdError> {
        caller.must_be_root()?;
        let users = self.auth.state().users.keys().cloned().collect();
        Ok(AuthUserListResponse { header: self.header_now(), users })
    }

    /// Removes a user.
    pub async fn user_delete(
        &self,
        caller: &Caller,
        request: AuthUserDeleteRequest,
    ) -> Result<AuthUserDeleteResponse, EtcdError> {
        caller.must_be_root()?;
        let header = self.change_users(|state| state.delete_user(&request.name)).await?;
        Ok(AuthUserDeleteResponse { header })
    }

    /// Gives a user another password.
    pub async fn user_change_password(
        &self,
        caller: &Caller,
        request: AuthUserChangePasswordRequest,
    ) -> Result<AuthUserChangePasswordResponse, EtcdError> {
        caller.must_be_root()?;
        let password = self.auth.hash(&request.name, request.password).await;
        let header = self.change_users(|state| state.change_password(&request.name, Some(password))).await?;
        Ok(AuthUserChangePasswordResponse { header })
    }

    /// Gives a user a role.
    pub async fn user_grant_role(
        &self,
        caller: &Caller,
        request: AuthUserGrantRoleRequest,
    ) -> Result<AuthUserGrantRoleResponse, EtcdError> {
        caller.must_be_root()?;
        let header = self.change_users(|state| state.grant_role(&request.user, &request.role)).await?;
        Ok(AuthUserGrantRoleResponse { header })
    }

    /// Takes a role from a user.
    pub async fn user_revoke_role(
        &self,
        caller: &Caller,
        request: AuthUserRevokeRoleRequest,
    ) -> Result<AuthUserRevokeRoleResponse, EtcdError> {
        caller.must_be_root()?;
        let header = self.change_users(|state| state.revoke_role(&request.name, &request.role)).await?;
        Ok(AuthUserRevokeRoleResponse { header })
    }

    /// Adds a role.
    pub async fn role_add(
        &self,
        caller: &Caller,
        request: AuthRoleAddRequest,
    ) -> Result<AuthRoleAddResponse, EtcdError> {
        caller.must_be_root()?;
        let header = self.change_users(|state| state.add_role(request.name)).await?;
        Ok(AuthRoleAddResponse { header })
    }

    /// Tells the permissions of a role; everybody may ask for those of their own roles.
    pub async fn role_get(
        &self,
        caller: &Caller,
        request: AuthRoleGetRequest,
    ) -> Result<AuthRoleGetResponse, EtcdError> {
        caller.must_be_root_or(|name, state| {
            state.users.get(name).is_some_and(|user| user.roles.contains(&request.role))
        })?;
        let perm = self.auth.state().role(&request.role)?.iter().map(write_permission).collect();
        Ok(AuthRoleGetResponse { header: self.header_now(), perm })
    }

    /// Lists the roles.
    pub async fn role_list(&self, caller: &Caller, _: AuthRoleListRequest) -> Result<AuthRoleListResponse, EtcdError> {
        caller.must_be_root()?;
        let roles = self.auth.state().roles.keys().cloned().collect();
        Ok(AuthRoleListResponse { header: self.header_now(), roles })
    }

    /// Removes a role.
    pub async fn role_delete(
        &self,
        caller: &Caller,
        request: AuthRoleDeleteRequest,
    ) -> Result<AuthRoleDeleteResponse, EtcdError> {
        caller.must_be_root()?;
        let header = self.change_users(|state| state.delete_role(&request.role)).await?;
        Ok(AuthRoleDeleteResponse { header })
    }

    /// Gives a role a permission.
    pub async fn role_grant_permission(
        &self,
        caller: &Caller,
        request: AuthRoleGrantPermissionRequest,
    ) -> Result<AuthRoleGrantPermissionResponse, EtcdError> {
        caller.must_be_root()?;
        let permission = request.perm.as_ref().map(read_permission).ok_or(AuthError::PermissionMissing)?;
        let header = self.change_users(|state| state.grant_permission(&request.name, permission)).await?;
        Ok(AuthRoleGrantPermissionResponse { header })
    }

    /// Takes a permission from a role.
    pub async fn role_revoke_permission(
        &self,
        caller: &Caller,
        request: AuthRoleRevokePermissionRequest,
    ) -> Result<AuthRoleRevokePermissionResponse, EtcdError> {
        caller.must_be_root()?;
        let revoke = |state: &mut State| state.revoke_permission(&request.role, &request.key, &request.range_end);
        let header = self.change_users(revoke).await?;
        Ok(AuthRoleRevokePermissionResponse { header })
    }

    async fn change_users(
        &self,
        change: impl FnOnce(&mut State) -> Result<(), AuthError>,
    ) -> Result<Header, EtcdError> {
        Ok(self.header(self.auth.change(&self.store, change).await?))
    }
}

fn read_permission(permission: &WirePermission) -> Permission {
    let access = match permission.perm_type() {
        Type::Read => Access::Read,
        Type::Write => Access::Write,
        Type::Readwrite => Access::ReadWrite,
    };
    Permission { access, key: permission.key.to_vec(), range_end: permission.range_end.to_vec() }
}

fn write_permission(permission: &Permission) -> WirePermission {
    let perm_type = match permission.access {
        Access::Read => Type::Read,
        Access::Write => Type::Write,
        Access::ReadWrite => Type::Readwrite,
    };
    WirePermission {
        perm_type: perm_type.into(),
        key: permission.key.clone().into(),
        range_end: permission.range_end.clone().into(),
    }
}

macro_rules! service {
    ($($method:ident: $request:ident => $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl crate::pb::etcdserverpb::auth_server::Auth for Node {
            async fn authenticate(
                &self,
                request: Request<AuthenticateRequest>,
            ) -> Result<Response<AuthenticateResponse>, Status> {
                let peer = credentials(request.metadata().as_ref(), request.extensions()).peer;
                Ok(Response::new(self.log_in(peer.as_deref(), request.into_inner()).await?))
            }

            $(async fn $method(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                Ok(Response::new(Self::$method(self, &self.caller(&request), request.into_inner()).await?))
            })*
        }
    };
}

service! {
    auth_status: AuthStatusRequest => AuthStatusResponse,
    auth_enable: AuthEnableRequest => AuthEnableResponse,
    auth_disable: AuthDisableRequest => AuthDisableResponse,
    user_add: AuthUserAddRequest => AuthUserAddResponse,
    user_get: AuthUserGetRequest => AuthUserGetResponse,
    user_list: AuthUserListRequest => AuthUserListResponse,
    user_delete: AuthUserDeleteRequest => AuthUserDeleteResponse,
    user_change_password: AuthUserChangePasswordRequest => AuthUserChangePasswordResponse,
    user_grant_role: AuthUserGrantRoleRequest => AuthUserGrantRoleResponse,
    user_revoke_role: AuthUserRevokeRoleRequest => AuthUserRevokeRoleResponse,
    role_add: AuthRoleAddRequest => AuthRoleAddResponse,
    role_get: AuthRoleGetRequest => AuthRoleGetResponse,
    role_list: AuthRoleListRequest => AuthRoleListResponse,
    role_delete: AuthRoleDeleteRequest => AuthRoleDeleteResponse,
    role_grant_permission: AuthRoleGrantPermissionRequest => AuthRoleGrantPermissionResponse,
    role_revoke_permission: AuthRoleRevokePermissionRequest => AuthRoleRevokePermissionResponse,
}
