//! Keys and values of the positions seen so far.

use super::config::Config;
use crate::error::{Error, ErrorCode, Result};

/// Keys and values with the axes (layer, kv head, position, head dimension), row-major, f32.
///
/// Positions are contiguous within a head, so that attention of one head reads one slice. The capacity
/// is fixed: running past it is [`ErrorCode::ContextFull`].
///
/// The values depend on the adapter that was active when they were computed: after switching adapters,
/// start from a cleared cache unless mixing them is what you want.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// (num_layers, num_kv_heads, capacity, head_dim), rotated.
    keys: Vec<f32>,
    /// (num_layers, num_kv_heads, capacity, head_dim).
    values: Vec<f32>,
    num_layers: usize,
    num_kv_heads: usize,
    head_dim: usize,
    capacity: usize,
    len: usize,
}

impl KvCache {
    /// An empty cache for `capacity` positions of a model of this shape.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a capacity of 0, [`ErrorCode::OutOfMemory`] when the memory
    /// cannot be had.
    pub fn new(config: &Config, capacity: usize) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                "a kv cache needs room for at least one token",
            )
            .expected("1 or more")
            .found(0));
        }
        let elements = config
            .num_hidden_layers
            .checked_mul(config.key_value_width())
            .and_then(|n| n.checked_mul(capacity));
        let zeros = || {
            let elements = elements?;
            let mut axis = Vec::new();
            axis.try_reserve_exact(elements).ok()?;
            axis.resize(elements, 0.0);
            Some(axis)
        };
        let (Some(keys), Some(values)) = (zeros(), zeros()) else {
            return Err(Error::new(ErrorCode::OutOfMemory, "no memory for the kv cache")
                .found(format!("{capacity} positions")));
        };
        Ok(KvCache {
            keys,
            values,
            num_layers: config.num_hidden_layers,
            num_kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            capacity,
            len: 0,
        })
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Positions still free.
    pub fn remaining(&self) -> usize {
        self.capacity - self.len
    }

    /// Forgets the positions from `len` on; nothing happens when fewer are held. What a prompt shares
    /// with the tokens already cached need not be computed again.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Forgets every position.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Keys, then values, of a layer's positions that are held: each (kv heads, positions, head_dim).
    pub fn layer(&self, layer: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(2 * self.num_kv_heads * self.len * self.head_dim);
        for head in 0..self.num_kv_heads {
            out.extend_from_slice(self.keys(layer, head, self.len));
        }
        for head in 0..self.num_kv_heads {
            out.extend_from_slice(self.values(layer, head, self.len));
        }
        out
    }

    /// Puts back what [`KvCache::layer`] gave for `positions` positions. They count as held once every layer is
    /// back and [`KvCache::restored`] was called.
    ///
    /// # Errors
    /// [`ErrorCode::ContextFull`], [`ErrorCode::ByteCountMismatch`] for another number of values,
    /// [`ErrorCode::InvalidArgument`] for a layer that is not there.
    pub fn restore_layer(&mut self, layer: usize, positions: usize, values: &[f32]) -> Result<()> {
        self.clear();
        self.check_room(positions)?;
        if layer >= self.num_layers {
            return Err(Error::new(ErrorCode::InvalidArgument, "no such layer").found(layer));
        }
        let width = positions * self.head_dim;
        if values.len() != 2 * self.num_kv_heads * width {
            return Err(Error::new(ErrorCode::ByteCountMismatch, "wrong number of keys and values")
                .expected(2 * self.num_kv_heads * width)
                .found(values.len()));
        }
        for head in 0..self.num_kv_heads {
            let to = self.start(layer, head);
            let (key, value) = (head * width, (self.num_kv_heads + head) * width);
            self.keys[to..to + width].copy_from_slice(&values[key..key + width]);
            self.values[to..to + width].copy_from_slice(&values[value..value + width]);
        }
        Ok(())
    }

    /// Marks the first `positions` positions as held, after [`KvCache::restore_layer`] for every layer.
    ///
    /// # Errors
    /// [`ErrorCode::ContextFull`].
    pub fn restored(&mut self, positions: usize) -> Result<()> {
        self.clear();
        self.check_room(positions)?;
        self.len = positions;
        Ok(())
    }

    /// Bytes held by keys and values, whatever the number of positions in use.
    pub fn bytes(&self) -> usize {
        (self.keys.len() + self.values.len()) * size_of::<f32>()
    }

    /// Refuses `tokens` more positions than fit.
    pub(crate) fn check_room(&self, tokens: usize) -> Result<()> {
        if tokens <= self.remaining() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::ContextFull, "the kv cache is full")
            .expected(format!("at most {} positions", self.capacity))
            .found(self.len.saturating_add(tokens)))
    }

    /// Refuses a cache made for another shape of model.
    pub(crate) fn check_model(&self, config: &Config) -> Result<()> {
        let found = (self.num_layers, self.num_kv_heads, self.head_dim);
        let expected = (config.num_hidden_layers, config.num_key_value_heads, config.head_dim);
        if found == expected {
            return Ok(());
        }
        Err(Error::new(ErrorCode::InvalidArgument, "the kv cache belongs to another model")
            .expected(format!("(layers, kv heads, head dimension) {expected:?}"))
            .found(format!("{found:?}")))
    }

    /// Marks `tokens` more positions as held, once every layer has stored them.
    pub(crate) fn advance(&mut self, tokens: usize) {
        debug_assert!(tokens <= self.remaining());
        self.len += tokens;
    }

    /// Stores one position of a layer; `key` and `value` are (kv heads, head dimension).
    pub(crate) fn store(&mut self, layer: usize, position: usize, key: &[f32], value: &[f32]) {
        let width = self.head_dim;
        for head in 0..self.num_kv_heads {
            let to = self.start(layer, head) + position * width;
            let from = head * width;
            self.keys[to..to + width].copy_from_slice(&key[from..from + width]);
            self.values[to..to + width].copy_from_slice(&value[from..from + width]);
        }
    }

    /// Keys of the first `positions` positions of a head, (positions, head_dim).
    pub(crate) fn keys(&self, layer: usize, head: usize, positions: usize) -> &[f32] {
        let start = self.start(layer, head);
        &self.keys[start..start + positions * self.head_dim]
    }

    /// Values of the first `positions` positions of a head, (positions, head_dim).
    pub(crate) fn values(&self, layer: usize, head: usize, positions: usize) -> &[f32] {
        let start = self.start(layer, head);
        &self.values[start..start + positions * self.head_dim]
    }

    fn start(&self, layer: usize, head: usize) -> usize {
        (layer * self.num_kv_heads + head) * self.capacity * self.head_dim
    }
}
