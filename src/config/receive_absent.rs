//! `[receive]` in a build without the feature `receive`: refused.

use super::env::Env;
use super::section::Section;
use crate::receive::ReceiveOptions;

/// `[receive]` as it was read, which it never is.
pub(super) struct Read {
    pub(super) options: ReceiveOptions,
}

pub(super) fn read(section: Option<Section<'_>>, _: &Env<'_>, _: &str) -> Option<Read> {
    let section = section?;
    section.mistake_here("this edgespool was built without the receiver (take the full one)");
    None
}
