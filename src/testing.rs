//! A control plane for tests, over real gRPC: of this project, and of programs that embed it.

pub mod ads;
pub mod fuzz;
pub mod mesh;
pub mod pool;
pub mod ports;
pub mod services;
