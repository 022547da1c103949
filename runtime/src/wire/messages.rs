//! What goes over the wire: protobuf messages, written by hand, so that no compiler of `.proto` files is needed.
//!
//! Fields are only added, never renumbered: [`super::VERSION`] goes up when a meaning changes.

/// To a node, over its session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Down {
    /// One of them.
    #[prost(oneof = "down::Kind", tags = "1, 2, 3, 4")]
    pub kind: Option<down::Kind>,
}

/// See [`Down`].
pub mod down {
    /// What is said to a node.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// The first message.
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        /// Orders, to be carried out one after the other.
        #[prost(message, tag = "2")]
        Orders(super::Orders),
        /// Is the node alive? It answers with the same number.
        #[prost(fixed64, tag = "3")]
        Ping(u64),
        /// Nodes have come, gone or moved.
        #[prost(message, tag = "4")]
        Nodes(super::Nodes),
    }
}

/// From a node, over its session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Up {
    /// One of them.
    #[prost(oneof = "up::Kind", tags = "1, 2, 3")]
    pub kind: Option<up::Kind>,
}

/// See [`Up`].
pub mod up {
    /// What a node says.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        /// The first message.
        #[prost(message, tag = "1")]
        Welcome(super::Welcome),
        /// Facts, in the order in which they came to be; those of one engine step are together.
        #[prost(message, tag = "2")]
        Facts(super::Facts),
        /// The answer to a ping.
        #[prost(fixed64, tag = "3")]
        Pong(u64),
    }
}

/// Who the gateway takes the node for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Of the protocol.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The node's number.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// Digest of cluster and policy.
    #[prost(string, tag = "3")]
    pub digest: String,
    /// As [`Nodes::addresses`].
    #[prost(string, repeated, tag = "4")]
    pub nodes: Vec<String>,
    /// Drawn when the gateway began: attempts of another one have nothing to do with attempts of this one.
    #[prost(fixed64, tag = "5")]
    pub epoch: u64,
}

/// Where nodes are.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Nodes {
    /// Where each node of the cluster listens, by number; empty where nobody knows.
    #[prost(string, repeated, tag = "1")]
    pub addresses: Vec<String>,
}

/// Who the node is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// Of the protocol.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Its number.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// Drawn when its process began: another one is another process.
    #[prost(fixed64, tag = "3")]
    pub instance: u64,
    /// Its role, as [`Order::role`].
    #[prost(uint32, tag = "4")]
    pub role: u32,
    /// Where its messenger listens.
    #[prost(string, tag = "5")]
    pub transfer: String,
}

/// See [`down::Kind`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Orders {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub orders: Vec<Order>,
}

/// See [`up::Kind`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Facts {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub facts: Vec<Fact>,
}

/// One attempt of a request.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Attempt {
    /// The request.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// Which attempt.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// See [`crate::protocol::Prompt`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Prompt {
    /// Tokens.
    #[prost(uint64, tag = "1")]
    pub input: u64,
    /// The tokens.
    #[prost(uint32, repeated, tag = "2")]
    pub tokens: Vec<u32>,
    /// Hashes of its blocks.
    #[prost(fixed64, repeated, tag = "3")]
    pub blocks: Vec<u64>,
    /// Tokens of the answer at most.
    #[prost(uint64, tag = "4")]
    pub output_max: u64,
    /// 0: greedy.
    #[prost(float, tag = "5")]
    pub temperature: f32,
    /// Of the draws.
    #[prost(fixed64, tag = "6")]
    pub seed: u64,
    /// Go on after the model's end.
    #[prost(bool, tag = "7")]
    pub ignore_end: bool,
}

/// See [`crate::protocol::ToNode`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Order {
    /// Which.
    #[prost(enumeration = "OrderKind", tag = "1")]
    pub kind: i32,
    /// Whose, if it is somebody's.
    #[prost(message, optional, tag = "2")]
    pub attempt: Option<Attempt>,
    /// With `FETCH`, `PREFILL` and `DECODE`.
    #[prost(message, optional, tag = "3")]
    pub prompt: Option<Prompt>,
    /// The other node: who has the blocks (`FETCH`), where KV goes (`PREFILL`) or comes from (`DECODE`).
    #[prost(uint32, tag = "4")]
    pub other: u32,
    /// With `FETCH`: the first block.
    #[prost(uint32, tag = "5")]
    pub first: u32,
    /// With `FETCH`: how many.
    #[prost(uint32, tag = "6")]
    pub count: u32,
    /// With `PREFILL`: a `FETCH` went before.
    #[prost(bool, tag = "7")]
    pub awaits_copy: bool,
    /// With `SWITCH_ROLE`: 1 prefill, 2 decode, 3 coupled.
    #[prost(uint32, tag = "8")]
    pub role: u32,
}

/// See [`Order::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum OrderKind {
    /// Not an order.
    None = 0,
    /// [`crate::protocol::ToNode::Fetch`]
    Fetch = 1,
    /// [`crate::protocol::ToNode::Prefill`]
    Prefill = 2,
    /// [`crate::protocol::ToNode::Decode`]
    Decode = 3,
    /// [`crate::protocol::ToNode::Abort`]
    Abort = 4,
    /// [`crate::protocol::ToNode::Stop`]
    Stop = 5,
    /// [`crate::protocol::ToNode::SwitchRole`]
    SwitchRole = 6,
    /// [`crate::protocol::ToNode::ReportCache`]
    ReportCache = 7,
}

/// See [`crate::protocol::FromNode`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Fact {
    /// Which.
    #[prost(enumeration = "FactKind", tag = "1")]
    pub kind: i32,
    /// Whose, if it is somebody's.
    #[prost(message, optional, tag = "2")]
    pub attempt: Option<Attempt>,
    /// With `STARTED`: tokens that are reused; with `TOKEN`: its position; with `ENDED`: tokens of the answer; with
    /// `CACHE` and `WHOLE_CACHE`: the report's number.
    #[prost(uint64, tag = "3")]
    pub number: u64,
    /// With `FIRST_TOKEN` and `TOKEN`: the token; with `ENDED`: 1 stop, 2 length; with `ROLE_CHANGED`: as
    /// [`Order::role`].
    #[prost(uint32, tag = "4")]
    pub word: u32,
    /// With `FAILED`: why.
    #[prost(string, tag = "5")]
    pub why: String,
    /// With `CACHE`: what has gone.
    #[prost(fixed64, repeated, tag = "6")]
    pub evicted: Vec<u64>,
    /// With `CACHE`: what is new; with `WHOLE_CACHE`: all that is there.
    #[prost(fixed64, repeated, tag = "7")]
    pub blocks: Vec<u64>,
}

/// See [`Fact::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum FactKind {
    /// Not a fact.
    None = 0,
    /// [`crate::protocol::FromNode::Started`]
    Started = 1,
    /// [`crate::protocol::FromNode::FirstToken`]
    FirstToken = 2,
    /// [`crate::protocol::FromNode::Received`]
    Received = 3,
    /// [`crate::protocol::FromNode::Token`]
    Token = 4,
    /// [`crate::protocol::FromNode::Ended`]
    Ended = 5,
    /// [`crate::protocol::FromNode::Refused`]
    Refused = 6,
    /// [`crate::protocol::FromNode::Failed`]
    Failed = 7,
    /// [`crate::protocol::FromNode::Cache`]
    Cache = 8,
    /// [`crate::protocol::FromNode::WholeCache`]
    WholeCache = 9,
    /// [`crate::protocol::FromNode::RoleChanged`]
    RoleChanged = 10,
}

/// A prefill node asks a decode node where a prompt's KV shall go. The answer waits until there is room.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reserve {
    /// Who asks.
    #[prost(uint32, tag = "1")]
    pub from: u32,
    /// For whom.
    #[prost(message, optional, tag = "2")]
    pub attempt: Option<Attempt>,
    /// Blocks.
    #[prost(uint32, tag = "3")]
    pub blocks: u32,
    /// Bytes of one layer of a block, on the node that asks.
    #[prost(uint64, tag = "4")]
    pub slice_bytes: u64,
    /// Layers of a block there.
    #[prost(uint32, tag = "5")]
    pub layers: u32,
    /// Whose attempt it is: [`Hello::epoch`].
    #[prost(fixed64, tag = "6")]
    pub epoch: u64,
}

/// Where KV shall go.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Landing {
    /// Why not, if it is not empty.
    #[prost(string, tag = "1")]
    pub refused: String,
    /// Where the messenger listens.
    #[prost(string, tag = "2")]
    pub transfer: String,
    /// Opens the blocks for writing.
    #[prost(bytes = "vec", tag = "3")]
    pub grant: Vec<u8>,
    /// Where each block goes.
    #[prost(uint32, repeated, tag = "4")]
    pub blocks: Vec<u32>,
    /// The upper half of the word that says that all is there; the lower half is the answer's first token.
    #[prost(uint32, tag = "5")]
    pub landing: u32,
}

/// A node asks for blocks of another's cache: the leading ones that are there stay until they are given back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pin {
    /// Who asks.
    #[prost(uint32, tag = "1")]
    pub from: u32,
    /// Which.
    #[prost(fixed64, repeated, tag = "2")]
    pub hashes: Vec<u64>,
}

/// Where the blocks are.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pinned {
    /// To give them back with.
    #[prost(uint64, tag = "1")]
    pub pin: u64,
    /// Where the messenger listens.
    #[prost(string, tag = "2")]
    pub transfer: String,
    /// Opens the blocks for reading.
    #[prost(bytes = "vec", tag = "3")]
    pub grant: Vec<u8>,
    /// Where each block is; fewer than were asked for if the rest is not there.
    #[prost(uint32, repeated, tag = "4")]
    pub blocks: Vec<u32>,
}

/// Gives blocks back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unpin {
    /// Who gives them back.
    #[prost(uint32, tag = "1")]
    pub from: u32,
    /// What was pinned.
    #[prost(uint64, tag = "2")]
    pub pin: u64,
}

/// The blocks are given back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unpinned {
    /// True if they stayed until now: what was read is what was asked for.
    #[prost(bool, tag = "1")]
    pub held: bool,
}

/// A question that says nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Nothing {}

/// How a node stands; see [`crate::node::NodeStatus`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Standing {
    /// See the fields of the same names.
    #[prost(bool, tag = "1")]
    pub idle: bool,
    /// As above.
    #[prost(bool, tag = "2")]
    pub computing: bool,
    /// As above.
    #[prost(bool, tag = "3")]
    pub in_session: bool,
    /// As above.
    #[prost(uint64, tag = "4")]
    pub blocks_used: u64,
    /// As above.
    #[prost(uint64, tag = "5")]
    pub blocks_cached: u64,
    /// As above.
    #[prost(uint64, tag = "6")]
    pub tables_held: u64,
    /// As above.
    #[prost(uint64, tag = "7")]
    pub blocks_missing: u64,
    /// As above.
    #[prost(uint64, tag = "8")]
    pub sent: u64,
    /// As above.
    #[prost(uint64, tag = "9")]
    pub unsent: u64,
    /// As above.
    #[prost(uint64, tag = "10")]
    pub fetched: u64,
    /// As above.
    #[prost(uint64, tag = "11")]
    pub chunked: u64,
    /// As above.
    #[prost(uint64, tag = "12")]
    pub failed: u64,
    /// As above.
    #[prost(uint64, tag = "13")]
    pub facts_lost: u64,
}
