//! The engine on a GPU, as a node starts it: KV in the device's memory, and beside it in the messenger's region.
//!
//! Not here: registering the device's memory with a network card, which the messengers that are built in cannot do.

use super::compute::Memory;
use super::config::ProductsConfig;
use conductor_engine::cuda::{
    CudaEngine, CudaError, Device, DevicePool, Image, Products, Settings, StagingSize,
};
use conductor_engine::kv::KvShape;
use conductor_engine::model::Model;
use conductor_messenger::Region;
use std::sync::Arc;

/// Starts it, and says by which way its KV goes.
pub(super) fn engine(
    model: &Model,
    shape: KvShape,
    blocks: u32,
    region: &Region,
    device: u32,
    products: ProductsConfig,
) -> Result<CudaEngine, CudaError> {
    let device = Device::open(device)?;
    let pool = DevicePool::new(&device, shape, blocks, StagingSize::default())?;
    let settings = Settings {
        products: match products {
            ProductsConfig::Exact => Products::Exact,
            ProductsConfig::Cublas => Products::Cublas,
        },
        kernels: Image::folder(),
    };
    // No transport here can register the device's memory.
    let (way, _) = pool.way(false, false)?;
    eprintln!("conductord: KV of {device:?} goes by {way}");
    let region = Arc::new(Memory(region.clone()));
    CudaEngine::staged(model, Arc::new(pool), region, &settings)
}
