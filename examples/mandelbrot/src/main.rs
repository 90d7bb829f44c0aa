//! Draws the Mandelbrot set into a PNG: on the grid, a call for each tile, or, to compare, on this machine's one thread.
//!
//! ```text
//! mandelbrot [--size PIXELS] [--tile PIXELS] [--iterations N] [--here] [OUTPUT.png]
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the summary goes to stdout, the time to stderr")]

use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use burla::remote_parallel_map;
use mandelbrot::{PIXEL_BYTES, Picture, Tile, View, draw};

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { view, tile, here, output } = Arguments::parse(std::env::args().skip(1))?;
    let tiles = view.tiles(tile);
    let started = Instant::now();
    let image = if here { on_this_machine(view, &tiles) } else { on_the_grid(view, &tiles)? };
    eprintln!("drew {} tiles in {:.2} s", tiles.len(), started.elapsed().as_secs_f64());
    image.write(&output).map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    println!("{size} x {size} pixels in {tiles} tiles", size = view.size, tiles = tiles.len());
    println!("{} pixels inside, after {} iterations", image.inside, view.iterations);
    println!("crc32 of the pixels: {:08x}", crc32fast::hash(&image.pixels));
    Ok(())
}

/// Tiles arrive in the order in which they are finished; the index says which one it is.
fn on_the_grid(view: View, tiles: &[Tile]) -> burla::Result<Image> {
    let mut image = Image::new(view.size);
    let inputs: Vec<_> = tiles.iter().map(|&tile| (view, tile)).collect();
    for drawn in remote_parallel_map(draw, inputs).generator()?.indexed() {
        let (index, picture) = drawn?;
        image.put(tiles[index as usize], &picture);
    }
    Ok(image)
}

fn on_this_machine(view: View, tiles: &[Tile]) -> Image {
    let mut image = Image::new(view.size);
    for &tile in tiles {
        image.put(tile, &draw(view, tile));
    }
    image
}

/// All tiles together.
struct Image {
    size: u32,
    pixels: Vec<u8>,
    inside: u64,
}

impl Image {
    fn new(size: u32) -> Self {
        Self { size, pixels: vec![0; size as usize * size as usize * PIXEL_BYTES], inside: 0 }
    }

    fn put(&mut self, tile: Tile, picture: &Picture) {
        self.inside += picture.inside;
        let row_bytes = tile.width as usize * PIXEL_BYTES;
        for (row, pixels) in (tile.top as usize..).zip(picture.pixels.chunks_exact(row_bytes)) {
            let start = (row * self.size as usize + tile.left as usize) * PIXEL_BYTES;
            self.pixels[start..start + row_bytes].copy_from_slice(pixels);
        }
    }

    fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut encoder = png::Encoder::new(&mut file, self.size, self.size);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(file.flush()?)
    }
}

struct Arguments {
    view: View,
    tile: u32,
    here: bool,
    output: PathBuf,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed =
            Self { view: View { size: 1024, iterations: 1000 }, tile: 128, here: false, output: PathBuf::from("mandelbrot.png") };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--size" => parsed.view.size = value::<NonZero<u32>>(&argument, &mut arguments)?.get(),
                "--tile" => parsed.tile = value::<NonZero<u32>>(&argument, &mut arguments)?.get(),
                "--iterations" => parsed.view.iterations = value::<NonZero<u32>>(&argument, &mut arguments)?.get(),
                "--here" => parsed.here = true,
                flag if flag.starts_with("--") => {
                    return Err(format!("unknown flag {flag}: there are --size, --tile, --iterations and --here"));
                }
                output => parsed.output = PathBuf::from(output),
            }
        }
        Ok(parsed)
    }
}

fn value<T>(flag: &str, arguments: &mut impl Iterator<Item = String>) -> Result<T, String>
where
    T: FromStr,
    T::Err: Display,
{
    let value = arguments.next().ok_or_else(|| format!("{flag} needs a number"))?;
    value.parse().map_err(|error| format!("{flag} {value}: {error}"))
}
