//! PEFT LoRA adapters: which layers they target, and their weights.

use regex_lite::{Regex, RegexBuilder};

use super::Fields;
use super::config::{Config, LinearModule};
use crate::checkpoint::decimal::Repr;
use crate::checkpoint::json::Value;
use crate::checkpoint::{Checkpoint, NameMap, TensorView};
use crate::error::{Error, ErrorCode, Result};
use crate::quant::Floats;

const PREFIX: &str = "base_model.model.";
const MAX_RANK: usize = 1 << 16;
/// Compiled size that a pattern of an adapter may take.
const REGEX_LIMIT: usize = 1 << 18;

/// A LoRA adapter as PEFT saves it, not yet bound to a model.
#[derive(Debug, Clone)]
pub struct Adapter {
    file: String,
    targets: Targets,
    r: usize,
    lora_alpha: f64,
    use_rslora: bool,
    rank_pattern: Vec<(Regex, f64)>,
    alpha_pattern: Vec<(Regex, f64)>,
    /// A and B by module path.
    pairs: NameMap<HalfPair>,
}

#[derive(Debug, Clone, Default)]
struct HalfPair {
    a: Option<(Floats, Vec<usize>)>,
    b: Option<(Floats, Vec<usize>)>,
}

/// The two factors beside one linear layer: y += scaling * B (A x).
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// (r, cols).
    pub a: Floats,
    /// The columns of B, (r, rows), in f32: a product with few columns is a sum of them.
    pub b: Vec<f32>,
    /// Rank.
    pub r: usize,
    /// out_features of the layer.
    pub rows: usize,
    /// in_features of the layer.
    pub cols: usize,
    /// alpha / r, or alpha / sqrt(r) with rsLoRA.
    pub scaling: f32,
    /// What `scaling` is multiplied with: 1 unless an adapter is taken into use at another strength.
    pub scale: f32,
}

impl LoraPair {
    /// Bytes of both factors.
    pub fn bytes(&self) -> usize {
        self.a.bytes() + size_of_val(&self.b[..])
    }

    /// scaling * B A, (rows, cols), in f32.
    pub(crate) fn delta(&self) -> Vec<f32> {
        let a = self.a.to_f32_vec();
        let mut delta = vec![0.0f32; self.rows * self.cols];
        for (i, row) in delta.chunks_exact_mut(self.cols).enumerate() {
            for (column, a_row) in self.b.chunks_exact(self.rows).zip(a.chunks_exact(self.cols)) {
                crate::kernels::axpy(column[i], a_row, row);
            }
            row.iter_mut().for_each(|value| *value *= self.scaling * self.scale);
        }
        delta
    }
}

/// PEFT's rules for choosing modules.
#[derive(Debug, Clone)]
struct Targets {
    target: Target,
    exclude: Option<Target>,
    layers_to_transform: Option<Vec<u64>>,
    layers_pattern: Vec<Regex>,
}

#[derive(Debug, Clone)]
enum Target {
    /// Full paths, or suffixes that follow a dot.
    Names(Vec<String>),
    /// Matches the whole path, `re.fullmatch`.
    Pattern(Regex),
    /// `all-linear`: every linear layer but `lm_head`.
    AllLinear,
}

impl Target {
    fn matches(&self, path: &str) -> bool {
        match self {
            Target::Names(names) => names.iter().any(|name| {
                path.strip_suffix(name.as_str()).is_some_and(|s| s.is_empty() || s.ends_with('.'))
            }),
            Target::Pattern(regex) => regex.is_match(path),
            Target::AllLinear => path.ends_with("_proj"),
        }
    }
}

impl Targets {
    fn matches(&self, path: &str) -> bool {
        if self.exclude.as_ref().is_some_and(|exclude| exclude.matches(path)) || !self.target.matches(path) {
            return false;
        }
        // PEFT applies the layer list to suffixes only, neither to full paths nor to a pattern.
        match (&self.target, &self.layers_to_transform) {
            (Target::Names(names), Some(layers)) if !names.iter().any(|name| name == path) => {
                self.layer_index(path).is_some_and(|index| layers.contains(&index))
            }
            _ => true,
        }
    }

    /// The first numbered segment of the path, or the one that follows a match of `layers_pattern`.
    fn layer_index(&self, path: &str) -> Option<u64> {
        if self.layers_pattern.is_empty() {
            let mut segments = path.split('.').skip(1);
            return segments.find_map(|segment| segment.parse().ok());
        }
        self.layers_pattern.iter().find_map(|regex| regex.captures(path)?.name("idx")?.as_str().parse().ok())
    }
}

impl Adapter {
    /// Reads `adapter_config.json` (named `file` in errors) and the checkpoint beside it.
    ///
    /// # Errors
    /// See [`Adapter::from_tensors`].
    pub fn parse(file: &str, adapter_config: &[u8], checkpoint: &Checkpoint) -> Result<Adapter> {
        Self::from_tensors(file, adapter_config, checkpoint.views())
    }

    /// Reads a folder with `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// See [`Adapter::from_tensors`] and [`Checkpoint::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(dir: &std::path::Path) -> Result<Adapter> {
        let config = super::read_file(dir, "adapter_config.json")?;
        let checkpoint = Checkpoint::open_files(&[dir.join(crate::checkpoint::ADAPTER_FILE)])?;
        Self::parse("adapter_config.json", &config, &checkpoint)
    }

    /// Reads `adapter_config.json` (named `file` in errors) and the tensors beside it.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidJson`] and [`ErrorCode::InvalidAdapter`] for what is malformed,
    /// [`ErrorCode::UnsupportedAdapter`] naming a PEFT feature that would change the result,
    /// [`ErrorCode::MissingTensor`], [`ErrorCode::UnexpectedTensor`], [`ErrorCode::ShapeMismatch`],
    /// [`ErrorCode::UnsupportedDtype`].
    pub fn from_tensors<'a>(
        file: &str,
        adapter_config: &[u8],
        tensors: impl IntoIterator<Item = TensorView<'a>>,
    ) -> Result<Adapter> {
        let mut adapter = Self::from_config(file, adapter_config)?;
        for tensor in tensors {
            adapter.push(tensor)?;
        }
        for (path, pair) in adapter.pairs.iter() {
            let lacking = if pair.a.is_none() { "lora_A" } else { "lora_B" };
            if pair.a.is_none() || pair.b.is_none() {
                return Err(Error::new(ErrorCode::MissingTensor, "the adapter lacks a tensor")
                    .in_file(file)
                    .tensor(format!("{PREFIX}{path}.{lacking}.weight")));
            }
        }
        Ok(adapter)
    }

    fn from_config(file: &str, json: &[u8]) -> Result<Adapter> {
        let value = super::parse_json(file, json)?;
        let fields = Fields::new(file, &value, ErrorCode::InvalidAdapter)?;
        check_features(&fields)?;
        let target = target(&fields, "target_modules")?
            .ok_or_else(|| fields.error(ErrorCode::InvalidAdapter, "missing value", "target_modules"))?;
        let layers_to_transform = match fields.get("layers_to_transform") {
            None => None,
            Some(value) => {
                let list = value
                    .as_u64()
                    .map(|one| vec![one])
                    .or_else(|| value.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>());
                let list = list.ok_or_else(|| {
                    fields
                        .error(ErrorCode::InvalidAdapter, "invalid value", "layers_to_transform")
                        .expected("a layer number or a list of them")
                })?;
                // PEFT takes an empty list for none.
                Some(list).filter(|list| !list.is_empty())
            }
        };
        // PEFT takes the first pattern in the file that matches.
        let compile = |key: &str| {
            let Some(patterns) = fields.object(key)? else { return Ok(Vec::new()) };
            let compiled = patterns.entries().iter().map(|(p, value)| {
                let value = value.as_f64().ok_or_else(|| {
                    patterns
                        .error(ErrorCode::InvalidAdapter, "invalid value", p)
                        .expected("a number")
                        .found(value)
                })?;
                Ok((regex(&fields, key, p, &format!("^(?:.*\\.)?(?:{p})$"))?, value))
            });
            compiled.collect::<Result<Vec<_>>>()
        };
        let rank_pattern = compile("rank_pattern")?;
        if let Some((_, rank)) =
            rank_pattern.iter().find(|(_, r)| !(1.0..=MAX_RANK as f64).contains(r) || r.fract() != 0.0)
        {
            return Err(fields
                .error(ErrorCode::InvalidAdapter, "invalid rank", "rank_pattern")
                .expected(format!("an integer of 1 to {MAX_RANK}"))
                .found(Repr::from(*rank)));
        }
        Ok(Adapter {
            file: file.to_owned(),
            targets: Targets {
                target,
                exclude: self::target(&fields, "exclude_modules")?,
                layers_to_transform,
                layers_pattern: layers_pattern(&fields)?,
            },
            r: fields.size("r", MAX_RANK)?.unwrap_or(8),
            lora_alpha: fields.number("lora_alpha")?.unwrap_or(8.0),
            use_rslora: fields.flag("use_rslora")?.unwrap_or(false),
            rank_pattern,
            alpha_pattern: compile("alpha_pattern")?,
            pairs: NameMap::default(),
        })
    }

    fn push(&mut self, tensor: TensorView<'_>) -> Result<()> {
        let at = |error: Error| error.in_file(tensor.file).tensor(tensor.name);
        if tensor.name.contains("lora_embedding_") || tensor.name.contains("lora_magnitude_vector") {
            return Err(at(Error::new(
                ErrorCode::UnsupportedAdapter,
                "LoRA on embeddings and DoRA are not applied",
            )));
        }
        let place = tensor.name.strip_prefix(PREFIX).and_then(|name| {
            let a = name.strip_suffix(".lora_A.weight").map(|path| (path, true));
            a.or(name.strip_suffix(".lora_B.weight").map(|path| (path, false)))
        });
        let Some((path, is_a)) = place else {
            return Err(at(Error::new(ErrorCode::UnexpectedTensor, "not a LoRA weight of a linear layer")
                .expected(format!("{PREFIX}PATH.lora_A.weight or lora_B.weight"))));
        };
        if tensor.shape.len() != 2 || tensor.shape.contains(&0) {
            return Err(at(Error::new(ErrorCode::ShapeMismatch, "a LoRA weight has two axes")
                .found(format!("{:?}", tensor.shape))));
        }
        let stored = Some((Floats::from_view(&tensor)?, tensor.shape.to_vec()));
        let mut pair = self.pairs.remove(path).unwrap_or_default();
        let side = if is_a { &mut pair.a } else { &mut pair.b };
        if side.is_some() {
            return Err(at(Error::new(ErrorCode::DuplicateTensor, "tensor occurs twice")));
        }
        *side = stored;
        self.pairs.insert(path.to_owned(), pair);
        Ok(())
    }

    /// Rank of the layer at `path`.
    pub fn rank(&self, path: &str) -> usize {
        first_match(&self.rank_pattern, path).map_or(self.r, |r| r as usize)
    }

    /// What B A x is multiplied with at `path`.
    pub fn scaling(&self, path: &str) -> f64 {
        let alpha = first_match(&self.alpha_pattern, path).unwrap_or(self.lora_alpha);
        let r = self.rank(path) as f64;
        alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// The pair for each layer of [`Config::linear_modules`].
    ///
    /// # Errors
    /// [`ErrorCode::AdapterMismatch`] when the adapter was made for another shape of model or targets
    /// nothing of it, [`ErrorCode::InvalidAdapter`] for a scaling beyond float32, [`ErrorCode::UnsupportedAdapter`] when it targets something other than a linear
    /// layer, [`ErrorCode::MissingTensor`] and [`ErrorCode::UnexpectedTensor`] when its tensors are not
    /// those of its targets.
    pub(crate) fn bind(mut self, config: &Config) -> Result<Vec<Option<LoraPair>>> {
        if let Some(path) = other_modules(config).into_iter().find(|path| self.targets.matches(path)) {
            return Err(Error::new(
                ErrorCode::UnsupportedAdapter,
                "the adapter targets a module that is not a linear layer",
            )
            .in_file(&self.file)
            .tensor(path));
        }
        let modules = config.linear_modules();
        let mut bound = Vec::with_capacity(modules.len());
        for module in &modules {
            bound.push(if self.targets.matches(&module.path) { Some(self.pair(module)?) } else { None });
        }
        if let Some(path) = self.pairs.keys().next() {
            return Err(Error::new(
                ErrorCode::UnexpectedTensor,
                "the adapter has weights for a layer it does not target",
            )
            .in_file(&self.file)
            .tensor(path));
        }
        if bound.iter().all(Option::is_none) {
            return Err(Error::new(ErrorCode::AdapterMismatch, "the adapter targets no layer of this model")
                .in_file(&self.file)
                .tensor("target_modules"));
        }
        Ok(bound)
    }

    fn pair(&mut self, module: &LinearModule) -> Result<LoraPair> {
        let LinearModule { path, in_features: cols, out_features: rows, .. } = module;
        let name = |side: &str| format!("{PREFIX}{path}.{side}.weight");
        let (r, scaling) = (self.rank(path), self.scaling(path) as f32);
        if !scaling.is_finite() {
            return Err(Error::new(ErrorCode::InvalidAdapter, "alpha is beyond float32")
                .in_file(&self.file)
                .tensor("lora_alpha")
                .found(format!("a scaling of {} at {path}", Repr::from(self.scaling(path)))));
        }
        let Some(HalfPair { a: Some((a, a_shape)), b: Some((b, b_shape)) }) = self.pairs.remove(path) else {
            return Err(Error::new(
                ErrorCode::MissingTensor,
                "the adapter lacks the weights of a targeted layer",
            )
            .in_file(&self.file)
            .tensor(name("lora_A")));
        };
        for (side, found, expected) in [("lora_A", a_shape, [r, *cols]), ("lora_B", b_shape, [*rows, r])] {
            if found != expected {
                return Err(Error::new(ErrorCode::AdapterMismatch, "the adapter does not fit this model")
                    .in_file(&self.file)
                    .tensor(name(side))
                    .expected(format!("{expected:?}"))
                    .found(format!("{found:?}")));
            }
        }
        let b = (0..r * rows).map(|i| b.get(i % rows * r + i / rows)).collect();
        Ok(LoraPair { a, b, r, rows: *rows, cols: *cols, scaling, scale: 1.0 })
    }
}

/// Modules that LoRA could name but that are no linear layers.
fn other_modules(config: &Config) -> Vec<String> {
    let mut paths: Vec<String> =
        ["model", "model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb"]
            .map(String::from)
            .into();
    for i in 0..config.num_hidden_layers {
        for name in ["", ".self_attn", ".mlp", ".mlp.act_fn", ".input_layernorm", ".post_attention_layernorm"]
        {
            paths.push(format!("model.layers.{i}{name}"));
        }
    }
    paths
}

fn first_match(patterns: &[(Regex, f64)], path: &str) -> Option<f64> {
    patterns.iter().find(|(regex, _)| regex.is_match(path)).map(|(_, value)| *value)
}

/// Refuses what would make the result differ from plain LoRA on the base as it is.
fn check_features(fields: &Fields<'_>) -> Result<()> {
    let unsupported = |key: &str, expected: &str, found: &str| {
        Err(fields
            .error(ErrorCode::UnsupportedAdapter, "unsupported PEFT feature", key)
            .expected(expected)
            .found(found))
    };
    match fields.text("peft_type")? {
        Some("LORA") => {}
        other => return unsupported("peft_type", "LORA", other.unwrap_or("none")),
    }
    match fields.text("task_type")? {
        None | Some("CAUSAL_LM") => {}
        Some(other) => return unsupported("task_type", "CAUSAL_LM", other),
    }
    match fields.text("bias")? {
        None | Some("none") => {}
        Some(other) => return unsupported("bias", "none", other),
    }
    // These initializations change the base weights, and the adapter only fits the changed ones.
    match fields.get("init_lora_weights") {
        None | Some(Value::Bool(_)) => {}
        Some(Value::String(init)) if matches!(init.as_str(), "gaussian" | "eva" | "orthogonal") => {}
        Some(other) => {
            let found = other.as_str().unwrap_or("another type");
            return unsupported(
                "init_lora_weights",
                "an initialization that leaves the base as it is",
                found,
            );
        }
    }
    let neutral = |value: &Value| match value {
        Value::Bool(flag) => !flag,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    const REFUSED: [&str; 12] = [
        "fan_in_fan_out",
        "modules_to_save",
        "lora_bias",
        "layer_replication",
        "trainable_token_indices",
        "target_parameters",
        "megatron_config",
        "alora_invocation_tokens",
        "arrow_config",
        "kasa_config",
        "velora_config",
        "monteclora_config",
    ];
    for key in fields.keys() {
        // Variants come with a `use_` flag each (DoRA, QA-LoRA, BD-LoRA), unknown ones too.
        let refused = REFUSED.contains(&key) || (key.starts_with("use_") && key != "use_rslora");
        if refused
            && let Some(value) = fields.get(key)
            && !neutral(value)
        {
            return unsupported(key, "null, false or empty", "another value");
        }
    }
    Ok(())
}

fn target(fields: &Fields<'_>, key: &str) -> Result<Option<Target>> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if key == "target_modules" && text.eq_ignore_ascii_case("all-linear") => {
            Ok(Some(Target::AllLinear))
        }
        Some(Value::String(text)) => {
            regex(fields, key, text, &format!("^(?:{text})$")).map(|regex| Some(Target::Pattern(regex)))
        }
        Some(_) => Ok(fields.texts(key)?.filter(|names| !names.is_empty()).map(Target::Names)),
    }
}

fn layers_pattern(fields: &Fields<'_>) -> Result<Vec<Regex>> {
    let key = "layers_pattern";
    let patterns = match fields.get(key) {
        None => Vec::new(),
        Some(Value::String(one)) if one.is_empty() => Vec::new(),
        Some(Value::String(one)) => vec![one.clone()],
        Some(_) => fields.texts(key)?.unwrap_or_default(),
    };
    let compile = |p: &String| regex(fields, key, p, &format!(r"^(?:|.*?\.)(?:{p})\.(?P<idx>\d+)\."));
    patterns.iter().map(compile).collect()
}

/// Python's syntax where this crate's agrees with it; look-around, back references and the set
/// operations that Python reads as plain characters are refused.
fn regex(fields: &Fields<'_>, key: &str, pattern: &str, whole: &str) -> Result<Regex> {
    let ambiguous = ["[[", "&&", "~~", "--"].iter().any(|set| pattern.contains(set));
    let compiled = RegexBuilder::new(whole).size_limit(REGEX_LIMIT).build();
    match compiled {
        Ok(regex) if !ambiguous => Ok(regex),
        _ => Err(fields
            .error(ErrorCode::UnsupportedAdapter, "unsupported regular expression", key)
            .expected("plain regular syntax, without look-around or back references")
            .found(pattern)),
    }
}
