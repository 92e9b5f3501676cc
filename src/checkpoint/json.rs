//! Strict JSON: bounded in length and depth, and no key twice in one object.
//!
//! `serde_json` alone keeps the last of two equal keys. Two readers of one file could then see two different
//! models, so a repeated key is refused instead.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{Error, ErrorCode, Result};

/// Longest configuration file that [`parse`] accepts, in bytes; real ones have a few kilobytes. A parsed
/// `Value` can take a hundred times the space of its text, which is why the cap is low.
pub const MAX_JSON_LEN: usize = 4 << 20;

/// Parses `json`, the content of `file`.
///
/// # Errors
/// [`ErrorCode::InvalidJson`] when it is longer than [`MAX_JSON_LEN`], is not JSON, nests deeper than 128
/// levels or repeats a key in one object.
pub fn parse(file: &str, json: &[u8]) -> Result<Value> {
    check_len(file, json, MAX_JSON_LEN)?;
    let parsed: Strict = serde_json::from_slice(json).map_err(|e| invalid(file, &e))?;
    Ok(parsed.0)
}

/// Like [`parse`], and the outermost value must be an object.
pub fn parse_object(file: &str, json: &[u8]) -> Result<Map<String, Value>> {
    match parse(file, json)? {
        Value::Object(map) => Ok(map),
        other => Err(Error::new(ErrorCode::InvalidJson, "not a JSON object")
            .in_file(file)
            .expected("an object")
            .found(kind(&other))),
    }
}

/// What sort of JSON value this is, for "found" in errors.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Refuses a text longer than `max` bytes.
pub(super) fn check_len(file: &str, json: &[u8], max: usize) -> Result<()> {
    if json.len() > max {
        return Err(Error::new(ErrorCode::InvalidJson, "JSON file is too long")
            .in_file(file)
            .expected(format_args!("at most {max} bytes"))
            .found(json.len()));
    }
    Ok(())
}

pub(super) fn invalid(file: &str, error: &serde_json::Error) -> Error {
    Error::new(ErrorCode::InvalidJson, format!("invalid JSON: {error}")).in_file(file)
}

/// A [`Value`] none of whose objects repeats a key.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(Value::Number(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(Value::Number(value.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Strict, E> {
        Number::from_f64(value)
            .map(|n| Strict(Value::Number(n)))
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Strict, E> {
        Ok(Strict(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Strict(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            let Strict(value) = access.next_value()?;
            map.insert(key, value);
        }
        Ok(Strict(Value::Object(map)))
    }
}

/// The entries of an object in the order of the text; repeated keys are refused.
pub(super) struct UniqueEntries<V>(pub Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueEntries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = deserializer.deserialize_map(EntriesVisitor(PhantomData::<V>))?;
        let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(D::Error::custom(format_args!("duplicate key `{}`", pair[0])));
        }
        Ok(UniqueEntries(entries))
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_values_as_serde_json_does() {
        let text = br#"{"a":[1,-2,3.5,null,true,"x\u00e9"],"b":{"c":{}},"d":18446744073709551615}"#;
        assert_eq!(parse("f", text), Ok(serde_json::from_slice(text).unwrap()));
    }

    #[test]
    fn refuses_duplicate_keys_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"\u0061":1,"a":2}"#] {
            let error = parse("config.json", text.as_bytes()).unwrap_err();
            assert_eq!((error.code(), error.file()), (ErrorCode::InvalidJson, Some("config.json")));
            assert!(error.reason().contains("duplicate key `a`"), "{error}");
        }
    }

    #[test]
    fn refuses_depth_length_and_other_texts() {
        let deep = "[".repeat(1000);
        let cases: [&[u8]; 6] = [b"", b"{", b"NaN", b"1e999", b"\"\xff\"", deep.as_bytes()];
        for text in cases {
            assert_eq!(parse("f", text).unwrap_err().code(), ErrorCode::InvalidJson);
        }
        assert_eq!(parse_object("f", b"[]").unwrap_err().found_value(), Some("an array"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "four megabytes take minutes there")]
    fn refuses_long_texts() {
        let long = vec![b' '; MAX_JSON_LEN + 1];
        assert_eq!(parse("f", &long).unwrap_err().reason(), "JSON file is too long");
    }

    #[test]
    fn entries_keep_their_order() {
        let UniqueEntries(entries) = serde_json::from_str::<UniqueEntries<u8>>(r#"{"b":1,"a":2}"#).unwrap();
        assert_eq!(entries, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        assert!(serde_json::from_str::<UniqueEntries<u8>>(r#"{"b":1,"a":2,"b":1}"#).is_err());
    }
}
