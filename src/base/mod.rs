//! Plain values that every other module may use: sizes, durations, byte names.

mod size;
mod span;

pub use size::{ByteSize, ParseSizeError};
pub use span::{ParseSpanError, format_span, parse_span};
