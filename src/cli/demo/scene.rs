//! What the camera sees: a boat that crosses a bay while the day goes by.
//!
//! Pure: a picture follows from its number alone, pixel by pixel, so no frame
//! is ever in memory as a whole.

use std::f32::consts::TAU;

/// One moment at the bay, in a picture of a certain size.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    width: u16,
    height: u16,
    number: u32,
    minute: u32,
    /// 0 at night, 1 by day.
    daylight: f32,
    /// 1 at sunrise and sunset.
    dusk: f32,
    zenith: Rgb,
    horizon: Rgb,
    /// Where the sun stands, or at night the moon.
    light: (f32, f32),
    light_colour: Rgb,
    boat: f32,
}

/// A colour; each part goes from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rgb(f32, f32, f32);

impl Scene {
    /// What picture `number` shows, in a frame of so many pixels.
    pub(super) fn new(number: u32, width: u16, height: u16) -> Scene {
        let minute = (FIRST_MINUTE + number.wrapping_mul(MINUTES_PER_PICTURE)) % DAY_MINUTES;
        let day = minute as f32 / DAY_MINUTES as f32;
        let sun = (TAU * (day - 0.25)).sin();
        let daylight = ((sun + 0.15) / 0.4).clamp(0.0, 1.0);
        let dusk = (-(sun / 0.25).powi(2)).exp();
        let aspect = f32::from(width) / f32::from(height);
        // From six to six the sun goes from left to right, then the moon.
        let along = (day * 2.0 + 0.5).fract();
        let light = (
            aspect * (0.08 + 0.84 * along),
            SHORE - 0.06 - 0.48 * sun.abs(),
        );
        Scene {
            width,
            height,
            number,
            minute,
            daylight,
            dusk,
            zenith: NIGHT_ZENITH.mix(DAY_ZENITH, daylight),
            horizon: NIGHT_HORIZON
                .mix(DAY_HORIZON, daylight)
                .mix(DUSK_HORIZON, dusk * 0.85),
            light,
            light_colour: if sun > 0.0 { SUN } else { MOON },
            boat: (aspect + 0.4) * (number as f32 * 0.037 + 0.1).fract() - 0.2,
        }
    }

    /// Pixels in a row.
    pub(super) fn width(&self) -> u16 {
        self.width
    }

    /// Rows.
    pub(super) fn height(&self) -> u16 {
        self.height
    }

    /// Red, green and blue of one pixel.
    pub(super) fn pixel(&self, x: u16, y: u16) -> (u8, u8, u8) {
        if let Some(lit) = self.clock(x, y) {
            return if lit { (250, 250, 240) } else { (16, 18, 22) };
        }
        let scale = 1.0 / f32::from(self.height);
        let (u, v) = (f32::from(x) * scale, f32::from(y) * scale);
        let colour = self
            .boat(u, v)
            .or_else(|| self.hill(u, v))
            .unwrap_or_else(|| match v < SHORE {
                true => self.sky(u, v, x, y),
                false => self.sea(u, v),
            });
        // A sensor has noise, the more the less light there is.
        let noise = hash(u32::from(x), u32::from(y), self.number) & 0xff;
        let grain = (noise as f32 / 255.0 - 0.5) * (26.0 - 12.0 * self.daylight);
        colour.lighter(grain).bytes()
    }

    fn sky(&self, u: f32, v: f32, x: u16, y: u16) -> Rgb {
        let sky = self.zenith.mix(self.horizon, (v / SHORE).powi(2));
        let (du, dv) = (u - self.light.0, v - self.light.1);
        let away = du * du + dv * dv;
        if away < 0.0016 {
            return self.light_colour;
        }
        let cell = u32::from(self.height / 180).max(1);
        let star = hash(u32::from(x) / cell, u32::from(y) / cell, 0).is_multiple_of(331);
        let sky = match star {
            true => sky.mix(MOON, (1.0 - 2.0 * self.daylight).max(0.0)),
            false => sky,
        };
        let glow = 0.5 * (-away * 30.0).exp() + 0.35 * self.dusk * (-away * 4.0).exp();
        sky.mix(self.light_colour, glow)
    }

    fn hill(&self, u: f32, v: f32) -> Option<Rgb> {
        let height = 0.05 + 0.03 * (u * 3.1).sin() + 0.014 * (u * 7.7 + 1.0).sin();
        let above = SHORE - v;
        (above >= 0.0 && above < height).then(|| {
            let green = NIGHT_HILL.mix(DAY_HILL, self.daylight);
            green.mix(self.horizon, 0.25).lighter(above * 90.0)
        })
    }

    fn sea(&self, u: f32, v: f32) -> Rgb {
        // Waves grow towards the viewer.
        let near = (v - SHORE) / (1.0 - SHORE);
        let phase = self.number as f32 * 1.3;
        let wave = (u * 30.0 / (0.2 + near) + phase).sin() * (v * 260.0 + u * 9.0 - phase).sin();
        let deep = NIGHT_SEA.mix(DAY_SEA, self.daylight);
        let water = self.horizon.mix(deep, 0.35 + 0.55 * near);
        let glitter = (-((u - self.light.0) / (0.04 + 0.1 * near)).powi(2)).exp();
        water
            .lighter(wave * (4.0 + 10.0 * near))
            .mix(self.light_colour, glitter * (0.3 + 0.3 * wave))
    }

    fn boat(&self, u: f32, v: f32) -> Option<Rgb> {
        let bob = (self.number as f32 * 1.7).sin() * 0.006;
        let (du, up) = (u - self.boat, WATERLINE + bob - v);
        let shade = 0.25 + 0.75 * self.daylight;
        let is_hull = (-0.035..0.0).contains(&up) && du.abs() < 0.10 + up;
        let is_sail = (0.02..0.24).contains(&up) && du > -0.07 + 0.3 * up && du < 0.005;
        let is_jib = (0.02..0.20).contains(&up) && du > 0.015 && du < 0.08 - 0.33 * up;
        match (is_hull, is_sail, is_jib) {
            (true, ..) => Some(HULL.mix(Rgb(0.0, 0.0, 0.0), 1.0 - shade)),
            (_, true, _) => Some(SAIL.mix(self.zenith, 1.0 - shade)),
            (.., true) => Some(JIB.mix(self.zenith, 1.0 - shade)),
            _ => None,
        }
    }

    /// Whether a pixel of the clock's panel is lit; `None` outside of it.
    fn clock(&self, x: u16, y: u16) -> Option<bool> {
        let cell = u32::from(self.height / 90).max(1);
        let column = (u32::from(x) / cell).checked_sub(3)?;
        let row = (u32::from(self.height - 1 - y) / cell).checked_sub(3)?;
        if row > 6 || column > CLOCK_COLUMNS {
            return None;
        }
        // Five rows of three pixels, bottom up, with a margin around each.
        let (Some(row), Some(column)) = (row.checked_sub(1), column.checked_sub(1)) else {
            return Some(false);
        };
        let place = usize::try_from(column / 4).ok()?;
        let glyph = self.clock_glyphs().into_iter().nth(place);
        let bits = glyph.and_then(|glyph| GLYPHS.get(glyph)).unwrap_or(&0);
        let column = column % 4;
        Some(row < 5 && column < 3 && bits >> (row * 3 + 2 - column) & 1 == 1)
    }

    /// `hh:mm number`, as places in [`GLYPHS`].
    fn clock_glyphs(&self) -> [usize; 10] {
        let digit = |n: u32| usize::try_from(n % 10).unwrap_or(0);
        let (hour, minute, n) = (self.minute / 60, self.minute % 60, self.number);
        [
            digit(hour / 10),
            digit(hour),
            COLON,
            digit(minute / 10),
            digit(minute),
            BLANK,
            digit(n / 1000),
            digit(n / 100),
            digit(n / 10),
            digit(n),
        ]
    }
}

impl Rgb {
    /// `part` of the way from this colour to the other.
    fn mix(self, other: Rgb, part: f32) -> Rgb {
        let mix = |a: f32, b: f32| a + (b - a) * part;
        Rgb(
            mix(self.0, other.0),
            mix(self.1, other.1),
            mix(self.2, other.2),
        )
    }

    fn lighter(self, by: f32) -> Rgb {
        Rgb(self.0 + by, self.1 + by, self.2 + by)
    }

    fn bytes(self) -> (u8, u8, u8) {
        // The cast keeps to 0..=255.
        #[allow(clippy::cast_possible_truncation)]
        let byte = |part: f32| part as u8;
        (byte(self.0), byte(self.1), byte(self.2))
    }
}

/// Mixes three numbers into one that looks random.
fn hash(a: u32, b: u32, c: u32) -> u32 {
    let mut n = a.wrapping_mul(0x9e37_79b1) ^ b.wrapping_mul(0x85eb_ca6b) ^ c << 16;
    for factor in [0x7feb_352d, 0x846c_a68b] {
        n = (n ^ n >> 16).wrapping_mul(factor);
    }
    n ^ n >> 15
}

/// How high the horizon stands, from the top of the picture.
const SHORE: f32 = 0.64;
const WATERLINE: f32 = 0.80;
const DAY_MINUTES: u32 = 24 * 60;
/// Shortly before sunrise.
const FIRST_MINUTE: u32 = 5 * 60 + 25;
const MINUTES_PER_PICTURE: u32 = 37;

const NIGHT_ZENITH: Rgb = Rgb(7.0, 10.0, 30.0);
const NIGHT_HORIZON: Rgb = Rgb(24.0, 34.0, 70.0);
const DAY_ZENITH: Rgb = Rgb(52.0, 112.0, 196.0);
const DAY_HORIZON: Rgb = Rgb(176.0, 212.0, 240.0);
const DUSK_HORIZON: Rgb = Rgb(244.0, 146.0, 84.0);
const SUN: Rgb = Rgb(255.0, 240.0, 196.0);
const MOON: Rgb = Rgb(224.0, 230.0, 240.0);
const NIGHT_HILL: Rgb = Rgb(10.0, 16.0, 22.0);
const DAY_HILL: Rgb = Rgb(64.0, 98.0, 60.0);
const NIGHT_SEA: Rgb = Rgb(6.0, 12.0, 28.0);
const DAY_SEA: Rgb = Rgb(22.0, 78.0, 120.0);
const HULL: Rgb = Rgb(150.0, 52.0, 40.0);
const SAIL: Rgb = Rgb(248.0, 246.0, 236.0);
const JIB: Rgb = Rgb(232.0, 180.0, 72.0);

/// Ten glyphs with their gaps.
const CLOCK_COLUMNS: u32 = 40;
const COLON: usize = 10;
const BLANK: usize = 11;
/// Three by five pixels: the bottom row in the lowest three bits, the left
/// pixel in the highest of the three.
const GLYPHS: [u16; 12] = [
    0b111_101_101_101_111,
    0b010_110_010_010_111,
    0b111_001_111_100_111,
    0b111_001_111_001_111,
    0b101_101_111_001_001,
    0b111_100_111_001_111,
    0b111_100_111_101_111,
    0b111_001_010_010_010,
    0b111_101_111_101_111,
    0b111_101_111_001_111,
    0b000_010_000_010_000,
    0,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of red, green and blue over the upper half of the picture.
    fn sky_brightness(scene: &Scene) -> u32 {
        let (mut sum, mut count) = (0, 0);
        for y in 0..scene.height() / 2 {
            for x in 0..scene.width() {
                let (r, g, b) = scene.pixel(x, y);
                sum += u32::from(r) + u32::from(g) + u32::from(b);
                count += 3;
            }
        }
        sum / count
    }

    #[test]
    fn the_sky_goes_with_the_time() {
        let at = |hour: u32| {
            let number = (0..40).find(|n| {
                let scene = Scene::new(*n, 160, 90);
                scene.minute / 60 == hour
            });
            sky_brightness(&Scene::new(number.unwrap(), 160, 90))
        };
        assert!(at(12) > at(6) + 20, "{} {}", at(12), at(6));
        assert!(at(6) > at(0) + 20, "{} {}", at(6), at(0));
    }

    #[test]
    fn the_boat_moves() {
        assert_ne!(Scene::new(3, 160, 90).boat, Scene::new(4, 160, 90).boat);
    }

    #[test]
    fn the_clock_can_be_read() {
        // Picture 2: 5:25 and twice 37 minutes.
        let scene = Scene::new(2, 160, 90);
        let mut rows = Vec::new();
        for y in 81..86 {
            let lit = (3..=43).map(|x| match scene.clock(x, y) {
                Some(true) => '#',
                _ => '.',
            });
            rows.push(lit.collect::<String>());
        }
        assert_eq!(
            rows,
            [
                ".###.###.....###.###.....###.###.###.###.",
                ".#.#.#....#....#.#.#.....#.#.#.#.#.#...#.",
                ".#.#.###.....###.###.....#.#.#.#.#.#.###.",
                ".#.#.#.#..#....#...#.....#.#.#.#.#.#.#...",
                ".###.###.....###.###.....###.###.###.###.",
            ]
        );
    }
}
