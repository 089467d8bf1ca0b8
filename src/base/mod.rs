//! Plain values that every other module may use: sizes, durations,
//! points in time, secrets.

#[doc(hidden)]
pub mod sabotage;
mod secret;
mod size;
mod span;
mod time;

pub use secret::Secret;
pub use size::{ByteSize, ParseSizeError};
pub use span::{ParseSpanError, format_span, parse_span};
pub use time::{Mono, Wall};
