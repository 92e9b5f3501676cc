//! Text to token ids and back: tokenizer.json and tokenizer_config.json of a model folder.

use std::fs;
use std::path::{Path, PathBuf};

use nibblama::{Error, ErrorCode, Result};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::chat::ChatTemplate;

/// The tokenizer of a model folder.
pub struct Text {
    tokenizer: Tokenizer,
    dir: PathBuf,
    /// tokenizer_config.json; null where there is none.
    config: Value,
}

impl Text {
    /// Reads `tokenizer.json` and, where they exist, `tokenizer_config.json` and `special_tokens_map.json`.
    ///
    /// # Errors
    /// [`ErrorCode::Io`] without tokenizer.json, [`ErrorCode::InvalidTokenizer`] for one the crate
    /// tokenizers does not read.
    pub fn load(dir: &Path) -> Result<Text> {
        let file = dir.join("tokenizer.json");
        let name = file.display().to_string();
        let bytes = fs::read(&file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorCode::Io, "no such file, so text cannot be turned into token ids")
                    .in_file(&name)
            }
            _ => Error::new(ErrorCode::Io, e.to_string()).in_file(&name),
        })?;
        let tokenizer = Tokenizer::from_bytes(&bytes)
            .map_err(|e| Error::new(ErrorCode::InvalidTokenizer, e.to_string()).in_file(&name))?;
        let mut config = read_json(&dir.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
        // Older checkpoints keep the special tokens in a file of their own.
        if let Some(Value::Object(map)) = read_json(&dir.join("special_tokens_map.json"))? {
            if config.is_null() {
                config = Value::Object(Default::default());
            }
            if let Some(config) = config.as_object_mut() {
                for (key, value) in map {
                    config.entry(key).or_insert(value);
                }
            }
        }
        Ok(Text { tokenizer, dir: dir.to_path_buf(), config })
    }

    /// Token ids of `text`; with `special`, also the tokens that the tokenizer's template puts around it.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, special).map_err(|e| self.error(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`; bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidToken`] for an id the tokenizer does not know, which it would otherwise leave out.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        for &id in ids {
            self.token(id)?;
        }
        self.tokenizer.decode(ids, skip_special).map_err(|e| self.error(e.to_string()))
    }

    /// The token with this id as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Result<String> {
        self.tokenizer.id_to_token(id).ok_or_else(|| {
            Error::new(ErrorCode::InvalidToken, "no such id in the tokenizer")
                .in_file(self.file("tokenizer.json"))
                .expected(format!("below {}", self.tokenizer.get_vocab_size(true)))
                .found(id)
        })
    }

    /// The chat template of the folder, rendered with one optional system and one user message and the
    /// opening of the answer.
    pub fn render_chat(&self, system: Option<&str>, user: &str) -> Result<String> {
        let mut messages = Vec::new();
        messages.extend(system.map(|text| ("system", text)));
        messages.push(("user", user));
        self.chat_template()?.render(&messages, true, &self.special_tokens())
    }

    /// `chat_template.jinja`, or the key of that name in tokenizer_config.json: a template or a list of named
    /// ones, of which `default` is taken.
    pub fn chat_template(&self) -> Result<ChatTemplate> {
        let file = self.dir.join("chat_template.jinja");
        match fs::read_to_string(&file) {
            Ok(source) => return ChatTemplate::new(&source, file.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(Error::new(ErrorCode::Io, e.to_string()).in_file(file.display().to_string()));
            }
        }
        let name = self.file("tokenizer_config.json");
        let source = match &self.config["chat_template"] {
            Value::String(source) => source,
            Value::Array(list) => {
                list.iter().find(|t| t["name"] == "default").and_then(|t| t["template"].as_str()).ok_or_else(
                    || {
                        Error::new(ErrorCode::InvalidTokenizer, "no chat template named \"default\"")
                            .in_file(&name)
                            .tensor("chat_template")
                    },
                )?
            }
            _ => {
                return Err(Error::new(ErrorCode::InvalidTokenizer, "the model has no chat template")
                    .in_file(&name)
                    .tensor("chat_template"));
            }
        };
        ChatTemplate::new(source, name)
    }

    /// `bos_token`, `eos_token` and the like, as chat templates see them.
    pub fn special_tokens(&self) -> Vec<(String, String)> {
        let Some(config) = self.config.as_object() else { return Vec::new() };
        let spelled = |value: &Value| match value {
            Value::String(token) => Some(token.clone()),
            // An AddedToken written out.
            Value::Object(token) => token.get("content").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        config
            .iter()
            .filter(|(key, _)| key.ends_with("_token"))
            .filter_map(|(key, value)| spelled(value).map(|token| (key.clone(), token)))
            .collect()
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn error(&self, reason: String) -> Error {
        Error::new(ErrorCode::InvalidTokenizer, reason).in_file(self.file("tokenizer.json"))
    }
}

/// Decodes a growing list of ids piece by piece.
///
/// A token's text can depend on the one before it (a leading space that only the first word loses) and can end
/// inside a UTF-8 character. So each step decodes from a few tokens back and keeps what is new.
pub struct Stream<'t> {
    text: &'t Text,
    ids: Vec<u32>,
    /// Where decoding starts, and up to where its text has been handed out.
    prefix: usize,
    read: usize,
}

impl<'t> Stream<'t> {
    /// A stream that follows on `context`, usually the prompt; its text is not handed out.
    pub fn new(text: &'t Text, context: &[u32]) -> Self {
        // The whole of it: a cut could fall inside a character and spoil the text after it.
        let ids = context.to_vec();
        let read = ids.len();
        Stream { text, ids, prefix: 0, read }
    }

    /// The text that `id` completes; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let new = self.pending()?;
        if new.is_empty() || new.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        self.advance();
        Ok(new)
    }

    /// What is left at the end, with U+FFFD for a character that was never completed.
    pub fn finish(mut self) -> Result<String> {
        let rest = self.pending()?;
        self.advance();
        Ok(rest)
    }

    fn pending(&self) -> Result<String> {
        let before = self.text.decode(&self.ids[self.prefix..self.read], true)?;
        let after = self.text.decode(&self.ids[self.prefix..], true)?;
        // `before` may itself end inside a character, when the context does.
        Ok(match after.strip_prefix(before.as_str()) {
            Some(new) => new.to_owned(),
            None => after.strip_prefix(before.trim_end_matches('\u{fffd}')).unwrap_or_default().to_owned(),
        })
    }

    fn advance(&mut self) {
        self.prefix = self.read;
        self.read = self.ids.len();
    }
}

fn read_json(file: &Path) -> Result<Option<Value>> {
    let name = || file.display().to_string();
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::new(ErrorCode::InvalidJson, e.to_string()).in_file(name())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::new(ErrorCode::Io, e.to_string()).in_file(name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_tokenizer(check: impl Fn(&str, &Text, &Value)) {
        let golden = match std::env::var_os("NIBBLAMA_GOLDEN") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/golden")),
        };
        let mut seen = 0;
        for entry in fs::read_dir(golden.join("tokenizers")).unwrap() {
            let dir = entry.unwrap().path();
            let cases = read_json(&dir.join("cases.json")).unwrap().unwrap();
            check(&dir.display().to_string(), &Text::load(&dir).unwrap(), &cases);
            seen += 1;
        }
        assert!(seen > 0);
    }

    fn ids(value: &Value) -> Vec<u32> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    }

    #[test]
    fn ids_and_decodings_equal_the_reference() {
        each_tokenizer(|name, text, reference| {
            let cases = reference["cases"].as_array().unwrap();
            assert!(!cases.is_empty());
            for case in cases {
                let input = case["text"].as_str().unwrap();
                let (plain, special) = (ids(&case["ids"]), ids(&case["ids_with_special"]));
                assert_eq!(text.encode(input, false).unwrap(), plain, "{name}: {input:?}");
                assert_eq!(text.encode(input, true).unwrap(), special, "{name}: {input:?}");
                assert_eq!(text.decode(&plain, false).unwrap(), case["decoded"], "{name}: {input:?}");
                assert_eq!(
                    text.decode(&special, true).unwrap(),
                    case["decoded_skip_special"],
                    "{name}: {input:?}"
                );
                let tokens: Vec<String> = plain.iter().map(|&id| text.token(id).unwrap()).collect();
                assert_eq!(Value::from(tokens), case["tokens"], "{name}: {input:?}");
            }
        });
    }

    #[test]
    fn chats_equal_the_reference() {
        each_tokenizer(|name, text, reference| {
            let chats = reference["chats"].as_array().unwrap();
            assert!(!chats.is_empty());
            for chat in chats {
                let part = |m: &Value, key: &str| m[key].as_str().unwrap().to_owned();
                let owned: Vec<_> = chat["messages"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|m| (part(m, "role"), part(m, "content")))
                    .collect();
                let messages: Vec<_> =
                    owned.iter().map(|(role, content)| (role.as_str(), content.as_str())).collect();
                let opening = chat["add_generation_prompt"].as_bool().unwrap();
                let rendered =
                    text.chat_template().unwrap().render(&messages, opening, &text.special_tokens()).unwrap();
                assert_eq!(rendered, chat["rendered"], "{name}");
                assert_eq!(text.encode(&rendered, false).unwrap(), ids(&chat["ids"]), "{name}");
            }
        });
    }

    #[test]
    fn streamed_pieces_add_up_to_the_whole() {
        each_tokenizer(|name, text, reference| {
            for case in reference["cases"].as_array().unwrap() {
                let ids = ids(&case["ids_with_special"]);
                for start in [0, ids.len() / 2] {
                    let (context, rest) = ids.split_at(start);
                    // A context that ends inside a character has no text of its own to compare with.
                    let head = text.decode(context, true).unwrap();
                    if head.ends_with('\u{fffd}') {
                        continue;
                    }
                    let mut stream = Stream::new(text, context);
                    let mut streamed = String::new();
                    for &id in rest {
                        streamed += &stream.push(id).unwrap();
                    }
                    streamed += &stream.finish().unwrap();
                    let whole = text.decode(&ids, true).unwrap();
                    assert_eq!(format!("{head}{streamed}"), whole, "{name}: {:?} from {start}", case["text"]);
                }
            }
        });
    }

    #[test]
    fn unknown_ids_are_refused() {
        each_tokenizer(|_, text, _| {
            let error = text.decode(&[0, 4_000_000], true).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidToken);
            assert_eq!(error.found_value(), Some("4000000"));
        });
    }
}
