//! edgespool's command line.
fn main() {}
