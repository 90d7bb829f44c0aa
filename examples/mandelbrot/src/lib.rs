//! What the grid runs: draws one tile of the Mandelbrot set.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Bytes of one pixel: red, green and blue.
pub const PIXEL_BYTES: usize = 3;

/// The middle of the image in the complex plane. The whole set is around it.
const CENTER: (f64, f64) = (-0.75, 0.0);

/// How much of the plane the image shows in each direction.
const SPAN: f64 = 2.6;

/// The square of the distance from zero at which a point has left. Leaving begins at 2; further out, the colors of neighboring
/// iterations meet without a visible step.
const LEFT_AT: f64 = 65_536.0;

/// The colors that the points outside go through, round and round: one more for each doubling of their iterations.
const PALETTE: [[u8; PIXEL_BYTES]; 5] = [[0, 7, 100], [32, 107, 203], [237, 255, 255], [255, 170, 0], [0, 2, 0]];

/// The color of the points inside.
const INSIDE: [u8; PIXEL_BYTES] = [0, 0, 0];

/// The whole image.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct View {
    /// Its width and height, in pixels.
    pub size: u32,
    /// A point that has not left after so many iterations is inside.
    pub iterations: u32,
}

/// A rectangle of the image, in pixels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Tile {
    /// Its first column.
    pub left: u32,
    /// Its first row.
    pub top: u32,
    /// How many columns it has.
    pub width: u32,
    /// How many rows it has.
    pub height: u32,
}

/// A tile that was drawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// How many of its pixels are inside the set.
    pub inside: u64,
    /// Red, green and blue of each pixel, row by row. A `Vec<u8>` would travel as an array of numbers, of which those above 127
    /// take two bytes each, and be read one by one.
    pub pixels: ByteBuf,
}

/// Draws one tile of the view.
#[burla::function]
pub fn draw(view: View, tile: Tile) -> Picture {
    let bytes = tile.width as usize * tile.height as usize * PIXEL_BYTES;
    let mut picture = Picture { inside: 0, pixels: ByteBuf::with_capacity(bytes) };
    for row in tile.top..tile.top + tile.height {
        for column in tile.left..tile.left + tile.width {
            let left_after = left_after(view.point(column, row), view.iterations);
            picture.inside += u64::from(left_after.is_none());
            picture.pixels.extend_from_slice(&left_after.map_or(INSIDE, color));
        }
    }
    picture
}

impl View {
    /// Squares that cover the image, row by row; those at the right and at the bottom are cut off at its edge.
    pub fn tiles(self, side: u32) -> Vec<Tile> {
        let starts = || (0..self.size).step_by(side as usize);
        let cut = |start: u32| side.min(self.size - start);
        let row = |top: u32| starts().map(move |left| Tile { left, top, width: cut(left), height: cut(top) });
        starts().flat_map(row).collect()
    }

    /// The point of the complex plane in the middle of a pixel.
    fn point(self, column: u32, row: u32) -> (f64, f64) {
        let from_center = |pixel: u32| SPAN * ((f64::from(pixel) + 0.5) / f64::from(self.size) - 0.5);
        (CENTER.0 + from_center(column), CENTER.1 + from_center(row))
    }
}

/// After how many iterations of z² + c the point c leaves; `None` for one that does not. The fraction says how far it then is,
/// which makes colors run into each other instead of forming bands.
fn left_after((real, imaginary): (f64, f64), iterations: u32) -> Option<f64> {
    let (mut x, mut y) = (0.0_f64, 0.0_f64);
    for iteration in 0..iterations {
        (x, y) = (x * x - y * y + real, 2.0 * x * y + imaginary);
        let distance_squared = x * x + y * y;
        if distance_squared > LEFT_AT {
            let beyond = libm::log2(libm::log2(distance_squared) / libm::log2(LEFT_AT));
            return Some(f64::from(iteration) + 1.0 - beyond);
        }
    }
    None
}

fn color(left_after: f64) -> [u8; PIXEL_BYTES] {
    let position = libm::log2(left_after.max(0.0) + 1.0);
    let stop = position as usize;
    let (from, to) = (PALETTE[stop % PALETTE.len()], PALETTE[(stop + 1) % PALETTE.len()]);
    let mix = |from: u8, to: u8| f64::from(from) + (f64::from(to) - f64::from(from)) * position.fract();
    std::array::from_fn(|channel| mix(from[channel], to[channel]) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_inside_or_leave() {
        for inside in [(0.0, 0.0), (-1.0, 0.0), (-2.0, 0.0), (0.0, 1.0), (0.25, 0.0)] {
            assert_eq!(left_after(inside, 1000), None, "{inside:?}");
        }
        for outside in [(0.26, 0.0), (-2.01, 0.0), (1.0, 1.0), (0.0, 1.01)] {
            assert!(left_after(outside, 1000).is_some(), "{outside:?}");
        }
        assert!(left_after((0.5, 0.0), 1000) > left_after((1.0, 0.0), 1000), "what is nearer to the set leaves later");
    }

    #[test]
    fn tiles_cover_every_pixel_once() {
        for (size, side) in [(1, 1), (100, 32), (64, 32), (10, 100)] {
            let mut covered = vec![0; (size * size) as usize];
            for tile in (View { size, iterations: 1 }).tiles(side) {
                for row in tile.top..tile.top + tile.height {
                    for column in tile.left..tile.left + tile.width {
                        covered[(row * size + column) as usize] += 1;
                    }
                }
            }
            assert!(covered.iter().all(|&times| times == 1), "{size} pixels in tiles of {side}");
        }
    }

    #[test]
    fn a_tile_is_what_is_there_in_the_whole() {
        let view = View { size: 32, iterations: 100 };
        let whole = draw(view, Tile { left: 0, top: 0, width: 32, height: 32 });
        let tile = draw(view, Tile { left: 8, top: 16, width: 4, height: 1 });
        let start = (16 * 32 + 8) * PIXEL_BYTES;
        assert_eq!(tile.pixels[..], whole.pixels[start..start + 4 * PIXEL_BYTES]);
        assert!((1..32 * 32).contains(&whole.inside));
    }
}
