use proptest::prelude::*;

use super::*;

#[test]
fn values_are_what_they_say() {
    let text = br#"{"a":[1,-2,3.5,null,true,"x\u00e9\ud83d\ude00\n"],"b":{"c":{}},"d":18446744073709551615}"#;
    let value = parse("f", text).unwrap();
    let numbers = [Number::Natural(1), Number::Negative(-2), Number::Float(3.5)].map(Value::Number);
    let mut list = numbers.to_vec();
    list.extend([Value::Null, Value::Bool(true), Value::from("x\u{e9}\u{1f600}\n")]);
    assert_eq!(value.get("a"), Some(&Value::Array(list)));
    assert_eq!(value.get("b").and_then(|b| b.get("c")), Some(&Value::Object(Vec::new())));
    assert_eq!(value.get("d").and_then(Value::as_u64), Some(u64::MAX));
    assert_eq!(
        value.to_string(),
        std::str::from_utf8(text).unwrap().replace("\\u00e9\\ud83d\\ude00", "\u{e9}\u{1f600}")
    );
}

#[test]
fn numbers_keep_their_kind() {
    let number = |text: &str| parse("f", text.as_bytes()).map(|value| value.to_string());
    for (text, kept) in [
        ("-0", "-0.0"),
        ("1e0", "1.0"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-9223372036854775809", "-9.223372036854775808e+18"),
        ("1E-5", "1e-05"),
    ] {
        let expected = if text.ends_with("809") { "-9.223372036854776e+18" } else { kept };
        assert_eq!(number(text).as_deref(), Ok(expected));
    }
    for text in ["01", "-", "1.", ".5", "1e", "1e+", "+1", "1e999", "0x1", "NaN", "1 2"] {
        assert_eq!(number(text).unwrap_err().code(), ErrorCode::InvalidJson, "{text}");
    }
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
    let texts: [&[u8]; 16] = [
        b"",
        b"{",
        b"{}x",
        b"[1,]",
        b"[1 2]",
        b"{\"a\"}",
        b"{\"a\":1,}",
        b"{1:2}",
        b"nul",
        b"\"\x01\"",
        b"\"\xff\"",
        b"\"\\x\"",
        b"\"\\u12\"",
        b"\"\\ud800\"",
        b"\"\\ud800\\u0061\"",
        deep.as_bytes(),
    ];
    for text in texts {
        assert_eq!(parse("f", text).unwrap_err().code(), ErrorCode::InvalidJson, "{}", text.escape_ascii());
    }
    let levels = |n| "[".repeat(n) + &"]".repeat(n);
    assert!(parse("f", levels(MAX_DEPTH).as_bytes()).is_ok());
    assert!(parse("f", levels(MAX_DEPTH + 1).as_bytes()).is_err());
}

#[test]
fn errors_name_the_place() {
    let error = parse("config.json", b"{\n  \"a\": 1\n  \"b\": 2\n}").unwrap_err();
    assert_eq!(error.reason(), "invalid JSON: expected `,` or `}` at line 3 column 3");
}

#[test]
#[cfg_attr(miri, ignore = "four megabytes take minutes there")]
fn refuses_long_texts() {
    let long = vec![b' '; MAX_JSON_LEN + 1];
    assert_eq!(parse("f", &long).unwrap_err().reason(), "JSON file is too long");
}

/// JSON with some mutations, so that it often is none.
fn texts() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<f64>().prop_map(|x| x.to_string()),
        "-?[0-9]{1,22}(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,3})?",
        "\"([ -~]|\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-fA-F]{4}|[^\u{0}-\u{7f}])*\"",
        "[ -~]{0,4}",
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| format!("[{}]", values.join(" , "))),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..5).prop_map(|entries| {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{\n{}}}", entries.join(","))
            }),
        ]
    })
}

/// Equal, but for the last bits of floats: serde_json does not round all of them to the nearest.
fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Number(Number::Float(a)), serde_json::Value::Number(b)) if b.is_f64() => {
            let b = b.as_f64().unwrap();
            (a - b).abs() <= 1e-15 * a.abs() + f64::MIN_POSITIVE * 1e-15
        }
        (Value::String(a), serde_json::Value::String(b)) => a == b,
        (Value::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => ours.to_string() == format!("{theirs}"),
    }
}

proptest! {
    /// What is read is what serde_json reads, and what it refuses is refused; only repeated keys are refused besides.
    #[test]
    #[cfg_attr(miri, ignore = "a second opinion, slow there")]
    fn agrees_with_serde_json(text in texts()) {
        match (parse("f", text.as_bytes()), serde_json::from_str::<serde_json::Value>(&text)) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert!(same(&ours, &theirs), "{ours} is not {theirs}");
                prop_assert_eq!(parse("f", ours.to_string().as_bytes()), Ok(ours));
            }
            (Err(error), Ok(_)) => prop_assert!(error.reason().contains("duplicate key"), "{error}"),
            (Ok(_), Err(error)) => prop_assert!(false, "serde_json refuses: {error}"),
            (Err(_), Err(_)) => {}
        }
    }
}
