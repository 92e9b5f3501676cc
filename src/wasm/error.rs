//! [`Error`] as a JavaScript `Error`.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

use crate::error::Error;

/// An `Error` object whose `code`, `reason`, `file`, `tensor`, `expected` and `found` are the error's; those that
/// the error lacks are undefined.
pub fn to_js(error: Error) -> JsValue {
    let object = js_sys::Error::new(&error.to_string());
    let properties = [
        ("code", Some(error.code().as_str())),
        ("reason", Some(error.reason())),
        ("file", error.file()),
        ("tensor", error.tensor_name()),
        ("expected", error.expected_value()),
        ("found", error.found_value()),
    ];
    for (name, value) in properties {
        if let Some(value) = value {
            // A fresh object takes any property.
            let _ = Reflect::set(&object, &name.into(), &value.into());
        }
    }
    object.into()
}
