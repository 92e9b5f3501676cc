//! Text that can be shown: whole characters, and nothing that may yet become a stop string.

/// Watches generated text for stop strings.
///
/// Pieces are bytes, since a token may end inside a character. What is emitted is valid UTF-8 and never
/// contains any part of a stop string.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: Vec<u8>,
    matched: Option<usize>,
}

impl StopStrings {
    /// Watches for these; empty strings are left out, since they would stop before the first token.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let stops = stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty()).collect();
        StopStrings { stops, ..Default::default() }
    }

    /// The stop string that was found, if any.
    pub fn stopped(&self) -> Option<&str> {
        self.matched.map(|i| self.stops[i].as_str())
    }

    /// Takes the text of one token and returns what can be shown now. Once a stop string was found, it
    /// and all that follows are dropped.
    ///
    /// A byte that cannot belong to any UTF-8 text becomes U+FFFD, as in the decoders of tokenizers.
    pub fn push(&mut self, piece: impl AsRef<[u8]>) -> String {
        if self.matched.is_some() {
            return String::new();
        }
        self.held.extend_from_slice(piece.as_ref());
        if let Some((at, stop)) = self.first_stop() {
            self.matched = Some(stop);
            self.held.truncate(at);
            return self.take(self.held.len(), true);
        }
        self.take(self.held.len() - self.undecided(), false)
    }

    /// The text still held back, once no more will come. A character cut short becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        self.take(self.held.len(), true)
    }

    /// Position and number of the stop string that begins first; of those, the longest.
    fn first_stop(&self) -> Option<(usize, usize)> {
        (0..self.held.len()).find_map(|at| {
            let here =
                self.stops.iter().enumerate().filter(|(_, s)| self.held[at..].starts_with(s.as_bytes()));
            here.max_by_key(|(_, stop)| stop.len()).map(|(i, _)| (at, i))
        })
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn undecided(&self) -> usize {
        let start = (0..self.held.len())
            .find(|&at| self.stops.iter().any(|stop| stop.as_bytes().starts_with(&self.held[at..])));
        start.map_or(0, |at| self.held.len() - at)
    }

    /// Emits the first `len` held bytes, keeping back an unfinished character unless this is the end.
    fn take(&mut self, len: usize, end: bool) -> String {
        let mut text = String::new();
        let mut taken = 0;
        for chunk in self.held[..len].utf8_chunks() {
            text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            let unfinished = taken + invalid.len() == len && unfinished(invalid);
            if invalid.is_empty() || (unfinished && !end) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
        self.held.drain(..taken);
        text
    }
}

/// Whether more bytes could make `bytes`, an invalid end of a text, a character.
fn unfinished(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_back_what_may_become_a_stop_string() {
        let mut stop = StopStrings::new(["</s>", "User:"]);
        assert_eq!(stop.push("one <"), "one ");
        assert_eq!(stop.push("/"), "");
        assert_eq!(stop.push("b> U"), "</b> ");
        assert_eq!(stop.push("ser"), "");
        assert_eq!(stop.stopped(), None);
        assert_eq!(stop.push(": hello"), "");
        assert_eq!(stop.stopped(), Some("User:"));
        assert_eq!(stop.push("more"), "");
        assert_eq!(stop.finish(), "");
    }

    #[test]
    fn emits_text_before_a_stop_string_and_overlapping_starts() {
        let mut stop = StopStrings::new(["aab"]);
        assert_eq!(stop.push("aaa"), "a");
        assert_eq!(stop.push("b!"), "");
        assert_eq!(stop.stopped(), Some("aab"));
        let mut stop = StopStrings::new(["\n\n"]);
        assert_eq!(stop.push("end\n"), "end");
        assert_eq!(stop.finish(), "\n");
    }

    #[test]
    fn holds_back_unfinished_characters() {
        let mut stop = StopStrings::new(["양"]);
        let bytes = "é안양".as_bytes();
        let text: Vec<String> = bytes.iter().map(|byte| stop.push([*byte])).collect();
        assert_eq!(text, ["", "é", "", "", "안", "", "", ""]);
        assert_eq!(stop.stopped(), Some("양"));

        let mut plain = StopStrings::default();
        assert_eq!(plain.push([b'x', 0xff, 0xe2, 0x82]), "x\u{fffd}");
        assert_eq!(plain.finish(), "\u{fffd}");
    }
}
