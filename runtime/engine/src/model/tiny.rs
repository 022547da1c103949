//! A model from a seed: nothing is downloaded, and every machine has the same.
//!
//! Its weights are random, but not just anything. Attention is strong, so that early tokens change late ones and a
//! test that compares answers would notice lost KV. And the rows of the head are empty for all tokens but printable
//! ASCII and the end: those have a logit of exactly 0, and the best of a hundred random logits is above that, so that
//! a person who tries the demo sees characters, if no words.

use super::{Config, LayerPart, LoadError, Model, Part, Source};
use crate::math::attention::Heads;
use crate::text::bytes::{IM_END, VOCABULARY};
use conductor_core::rng::Stream;

/// The sizes of the model `tiny`: 0.2 million weights, four layers.
#[must_use]
pub fn config() -> Config {
    Config {
        hidden: 64,
        intermediate: 160,
        layers: 4,
        heads: Heads {
            query: 4,
            kv: 2,
            dim: 16,
        },
        vocabulary: VOCABULARY,
        positions: 1 << 17,
        epsilon: 1e-5,
        rope_base: 10_000.0,
        tied: false,
        ends: vec![IM_END],
    }
}

/// The model `tiny` of a seed.
#[must_use]
pub fn model(seed: u64) -> Model {
    random(config(), seed)
}

/// A random model of any sizes. Panics if they do not fit together.
#[must_use]
pub fn random(config: Config, seed: u64) -> Model {
    config.check().expect("sizes that fit together");
    let loaded = Model::load(config, &mut Random { seed });
    loaded.expect("a random model has every tensor")
}

struct Random {
    seed: u64,
}

impl Source for Random {
    fn tensor(&mut self, part: Part, sizes: &[usize]) -> Result<Vec<f32>, LoadError> {
        let count: usize = sizes.iter().product();
        if sizes.len() == 1 {
            return Ok(vec![1.0; count]);
        }
        let inputs = sizes[1];
        // Of unit variance times `gain`, before and after a product.
        let gain = match part {
            Part::Embedding => (inputs as f32).sqrt(),
            Part::Layer(_, LayerPart::Query | LayerPart::Key) => 2.0,
            Part::Layer(_, LayerPart::Value | LayerPart::Output) => 1.5,
            Part::Head => 3.0,
            _ => 1.0,
        };
        let bound = gain * (3.0 / inputs as f32).sqrt();
        let stream = Stream::new(self.seed, &format!("{part:?}"));
        // 24 bits are a float's; so the numbers are exact, up to the one product.
        let number = |index: usize| {
            let share = (stream.draw(index as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            match part {
                Part::Head if !is_printable(index / inputs) => 0.0,
                _ => share * bound,
            }
        };
        Ok((0..count).map(number).collect())
    }
}

fn is_printable(token: usize) -> bool {
    (0x20..0x7f).contains(&token) || token == IM_END as usize
}
