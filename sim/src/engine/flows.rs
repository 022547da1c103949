//! What the network carries: copies of hot blocks, KV on its way to decode nodes, loads into HBM.
//!
//! KV is streamed layer by layer while the prompt is computed (FAST'25 section 3.1): all layers but the last leave
//! evenly over the prefill, as fast as they are made; the last one follows when the prefill has ended. What a
//! congested
//! network has not carried by then follows as well.

use super::{Copy, Engine};
use crate::error::SimError;
use crate::network::FlowId;
use crate::world::Node;
use conductor_core::cache::Tier;
use conductor_core::event::Event;
use conductor_core::ids::NodeId;
use conductor_core::node::{Sequence, SequenceId};
use conductor_core::units::{Bytes, Nanos, Tokens};

/// Why a flow is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Blocks of a request's prompt, to its prefill node.
    Copy(u64),
    /// A request's KV, to its decode node.
    Stream(u64),
    /// A sequence's KV, from a node's DRAM to its HBM.
    Load(NodeId, SequenceId),
    /// Blocks of a request's prompt, from the SSD of its prefill node, since when.
    Read(u64, Nanos),
    /// Blocks that DRAM has given up, to the SSD.
    Write,
}

impl Engine<'_> {
    fn kv_bytes(&self, node: NodeId, tokens: Tokens) -> Bytes {
        self.config.cluster.profile_of(node).kv_bytes_per_token * tokens.0
    }

    fn set_purpose(&mut self, flow: FlowId, purpose: Purpose) {
        let place = flow.0 as usize;
        if place >= self.purposes.len() {
            self.purposes.resize(place + 1, purpose);
        }
        self.purposes[place] = purpose;
    }

    /// Begins to copy the blocks `first .. first + count` of a request's prompt. What the sender has given up in the
    /// meantime is not copied; with nothing to copy the request does not wait.
    pub(super) fn start_copy(
        &mut self,
        request: u64,
        from: NodeId,
        to: NodeId,
        first: u32,
        count: u32,
    ) {
        if !self.faults.is_alive(from) || !self.faults.is_alive(to) {
            return;
        }
        let place = (request - self.base) as usize;
        let live = self.live[place]
            .as_mut()
            .expect("a copy is ordered for a live request");
        let (input, range) = (live.request.input, first as usize..(first + count) as usize);
        let mut pins = Vec::new();
        match &mut self.nodes[from.index()] {
            Node::Prefill(sender) => sender
                .queue
                .pin_copy(&live.request.blocks[range], &mut pins),
            Node::Decode(_) | Node::Coupled(_) => {
                unreachable!(
                    "{from} is a prefill node: it has reported blocks that others may copy"
                )
            }
        }
        if pins.is_empty() {
            return;
        }
        let block = self.config.cluster.block;
        let end = (block * (u64::from(first) + pins.len() as u64))
            .0
            .min(input.0);
        let tokens = Tokens(end - (block * u64::from(first)).0);
        let size = self.kv_bytes(from, tokens);
        let path = self.links.between(&self.network, from, to);
        let flow = self.network.start(self.now, path, size, None);
        self.live_mut(request).copy = Copy::Sending {
            flow,
            from,
            first,
            pins,
            started: self.now,
        };
        self.watch_links(request);
        self.set_purpose(flow, Purpose::Copy(request));
        let alone = self.alone(from, to, size);
        self.result.copies.add(size, alone);
    }

    /// Begins to stream a request's KV to its decode node, while it is computed in `duration`. Less than a byte
    /// a second
    /// does not flow before the prefill has ended.
    pub(super) fn start_stream(&mut self, request: u64, duration: Nanos) {
        let live = self.live_mut(request);
        let (from, input) = (live.prefill_node, live.request.input);
        let size = self.kv_bytes(from, input);
        let layers = u128::from(self.config.cluster.profile_of(from).layers);
        let early = u128::from(size.0) * (layers - 1) / layers;
        let limit = early * 1_000_000_000 / u128::from(duration.0.max(1));
        if limit > 0 {
            self.stream(request, Some(limit.min(u128::from(u64::MAX)) as u64));
        }
    }

    /// The prefill has ended: what is left of its KV flows as fast as it can.
    pub(super) fn finish_stream(&mut self, request: u64) {
        match self.live_mut(request).stream {
            Some(stream) => self.network.lift_limit(self.now, stream),
            None => self.stream(request, None),
        }
    }

    fn stream(&mut self, request: u64, limit: Option<u64>) {
        let live = self.live_mut(request);
        let (from, to) = (live.prefill_node, live.decode_node);
        let input = live.request.input;
        if !self.faults.is_alive(to) {
            // It is lost, which the Conductor will find with the node.
            return;
        }
        let size = self.kv_bytes(from, input);
        let path = self.links.between(&self.network, from, to);
        let flow = self.network.start(self.now, path, size, limit);
        self.set_purpose(flow, Purpose::Stream(request));
        self.live_mut(request).stream = Some(flow);
        self.watch_links(request);
    }

    /// Begins to load a sequence into HBM.
    pub(super) fn start_load(&mut self, node: NodeId, sequence: SequenceId, tokens: Tokens) {
        let size = self.kv_bytes(node, tokens);
        let request = self.decode_node(node).batch.ticket(sequence).request.0;
        let path = self.links.load(node);
        let flow = self.network.start(self.now, path, size, None);
        self.live_mut(request).load = Some(flow);
        self.set_purpose(flow, Purpose::Load(node, sequence));
    }

    /// Begins to read `blocks` blocks from a node's SSD for a request.
    pub(super) fn start_read(&mut self, node: NodeId, request: u64, blocks: u32) {
        let flow = self.use_ssd(node, u64::from(blocks), Purpose::Read(request, self.now));
        self.live_mut(request).read = Some(flow);
    }

    /// Begins to write `blocks` blocks to a node's SSD.
    pub(super) fn start_write(&mut self, node: NodeId, blocks: u64) {
        let flow = self.use_ssd(node, blocks, Purpose::Write);
        self.writes.push((node, flow));
    }

    fn use_ssd(&mut self, node: NodeId, blocks: u64, purpose: Purpose) -> FlowId {
        let size = self.kv_bytes(node, self.config.cluster.block * blocks);
        let path = self.links.ssd(node);
        let flow = self.network.start(self.now, path, size, None);
        self.set_purpose(flow, purpose);
        flow
    }

    fn read_ended(&mut self, request: u64, started: Nanos) -> Result<(), SimError> {
        let live = self.live_mut(request);
        live.read = None;
        let (node, job) = (
            live.prefill_node,
            live.job.expect("the request was delivered"),
        );
        let now = self.now;
        self.live_mut(request).record.moments.fetched = Some(now);
        self.result.tiers.took(Tier::Ssd, now - started);
        self.fetched(node, |queue, changes| queue.read_done(job, changes))?;
        self.start_prefill(node)
    }

    /// The first flow has ended.
    pub(super) fn flow_ended(&mut self) -> Result<(), SimError> {
        let (_, flow) = self
            .network
            .next_end()
            .expect("the network is due only if a flow ends");
        self.network.end(self.now, flow);
        match self.purposes[flow.0 as usize] {
            Purpose::Copy(request) => self.copy_ended(request),
            Purpose::Stream(request) => self.stream_ended(request),
            Purpose::Load(node, sequence) => self.load_ended(node, sequence),
            Purpose::Read(request, started) => self.read_ended(request, started),
            Purpose::Write => {
                self.writes.retain(|&(_, other)| other != flow);
                Ok(())
            }
        }
    }

    fn copy_ended(&mut self, request: u64) -> Result<(), SimError> {
        let now = self.now;
        let live = self.live_mut(request);
        let Copy::Sending {
            from,
            first,
            pins,
            started,
            ..
        } = std::mem::take(&mut live.copy)
        else {
            unreachable!("a copy that ends was sent")
        };
        live.record.moments.fetched = Some(now);
        let (count, delivered, node) = (pins.len() as u32, live.job.is_some(), live.prefill_node);
        if !delivered {
            live.copy = Copy::Early { first, count };
        }
        match &mut self.nodes[from.index()] {
            Node::Prefill(sender) => sender.queue.unpin_copy(&pins),
            Node::Decode(_) | Node::Coupled(_) => {
                unreachable!("{from} is a prefill node: it has sent blocks")
            }
        }
        self.result.copies.time += now - started;
        self.result.tiers.took(Tier::Remote, now - started);
        if delivered {
            self.keep_copy(request, first, count)?;
            self.start_prefill(node)?;
        }
        Ok(())
    }

    fn stream_ended(&mut self, request: u64) -> Result<(), SimError> {
        let now = self.now;
        let live = self.live_mut(request);
        live.stream = None;
        live.record.moments.sent = Some(now);
        let (from, node, input) = (live.prefill_node, live.decode_node, live.request.input);
        let (first_token, output) = (live.first_token, live.request.output);
        let size = self.kv_bytes(node, input);
        self.result.streams.time += now - first_token;
        let alone = self.alone(from, node, size);
        self.result.streams.add(size, alone);
        let ticket = self.ticket_of(request);
        self.tell(&Event::TransferFinished { ticket })?;
        self.release_prefill(request);
        let remaining = output - Tokens(1);
        self.offer(
            node,
            Sequence {
                ticket,
                context: input,
                remaining,
                last_token: first_token,
            },
        )
    }

    /// How long a transfer takes if nothing else is in the network.
    fn alone(&self, from: NodeId, to: NodeId, size: Bytes) -> Nanos {
        let cluster = &self.config.cluster;
        let slower = [from, to].map(|node| cluster.transfer_bytes_per_s(node).max(1));
        let slower = u128::from(slower[0].min(slower[1]));
        Nanos((u128::from(size.0) * 1_000_000_000 / slower) as u64)
    }
}
