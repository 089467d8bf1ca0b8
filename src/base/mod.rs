//! Plain values that every other module may use: sizes, durations, secrets.

mod secret;
mod size;
mod span;

pub use secret::Secret;
pub use size::{ByteSize, ParseSizeError};
pub use span::{ParseSpanError, format_span, parse_span};
