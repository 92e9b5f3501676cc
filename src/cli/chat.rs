//! Chat templates: the Jinja of Hugging Face's tokenizers, with the functions and filters transformers adds.

use std::collections::BTreeMap;
use std::io;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Output, State, context};
use nibblama::{Error, ErrorCode, Result};
use serde::Serialize;
use serde_json::ser::Formatter;

/// A compiled chat template.
pub struct ChatTemplate {
    env: Environment<'static>,
    file: String,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles `source`; `file` is where it came from, for errors.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidTokenizer`] for a syntax error or a tag that is not supported.
    pub fn new(source: &str, file: String) -> Result<Self> {
        let mut env = Environment::new();
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_formatter(python_format);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", raise_exception);
        env.add_function("strftime_now", strftime_now);
        env.add_filter("tojson", tojson);
        env.add_template_owned(NAME, source.to_owned()).map_err(|e| error(&file, &e))?;
        Ok(ChatTemplate { env, file })
    }

    /// The text of a conversation of `(role, content)` messages.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidTokenizer`] with the template's own words where it raises an exception.
    pub fn render(
        &self,
        messages: &[(&str, &str)],
        add_generation_prompt: bool,
        special_tokens: &[(String, String)],
    ) -> Result<String> {
        let messages: Value = messages
            .iter()
            .map(|&(role, content)| Value::from_iter([("role", role), ("content", content)]))
            .collect();
        let tokens: Value = special_tokens.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
        // transformers passes both as None where the caller gives none.
        let (tools, documents) = (Value::from(()), Value::from(()));
        let context = context! { messages, add_generation_prompt, tools, documents, ..tokens };
        let template = self.env.get_template(NAME).map_err(|e| error(&self.file, &e))?;
        template.render(context).map_err(|e| error(&self.file, &e))
    }
}

fn error(file: &str, e: &minijinja::Error) -> Error {
    let reason = match (e.detail(), e.line()) {
        (Some(detail), Some(line)) => format!("chat template, line {line}: {detail}"),
        _ => format!("chat template: {e}"),
    };
    Error::new(ErrorCode::InvalidTokenizer, reason).in_file(file)
}

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    use std::fmt::Write;
    let mut text = String::new();
    write!(text, "{}", chrono::Local::now().format(format)).map_err(|_| {
        minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            format!("no such date format: {format:?}"),
        )
    })?;
    Ok(text)
}

/// Writes `True`, `False` and `None` as Python does; anything else as minijinja.
fn python_format(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let word = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return minijinja::escape_formatter(out, state, value),
    };
    out.write_str(word).map_err(minijinja::Error::from)
}

/// Python's `json.dumps` with the arguments that transformers passes on.
fn tojson(value: &Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let invalid = |e: String| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, e);
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let [item, key] = match separators {
        Some(pair) => {
            <[String; 2]>::try_from(pair).map_err(|_| invalid("separators must be two strings".into()))?
        }
        // With an indent, json.dumps ends its lines without a space.
        None if indent.is_some() => [",".into(), ": ".into()],
        None => [", ".into(), ": ".into()],
    };
    let sorted = if sort_keys == Some(true) { sort(value)? } else { value.clone() };
    let style = PythonJson { item, key, indent, level: 0, filled: false, ascii: ensure_ascii == Some(true) };
    let mut text = Vec::new();
    sorted
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, style))
        .map_err(|e| invalid(e.to_string()))?;
    let text = String::from_utf8(text).map_err(|e| invalid(e.to_string()))?;
    Ok(Value::from_safe_string(text))
}

fn sort(value: &Value) -> Result<Value, minijinja::Error> {
    match value.kind() {
        ValueKind::Map => {
            let mut map = BTreeMap::new();
            for key in value.try_iter()? {
                map.insert(key.to_string(), sort(&value.get_item(&key)?)?);
            }
            Ok(map.into_iter().collect())
        }
        ValueKind::Seq => value.try_iter()?.map(|item| sort(&item)).collect(),
        _ => Ok(value.clone()),
    }
}

/// JSON in the spacing of Python's `json.dumps`.
struct PythonJson {
    item: String,
    key: String,
    indent: Option<usize>,
    level: usize,
    /// The innermost array or object has an element.
    filled: bool,
    ascii: bool,
}

impl PythonJson {
    fn open<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: u8) -> io::Result<()> {
        self.level += 1;
        self.filled = false;
        out.write_all(&[bracket])
    }

    fn close<W: ?Sized + io::Write>(&mut self, out: &mut W, bracket: u8) -> io::Result<()> {
        self.level -= 1;
        if self.filled {
            self.line(out)?;
        }
        self.filled = true;
        out.write_all(&[bracket])
    }

    fn separate<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(self.item.as_bytes())?;
        }
        self.line(out)
    }

    fn line<W: ?Sized + io::Write>(&self, out: &mut W) -> io::Result<()> {
        match self.indent {
            Some(width) => write!(out, "\n{:1$}", "", width * self.level),
            None => Ok(()),
        }
    }
}

impl Formatter for PythonJson {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b'[')
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b']')
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.separate(out, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b'{')
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b'}')
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.separate(out, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(self.key.as_bytes())
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        if !self.ascii {
            return out.write_all(text.as_bytes());
        }
        for c in text.chars() {
            if c.is_ascii() {
                out.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String> {
        let template = ChatTemplate::new(source, "tokenizer_config.json".into())?;
        template.render(
            &[("system", "Be <brief> & \"kind\"."), ("user", " Hi é\n")],
            true,
            &[("bos_token".into(), "<s>".into())],
        )
    }

    /// Each expectation is what Jinja 3.1 with transformers' settings gives.
    #[test]
    fn behaves_as_in_transformers() {
        for (source, expected) in [
            ("{{ bos_token }}{{ eos_token }}|{{ add_generation_prompt }}|{{ tools }}", "<s>|True|None"),
            (
                "{%- for m in messages %}\n  {% if loop.first %}\n    {% continue %}\n  {% endif %}\n{{ m.content.strip() }}!\n{% endfor %}",
                "Hi é!\n",
            ),
            (
                "{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m['role'] }}{% endfor %}",
                "system",
            ),
            (
                "{% for k, v in messages[1].items() %}{{ k }}={{ v|trim }};{% endfor %}",
                "role=user;content=Hi é;",
            ),
            ("{% for k, v in messages[1]|items %}{{ k }};{% endfor %}", "role;content;"),
            (
                "{{ messages[0]|tojson }}",
                "{\"role\": \"system\", \"content\": \"Be <brief> & \\\"kind\\\".\"}",
            ),
            (
                "{{ messages[1:]|tojson(indent=2) }}",
                "[\n  {\n    \"role\": \"user\",\n    \"content\": \" Hi é\\n\"\n  }\n]",
            ),
            ("{{ [1, 1.5, true, none, {}, []]|tojson }}", "[1, 1.5, true, null, {}, []]"),
            (
                "{{ messages[1]|tojson(sort_keys=true, ensure_ascii=true) }}",
                "{\"content\": \" Hi \\u00e9\\n\", \"role\": \"user\"}",
            ),
            ("{{ messages[1]['content'].split('é')[0].upper() }}|{{ 'x'.startswith('x') }}", " HI |True"),
            (
                "{% set ns = namespace(found=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}",
                "True",
            ),
            (
                "{{ messages[-1].role }}{{ messages|length }}{{ messages[0] is mapping }}{{ tools is defined and tools is not none }}",
                "user2TrueFalse",
            ),
            ("{{ strftime_now('%d %b %Y')|length }}", "11"),
            ("a\n", "a"),
        ] {
            assert_eq!(render(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn failures_are_one_clear_line() {
        let error = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
        assert_eq!(error.to_string(), "tokenizer_config.json: chat template, line 1: roles must alternate");
        for bad in [
            "{% if %}",
            "{{ strftime_now('%Q') }}",
            "{{ messages|nosuch }}",
            "{{ messages|tojson(color=1) }}",
        ] {
            let error = render(bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidTokenizer);
            assert!(!error.to_string().contains('\n'), "{bad}: {error}");
        }
    }
}
