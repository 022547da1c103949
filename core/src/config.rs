//! Configuration: policy, cluster and profile, from text to types.
//!
//! Each has two forms. The *text* form (`PolicyText`, …) is what people write and journals keep: human units, plain
//! numbers, every parameter present once resolved. The *typed* form is parsed from it once; what it holds is
//! valid, so
//! nothing downstream checks again. Unknown keys are errors, and an error names line and key.
//!
//! Not here: files (callers read them), and defaults of the command line.

mod admission;
mod classes;
mod cluster;
mod compression;
mod coupled;
mod error;
mod eviction;
mod lost;
mod policy;
mod price;
mod profile;
mod roles;

pub use admission::{
    AdmissionConfig, AdmissionText, Moment, PredictionLevel, PredictorConfig, PredictorText,
};
pub use classes::{CLASSES_MAX, ClassConfig, ClassLimits, ClassText, class_named};
pub use cluster::{
    ClusterConfig, ClusterText, EstimateText, KvText, LimitsText, NetworkText, NodeSpec, NodesText,
    Role, TruthText,
};
pub use compression::Compression;
pub use coupled::{CoupledConfig, CoupledSchedule, CoupledText};
pub use error::ConfigError;
pub use eviction::{EvictionConfig, EvictionText, Evictions};
pub use lost::{LostConfig, LostText};
pub use policy::{
    DecodeConfig, DecodeSelect, DecodeText, PolicyConfig, PolicyText, PrefillConfig, PrefillSelect,
    PrefillText, Ratio, ReplicationConfig, ReplicationText, Slo, SloText,
};
pub use price::Price;
pub use profile::{CostText, MixedText, Profile, ProfileText};
pub use roles::{LoadGapConfig, RolesConfig, RolesText};
