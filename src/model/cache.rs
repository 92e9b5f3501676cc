//! Keys and values of the positions seen so far.

use super::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::kernels::{CACHE_BLOCK, CachedLayer, Stored, key_index, padded, store_int16, value_index};

/// How a kv cache holds its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvCacheDtype {
    /// As they are computed.
    Float32,
    /// As 14-bit integers in 16 bits, with a power of two as scale for each key and each value: half the memory, and
    /// attention in integer arithmetic, which is faster. An element is off by at most 1/8192 of the greatest of its
    /// key or value.
    Int16,
}

impl KvCacheDtype {
    /// `"float32"` or `"int16"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            KvCacheDtype::Float32 => "float32",
            KvCacheDtype::Int16 => "int16",
        }
    }

    /// The dtype called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        [KvCacheDtype::Float32, KvCacheDtype::Int16].into_iter().find(|dtype| dtype.as_str() == name)
    }

    /// Bytes of a cache for `capacity` positions of a model of this shape.
    pub fn bytes(self, config: &Config, capacity: usize) -> u64 {
        let heads = 2 * (config.num_hidden_layers * config.num_key_value_heads) as u64;
        let (capacity, head_dim) = (capacity as u64, config.head_dim);
        match self {
            KvCacheDtype::Float32 => heads * capacity * head_dim as u64 * 4,
            KvCacheDtype::Int16 => {
                heads * capacity.next_multiple_of(CACHE_BLOCK as u64) * (padded(head_dim) as u64 * 2 + 4)
            }
        }
    }
}

/// Keys and values with the axes (layer, kv head, position, head dimension).
///
/// Positions of a head lie together, so that its attention reads one stretch of memory. The capacity
/// is fixed: running past it is [`ErrorCode::ContextFull`].
///
/// The values depend on the adapter that was active when they were computed: after switching adapters,
/// start from a cleared cache unless mixing them is what you want.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// One a layer.
    layers: Vec<Storage>,
    num_kv_heads: usize,
    head_dim: usize,
    capacity: usize,
    len: usize,
}

#[derive(Debug, Clone)]
enum Storage {
    /// (num_kv_heads, capacity, head_dim) each, the keys rotated.
    Float32 { keys: Vec<f32>, values: Vec<f32> },
    /// The same in blocks, as [`Stored::Int16`] describes them.
    Int16 { keys: Vec<[i16; 8]>, values: Vec<[i16; 8]>, key_scales: Vec<f32>, value_scales: Vec<f32> },
}

impl Storage {
    fn dtype(&self) -> KvCacheDtype {
        match self {
            Storage::Float32 { .. } => KvCacheDtype::Float32,
            Storage::Int16 { .. } => KvCacheDtype::Int16,
        }
    }

    /// Zeros; `None` when the memory cannot be had.
    fn new(dtype: KvCacheDtype, heads: usize, capacity: usize, head_dim: usize) -> Option<Self> {
        fn zeros<T: Copy>(len: usize, zero: T) -> Option<Vec<T>> {
            let mut zeros = Vec::new();
            zeros.try_reserve_exact(len).ok()?;
            zeros.resize(len, zero);
            Some(zeros)
        }
        Some(match dtype {
            KvCacheDtype::Float32 => {
                let len = heads.checked_mul(capacity)?.checked_mul(head_dim)?;
                Storage::Float32 { keys: zeros(len, 0.0)?, values: zeros(len, 0.0)? }
            }
            KvCacheDtype::Int16 => {
                let positions = heads.checked_mul(capacity.checked_next_multiple_of(CACHE_BLOCK)?)?;
                let len = positions.checked_mul(padded(head_dim) / 8)?;
                Storage::Int16 {
                    keys: zeros(len, [0; 8])?,
                    values: zeros(len, [0; 8])?,
                    key_scales: zeros(positions, 0.0)?,
                    value_scales: zeros(positions, 0.0)?,
                }
            }
        })
    }
}

impl KvCache {
    /// An empty cache in f32 for `capacity` positions of a model of this shape.
    ///
    /// # Errors
    /// As [`KvCache::with_dtype`].
    pub fn new(config: &Config, capacity: usize) -> Result<Self> {
        Self::with_dtype(config, capacity, KvCacheDtype::Float32)
    }

    /// An empty cache for `capacity` positions of a model of this shape.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a capacity of 0, [`ErrorCode::OutOfMemory`] when the memory
    /// cannot be had.
    pub fn with_dtype(config: &Config, capacity: usize, dtype: KvCacheDtype) -> Result<Self> {
        if capacity == 0 {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                "a kv cache needs room for at least one token",
            )
            .expected("1 or more")
            .found(0));
        }
        let Config { num_hidden_layers, num_key_value_heads, head_dim, .. } = *config;
        let layer = |_| Storage::new(dtype, num_key_value_heads, capacity, head_dim);
        let layers: Option<_> = (0..num_hidden_layers).map(layer).collect();
        Ok(KvCache {
            layers: layers.ok_or_else(|| no_memory(capacity))?,
            num_kv_heads: num_key_value_heads,
            head_dim,
            capacity,
            len: 0,
        })
    }

    /// How the numbers are held.
    pub fn dtype(&self) -> KvCacheDtype {
        self.layers.last().map_or(KvCacheDtype::Float32, Storage::dtype)
    }

    /// Holds keys and values in another form from now on, those that are there rounded to it. Layer by layer, so that no
    /// more than one of them is there in both forms.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfMemory`]. Layers that were reached are in the new form then, every position is still there, and
    /// the cache can be used.
    pub fn set_dtype(&mut self, dtype: KvCacheDtype) -> Result<()> {
        let (mut key, mut value) = (vec![0.0; self.head_dim], vec![0.0; self.head_dim]);
        for layer in 0..self.layers.len() {
            if self.layers[layer].dtype() == dtype {
                continue;
            }
            let new = Storage::new(dtype, self.num_kv_heads, self.capacity, self.head_dim);
            let new = new.ok_or_else(|| no_memory(self.capacity))?;
            let old = std::mem::replace(&mut self.layers[layer], new);
            for head in 0..self.num_kv_heads {
                for position in 0..self.len {
                    self.load(&old, head, position, &mut key, &mut value);
                    self.store_head(layer, head, position, &key, &value);
                }
            }
        }
        Ok(())
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
        let half = self.num_kv_heads * self.len * self.head_dim;
        let mut out = vec![0.0; 2 * half];
        let (keys, values) = out.split_at_mut(half);
        let rows = keys.chunks_exact_mut(self.head_dim).zip(values.chunks_exact_mut(self.head_dim));
        for (i, (key, value)) in rows.enumerate() {
            self.load(&self.layers[layer], i / self.len, i % self.len, key, value);
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
        if layer >= self.layers.len() {
            return Err(Error::new(ErrorCode::InvalidArgument, "no such layer").found(layer));
        }
        let width = positions * self.head_dim;
        if values.len() != 2 * self.num_kv_heads * width {
            return Err(Error::new(ErrorCode::ByteCountMismatch, "wrong number of keys and values")
                .expected(2 * self.num_kv_heads * width)
                .found(values.len()));
        }
        let (keys, values) = values.split_at(self.num_kv_heads * width);
        let rows = keys.chunks_exact(self.head_dim).zip(values.chunks_exact(self.head_dim));
        for (i, (key, value)) in rows.enumerate() {
            self.store_head(layer, i / positions, i % positions, key, value);
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
        let layer = |storage: &Storage| match storage {
            Storage::Float32 { keys, values } => size_of_val(&keys[..]) + size_of_val(&values[..]),
            Storage::Int16 { keys, values, key_scales, value_scales, .. } => {
                let scales = size_of_val(&key_scales[..]) + size_of_val(&value_scales[..]);
                size_of_val(&keys[..]) + size_of_val(&values[..]) + scales
            }
        };
        self.layers.iter().map(layer).sum()
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
        let found = (self.layers.len(), self.num_kv_heads, self.head_dim);
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
        let heads = key.chunks_exact(self.head_dim).zip(value.chunks_exact(self.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            self.store_head(layer, head, position, key, value);
        }
    }

    /// Stores a position of one head of a layer.
    fn store_head(&mut self, layer: usize, head: usize, position: usize, key: &[f32], value: &[f32]) {
        let (width, start) = (self.head_dim, (head * self.capacity + position) * self.head_dim);
        let ((first, vectors), (_, end)) = (self.blocks(head), self.blocks(head + 1));
        match &mut self.layers[layer] {
            Storage::Float32 { keys, values } => {
                keys[start..start + width].copy_from_slice(key);
                values[start..start + width].copy_from_slice(value);
            }
            Storage::Int16 { keys, values, key_scales, value_scales } => {
                let heads = [&mut keys[vectors..end], &mut values[vectors..end]];
                let scales = store_int16([key, value], heads, position);
                [key_scales[first + position], value_scales[first + position]] = scales;
            }
        }
    }

    /// What was stored in a layer of this cache.
    fn load(&self, layer: &Storage, head: usize, position: usize, key: &mut [f32], value: &mut [f32]) {
        let (width, start) = (self.head_dim, (head * self.capacity + position) * self.head_dim);
        let (first, vectors) = self.blocks(head);
        match layer {
            Storage::Float32 { keys, values } => {
                key.copy_from_slice(&keys[start..start + width]);
                value.copy_from_slice(&values[start..start + width]);
            }
            Storage::Int16 { keys, values, key_scales, value_scales, .. } => {
                let width = padded(self.head_dim);
                let (keys, values) = (keys[vectors..].as_flattened(), values[vectors..].as_flattened());
                let (key_scale, value_scale) = (key_scales[first + position], value_scales[first + position]);
                for (d, (key, value)) in key.iter_mut().zip(value).enumerate() {
                    *key = f32::from(keys[key_index(width, position, d)]) * key_scale;
                    *value = f32::from(values[value_index(width, position, d)]) * value_scale;
                }
            }
        }
    }

    /// First position and first vector of a head of a 16-bit cache.
    fn blocks(&self, head: usize) -> (usize, usize) {
        let first = head * self.capacity.next_multiple_of(CACHE_BLOCK);
        (first, first * padded(self.head_dim) / 8)
    }

    /// A layer for attention.
    pub(crate) fn cached(&self, layer: usize) -> CachedLayer<'_> {
        let stored = match &self.layers[layer] {
            Storage::Float32 { keys, values } => Stored::Float32 { keys, values },
            Storage::Int16 { keys, values, key_scales, value_scales, .. } => {
                Stored::Int16 { keys, values, key_scales, value_scales }
            }
        };
        let KvCache { num_kv_heads: kv_heads, head_dim, capacity, .. } = *self;
        CachedLayer { stored, kv_heads, head_dim, capacity }
    }
}

fn no_memory(capacity: usize) -> Error {
    Error::new(ErrorCode::OutOfMemory, "no memory for the kv cache").found(format!("{capacity} positions"))
}
