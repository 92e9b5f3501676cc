//! Strict JSON: bounded in length and depth, and no key twice in one object.
//!
//! Most readers keep the last of two equal keys. Two readers of one file could then see two different models, so a
//! repeated key is refused instead.

use std::fmt;

use super::decimal::{Repr, nearest};
use crate::error::{Error, ErrorCode, Result};

/// Longest configuration file that [`parse`] accepts, in bytes; real ones have a few kilobytes. A parsed
/// [`Value`] can take a hundred times the space of its text, which is why the cap is low.
pub const MAX_JSON_LEN: usize = 4 << 20;

/// Levels that arrays and objects may nest.
const MAX_DEPTH: usize = 128;

/// Parses `json`, the content of `file`.
///
/// # Errors
/// [`ErrorCode::InvalidJson`] when it is longer than [`MAX_JSON_LEN`], is not JSON, nests deeper than 128
/// levels or repeats a key in one object.
pub fn parse(file: &str, json: &[u8]) -> Result<Value> {
    let mut reader = Reader::new(file, json, MAX_JSON_LEN)?;
    let value = reader.value()?;
    reader.end().map(|()| value)
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Keys, each once, and their values, in the order of the text.
    Object(Vec<(String, Value)>),
}

/// A number, integers apart as far as 64 bits hold them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// 0 and more.
    Natural(u64),
    /// Below 0.
    Negative(i64),
    /// With a fraction or an exponent, or beyond the others; finite.
    Float(f64),
}

/// An object: `object! { "key": value, .. }`.
macro_rules! object {
    ($($key:literal: $value:expr),* $(,)?) => {
        $crate::checkpoint::json::Value::object(vec![$(($key, $value.into())),*])
    };
}
pub(crate) use object;

impl Value {
    /// An object of these entries.
    pub fn object(entries: Vec<(&str, Value)>) -> Value {
        Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The value of `key` in an object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.iter().find(|(each, _)| each == key).map(|(_, value)| value)
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    /// An integer of 0 and more, written as one.
    pub fn as_u64(&self) -> Option<u64> {
        if let Value::Number(Number::Natural(value)) = self { Some(*value) } else { None }
    }

    /// An integer, written as one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(Number::Natural(value)) => i64::try_from(*value).ok(),
            Value::Number(Number::Negative(value)) => Some(*value),
            _ => None,
        }
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(Number::Natural(value)) => Some(*value as f64),
            Value::Number(Number::Negative(value)) => Some(*value as f64),
            Value::Number(Number::Float(value)) => Some(*value),
            _ => None,
        }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(value) = self { Some(value) } else { None }
    }

    /// The values of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Value::Array(values) = self { Some(values) } else { None }
    }

    /// The entries of an object, in the order of the text.
    pub fn as_object(&self) -> Option<&[(String, Value)]> {
        if let Value::Object(entries) = self { Some(entries) } else { None }
    }

    /// What sort of value this is, for "found" in errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

macro_rules! values {
    ($($type:ty: $value:ident => $result:expr;)+) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Value {
                $result
            }
        })+
    };
}

values! {
    bool: value => Value::Bool(value);
    u32: value => Value::Number(Number::Natural(value.into()));
    u64: value => Value::Number(Number::Natural(value));
    usize: value => Value::Number(Number::Natural(value as u64));
    f32: value => f64::from(value).into();
    f64: value => if value.is_finite() { Value::Number(Number::Float(value)) } else { Value::Null };
    &str: value => Value::String(value.to_owned());
    String: value => Value::String(value);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value> + Clone> From<&[T]> for Value {
    fn from(values: &[T]) -> Value {
        Value::Array(values.iter().cloned().map(Into::into).collect())
    }
}

impl fmt::Display for Value {
    /// JSON on one line, without spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => f.write_str(if *value { "true" } else { "false" }),
            Value::Number(Number::Natural(value)) => write!(f, "{value}"),
            Value::Number(Number::Negative(value)) => write!(f, "{value}"),
            Value::Number(Number::Float(value)) => write!(f, "{}", Repr::from(*value)),
            Value::String(value) => f.write_str(&quoted(value)),
            Value::Array(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Value::Object(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "," })?;
                    f.write_str(&quoted(key))?;
                    f.write_str(":")?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A string of JSON.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", c as u32)),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text of JSON, read value by value in its own order, so that a long one need not be held as a whole.
pub(super) struct Reader<'a> {
    file: &'a str,
    json: &'a [u8],
    at: usize,
    depth: usize,
    /// Code and beginning of the errors.
    kind: (ErrorCode, &'static str),
}

impl<'a> Reader<'a> {
    /// Refuses a text longer than `max` bytes.
    pub fn new(file: &'a str, json: &'a [u8], max: usize) -> Result<Self> {
        if json.len() > max {
            return Err(Error::new(ErrorCode::InvalidJson, "JSON file is too long")
                .in_file(file)
                .expected(format_args!("at most {max} bytes"))
                .found(json.len()));
        }
        Ok(Reader { file, json, at: 0, depth: 0, kind: (ErrorCode::InvalidJson, "invalid JSON") })
    }

    /// With other errors.
    pub fn reporting(self, code: ErrorCode, reason: &'static str) -> Self {
        Reader { kind: (code, reason), ..self }
    }

    /// An error at the place that was reached.
    #[cold]
    pub fn error(&self, reason: &str) -> Error {
        let before = &self.json[..self.at.min(self.json.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&byte| byte != b'\n').count();
        let (code, what) = self.kind;
        Error::new(code, format!("{what}: {reason} at line {line} column {column}")).in_file(self.file)
    }

    /// The next byte that is no white space, or 0 at the end.
    fn peek(&mut self) -> u8 {
        while matches!(self.json.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.json.get(self.at).copied().unwrap_or(0)
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == byte;
        self.at += usize::from(taken);
        taken
    }

    fn wanted(&mut self, what: &str) -> Error {
        let found = if self.peek() == 0 && self.at >= self.json.len() { " instead of the end" } else { "" };
        self.error(&format!("expected {what}{found}"))
    }

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<()> {
        self.peek();
        if self.at == self.json.len() { Ok(()) } else { Err(self.wanted("the end")) }
    }

    /// Any value.
    pub fn value(&mut self) -> Result<Value> {
        Ok(match self.peek() {
            b'{' => {
                let mut entries = Vec::new();
                self.object(&mut |reader, key| {
                    let value = reader.value()?;
                    entries.push((key, value));
                    Ok(())
                })?;
                self.check_unique(entries.iter().map(|(key, _)| key.as_str()).collect())?;
                Value::Object(entries)
            }
            b'[' => {
                let mut values = Vec::new();
                self.array(&mut |reader| {
                    values.push(reader.value()?);
                    Ok(())
                })?;
                Value::Array(values)
            }
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => Value::Number(self.number()?),
            _ => {
                let words =
                    [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
                let rest = &self.json[self.at..];
                let Some((word, value)) =
                    words.into_iter().find(|(word, _)| rest.starts_with(word.as_bytes()))
                else {
                    return Err(self.wanted("a value"));
                };
                self.at += word.len();
                value
            }
        })
    }

    /// Reads over any value, however long.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek() {
            b'{' => self.object(&mut |reader, _| reader.skip()),
            b'[' => self.array(&mut |reader| reader.skip()),
            _ => self.value().map(|_| ()),
        }
    }

    /// A list of integers of 0 and more.
    pub fn naturals(&mut self) -> Result<Vec<u64>> {
        let mut values = Vec::new();
        self.array(&mut |reader| {
            values.push(reader.natural()?);
            Ok(())
        })?;
        Ok(values)
    }

    /// An object of strings, its keys in the order of the text.
    pub fn strings(&mut self) -> Result<Vec<(String, String)>> {
        let mut entries = Vec::new();
        self.object(&mut |reader, key| {
            let value = reader.string()?;
            entries.push((key, value));
            Ok(())
        })?;
        self.check_unique(entries.iter().map(|(key, _)| key.as_str()).collect())?;
        Ok(entries)
    }

    /// Refuses a key that occurs twice.
    pub fn check_unique(&self, mut keys: Vec<&str>) -> Result<()> {
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(self.error(&format!("duplicate key `{}`", pair[0]))),
            None => Ok(()),
        }
    }

    /// Calls `each` for the keys of an object; it must read the value. A repeated key is the caller's to find.
    pub fn object(&mut self, each: &mut dyn FnMut(&mut Self, String) -> Result<()>) -> Result<()> {
        self.sequence(b'{', b'}', "an object", &mut |reader| {
            if reader.peek() != b'"' {
                return Err(reader.wanted("a key"));
            }
            let key = reader.string()?;
            if !reader.take(b':') {
                return Err(reader.wanted("`:`"));
            }
            each(reader, key)
        })
    }

    /// Calls `each` for the values of an array; it must read them.
    pub fn array(&mut self, each: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.sequence(b'[', b']', "a list", each)
    }

    fn sequence(
        &mut self,
        open: u8,
        close: u8,
        what: &str,
        each: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if !self.take(open) {
            return Err(self.wanted(what));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(&format!("more than {MAX_DEPTH} levels")));
        }
        if !self.take(close) {
            loop {
                each(self)?;
                if self.take(close) {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.wanted(&format!("`,` or `{}`", char::from(close))));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A string.
    pub fn string(&mut self) -> Result<String> {
        if !self.take(b'"') {
            return Err(self.wanted("a string"));
        }
        let mut bytes = Vec::new();
        loop {
            let Some(&byte) = self.json.get(self.at) else { return Err(self.wanted("`\"`")) };
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return Err(self.error("control character in a string")),
                _ => bytes.push(byte),
            }
        }
        String::from_utf8(bytes).map_err(|_| self.error("a string that is not UTF-8"))
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char> {
        let byte = self.json.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.json[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    }
                }
                char::from_u32(code).ok_or_else(|| self.error("half a surrogate pair"))?
            }
            _ => return Err(self.error("invalid escape")),
        })
    }

    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.json.get(self.at).and_then(|&byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("invalid escape"))?;
            self.at += 1;
        }
        Ok(code)
    }

    /// A number.
    pub fn number(&mut self) -> Result<Number> {
        let negative = self.take(b'-');
        let mut digits = Vec::new();
        let whole = self.digits(&mut digits);
        if whole == 0 || whole > 1 && digits[0] == b'0' {
            return Err(self.error("invalid number"));
        }
        let (mut exponent, mut integer) = (0i64, true);
        if self.json.get(self.at) == Some(&b'.') {
            self.at += 1;
            integer = false;
            let fraction = self.digits(&mut digits);
            if fraction == 0 {
                return Err(self.error("invalid number"));
            }
            exponent = -(fraction as i64);
        }
        if matches!(self.json.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            integer = false;
            let sign = self.json.get(self.at).copied();
            self.at += usize::from(matches!(sign, Some(b'+' | b'-')));
            let mut power = Vec::new();
            if self.digits(&mut power) == 0 {
                return Err(self.error("invalid number"));
            }
            let power = power
                .iter()
                .fold(0i64, |n, digit| n.saturating_mul(10).saturating_add((digit - b'0').into()));
            exponent = exponent.saturating_add(if sign == Some(b'-') { -power } else { power });
        }
        let exact =
            digits.iter().try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add((digit - b'0').into()));
        match exact {
            Some(value) if integer && !negative => return Ok(Number::Natural(value)),
            // Minus zero is a float.
            Some(value) if integer && value != 0 => {
                if let Some(value) = 0i64.checked_sub_unsigned(value) {
                    return Ok(Number::Negative(value));
                }
            }
            _ => {}
        }
        let value = nearest(&digits, exponent);
        if value.is_infinite() {
            return Err(self.error("number out of range"));
        }
        Ok(Number::Float(if negative { -value } else { value }))
    }

    /// Appends the digits that follow and returns how many there are.
    fn digits(&mut self, digits: &mut Vec<u8>) -> usize {
        let rest = &self.json[self.at.min(self.json.len())..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits.extend_from_slice(&rest[..count]);
        self.at += count;
        count
    }

    /// An integer of 0 and more.
    pub fn natural(&mut self) -> Result<u64> {
        if matches!(self.peek(), b'-' | b'0'..=b'9')
            && let Number::Natural(value) = self.number()?
        {
            return Ok(value);
        }
        Err(self.error("expected an integer of 0 and more"))
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
