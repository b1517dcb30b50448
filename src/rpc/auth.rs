//! The Auth service of a server without users: clients that bring a password are told so.

use super::node::Node;
use super::status::EtcdError;
use crate::pb::etcdserverpb::{AuthStatusRequest, AuthStatusResponse, AuthenticateRequest, AuthenticateResponse};

impl Node {
    /// Refuses: there are no users.
    pub fn authenticate(&self, _: &AuthenticateRequest) -> Result<AuthenticateResponse, EtcdError> {
        Err(EtcdError::auth_not_enabled())
    }

    /// Tells that authentication is off.
    pub fn auth_status(&self, _: AuthStatusRequest) -> Result<AuthStatusResponse, EtcdError> {
        Ok(AuthStatusResponse { header: self.header_now(), enabled: false, auth_revision: 1 })
    }
}

macro_rules! without_users {
    ($($method:ident: $request:ident => $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl crate::pb::etcdserverpb::auth_server::Auth for Node {
            async fn authenticate(
                &self,
                request: tonic::Request<AuthenticateRequest>,
            ) -> Result<tonic::Response<AuthenticateResponse>, tonic::Status> {
                Ok(tonic::Response::new(Self::authenticate(self, request.get_ref())?))
            }

            async fn auth_status(
                &self,
                request: tonic::Request<AuthStatusRequest>,
            ) -> Result<tonic::Response<AuthStatusResponse>, tonic::Status> {
                Ok(tonic::Response::new(Self::auth_status(self, request.into_inner())?))
            }

            $(async fn $method(
                &self,
                _: tonic::Request<crate::pb::etcdserverpb::$request>,
            ) -> Result<tonic::Response<crate::pb::etcdserverpb::$response>, tonic::Status> {
                Err(EtcdError::unimplemented("managing users and roles").into())
            })*
        }
    };
}

without_users! {
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
