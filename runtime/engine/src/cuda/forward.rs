//! The forward pass of a step, put into a stream.
//!
//! The same as [`crate::model::forward`](crate::model): the rows of all pieces go through products together, keys and
//! values are stored first and read back by attention. Nothing is waited for: an event behind each layer's storing is
//! what tells of it.

use super::driver::{Buffer, Device, Event, Result, Stream};
use super::kernels::{Attention, Choose, Embed, Kernels, Norm, Product, Rotate, Store, View};
use super::plan::Plan;
use super::pool::DevicePool;
use super::products::Multiply;
use super::weights::{DeviceLayer, DeviceMatrix, Weights};
use crate::model::Config;

/// Device memory that is used again from step to step, and grows with the largest one.
pub(super) struct Scratch {
    pub(super) plan: Room,
    hidden: Room,
    normed: Room,
    query: Room,
    key: Room,
    value: Room,
    attended: Room,
    gate: Room,
    up: Room,
    out: Room,
    pub(super) logits: Room,
    weights: Room,
    pub(super) tokens: Room,
}

/// A buffer that grows.
pub(super) struct Room(Buffer);

impl Room {
    fn new(device: &Device) -> Result<Self> {
        Ok(Self(Buffer::new(device, 4, "a step")?))
    }

    /// Makes room for so many bytes; what was in it is lost then.
    fn fit(&mut self, bytes: usize) -> Result<()> {
        if self.0.bytes() < bytes {
            let device = self.0.device().clone();
            // The old one goes first: both need not fit.
            self.0 = Buffer::new(&device, 4, "a step")?;
            self.0 = Buffer::new(&device, bytes.next_multiple_of(1 << 16), "a step")?;
        }
        Ok(())
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.0, 0)
    }

    pub(super) const fn buffer(&self) -> &Buffer {
        &self.0
    }
}

impl Scratch {
    pub(super) fn new(device: &Device) -> Result<Self> {
        let room = || Room::new(device);
        Ok(Self {
            plan: room()?,
            hidden: room()?,
            normed: room()?,
            query: room()?,
            key: room()?,
            value: room()?,
            attended: room()?,
            gate: room()?,
            up: room()?,
            out: room()?,
            logits: room()?,
            weights: room()?,
            tokens: room()?,
        })
    }

    /// Makes room for a step.
    pub(super) fn fit(&mut self, config: &Config, plan: &Plan) -> Result<()> {
        let (rows, picks) = (plan.rows, plan.picks);
        let (query, kv) = (config.heads.query_width(), config.heads.kv_width());
        self.plan.fit(plan.bytes.len())?;
        for (room, numbers) in [
            (&mut self.hidden, rows * config.hidden),
            (&mut self.normed, rows * config.hidden),
            (&mut self.query, rows * query),
            (&mut self.key, rows * kv),
            (&mut self.value, rows * kv),
            (&mut self.attended, rows * query),
            (&mut self.gate, rows * config.intermediate),
            (&mut self.up, rows * config.intermediate),
            (&mut self.out, rows * config.hidden),
            (&mut self.logits, picks * config.vocabulary),
            (&mut self.weights, picks * config.vocabulary),
            (&mut self.tokens, picks),
        ] {
            room.fit(4 * numbers)?;
        }
        Ok(())
    }
}

/// All that a pass needs.
pub(super) struct Pass<'a> {
    pub(super) config: &'a Config,
    pub(super) weights: &'a Weights,
    pub(super) kernels: &'a Kernels,
    pub(super) multiply: &'a mut Multiply,
    pub(super) pool: &'a DevicePool,
    pub(super) stream: &'a Stream,
    pub(super) scratch: &'a Scratch,
    pub(super) plan: &'a Plan,
}

impl Pass<'_> {
    /// The whole step; `stored` has an event for each layer.
    pub(super) fn enqueue(&mut self, stored: &[Event]) -> Result<()> {
        let (s, c, rows) = (self.scratch, self.config, self.plan.rows);
        let table = &self.weights.embedding;
        let embed = Embed {
            table: table.view(),
            tokens: self.planned(self.plan.at.tokens),
            out: s.hidden.view(),
            rows,
            hidden: c.hidden,
            vocabulary: c.vocabulary,
        };
        self.kernels.embed(self.stream, &embed)?;
        for (index, (layer, stored)) in self.weights.layers.iter().zip(stored).enumerate() {
            self.attention(index, layer, stored)?;
            self.mlp(layer)?;
        }
        let picks = self.plan.picks;
        if picks == 0 {
            return Ok(());
        }
        let norm = Norm {
            x: s.hidden.view(),
            picks: Some(self.planned(self.plan.at.picks)),
            weight: View::new(&self.weights.norm, 0),
            out: s.normed.view(),
            rows: picks,
            hidden: c.hidden,
            epsilon: c.epsilon,
        };
        self.kernels.rms_norm(self.stream, &norm)?;
        self.product(&s.normed, self.weights.head(), &s.logits, picks)?;
        let choose = Choose {
            logits: s.logits.view(),
            temperatures: self.planned(self.plan.at.temperatures),
            shares: self.planned(self.plan.at.shares),
            weights: s.weights.view(),
            tokens: s.tokens.view(),
            rows: picks,
            vocabulary: c.vocabulary,
        };
        self.kernels.choose(self.stream, &choose)
    }

    /// The first half of a layer, KV in the pool included.
    fn attention(&mut self, index: usize, layer: &DeviceLayer, stored: &Event) -> Result<()> {
        let (s, c, rows) = (self.scratch, self.config, self.plan.rows);
        let heads = c.heads;
        self.norm(&layer.attention_norm)?;
        self.product(&s.normed, &layer.query, &s.query, rows)?;
        self.product(&s.normed, &layer.key, &s.key, rows)?;
        self.product(&s.normed, &layer.value, &s.value, rows)?;
        for (x, heads_of) in [(&s.query, heads.query), (&s.key, heads.kv)] {
            let rotate = Rotate {
                x: x.view(),
                angles: self.planned(self.plan.at.angles),
                rows,
                heads: heads_of,
                half: heads.dim / 2,
            };
            self.kernels.rotate(self.stream, &rotate)?;
        }
        let store = Store {
            keys: s.key.view(),
            values: s.value.view(),
            pool: self.pool.view(),
            slots: self.planned(self.plan.at.slots),
            rows,
            shape: self.pool.shape(),
            layer: index,
        };
        self.kernels.store_kv(self.stream, &store)?;
        stored.record(self.stream)?;
        let attention = |lists, count| Attention {
            queries: s.query.view(),
            pool: self.pool.view(),
            out: s.attended.view(),
            lists: self.planned(lists),
            count,
            tables: self.planned(self.plan.at.tables),
            heads,
            shape: self.pool.shape(),
            layer: index,
        };
        self.kernels.attend_prefill(
            self.stream,
            &attention(self.plan.at.chunks, self.plan.chunks),
        )?;
        self.kernels.attend_decode(
            self.stream,
            &attention(self.plan.at.singles, self.plan.singles),
        )?;
        self.product(&s.attended, &layer.output, &s.out, rows)?;
        self.kernels
            .add(self.stream, s.hidden.view(), s.out.view(), rows * c.hidden)
    }

    /// The second half of a layer.
    fn mlp(&mut self, layer: &DeviceLayer) -> Result<()> {
        let (s, c, rows) = (self.scratch, self.config, self.plan.rows);
        self.norm(&layer.mlp_norm)?;
        self.product(&s.normed, &layer.gate, &s.gate, rows)?;
        self.product(&s.normed, &layer.up, &s.up, rows)?;
        self.kernels.swiglu(
            self.stream,
            s.gate.view(),
            s.up.view(),
            rows * c.intermediate,
        )?;
        self.product(&s.gate, &layer.down, &s.out, rows)?;
        self.kernels
            .add(self.stream, s.hidden.view(), s.out.view(), rows * c.hidden)
    }

    /// `hidden` into `normed`.
    fn norm(&self, weight: &Buffer) -> Result<()> {
        let norm = Norm {
            x: self.scratch.hidden.view(),
            picks: None,
            weight: View::new(weight, 0),
            out: self.scratch.normed.view(),
            rows: self.plan.rows,
            hidden: self.config.hidden,
            epsilon: self.config.epsilon,
        };
        self.kernels.rms_norm(self.stream, &norm)
    }

    fn product(&mut self, x: &Room, matrix: &DeviceMatrix, out: &Room, rows: usize) -> Result<()> {
        let (inputs, outputs) = (matrix.inputs, matrix.outputs);
        let product = Product {
            x: x.view(),
            matrix: matrix.view(),
            out: out.view(),
            rows,
            inputs,
            outputs,
        };
        self.multiply.run(self.kernels, self.stream, &product)
    }

    /// An array of the plan.
    fn planned(&self, at: usize) -> View<'_> {
        View::new(self.scratch.plan.buffer(), at)
    }
}
