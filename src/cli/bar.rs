//! The progress bar of `send`: on a terminal, and with the feature `progress`.

pub(super) use imp::Bar;

#[cfg(feature = "progress")]
mod imp {
    use std::io::IsTerminal;

    use indicatif::{ProgressBar, ProgressStyle};

    /// How far an upload of several files is.
    pub(in crate::cli) struct Bar(ProgressBar);

    impl Bar {
        /// At the beginning of so many bytes.
        pub(in crate::cli) fn new(total: u64) -> Self {
            let bar = match std::io::stderr().is_terminal() {
                true => ProgressBar::new(total),
                false => ProgressBar::hidden(),
            };
            let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            Self(bar)
        }

        /// Names the file that is on its way.
        pub(in crate::cli) fn name(&self, file: &str) {
            self.0.set_message(file.to_owned());
        }

        /// Bytes that have gone, of all files.
        pub(in crate::cli) fn set(&self, bytes: u64) {
            self.0.set_position(bytes);
        }

        /// Keeps the bar away from what `print` writes.
        pub(in crate::cli) fn suspend(&self, print: impl FnOnce()) {
            self.0.suspend(print);
        }

        /// Takes the bar off the screen.
        pub(in crate::cli) fn finish(&self) {
            self.0.finish_and_clear();
        }
    }
}

#[cfg(not(feature = "progress"))]
mod imp {
    /// Shows nothing.
    pub(in crate::cli) struct Bar;

    #[allow(clippy::unused_self)]
    impl Bar {
        pub(in crate::cli) fn new(_total: u64) -> Self {
            Self
        }

        pub(in crate::cli) fn name(&self, _file: &str) {}

        pub(in crate::cli) fn set(&self, _bytes: u64) {}

        pub(in crate::cli) fn suspend(&self, print: impl FnOnce()) {
            print();
        }

        pub(in crate::cli) fn finish(&self) {}
    }
}
