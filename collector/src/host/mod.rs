//! Context shared by publishers and tables: what the host is and what runs on it.

#[cfg(target_os = "linux")]
pub mod allocator;
pub mod boot;
pub mod containers;
pub mod dpkg;
pub mod environment;
pub mod exclude;
#[cfg(target_os = "linux")]
pub mod file_systems;
pub mod images;
pub mod mask;
#[cfg(target_os = "linux")]
pub mod module_signature;
#[cfg(target_os = "linux")]
pub mod proc;
pub mod process_cache;
#[cfg(target_os = "linux")]
pub mod program;
pub mod reconcile;
pub mod rpm;
pub mod signals;
pub mod text;
pub mod users;
