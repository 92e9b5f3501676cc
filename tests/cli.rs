//! The command line, through the real binary.
#![cfg(feature = "cli")]

/// A macro, so that paths, strings and flags mix in one list.
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        [$(std::ffi::OsString::from($arg)),*]
    };
}

#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/quantize.rs"]
mod quantize;
#[path = "cli/sizes.rs"]
mod sizes;
#[path = "cli/tensor.rs"]
mod tensor;
#[path = "cli/text.rs"]
mod text;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nibblama::checkpoint::Checkpoint;
use serde_json::Value;

/// A file or folder of the committed golden data.
fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(path)
}

/// The same of the golden data in `NIBBLAMA_GOLDEN`, where that is set: for tests that take whatever is there.
fn any_golden(path: &str) -> PathBuf {
    std::env::var_os("NIBBLAMA_GOLDEN").map_or_else(|| golden(path), |dir| PathBuf::from(dir).join(path))
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nibblama"));
    command.args(args);
    command
}

fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command(args).output().unwrap()
}

/// stdout of a run that must succeed.
fn succeeds<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one JSON object of a run with `--json`; nothing may be on stderr.
fn json<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Value {
    let output = command(args).arg("--json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value.is_object());
    value
}

/// The error line of a run that must fail: exit code 1, one line on stderr, nothing on stdout.
fn fails<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let line = stderr
        .strip_prefix("error: ")
        .and_then(|s| s.strip_suffix('\n'))
        .unwrap_or_else(|| panic!("{stderr:?}"));
    assert!(!line.contains('\n'), "{line}");
    line.to_owned()
}

fn f32s(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    checkpoint.view(name).unwrap().to_f32_vec().unwrap()
}

/// Greatest difference of two lists of the same length.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(!a.is_empty());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Logits that the binary writes for `ids`.
fn logits(dir: &Path, ids: &str, more: &[&str]) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.safetensors");
    let mut list = args!["logits", dir, "--ids", ids, "--out", &out].to_vec();
    list.extend(more.iter().map(Into::into));
    let said = json(list);
    let written = Checkpoint::open_files(&[out]).unwrap();
    let view = written.view("logits").unwrap();
    assert_eq!(view.dtype.as_str(), "F32");
    assert_eq!(said["shape"], serde_json::json!(view.shape));
    assert_eq!(view.shape[0], ids.split(',').count());
    view.to_f32_vec().unwrap()
}

fn comma_separated(ids: &Value) -> String {
    let ids: Vec<String> = ids.as_array().unwrap().iter().map(Value::to_string).collect();
    ids.join(",")
}
