//! The one error type: what went wrong, where, what was expected and what was found.

use std::fmt;

/// `Result` with [`Error`] as its default error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident => $code:literal,)+) => {
        /// The kind of an [`Error`]; stable, for matching in code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)+
        }

        impl ErrorCode {
            /// Every code, in declaration order.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)+];

            /// The code as JavaScript and `--json` output see it, in kebab case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $code,)+
                }
            }
        }
    };
}

error_codes! {
    /// The operating system could not read or write a file.
    Io => "io",
    /// A file ends before the bytes it promises.
    TruncatedFile => "truncated-file",
    /// A safetensors header is longer than the accepted maximum.
    HeaderTooLarge => "header-too-large",
    /// A safetensors header is not the JSON object the format asks for.
    InvalidHeader => "invalid-header",
    /// A tensor name occurs twice, in one file or in two shards.
    DuplicateTensor => "duplicate-tensor",
    /// Two tensors claim the same bytes.
    OverlappingTensors => "overlapping-tensors",
    /// A tensor's bytes lie outside its file.
    OffsetOutOfRange => "offset-out-of-range",
    /// Bytes of a file belong to no tensor.
    UnclaimedBytes => "unclaimed-bytes",
    /// A shape and dtype disagree with the number of bytes given for them.
    ByteCountMismatch => "byte-count-mismatch",
    /// The number of elements or bytes of a shape does not fit the address space.
    ShapeOverflow => "shape-overflow",
    /// The index names a shard that is not there.
    MissingShard => "missing-shard",
    /// The index and the shards disagree about where a tensor lies.
    IndexMismatch => "index-mismatch",
    /// An index lacks its map or names a shard that cannot be a file beside it.
    InvalidIndex => "invalid-index",
    /// A folder lacks a file it must hold.
    MissingFile => "missing-file",
    /// A folder's weights are in a format other than safetensors.
    UnsupportedFormat => "unsupported-format",
    /// A tensor that is needed has a dtype that is not supported for it.
    UnsupportedDtype => "unsupported-dtype",
    /// A tensor that the model or adapter needs is absent.
    MissingTensor => "missing-tensor",
    /// A tensor that the model or adapter has no place for.
    UnexpectedTensor => "unexpected-tensor",
    /// A tensor has another shape than its place in the model.
    ShapeMismatch => "shape-mismatch",
    /// A file that should be JSON is not.
    InvalidJson => "invalid-json",
    /// `config.json` lacks a value or holds an impossible one.
    InvalidConfig => "invalid-config",
    /// The checkpoint is of an architecture other than Llama.
    UnsupportedArchitecture => "unsupported-architecture",
    /// The configuration asks for something this crate does not do.
    UnsupportedOption => "unsupported-option",
    /// Quantization statistics that contradict each other or the codes.
    InvalidQuantState => "invalid-quant-state",
    /// A weight to be quantized holds NaN, an infinity or a value beyond the range of its format.
    NonFiniteWeight => "non-finite-weight",
    /// A quantization method or setting this crate does not read or write.
    UnsupportedQuantization => "unsupported-quantization",
    /// `adapter_config.json` or its tensors are not a valid LoRA adapter.
    InvalidAdapter => "invalid-adapter",
    /// A PEFT feature this crate does not apply.
    UnsupportedAdapter => "unsupported-adapter",
    /// The adapter does not fit this base model.
    AdapterMismatch => "adapter-mismatch",
    /// No adapter of that name is loaded.
    UnknownAdapter => "unknown-adapter",
    /// The kv cache has no room for more tokens.
    ContextFull => "context-full",
    /// A token id outside the vocabulary.
    InvalidToken => "invalid-token",
    /// Logits hold NaN or an infinity.
    NonFiniteLogits => "non-finite-logits",
    /// A tokenizer or chat template could not be read or applied.
    InvalidTokenizer => "invalid-tokenizer",
    /// An argument outside its allowed range.
    InvalidArgument => "invalid-argument",
    /// The model does not fit the memory that can be had.
    OutOfMemory => "out-of-memory",
    /// The caller asked for the work to stop.
    Aborted => "aborted",
}

/// An error with the place it points at: a file, and a tensor or key in it.
///
/// `Display` gives one line: `FILE: TENSOR: reason (expected E, found F)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    code: ErrorCode,
    reason: String,
    file: Option<String>,
    tensor: Option<String>,
    expected: Option<String>,
    found: Option<String>,
}

impl Error {
    /// An error with neither place nor values yet; `reason` is a lower-case phrase without full stop.
    pub fn new(code: ErrorCode, reason: impl Into<String>) -> Self {
        Error(Box::new(Details {
            code,
            reason: reason.into(),
            file: None,
            tensor: None,
            expected: None,
            found: None,
        }))
    }

    /// Names the file, unless a more precise caller already did.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    /// Names the tensor, or the key of a JSON file, unless a more precise caller already did.
    #[must_use]
    pub fn tensor(mut self, tensor: impl Into<String>) -> Self {
        self.0.tensor.get_or_insert_with(|| tensor.into());
        self
    }

    /// Says what would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.0.expected = Some(expected.to_string());
        self
    }

    /// Says what was there instead.
    #[must_use]
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        self.0.found = Some(found.to_string());
        self
    }

    /// The stable kind.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The reason alone, without place and values.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The file the error points at.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The tensor, or the key of a JSON file, the error points at.
    pub fn tensor_name(&self) -> Option<&str> {
        self.0.tensor.as_deref()
    }

    /// What would have been right.
    pub fn expected_value(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What was there instead.
    pub fn found_value(&self) -> Option<&str> {
        self.0.found.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { reason, file, tensor, expected, found, .. } = &*self.0;
        if let Some(file) = file {
            write!(f, "{file}: ")?;
        }
        if let Some(tensor) = tensor {
            write!(f, "{tensor}: ")?;
        }
        f.write_str(reason)?;
        match (expected, found) {
            (Some(expected), Some(found)) => write!(f, " (expected {expected}, found {found})"),
            (Some(expected), None) => write!(f, " (expected {expected})"),
            (None, Some(found)) => write!(f, " (found {found})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_place_and_values() {
        let error = Error::new(ErrorCode::ShapeMismatch, "wrong shape")
            .tensor("lm_head.weight")
            .in_file("model.safetensors")
            .in_file("a less precise file")
            .expected("[512, 64]")
            .found("[512, 32]");
        assert_eq!(
            error.to_string(),
            "model.safetensors: lm_head.weight: wrong shape (expected [512, 64], found [512, 32])"
        );
    }

    #[test]
    fn codes_are_unique_kebab_case() {
        let mut codes: Vec<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        assert!(codes.iter().all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
    }
}
