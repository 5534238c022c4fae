//! The page's files, as the build script made them.

/// One file.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path in the page's folder.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    /// Its name changes with its content.
    pub(crate) immutable: bool,
    pub(crate) bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));
