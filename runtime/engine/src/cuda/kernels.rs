//! The kernels, with types: what each is given, and that it is large enough.
//!
//! The sources are in `kernels/`; `kernels/common.cuh` says which arithmetic they keep. Sizes are checked here,
//! contents are not: a token, block or slot that is out of range is an error of the device (an illegal address), after
//! which its context is of no use. The engine checks steps before it comes to that.
//!
//! A view that is too small is a mistake in the program, and panics.

mod attention;
mod sizes;

pub(super) use attention::prefill_tile;
pub use attention::{Attention, HEAD_MAX};
pub use sizes::View;

use super::compile::Image;
use super::driver::{Arg, Device, Function, Module, Result, Shape, Stream};

/// All kernels, on one device.
pub struct Kernels {
    embed: Function,
    rms_norm: Function,
    rotate: Function,
    swiglu: Function,
    add: Function,
    product_tiled: Function,
    product_few: Function,
    store_kv: Function,
    gather_blocks: Function,
    scatter_blocks: Function,
    attend_prefill: Function,
    attend_decode: Function,
    choose: Function,
}

/// Rows from tokens.
#[derive(Clone, Copy, Debug)]
pub struct Embed<'a> {
    /// `[hidden][vocabulary]`.
    pub table: View<'a>,
    /// One a row.
    pub tokens: View<'a>,
    /// `[row][hidden]`.
    pub out: View<'a>,
    /// Rows.
    pub rows: usize,
    /// Numbers of a row.
    pub hidden: usize,
    /// Tokens that there are.
    pub vocabulary: usize,
}

/// The norm of rows.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// `[row][hidden]`.
    pub x: View<'a>,
    /// Which rows; without, the first ones.
    pub picks: Option<View<'a>>,
    /// `[hidden]`.
    pub weight: View<'a>,
    /// `[row][hidden]`.
    pub out: View<'a>,
    /// Rows that come out.
    pub rows: usize,
    /// Numbers of a row.
    pub hidden: usize,
    /// Added to the mean of squares.
    pub epsilon: f32,
}

/// Rotary embedding of rows, in place.
#[derive(Clone, Copy, Debug)]
pub struct Rotate<'a> {
    /// `[row][head][2 * half]`.
    pub x: View<'a>,
    /// `[row][half][cosine, sine]`.
    pub angles: View<'a>,
    /// Rows.
    pub rows: usize,
    /// Heads of a row.
    pub heads: usize,
    /// Half of a head's numbers.
    pub half: usize,
}

/// Rows times a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// `[row][input]`.
    pub x: View<'a>,
    /// `[input][output]`.
    pub matrix: View<'a>,
    /// `[row][output]`.
    pub out: View<'a>,
    /// Rows.
    pub rows: usize,
    /// Numbers of a row that go in.
    pub inputs: usize,
    /// Numbers of a row that come out.
    pub outputs: usize,
}

/// Keys and values of rows into the pool.
#[derive(Clone, Copy, Debug)]
pub struct Store<'a> {
    /// `[row][width]`.
    pub keys: View<'a>,
    /// `[row][width]`.
    pub values: View<'a>,
    /// The pool.
    pub pool: View<'a>,
    /// Block times tokens of a block plus token in block, one a row; [`NONE`] for what is there already.
    pub slots: View<'a>,
    /// Rows.
    pub rows: usize,
    /// The pool's shape.
    pub shape: crate::kv::KvShape,
    /// Which layer.
    pub layer: usize,
}

/// Parts of blocks, to or from memory where they lie one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// The pool.
    pub pool: View<'a>,
    /// `[block][numbers]`.
    pub contiguous: View<'a>,
    /// Which blocks.
    pub blocks: View<'a>,
    /// How many.
    pub count: usize,
    /// Numbers of a block of the pool.
    pub block_numbers: usize,
    /// Where in each block.
    pub within: usize,
    /// How many numbers of each.
    pub numbers: usize,
}

/// Tokens from logits.
#[derive(Clone, Copy, Debug)]
pub struct Choose<'a> {
    /// `[row][vocabulary]`.
    pub logits: View<'a>,
    /// `[row]`, 0 for greedy.
    pub temperatures: View<'a>,
    /// `[row]` of 64 bits: the draw, 0 up to 1.
    pub shares: View<'a>,
    /// Room, as large as the logits.
    pub weights: View<'a>,
    /// `[row]`; [`NONE`] where logits are not numbers.
    pub tokens: View<'a>,
    /// Rows.
    pub rows: usize,
    /// Tokens that there are.
    pub vocabulary: usize,
}

/// No slot, no token.
pub const NONE: u32 = u32::MAX;

/// Up to so many rows go by the product for few.
pub const FEW_MOST: usize = 32;

/// Threads of a block where a thread makes a number.
const THREADS: usize = 256;

/// The grid's second side is at most this.
const SIDE_MAX: usize = 65_535;

impl Kernels {
    /// Loads compiled kernels.
    pub fn load(device: &Device, image: &Image) -> Result<Self> {
        let module = Module::load(device, &image.bytes)?;
        Ok(Self {
            embed: module.function("embed")?,
            rms_norm: module.function("rms_norm")?,
            rotate: module.function("rotate")?,
            swiglu: module.function("swiglu")?,
            add: module.function("add")?,
            product_tiled: module.function("product_tiled")?,
            product_few: module.function("product_few")?,
            store_kv: module.function("store_kv")?,
            gather_blocks: module.function("gather_blocks")?,
            scatter_blocks: module.function("scatter_blocks")?,
            attend_prefill: module.function("attend_prefill")?,
            attend_decode: module.function("attend_decode")?,
            choose: module.function("choose")?,
        })
    }

    /// Starts it.
    pub fn embed(&self, stream: &Stream, e: &Embed<'_>) -> Result<()> {
        e.table.holds(e.hidden * e.vocabulary);
        e.tokens.holds(e.rows);
        e.out.holds(e.rows * e.hidden);
        let args = [
            e.table.arg(),
            e.tokens.arg(),
            e.out.arg(),
            word(e.hidden),
            word(e.vocabulary),
        ];
        self.embed.launch(stream, rows(e.rows, 128, 0), &args)
    }

    /// Starts it.
    pub fn rms_norm(&self, stream: &Stream, n: &Norm<'_>) -> Result<()> {
        match n.picks {
            Some(picks) => picks.holds(n.rows),
            None => n.x.holds(n.rows * n.hidden),
        }
        n.weight.holds(n.hidden);
        n.out.holds(n.rows * n.hidden);
        let picks = n.picks.map_or(Arg::Wide(0), |picks| picks.arg());
        let args = [
            n.x.arg(),
            picks,
            n.weight.arg(),
            n.out.arg(),
            word(n.hidden),
            Arg::Float(n.epsilon),
        ];
        self.rms_norm.launch(stream, rows(n.rows, 128, 8), &args)
    }

    /// Starts it.
    pub fn rotate(&self, stream: &Stream, r: &Rotate<'_>) -> Result<()> {
        r.x.holds(r.rows * r.heads * r.half * 2);
        r.angles.holds(r.rows * r.half * 2);
        let args = [r.x.arg(), r.angles.arg(), word(r.heads), word(r.half)];
        self.rotate.launch(stream, rows(r.rows, 128, 0), &args)
    }

    /// `gate * sigmoid(gate) * up`, into `gate`.
    pub fn swiglu(
        &self,
        stream: &Stream,
        gate: View<'_>,
        up: View<'_>,
        count: usize,
    ) -> Result<()> {
        numbers(&self.swiglu, stream, gate, up, count)
    }

    /// Adds `x` to `to`.
    pub fn add(&self, stream: &Stream, to: View<'_>, x: View<'_>, count: usize) -> Result<()> {
        numbers(&self.add, stream, to, x, count)
    }

    /// Starts it. A row's result does not depend on other rows, nor on which of the two kernels computes it.
    pub fn product(&self, stream: &Stream, p: &Product<'_>) -> Result<()> {
        p.check();
        let args = [
            p.x.arg(),
            p.matrix.arg(),
            p.out.arg(),
            word(p.rows),
            word(p.inputs),
            word(p.outputs),
        ];
        if p.rows <= FEW_MOST {
            let grid = (p.outputs.div_ceil(64), p.rows.div_ceil(8));
            return self.product_few.launch(
                stream,
                Shape {
                    grid,
                    threads: 64,
                    shared: 8 * 128,
                },
                &args,
            );
        }
        let grid = (p.outputs.div_ceil(64), p.rows.div_ceil(64));
        assert!(grid.1 <= SIDE_MAX, "a step of at most 4 million rows");
        self.product_tiled.launch(
            stream,
            Shape {
                grid,
                threads: 256,
                shared: 16 * 65 + 16 * 64,
            },
            &args,
        )
    }

    /// Starts it.
    pub fn store_kv(&self, stream: &Stream, s: &Store<'_>) -> Result<()> {
        let width = s.shape.width();
        s.keys.holds(s.rows * width);
        s.values.holds(s.rows * width);
        s.slots.holds(s.rows);
        assert!(s.layer < s.shape.layers(), "a layer of the pool");
        let (tokens, layers) = (s.shape.block_tokens(), s.shape.layers());
        let sizes = [width, tokens, s.layer, layers].map(word);
        let args = [
            s.keys.arg(),
            s.values.arg(),
            s.pool.arg(),
            s.slots.arg(),
            sizes[0],
            sizes[1],
            sizes[2],
            sizes[3],
        ];
        self.store_kv.launch(stream, rows(s.rows, 128, 0), &args)
    }

    /// Parts of blocks, one after the other.
    pub fn gather(&self, stream: &Stream, m: &Move<'_>) -> Result<()> {
        m.launch(&self.gather_blocks, stream, [m.pool, m.contiguous])
    }

    /// The way back.
    pub fn scatter(&self, stream: &Stream, m: &Move<'_>) -> Result<()> {
        m.launch(&self.scatter_blocks, stream, [m.pool, m.contiguous])
    }

    /// Starts it.
    pub fn choose(&self, stream: &Stream, c: &Choose<'_>) -> Result<()> {
        c.logits.holds(c.rows * c.vocabulary);
        c.weights.holds(c.rows * c.vocabulary);
        c.temperatures.holds(c.rows);
        c.shares.holds(2 * c.rows);
        c.tokens.holds(c.rows);
        let args = [
            c.logits.arg(),
            c.temperatures.arg(),
            c.shares.arg(),
            c.weights.arg(),
            c.tokens.arg(),
            word(c.vocabulary),
        ];
        self.choose
            .launch(stream, rows(c.rows, THREADS, 3 * THREADS), &args)
    }
}

impl Product<'_> {
    pub(super) fn check(&self) {
        self.x.holds(self.rows * self.inputs);
        self.matrix.holds(self.inputs * self.outputs);
        self.out.holds(self.rows * self.outputs);
    }
}

impl Move<'_> {
    fn launch(
        &self,
        function: &Function,
        stream: &Stream,
        [pool, contiguous]: [View<'_>; 2],
    ) -> Result<()> {
        assert!(
            self.within + self.numbers <= self.block_numbers,
            "a part of a block"
        );
        contiguous.holds(self.count * self.numbers);
        self.blocks.holds(self.count);
        let wide =
            [self.block_numbers, self.within, self.numbers].map(|size| Arg::Wide(size as u64));
        for from in (0..self.count).step_by(SIDE_MAX) {
            let (contiguous, blocks) = (
                contiguous.behind(from * self.numbers),
                self.blocks.behind(from),
            );
            let args = [
                pool.arg(),
                contiguous.arg(),
                blocks.arg(),
                wide[0],
                wide[1],
                wide[2],
            ];
            // A thread copies up to eight numbers: enough blocks of threads to fill a device, few enough to be cheap.
            let grid = (
                self.numbers.div_ceil(8 * THREADS),
                SIDE_MAX.min(self.count - from),
            );
            function.launch(
                stream,
                Shape {
                    grid,
                    threads: THREADS,
                    shared: 0,
                },
                &args,
            )?;
        }
        Ok(())
    }
}

/// A block of threads for each row.
const fn rows(rows: usize, threads: usize, shared: usize) -> Shape {
    Shape {
        grid: (rows, 1),
        threads,
        shared,
    }
}

fn word(size: usize) -> Arg {
    Arg::Word(u32::try_from(size).expect("sizes of models have 32 bits"))
}

fn numbers(
    function: &Function,
    stream: &Stream,
    to: View<'_>,
    x: View<'_>,
    count: usize,
) -> Result<()> {
    to.holds(count);
    x.holds(count);
    let shape = rows(count.div_ceil(THREADS), THREADS, 0);
    function.launch(stream, shape, &[to.arg(), x.arg(), Arg::Wide(count as u64)])
}
