//! Typed access to the keys of one JSON object; every error names file, key, expected and found.

use super::json::Value;
use crate::error::{Error, ErrorCode, Result};

/// An object of a JSON file. `null` counts as absent, as it does in transformers and PEFT.
pub(crate) struct Fields<'a> {
    file: &'a str,
    /// Key of the object inside its file, with a trailing dot; empty at the top level.
    prefix: String,
    object: &'a [(String, Value)],
    code: ErrorCode,
}

impl<'a> Fields<'a> {
    /// `code` is the kind of the errors about values of the wrong type or range.
    pub(crate) fn new(file: &'a str, value: &'a Value, code: ErrorCode) -> Result<Self> {
        let object = value.as_object().ok_or_else(|| {
            Error::new(code, "not a JSON object").in_file(file).expected("an object").found(value.kind())
        })?;
        Ok(Fields { file, prefix: String::new(), object, code })
    }

    /// The object as the value of `key` in its file.
    pub(crate) fn within(self, key: &str) -> Self {
        Fields { prefix: format!("{key}."), ..self }
    }

    pub(crate) fn file(&self) -> &'a str {
        self.file
    }

    /// All entries in the order of the file.
    pub(crate) fn entries(&self) -> &'a [(String, Value)] {
        self.object
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.object.iter().map(|(key, _)| key.as_str())
    }

    /// The value of `key`, unless absent or `null`.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object
            .iter()
            .find(|(each, _)| each == key)
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// An error about `key`.
    pub(crate) fn error(&self, code: ErrorCode, reason: &str, key: &str) -> Error {
        Error::new(code, reason).in_file(self.file).tensor(format!("{}{key}", self.prefix))
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) -> Error {
        self.error(self.code, "invalid value", key).expected(expected).found(short(value))
    }

    fn read<T>(&self, key: &str, expected: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, expected, value)),
        }
    }

    /// A nested object.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        let object = self.read(key, "an object", Value::as_object)?;
        let prefix = format!("{}{key}.", self.prefix);
        Ok(object.map(|object| Fields { file: self.file, prefix, object, code: self.code }))
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.read(key, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A finite number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number", Value::as_f64)
    }

    /// A finite number greater than 0.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number above 0", |value| value.as_f64().filter(|&x| x > 0.0))
    }

    /// An integer of `1..=max`.
    pub(crate) fn size(&self, key: &str, max: usize) -> Result<Option<usize>> {
        let in_range = |value: &Value| {
            let size = usize::try_from(value.as_u64()?).ok()?;
            (1..=max).contains(&size).then_some(size)
        };
        self.read(key, &format!("an integer of 1 to {max}"), in_range)
    }

    pub(crate) fn required_size(&self, key: &str, max: usize) -> Result<usize> {
        self.size(key, max)?.ok_or_else(|| self.error(self.code, "missing value", key))
    }

    /// One token id, or a list of them.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        self.read(key, "a token id or a list of them", |value| match value {
            Value::Array(ids) => ids.iter().map(id).collect(),
            one => id(one).map(|id| vec![id]),
        })
    }

    /// A list of strings.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.read(key, "a list of strings", |value| {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }
}

/// Scalars as they stand in the file, long or nested values by their kind.
fn short(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => value.kind().to_owned(),
        Value::String(text) if text.len() > 80 => value.kind().to_owned(),
        scalar => scalar.to_string(),
    }
}
