//! Floating-point loops.

use std::f64::consts::PI;

use crate::Random;

/// Multiplies two matrices of 512×512 `f64` in the order that goes along rows, which a compiler turns into SIMD.
pub fn matrix_product_by_rows() -> u64 {
    const SIDE: usize = 512;
    let (left, right) = (matrix(SIDE, 1), matrix(SIDE, 2));
    let mut product = vec![0.0; SIDE * SIDE];
    for (row, out) in left.chunks_exact(SIDE).zip(product.chunks_exact_mut(SIDE)) {
        for (&factor, other) in row.iter().zip(right.chunks_exact(SIDE)) {
            for (sum, value) in out.iter_mut().zip(other) {
                *sum += factor * value;
            }
        }
    }
    checksum(&product)
}

/// Multiplies two matrices of 320×320 `f64` as the textbook does, one sum after the other. A compiler may not reorder such sums.
pub fn matrix_product_by_columns() -> u64 {
    const SIDE: usize = 320;
    let (left, right) = (matrix(SIDE, 3), matrix(SIDE, 4));
    let mut product = vec![0.0; SIDE * SIDE];
    for i in 0..SIDE {
        for j in 0..SIDE {
            let mut sum = 0.0;
            for k in 0..SIDE {
                sum += left[i * SIDE + k] * right[k * SIDE + j];
            }
            product[i * SIDE + j] = sum;
        }
    }
    checksum(&product)
}

/// Spreads heat on a plate of 512×512 points, 250 steps.
pub fn heat() -> u64 {
    const SIDE: usize = 512;
    let mut now = matrix(SIDE, 5);
    let mut next = now.clone();
    for _ in 0..250 {
        for y in 1..SIDE - 1 {
            let (above, here, below) = (row(&now, SIDE, y - 1), row(&now, SIDE, y), row(&now, SIDE, y + 1));
            let out = &mut next[y * SIDE..][..SIDE];
            for x in 1..SIDE - 1 {
                out[x] = 0.5 * here[x] + 0.125 * (above[x] + below[x] + here[x - 1] + here[x + 1]);
            }
        }
        std::mem::swap(&mut now, &mut next);
    }
    checksum(&now)
}

fn row(plate: &[f64], side: usize, y: usize) -> &[f64] {
    &plate[y * side..][..side]
}

#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    velocity: [f64; 3],
    mass: f64,
}

/// Moves five bodies that attract each other, 500,000 steps.
pub fn n_bodies() -> u64 {
    const STEP: f64 = 0.001;
    let mut random = Random(6);
    let mut bodies = [(); 5].map(|()| Body {
        place: [(); 3].map(|()| random.unit() * 30.0 - 15.0),
        velocity: [(); 3].map(|()| random.unit() - 0.5),
        mass: random.unit() + 0.1,
    });
    for _ in 0..500_000 {
        for first in 0..bodies.len() {
            for second in first + 1..bodies.len() {
                let (mut one, mut other) = (bodies[first], bodies[second]);
                let apart = [0, 1, 2].map(|axis| one.place[axis] - other.place[axis]);
                let squared: f64 = apart.iter().map(|along| along * along).sum();
                let pull = STEP / (squared * squared.sqrt());
                for ((here, there), along) in one.velocity.iter_mut().zip(&mut other.velocity).zip(apart) {
                    *here -= along * other.mass * pull;
                    *there += along * one.mass * pull;
                }
                (bodies[first], bodies[second]) = (one, other);
            }
        }
        for body in &mut bodies {
            for axis in 0..3 {
                body.place[axis] += STEP * body.velocity[axis];
            }
        }
    }
    checksum(&bodies.map(|body| body.place[0] + body.velocity[1]))
}

/// The largest singular value of an endless matrix, of which 800 rows and columns are looked at: divisions in an inner loop.
pub fn spectral_norm() -> u64 {
    const SIDE: usize = 800;
    fn entry(i: usize, j: usize) -> f64 {
        1.0 / ((i + j) * (i + j + 1) / 2 + i + 1) as f64
    }
    fn times(vector: &[f64], transposed: bool) -> Vec<f64> {
        (0..vector.len())
            .map(|i| {
                let entry = |j| if transposed { entry(j, i) } else { entry(i, j) };
                vector.iter().enumerate().map(|(j, value)| entry(j) * value).sum()
            })
            .collect()
    }
    let mut u = vec![1.0; SIDE];
    let mut v = u.clone();
    for _ in 0..10 {
        v = times(&times(&u, false), true);
        u = times(&times(&v, false), true);
    }
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(one, other)| one * other).sum::<f64>();
    checksum(&[(dot(&u, &v) / dot(&v, &v)).sqrt()])
}

/// Counts iterations of the Mandelbrot set for 600×600 points, at most 200 each.
pub fn mandelbrot() -> u64 {
    const SIDE: usize = 600;
    let mut iterations = 0;
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (real, imaginary) = (x as f64 * 3.0 / SIDE as f64 - 2.0, y as f64 * 3.0 / SIDE as f64 - 1.5);
            let (mut a, mut b) = (0.0, 0.0);
            for _ in 0..200 {
                let (a_squared, b_squared) = (a * a, b * b);
                if a_squared + b_squared > 4.0 {
                    break;
                }
                b = 2.0 * a * b + imaginary;
                a = a_squared - b_squared + real;
                iterations += 1;
            }
        }
    }
    iterations
}

/// Transforms 2^20 complex numbers, in place and by halves.
pub fn fourier() -> u64 {
    const LENGTH_LOG2: u32 = 20;
    const LENGTH: usize = 1 << LENGTH_LOG2;
    let mut random = Random(7);
    let mut values: Vec<(f64, f64)> = (0..LENGTH).map(|_| (random.unit(), random.unit())).collect();
    for i in 0..LENGTH {
        let reversed = i.reverse_bits() >> (usize::BITS - LENGTH_LOG2);
        if i < reversed {
            values.swap(i, reversed);
        }
    }
    let roots: Vec<(f64, f64)> = (0..LENGTH / 2)
        .map(|i| {
            let angle = -2.0 * PI * i as f64 / LENGTH as f64;
            (angle.cos(), angle.sin())
        })
        .collect();
    let mut half = 1;
    while half < LENGTH {
        let stride = LENGTH / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((low, high), root) in low.iter_mut().zip(high).zip(roots.iter().step_by(stride)) {
                let turned = (high.0 * root.0 - high.1 * root.1, high.0 * root.1 + high.1 * root.0);
                (*low, *high) = ((low.0 + turned.0, low.1 + turned.1), (low.0 - turned.0, low.1 - turned.1));
            }
        }
        half *= 2;
    }
    // Sines differ in their last bits between C libraries.
    let energy: f64 = values.iter().map(|(real, imaginary)| real * real + imaginary * imaginary).sum();
    (energy / LENGTH as f64).round() as u64
}

#[derive(Clone, Copy)]
struct Vector([f64; 3]);

impl Vector {
    fn plus(self, other: Self, times: f64) -> Self {
        Self([0, 1, 2].map(|axis| self.0[axis] + other.0[axis] * times))
    }

    fn dot(self, other: Self) -> f64 {
        self.0.iter().zip(other.0).map(|(one, other)| one * other).sum()
    }

    fn unit(self) -> Self {
        let length = self.dot(self).sqrt();
        Self(self.0.map(|along| along / length))
    }
}

struct Sphere {
    center: Vector,
    radius: f64,
    mirrors: f64,
}

/// Draws 24 mirroring spheres on 480×480 points, with up to four reflections each.
pub fn ray_tracer() -> u64 {
    const SIDE: usize = 480;
    let mut random = Random(8);
    let spheres: Vec<Sphere> = (0..24)
        .map(|_| Sphere {
            center: Vector([random.unit() * 8.0 - 4.0, random.unit() * 8.0 - 4.0, random.unit() * 6.0 + 4.0]),
            radius: random.unit() + 0.3,
            mirrors: random.unit(),
        })
        .collect();
    let mut light = 0.0;
    for y in 0..SIDE {
        for x in 0..SIDE {
            let across = |position: usize| position as f64 / SIDE as f64 - 0.5;
            light += brightness(&spheres, Vector([0.0; 3]), Vector([across(x), across(y), 1.0]).unit(), 4);
        }
    }
    checksum(&[light])
}

fn brightness(spheres: &[Sphere], from: Vector, toward: Vector, reflections: u32) -> f64 {
    const SUN: Vector = Vector([0.48, -0.64, -0.6]);
    let sky = 0.3 - 0.2 * toward.0[1];
    let Some((distance, sphere)) = nearest(spheres, from, toward) else { return sky };
    let hit = from.plus(toward, distance);
    let normal = hit.plus(sphere.center, -1.0).unit();
    let lit = nearest(spheres, hit, SUN).map_or(normal.dot(SUN).max(0.0), |_| 0.0);
    if reflections == 0 {
        return lit;
    }
    let mirrored = toward.plus(normal, -2.0 * toward.dot(normal));
    lit * (1.0 - sphere.mirrors) + sphere.mirrors * brightness(spheres, hit, mirrored, reflections - 1)
}

fn nearest(spheres: &[Sphere], from: Vector, toward: Vector) -> Option<(f64, &Sphere)> {
    let mut found: Option<(f64, &Sphere)> = None;
    for sphere in spheres {
        let apart = sphere.center.plus(from, -1.0);
        let along = apart.dot(toward);
        let inside = sphere.radius * sphere.radius - (apart.dot(apart) - along * along);
        if inside < 0.0 {
            continue;
        }
        let distance = along - inside.sqrt();
        // A reflection does not hit the point that it comes from.
        if distance > 1e-6 && found.is_none_or(|(nearest, _)| distance < nearest) {
            found = Some((distance, sphere));
        }
    }
    found
}

fn matrix(side: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    (0..side * side).map(|_| random.unit()).collect()
}

fn checksum(values: &[f64]) -> u64 {
    values.iter().fold(0, |sum: u64, value| sum.rotate_left(5) ^ value.to_bits())
}
