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
mod error;
mod policy;
mod profile;
mod roles;

pub use admission::{
    AdmissionConfig, AdmissionText, Moment, PredictionLevel, PredictorConfig, PredictorText,
};
pub use classes::{CLASSES_MAX, ClassConfig, ClassLimits, ClassText, class_named};
pub use cluster::{
    ClusterConfig, ClusterText, EstimateText, LimitsText, NodeSpec, NodesText, Role, TruthText,
};
pub use error::ConfigError;
pub use policy::{
    DecodeConfig, DecodeSelect, DecodeText, EvictionConfig, EvictionText, PolicyConfig, PolicyText,
    PrefillConfig, PrefillSelect, PrefillText, Ratio, ReplicationConfig, ReplicationText, Slo,
    SloText,
};
pub use profile::{CostText, MixedText, Profile, ProfileText};
pub use roles::{LoadGapConfig, RolesConfig, RolesText};
