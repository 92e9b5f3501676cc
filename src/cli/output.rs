//! What a person or a machine reads: text, one JSON object, progress bars, errors.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nibblama::{Error, ErrorCode};
use serde_json::{Map, Value, json};

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Reported on stderr; exit code 1.
    Error(Error),
    /// The reader of stdout has gone, as with `| head`: nothing is left to say.
    BrokenPipe,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

pub type Outcome<T = ()> = Result<T, Failure>;

/// Writes to stdout at once. `println!` would panic where the reader has gone.
pub fn print(text: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
        _ => Error::new(ErrorCode::Io, e.to_string()).in_file("stdout").into(),
    })
}

/// What the library says, as part of a command's JSON.
pub fn json_of(value: &nibblama::checkpoint::json::Value) -> Value {
    // One writes what the other reads.
    value.to_string().parse().unwrap_or(Value::Null)
}

/// Prints the one JSON object of a command.
pub fn print_json(value: &Value) -> Outcome {
    print(&format!("{value:#}\n"))
}

/// Says what went wrong: one line on stderr and, with `--json`, `{"error": {..}}` on stdout.
pub fn report(failure: Failure, json: bool) -> ExitCode {
    let Failure::Error(error) = failure else { return ExitCode::SUCCESS };
    if json {
        let mut details = Map::new();
        details.insert("code".into(), error.code().as_str().into());
        details.insert("message".into(), one_line(&error.to_string()).into());
        for (key, value) in [
            ("file", error.file()),
            ("tensor", error.tensor_name()),
            ("expected", error.expected_value()),
            ("found", error.found_value()),
        ] {
            if let Some(value) = value {
                details.insert(key.into(), value.into());
            }
        }
        // A reader that has gone does not change the exit code.
        let _ = print_json(&json!({ "error": details }));
    }
    // stderr may be closed as well, and eprintln! would panic.
    let _ = writeln!(io::stderr(), "error: {}", one_line(&error.to_string()));
    ExitCode::FAILURE
}

/// Text from files and libraries may hold line breaks; an error is one line.
pub fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `6027761664` as `6,027,761,664`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the decimal units that transformers' users know: `6.03 GB`.
pub fn human_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        // 999.995 would be rounded to 1000.00.
        if value < 999.995 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") }
}

/// Columns of text; columns marked `true` in `right` are numbers.
pub fn table(right: &[bool], rows: &[Vec<String>]) -> String {
    let mut widths = vec![0; right.len()];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, &width), &right) in row.iter().zip(&widths).zip(right) {
            let pad = width - cell.chars().count();
            let (before, after) = if right { (pad, 0) } else { (0, pad) };
            let _ = write!(line, "{:before$}{cell}{:after$}  ", "", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A bar on stderr; nothing where stderr is no terminal or `--json` was given.
pub fn progress(total: u64, what: &str, bytes: bool, json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = if bytes {
        "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {eta}"
    } else {
        "{msg} {wide_bar} {human_pos}/{human_len} {eta}"
    };
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(6027761664), "6,027,761,664");
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1000), "1.00 kB");
        assert_eq!(human_bytes(999_999), "1.00 MB");
        assert_eq!(human_bytes(6_027_761_664), "6.03 GB");
    }

    #[test]
    fn tables_align() {
        let rows = vec![vec!["a".into(), "10".into()], vec!["bcd".into(), "5".into()]];
        assert_eq!(table(&[false, true], &rows), "a    10\nbcd   5\n");
    }

    #[test]
    fn errors_are_one_line() {
        assert_eq!(one_line("a\n  b\r\n\nc"), "a b c");
    }
}
