//! The Llama: `forward` and what is needed around it.

use super::cache::{KvCache, KvCacheDtype};
use super::config::{Config, LINEARS_PER_LAYER};
use super::linear::{Linear, LinearScratch, Matrix, add_lora};
use super::lora::{Adapter, LoraPair};
use super::memory::MemoryLedger;
use super::rope;
#[cfg(not(target_arch = "wasm32"))]
use super::weights::LoadOptions;
use super::weights::Weights;
use crate::checkpoint::decimal::Repr;
use crate::error::{Error, ErrorCode, Result};
use crate::kernels::{self, Arithmetic, Queries};
use crate::quant::{ComputeDtype, Floats};

/// Tokens computed at a time; bounds the buffers of a long prompt.
const BATCH: usize = 128;

/// Which tokens of a call get logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitsFor {
    /// (1, vocab_size).
    Last,
    /// (tokens, vocab_size).
    All,
}

/// A Llama ready to run.
#[derive(Debug)]
pub struct Llama {
    config: Config,
    weights: Weights,
    /// (head_dim / 2,).
    inv_freq: Vec<f32>,
    arithmetic: Arithmetic,
    /// What was asked for; else it goes with the arithmetic.
    kv_cache_dtype: Option<KvCacheDtype>,
    adapters: Vec<LoadedAdapter>,
    active: Option<usize>,
    buffers: Buffers,
    begun: Option<Begun>,
}

/// A batch on its way through the layers.
#[derive(Debug, Clone, Copy)]
struct Begun {
    /// Position of its first token.
    start: usize,
    tokens: usize,
    /// The layer that comes next.
    layer: usize,
}

#[derive(Debug)]
struct LoadedAdapter {
    name: String,
    /// By index in `Config::linear_modules`.
    pairs: Vec<Option<LoraPair>>,
}

/// Everything `forward` writes, kept from call to call; `n` is the tokens of a batch.
#[derive(Debug, Default)]
struct Buffers {
    /// Residual stream, (n, hidden_size).
    x: Vec<f32>,
    /// Its norm, and what a block adds to it, (n, hidden_size).
    normed: Vec<f32>,
    added: Vec<f32>,
    /// (n, heads, head_dim), rotated.
    q: Vec<f32>,
    /// (n, kv heads, head_dim), rotated.
    k: Vec<f32>,
    /// (n, kv heads, head_dim).
    v: Vec<f32>,
    /// Attention output, (n, heads, head_dim).
    attended: Vec<f32>,
    /// (n, intermediate_size).
    gate: Vec<f32>,
    up: Vec<f32>,
    /// (1 or tokens, vocab_size).
    logits: Vec<f32>,
    /// Angles of the batch, (n, head_dim / 2).
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// The queries again, for a 16-bit kv cache.
    queries: Queries,
    linear: LinearScratch,
}

impl Buffers {
    fn resize(&mut self, config: &Config, n: usize) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        self.x.resize(n * hidden, 0.0);
        self.normed.resize(n * hidden, 0.0);
        self.added.resize(n * hidden, 0.0);
        self.q.resize(n * config.query_width(), 0.0);
        self.attended.resize(n * config.query_width(), 0.0);
        self.k.resize(n * config.key_value_width(), 0.0);
        self.v.resize(n * config.key_value_width(), 0.0);
        self.gate.resize(n * inner, 0.0);
        self.up.resize(n * inner, 0.0);
        self.cos.resize(n * config.head_dim / 2, 0.0);
        self.sin.resize(n * config.head_dim / 2, 0.0);
    }

    fn bytes(&self) -> usize {
        let Buffers { x, normed, added, q, k, v, attended, gate, up, logits, cos, sin, queries, linear } =
            self;
        let vectors = [x, normed, added, q, k, v, attended, gate, up, logits, cos, sin];
        vectors.iter().map(|v| v.capacity() * size_of::<f32>()).sum::<usize>()
            + queries.bytes()
            + linear.bytes()
    }
}

impl Llama {
    /// A model of these weights, computing in their compute dtype, without adapters.
    ///
    /// # Errors
    /// [`ErrorCode::ShapeMismatch`] when the weights are not those of `config`.
    pub fn new(config: Config, weights: Weights) -> Result<Self> {
        check_weights(&config, &weights)?;
        let compute_dtype = weights.compute_dtype;
        let mut model = Llama {
            inv_freq: rope::inv_freq(&config),
            config,
            weights,
            arithmetic: Arithmetic::Exact,
            kv_cache_dtype: None,
            adapters: Vec::new(),
            active: None,
            buffers: Buffers::default(),
            begun: None,
        };
        model.set_compute_dtype(compute_dtype);
        Ok(model)
    }

    /// Loads a model folder: `config.json` and its safetensors files.
    ///
    /// # Errors
    /// Those of [`Config::from_json`], [`Checkpoint::open`](crate::checkpoint::Checkpoint::open) and [`super::WeightsLoader`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(dir: &std::path::Path, options: &LoadOptions) -> Result<Self> {
        let config = Config::from_json("config.json", &super::read_file(dir, "config.json")?)?;
        let checkpoint = crate::checkpoint::Checkpoint::open(dir)?;
        let weights = Weights::from_checkpoint(&config, &checkpoint, options)?;
        Self::new(config, weights)
    }

    /// Shape and checkpoint facts.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The weights, in the form in which they are held.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// How products with 4-bit weights are computed from now on.
    pub fn set_arithmetic(&mut self, arithmetic: Arithmetic) {
        self.arithmetic = arithmetic;
    }

    /// How products with 4-bit weights are computed.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// [`Arithmetic::Exact`] for float32, else the emulation of bitsandbytes with that compute dtype.
    pub fn set_compute_dtype(&mut self, dtype: ComputeDtype) {
        self.arithmetic = match dtype {
            ComputeDtype::Float32 => Arithmetic::Exact,
            other => Arithmetic::Emulated(other),
        };
    }

    /// An empty cache for `capacity` positions, of [`Llama::kv_cache_dtype`].
    ///
    /// # Errors
    /// See [`KvCache::with_dtype`].
    pub fn new_cache(&self, capacity: usize) -> Result<KvCache> {
        KvCache::with_dtype(&self.config, capacity, self.kv_cache_dtype())
    }

    /// What kv caches hold: what was asked for, else int16 beside an arithmetic that computes in integers itself and
    /// float32 beside the others.
    pub fn kv_cache_dtype(&self) -> KvCacheDtype {
        self.kv_cache_dtype.unwrap_or(match self.arithmetic {
            Arithmetic::NearExact | Arithmetic::Fast => KvCacheDtype::Int16,
            Arithmetic::Exact | Arithmetic::Emulated(_) => KvCacheDtype::Float32,
        })
    }

    /// What kv caches hold from now on; `None` lets the arithmetic decide. Any cache can be used with any arithmetic.
    pub fn set_kv_cache_dtype(&mut self, dtype: Option<KvCacheDtype>) {
        self.kv_cache_dtype = dtype;
    }

    /// Appends `tokens` to the cache and returns logits: of the last token, (1, vocab_size), or of all,
    /// (tokens, vocab_size).
    ///
    /// Splitting a prompt over several calls gives the same logits (bit for bit in exact arithmetic, and
    /// in any where each call has [`PANEL_TOKENS`](kernels::PANEL_TOKENS) or more), except with LLM.int8
    /// layers: they choose outlier columns over all tokens of a call.
    ///
    /// # Errors
    /// [`ErrorCode::ContextFull`], [`ErrorCode::InvalidToken`], [`ErrorCode::InvalidArgument`] for no
    /// tokens or the cache of another model, [`ErrorCode::OutOfMemory`]; the cache is unchanged then.
    pub fn forward(&mut self, tokens: &[u32], cache: &mut KvCache, logits: LogitsFor) -> Result<&[f32]> {
        cache.check_model(&self.config)?;
        self.check_tokens(tokens)?;
        cache.check_room(tokens.len())?;
        let rows = if logits == LogitsFor::All { tokens.len() } else { 1 };
        self.reserve_logits(rows)?;
        self.begun = None;
        let batch = if self.has_int8() { tokens.len() } else { BATCH };
        let vocab = self.config.vocab_size;
        let mut done = 0;
        while done < tokens.len() {
            let left = tokens.len() - done;
            // A rest of a few tokens would be computed in the way for a few.
            let n = if left < batch + kernels::PANEL_TOKENS { left } else { batch };
            self.run_all(&tokens[done..done + n], cache);
            match logits {
                LogitsFor::All => self.head(0..n, done * vocab),
                LogitsFor::Last if n == left => self.head(n - 1..n, 0),
                LogitsFor::Last => {}
            }
            done += n;
        }
        Ok(&self.buffers.logits[..rows * vocab])
    }

    /// Begins what [`Llama::forward`] does at once, for who must not be kept waiting: [`Llama::step`] computes it
    /// layer by layer. All `tokens` are one batch.
    ///
    /// # Errors
    /// Those of [`Llama::forward`].
    pub fn begin(&mut self, tokens: &[u32], cache: &KvCache) -> Result<()> {
        cache.check_model(&self.config)?;
        self.check_tokens(tokens)?;
        cache.check_room(tokens.len())?;
        self.embed(tokens, cache.len());
        self.begun = Some(Begun { start: cache.len(), tokens: tokens.len(), layer: 0 });
        Ok(())
    }

    /// Computes at most `layers` more layers of what was begun. After the last one the tokens are in the cache,
    /// which is as it was before then, and the result is true. Any other computation ends what was begun.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] when nothing was begun with this cache as it is.
    pub fn step(&mut self, layers: usize, cache: &mut KvCache) -> Result<bool> {
        cache.check_model(&self.config)?;
        let Some(Begun { start, tokens, layer }) = self.begun.filter(|begun| begun.start == cache.len())
        else {
            return Err(Error::new(ErrorCode::InvalidArgument, "no tokens were begun for this cache"));
        };
        cache.check_room(tokens)?;
        let next = layer.saturating_add(layers).min(self.config.num_hidden_layers);
        (layer..next).for_each(|i| self.run_layer(i, cache));
        self.begun = Some(Begun { start, tokens, layer: next });
        let done = next == self.config.num_hidden_layers;
        if done {
            cache.advance(tokens);
        }
        Ok(done)
    }

    /// Logits after the last token of the batch that [`Llama::step`] came to the end of, (vocab_size,).
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] when there is none, [`ErrorCode::OutOfMemory`].
    pub fn last_logits(&mut self) -> Result<&[f32]> {
        let layers = self.config.num_hidden_layers;
        let Some(Begun { tokens, .. }) = self.begun.filter(|begun| begun.layer == layers) else {
            return Err(Error::new(ErrorCode::InvalidArgument, "no tokens were computed to the end"));
        };
        self.reserve_logits(1)?;
        self.head(tokens - 1..tokens, 0);
        Ok(&self.buffers.logits[..self.config.vocab_size])
    }

    /// [`Llama::last_logits`] in exchange for a buffer.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn swap_last_logits(&mut self, buffer: &mut Vec<f32>) -> Result<()> {
        self.last_logits()?;
        self.buffers.logits.truncate(self.config.vocab_size);
        std::mem::swap(&mut self.buffers.logits, buffer);
        Ok(())
    }

    /// The logits of the last [`LogitsFor::Last`] in place, (vocab_size,), for a sampler that scales them.
    pub(crate) fn last_logits_mut(&mut self) -> &mut [f32] {
        &mut self.buffers.logits[..self.config.vocab_size]
    }

    /// The residual stream of `tokens` on their own, as transformers' `output_hidden_states`: the
    /// embedding, then after each layer, the last of them after the final norm; each (tokens, hidden_size).
    ///
    /// # Errors
    /// [`ErrorCode::InvalidToken`], [`ErrorCode::InvalidArgument`], [`ErrorCode::OutOfMemory`].
    pub fn hidden_states(&mut self, tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
        self.check_tokens(tokens)?;
        let mut cache = self.new_cache(tokens.len())?;
        self.begun = None;
        let layers = self.config.num_hidden_layers;
        let mut states = Vec::with_capacity(layers + 1);
        self.embed(tokens, 0);
        for layer in 0..layers {
            states.push(self.buffers.x.clone());
            self.run_layer(layer, &mut cache);
        }
        let Llama { config, weights, buffers, .. } = self;
        kernels::rms_norm(&buffers.x, &weights.norm, config.rms_norm_eps as f32, &mut buffers.normed);
        states.push(buffers.normed.clone());
        Ok(states)
    }

    /// Appends `tokens` to the cache and returns the sum over them of the last hidden state (after the final
    /// norm), (hidden_size,): divided by the number of tokens it is their mean.
    ///
    /// # Errors
    /// Those of [`Llama::forward`].
    pub fn hidden_sum(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        cache.check_model(&self.config)?;
        self.check_tokens(tokens)?;
        cache.check_room(tokens.len())?;
        self.begun = None;
        let mut sum = vec![0.0; self.config.hidden_size];
        let batch = if self.has_int8() { tokens.len() } else { BATCH };
        for tokens in tokens.chunks(batch) {
            self.run_all(tokens, cache);
            let Llama { config, weights, buffers, .. } = self;
            kernels::rms_norm(&buffers.x, &weights.norm, config.rms_norm_eps as f32, &mut buffers.normed);
            for state in buffers.normed.chunks_exact(config.hidden_size) {
                kernels::add_assign(&mut sum, state);
            }
        }
        Ok(sum)
    }

    /// Runs a batch through all layers and advances the cache.
    fn run_all(&mut self, tokens: &[u32], cache: &mut KvCache) {
        self.embed(tokens, cache.len());
        (0..self.config.num_hidden_layers).for_each(|i| self.run_layer(i, cache));
        cache.advance(tokens.len());
    }

    /// The residual stream and the angles of a batch whose first token has the position `start`.
    fn embed(&mut self, tokens: &[u32], start: usize) {
        let Llama { config, weights, inv_freq, buffers: s, .. } = self;
        let Config { hidden_size, head_dim, .. } = *config;
        s.resize(config, tokens.len());
        for (t, &token) in tokens.iter().enumerate() {
            let row = token as usize * hidden_size;
            weights
                .embed_tokens
                .decode_into(row..row + hidden_size, &mut s.x[t * hidden_size..][..hidden_size]);
            let angles = t * head_dim / 2..(t + 1) * head_dim / 2;
            rope::angles(inv_freq, start + t, &mut s.cos[angles.clone()], &mut s.sin[angles]);
        }
    }

    /// Runs the batch in the buffers through layer `i`.
    fn run_layer(&mut self, i: usize, cache: &mut KvCache) {
        let Llama { config, weights, arithmetic, adapters, active, buffers: s, .. } = self;
        let Config { hidden_size, head_dim, .. } = *config;
        let (eps, arithmetic) = (config.rms_norm_eps as f32, *arithmetic);
        let (query_width, kv_width) = (config.query_width(), config.key_value_width());
        let adapter = active.map(|i| adapters[i].pairs.as_slice());
        let (start, tokens) = (cache.len(), s.x.len() / hidden_size);
        let layer = &weights.layers[i];
        let lora = |k: usize| adapter.and_then(|pairs| pairs[i * LINEARS_PER_LAYER + k].as_ref());

        kernels::rms_norm(&s.x, &layer.input_layernorm, eps, &mut s.normed);
        let layers = [&layer.q_proj, &layer.k_proj, &layer.v_proj];
        let (mut ys, pairs) = ([&mut s.q[..], &mut s.k, &mut s.v], [lora(0), lora(1), lora(2)]);
        Linear::forward_each(&layers, &s.normed, &mut ys, &pairs, arithmetic, &mut s.linear);
        for t in 0..tokens {
            let (cos, sin) = (&s.cos[t * head_dim / 2..], &s.sin[t * head_dim / 2..]);
            let (cos, sin) = (&cos[..head_dim / 2], &sin[..head_dim / 2]);
            kernels::rope(&mut s.q[t * query_width..(t + 1) * query_width], cos, sin);
            let kv = t * kv_width..(t + 1) * kv_width;
            kernels::rope(&mut s.k[kv.clone()], cos, sin);
            cache.store(i, start + t, &s.k[kv.clone()], &s.v[kv]);
        }
        let heads = config.num_attention_heads;
        kernels::attention(&s.q, &cache.cached(i), start, &mut s.attended, &mut s.queries, heads);
        layer.o_proj.forward(&s.attended, &mut s.added, lora(3), arithmetic, &mut s.linear);
        kernels::add_assign(&mut s.x, &s.added);

        kernels::rms_norm(&s.x, &layer.post_attention_layernorm, eps, &mut s.normed);
        let (layers, mut ys) = ([&layer.gate_proj, &layer.up_proj], [&mut s.gate[..], &mut s.up]);
        Linear::forward_each(&layers, &s.normed, &mut ys, &[lora(4), lora(5)], arithmetic, &mut s.linear);
        kernels::silu_mul(&mut s.gate, &s.up);
        layer.down_proj.forward(&s.gate, &mut s.added, lora(6), arithmetic, &mut s.linear);
        kernels::add_assign(&mut s.x, &s.added);
    }

    /// Logits of the tokens `range` of the batch, stored from `offset` on.
    fn head(&mut self, range: std::ops::Range<usize>, offset: usize) {
        let Llama { config, weights, arithmetic, adapters, active, buffers: s, .. } = self;
        let Config { hidden_size, vocab_size, .. } = *config;
        let rows = range.start * hidden_size..range.end * hidden_size;
        let normed = &mut s.normed[rows.clone()];
        kernels::rms_norm(&s.x[rows], &weights.norm, config.rms_norm_eps as f32, normed);
        let y = &mut s.logits[offset..offset + range.len() * vocab_size];
        let lora = active.and_then(|i| adapters[i].pairs.last()?.as_ref());
        match &weights.lm_head {
            Some(lm_head) => lm_head.forward(normed, y, lora, *arithmetic, &mut s.linear),
            None => {
                let scratch = &mut s.linear.kernels;
                kernels::linear_floats(normed, &weights.embed_tokens, vocab_size, hidden_size, y, scratch);
                if let Some(lora) = lora {
                    add_lora(lora, normed, y, &mut s.linear);
                }
            }
        }
    }

    /// Binds `adapter` to this model under `name`, inactive until [`Llama::set_adapter`].
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] when the name is taken, or why the adapter does not fit: see
    /// [`ErrorCode::AdapterMismatch`], [`ErrorCode::UnsupportedAdapter`], [`ErrorCode::MissingTensor`],
    /// [`ErrorCode::UnexpectedTensor`].
    pub fn load_adapter(&mut self, name: &str, adapter: Adapter) -> Result<()> {
        if self.adapter_index(name).is_ok() {
            return Err(
                Error::new(ErrorCode::InvalidArgument, "an adapter of that name is loaded").found(name)
            );
        }
        let pairs = adapter.bind(&self.config)?;
        self.adapters.push(LoadedAdapter { name: name.to_owned(), pairs });
        Ok(())
    }

    /// Activates one adapter, or none. What a cache holds was computed with the adapter before.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownAdapter`].
    pub fn set_adapter(&mut self, name: Option<&str>) -> Result<()> {
        self.active = name.map(|name| self.adapter_index(name)).transpose()?;
        Ok(())
    }

    /// As [`Llama::set_adapter`], with what the adapter adds multiplied by `scale`; it keeps that strength until
    /// it is set again.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownAdapter`]; [`ErrorCode::InvalidArgument`] when `scale` is not finite.
    pub fn set_adapter_scaled(&mut self, name: &str, scale: f32) -> Result<()> {
        let index = self.adapter_index(name)?;
        if !scale.is_finite() {
            let error = Error::new(ErrorCode::InvalidArgument, "the adapter's scale is not a number");
            return Err(error.tensor("scale").expected("a finite number").found(Repr::from(scale)));
        }
        self.adapters[index].pairs.iter_mut().flatten().for_each(|pair| pair.scale = scale);
        self.active = Some(index);
        Ok(())
    }

    /// The pairs of the active adapter, by index in [`Config::linear_modules`].
    pub fn active_pairs(&self) -> Option<&[Option<LoraPair>]> {
        self.active.map(|i| self.adapters[i].pairs.as_slice())
    }

    /// The weight of the linear layer with that index in [`Config::linear_modules`], with what the adapter
    /// adds to it as [`Llama::merge_adapter`] would add it; `None` where the adapter adds nothing.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownAdapter`], [`ErrorCode::NonFiniteWeight`].
    pub fn merged_matrix(&self, adapter: &str, index: usize) -> Result<Option<Matrix>> {
        let pair = self.adapters[self.adapter_index(adapter)?].pairs.get(index).and_then(Option::as_ref);
        let linear = self.weights.linears().nth(index);
        match (pair, linear) {
            (Some(pair), Some(linear)) => {
                linear.matrix.merged(pair.delta(), linear.rows, linear.cols).map(Some)
            }
            (Some(_), None) => {
                Err(Error::new(ErrorCode::UnsupportedAdapter, "cannot merge into tied embeddings")
                    .tensor("lm_head"))
            }
            (None, _) => Ok(None),
        }
    }

    /// The layer's values plus what the adapter adds, in f32 and not quantized again; as
    /// [`Llama::merged_matrix`] otherwise.
    ///
    /// # Errors
    /// Those of [`Llama::merged_matrix`].
    pub fn merged_values(&self, adapter: &str, index: usize) -> Result<Option<Vec<f32>>> {
        let pair = self.adapters[self.adapter_index(adapter)?].pairs.get(index).and_then(Option::as_ref);
        let (Some(pair), Some(linear)) = (pair, self.weights.linears().nth(index)) else { return Ok(None) };
        let mut values = linear.matrix.dequantize();
        kernels::add_assign(&mut values, &pair.delta());
        Ok(Some(values))
    }

    /// Frees an adapter; if it was active, none is afterwards.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownAdapter`].
    pub fn delete_adapter(&mut self, name: &str) -> Result<()> {
        let index = self.adapter_index(name)?;
        self.adapters.remove(index);
        self.active = match self.active {
            Some(active) if active == index => None,
            Some(active) if active > index => Some(active - 1),
            other => other,
        };
        Ok(())
    }

    /// Names of the loaded adapters, in the order of loading.
    pub fn adapters(&self) -> impl Iterator<Item = &str> {
        self.adapters.iter().map(|adapter| adapter.name.as_str())
    }

    /// The active adapter.
    pub fn active_adapter(&self) -> Option<&str> {
        self.active.map(|i| self.adapters[i].name.as_str())
    }

    /// Adds an adapter to the base weights for good and frees it, as PEFT's `merge_and_unload`: dense
    /// weights are added to, quantized ones dequantized, added to and quantized again with the same
    /// settings.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownAdapter`]; [`ErrorCode::UnsupportedAdapter`] for an `lm_head` that is tied;
    /// [`ErrorCode::NonFiniteWeight`] when a sum cannot be quantized. The model is unchanged then.
    pub fn merge_adapter(&mut self, name: &str) -> Result<()> {
        let index = self.adapter_index(name)?;
        let head = self.config.num_hidden_layers * LINEARS_PER_LAYER;
        if self.weights.lm_head.is_none() && self.adapters[index].pairs[head].is_some() {
            return Err(Error::new(ErrorCode::UnsupportedAdapter, "cannot merge into tied embeddings")
                .tensor("lm_head"));
        }
        // Twice, keeping one matrix at a time: a failure must not leave a model that is half merged.
        for store in [false, true] {
            for (i, pair) in self.adapters[index].pairs.iter().enumerate() {
                let (Some(pair), Some(linear)) = (pair, self.weights.linear_mut(i)) else { continue };
                let merged = linear.matrix.merged(pair.delta(), linear.rows, linear.cols)?;
                if store {
                    linear.matrix = merged;
                }
            }
        }
        self.delete_adapter(name)
    }

    /// Bytes held, by kind.
    pub fn memory(&self) -> MemoryLedger {
        let mut ledger = MemoryLedger::of_weights(&self.weights);
        let pairs = self.adapters.iter().flat_map(|adapter| adapter.pairs.iter().flatten());
        ledger.lora = pairs.map(|pair| pair.bytes() as u64).sum();
        ledger.scratch = (self.buffers.bytes() + self.inv_freq.len() * size_of::<f32>()) as u64;
        ledger
    }

    /// Whether a layer is LLM.int8, so that results depend on how tokens are batched.
    pub fn has_int8(&self) -> bool {
        // Without a threshold there are no outlier columns.
        let chooses = |matrix: &Matrix| matches!(matrix, Matrix::Int8 { threshold, .. } if *threshold != 0.0);
        self.weights.linears().any(|linear| chooses(&linear.matrix))
    }

    fn adapter_index(&self, name: &str) -> Result<usize> {
        self.adapters.iter().position(|adapter| adapter.name == name).ok_or_else(|| {
            Error::new(ErrorCode::UnknownAdapter, "no adapter of that name is loaded").found(name)
        })
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "no tokens").expected("1 or more").found(0));
        }
        match tokens.iter().find(|&&token| token as usize >= self.config.vocab_size) {
            None => Ok(()),
            Some(token) => Err(Error::new(ErrorCode::InvalidToken, "token id outside the vocabulary")
                .expected(format!("less than {}", self.config.vocab_size))
                .found(token)),
        }
    }

    fn reserve_logits(&mut self, rows: usize) -> Result<()> {
        let logits = &mut self.buffers.logits;
        let elements = rows.checked_mul(self.config.vocab_size);
        let more = elements.map(|elements| elements.saturating_sub(logits.len()));
        match (elements, more) {
            (Some(elements), Some(more)) if logits.try_reserve_exact(more).is_ok() => {
                logits.resize(elements.max(logits.len()), 0.0);
                Ok(())
            }
            _ => {
                Err(Error::new(ErrorCode::OutOfMemory, "no memory for the logits")
                    .found(format!("{rows} rows")))
            }
        }
    }
}

/// Weights that were not loaded with the same config could be of any shape.
fn check_weights(config: &Config, weights: &Weights) -> Result<()> {
    let check = |what: &str, expected: usize, found: usize| {
        if expected == found {
            return Ok(());
        }
        Err(Error::new(ErrorCode::ShapeMismatch, "the weights are not those of the config")
            .tensor(what)
            .expected(expected)
            .found(found))
    };
    check("model.layers", config.num_hidden_layers, weights.layers.len())?;
    check("model.embed_tokens.weight", config.vocab_size * config.hidden_size, weights.embed_tokens.len())?;
    // With tied embeddings a copy of them is allowed.
    let heads = weights.lm_head.iter().count();
    check("lm_head.weight", usize::from(!config.tie_word_embeddings).max(heads), heads)?;
    for norm in weights.floats().skip(1) {
        check("layernorm", config.hidden_size, norm.len())?;
    }
    for (module, linear) in config.linear_modules().iter().zip(weights.linears()) {
        let Linear { matrix, bias, rows, cols } = linear;
        let (matrix_rows, matrix_cols) = match matrix {
            Matrix::Dense(values) => (values.len() / cols.max(&1), *cols),
            Matrix::FourBit(params) => {
                params.validate()?;
                (params.rows(), params.cols())
            }
            Matrix::Int8 { params, .. } => (params.rows, params.cols),
        };
        for (found_rows, found_cols) in [(*rows, *cols), (matrix_rows, matrix_cols)] {
            check(&module.path, module.out_features, found_rows)?;
            check(&module.path, module.in_features, found_cols)?;
        }
        let bias_len = if module.bias { module.out_features } else { 0 };
        check(&module.path, bias_len, bias.as_ref().map_or(0, Floats::len))?;
    }
    Ok(())
}
