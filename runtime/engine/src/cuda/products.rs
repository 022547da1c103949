//! Which products the engine uses, and why the slower ones are the default.
//!
//! The promise of this crate is that a token does not depend on the batch: the runtime begins lost answers again
//! elsewhere, and reuses KV that another node computed. cuBLAS does not give it ([`super::blas`]): with it, one
//! sequence may come out differently alone and among others, as in most engines. Who wants its speed says so.

use super::blas::Blas;
use super::driver::{Result, Stream};
use super::kernels::{Kernels, Product};

/// By whom rows are multiplied with matrices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// By kernels that add up in one order: the bits are those of the CPU engine.
    #[default]
    Exact,
    /// By cuBLAS, in 32 bits.
    Cublas,
}

/// The same, started.
pub(super) enum Multiply {
    Exact,
    Cublas(Blas),
}

impl Multiply {
    pub(super) fn new(products: Products, stream: &Stream) -> Result<Self> {
        Ok(match products {
            Products::Exact => Self::Exact,
            Products::Cublas => Self::Cublas(Blas::new(stream)?),
        })
    }

    pub(super) fn run(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        product: &Product<'_>,
    ) -> Result<()> {
        match self {
            Self::Exact => kernels.product(stream, product),
            Self::Cublas(_) if product.rows == 0 => Ok(()),
            Self::Cublas(blas) => blas.product(product),
        }
    }
}
