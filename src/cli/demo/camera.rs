//! The fake camera: draws pictures and writes them as most cameras do, straight
//! under their final names, a piece at a time.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, rgb_to_ycbcr};

use super::made::{Ledger, Made};
use super::scene::Scene;
use crate::sys::{Mono, Pool, Sys};

/// The watch of the camera's directory.
pub(super) const WATCH: &str = "camera";

/// Takes pictures into `dir` until `end`, at least one.
///
/// # Errors
/// What the disk says.
pub(super) async fn run(
    sys: &Sys,
    hardware: &Pool,
    dir: &Path,
    ledger: &Rc<Ledger>,
    end: Mono,
) -> io::Result<()> {
    for number in 0.. {
        let next = sys.clock.mono().after(EVERY);
        let shot = Shot::new(number);
        let (picture, path) = (shot.clone(), shot.path(dir));
        let content = hardware.run(move || picture.draw()).await?;
        ledger.enter(Made::of(format!("{WATCH}/{}", shot.name()), &content));
        hardware.run(move || write(&path, &content)).await?;
        if next >= end {
            break;
        }
        sys.clock.sleep_until(next).await;
    }
    Ok(())
}

/// A camera takes its time: who reads the file before it is closed has half of
/// a picture.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    content
        .chunks(PIECE_BYTES)
        .try_for_each(|piece| file.write_all(piece))
}

/// One press of the button.
#[derive(Clone)]
struct Shot {
    number: u32,
    /// A large picture, or a small one.
    wide: bool,
}

impl Shot {
    /// The first is large, and every fourth.
    fn new(number: u32) -> Shot {
        Shot {
            number,
            wide: number.is_multiple_of(4),
        }
    }

    fn name(&self) -> String {
        let kind = if self.wide { "wide" } else { "view" };
        format!("{kind}-{:04}.jpg", self.number)
    }

    fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }

    /// The JPEG.
    fn draw(&self) -> io::Result<Vec<u8>> {
        let (width, height, quality) = match self.wide {
            true => (1600, 900, 90),
            false => (640, 360, 85),
        };
        let scene = Scene::new(self.number, width, height);
        let mut jpeg = Vec::new();
        let encoder = Encoder::new(&mut jpeg, quality);
        encoder
            .encode_image(Frame(scene))
            .map_err(io::Error::other)?;
        Ok(jpeg)
    }
}

/// The picture as the encoder reads it, row by row.
struct Frame(Scene);

impl ImageBuffer for Frame {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn fill_buffers(&self, row: u16, buffers: &mut [Vec<u8>; 4]) {
        let [luma, blue, red, _] = buffers;
        for x in 0..self.0.width() {
            let (r, g, b) = self.0.pixel(x, row);
            let (y, cb, cr) = rgb_to_ycbcr(r, g, b);
            luma.push(y);
            blue.push(cb);
            red.push(cr);
        }
    }
}

const EVERY: Duration = Duration::from_millis(800);
const PIECE_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_picture_is_the_same_file_and_the_next_is_another() {
        let draw = |number| {
            Shot {
                number,
                wide: false,
            }
            .draw()
            .unwrap()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
        assert!(draw(5).starts_with(&[0xff, 0xd8, 0xff]) && draw(5).ends_with(&[0xff, 0xd9]));
    }

    #[test]
    fn a_large_picture_is_longer_than_any_cut_of_the_plan() {
        for number in (0..40).step_by(4) {
            let size = Shot::new(number).draw().unwrap().len() as u64;
            assert!(size > 2 * super::super::CUT_AFTER_MAX, "{number}: {size}");
        }
    }

    #[test]
    fn what_is_written_is_what_was_entered() {
        let dir = tempfile::tempdir().unwrap();
        let sys = Sys::os().unwrap();
        let ledger = Rc::new(Ledger::default());
        let end = sys.clock.mono();
        smol::block_on(run(&sys, &sys.pool, dir.path(), &ledger, end)).unwrap();
        let [made] = &ledger.all()[..] else {
            panic!("one picture at least, and no more when the time is over")
        };
        let name = made.path.strip_prefix("camera/").unwrap();
        let content = std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!(*made, Made::of(made.path.clone(), &content));
    }
}
