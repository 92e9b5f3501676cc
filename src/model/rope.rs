//! Rotary angles as transformers computes them.

use super::config::{Config, RopeScaling};

/// Inverse frequencies, (head_dim / 2,), in f32 arithmetic like the reference.
pub fn inv_freq(config: &Config) -> Vec<f32> {
    let dim = config.head_dim as f32;
    let frequency = |i: usize| 1.0 / f64::powf(config.rope.theta, f64::from(2.0 * i as f32 / dim)) as f32;
    let scale = |frequency: f32| match config.rope.scaling {
        RopeScaling::Default => frequency,
        RopeScaling::Linear { factor } => frequency / factor as f32,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            let original = original_max_position_embeddings as f64;
            let wavelength = (2.0 * std::f64::consts::PI) as f32 / frequency;
            if wavelength > (original / low_freq_factor) as f32 {
                frequency / factor as f32
            } else if wavelength < (original / high_freq_factor) as f32 {
                frequency
            } else {
                let smooth = (original as f32 / wavelength - low_freq_factor as f32)
                    / (high_freq_factor - low_freq_factor) as f32;
                (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
            }
        }
    };
    (0..config.head_dim / 2).map(|i| scale(frequency(i))).collect()
}

/// Cosine and sine of the angles of `position`, each (head_dim / 2,). The angle is an f32 product, its
/// functions are those of f64 rounded once: the same bits wherever f64's are good to 29 bits.
pub(crate) fn angles(inv_freq: &[f32], position: usize, cos: &mut [f32], sin: &mut [f32]) {
    for ((frequency, cos), sin) in inv_freq.iter().zip(cos).zip(sin) {
        let (s, c) = f64::from(position as f32 * frequency).sin_cos();
        (*cos, *sin) = (c as f32, s as f32);
    }
}
