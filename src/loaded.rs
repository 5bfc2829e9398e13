//! Libraries that a driver has loaded.
#![allow(unsafe_code)]

use libloading::Library;

/// The library's handle if it is loaded already: this never loads a second one.
#[cfg(unix)]
pub fn library(path: &str) -> Option<Library> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    #[cfg(target_os = "macos")]
    const RTLD_NOLOAD: std::ffi::c_int = 0x10;
    #[cfg(not(target_os = "macos"))]
    const RTLD_NOLOAD: std::ffi::c_int = 0x4;
    // SAFETY: with RTLD_NOLOAD no initializer runs.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) }.ok().map(Into::into)
}

/// On Windows a library does not show what those that it is linked with have.
#[cfg(windows)]
pub fn library(_path: &str) -> Option<Library> {
    None
}
