//! Element types by their names in safetensors and in torch.

use std::fmt;

/// The element type of a stored tensor.
///
/// A type this crate does not know is kept by name: its bytes still take part in a file's layout, and only
/// a caller that needs the values has to refuse it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// One byte, 0 or 1.
    Bool,
    /// Any other safetensors name, such as `F8_E4M3`.
    Other(Box<str>),
}

struct Row {
    dtype: Dtype,
    name: &'static str,
    torch: &'static str,
    size: usize,
}

const fn row(dtype: Dtype, name: &'static str, torch: &'static str, size: usize) -> Row {
    Row { dtype, name, torch, size }
}

/// In the order of the reference writer's dtype enumeration. It lays tensors out from the last row to the
/// first, which aligns every tensor to its element size.
static TABLE: [Row; 13] = [
    row(Dtype::Bool, "BOOL", "bool", 1),
    row(Dtype::U8, "U8", "uint8", 1),
    row(Dtype::I8, "I8", "int8", 1),
    row(Dtype::I16, "I16", "int16", 2),
    row(Dtype::U16, "U16", "uint16", 2),
    row(Dtype::F16, "F16", "float16", 2),
    row(Dtype::BF16, "BF16", "bfloat16", 2),
    row(Dtype::I32, "I32", "int32", 4),
    row(Dtype::U32, "U32", "uint32", 4),
    row(Dtype::F32, "F32", "float32", 4),
    row(Dtype::F64, "F64", "float64", 8),
    row(Dtype::I64, "I64", "int64", 8),
    row(Dtype::U64, "U64", "uint64", 8),
];

impl Dtype {
    fn row(&self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.dtype == *self)
    }

    /// Bytes per element; `None` for [`Dtype::Other`].
    pub fn size(&self) -> Option<usize> {
        self.row().map(|row| row.size)
    }

    /// The name in a safetensors header, such as `BF16`.
    pub fn as_str(&self) -> &str {
        match self {
            Dtype::Other(name) => name,
            known => known.row().map_or("", |row| row.name),
        }
    }

    /// The name in torch and in `config.json`, such as `bfloat16`; the safetensors name for [`Dtype::Other`].
    pub fn torch_name(&self) -> &str {
        match self {
            Dtype::Other(name) => name,
            known => known.row().map_or("", |row| row.torch),
        }
    }

    /// The type of a safetensors name; [`Dtype::Other`] when unknown.
    pub fn from_name(name: &str) -> Dtype {
        match TABLE.iter().find(|row| row.name == name) {
            Some(row) => row.dtype.clone(),
            None => Dtype::Other(name.into()),
        }
    }

    /// The type of a torch name, with or without the prefix `torch.`; `None` when unknown.
    pub fn from_torch_name(name: &str) -> Option<Dtype> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        TABLE.iter().find(|row| row.torch == name).map(|row| row.dtype.clone())
    }

    /// Position in the reference writer's enumeration; higher ranks come first in a file.
    pub(super) fn layout_rank(&self) -> usize {
        TABLE.iter().position(|row| row.dtype == *self).unwrap_or(0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for row in &TABLE {
            assert_eq!(Dtype::from_name(row.name), row.dtype);
            assert_eq!(Dtype::from_torch_name(row.torch).as_ref(), Some(&row.dtype));
            assert_eq!((row.dtype.as_str(), row.dtype.torch_name()), (row.name, row.torch));
        }
        assert_eq!(Dtype::from_torch_name("torch.bfloat16"), Some(Dtype::BF16));
        assert_eq!(Dtype::from_torch_name("BF16"), None);
    }

    #[test]
    fn unknown_names_are_kept() {
        let dtype = Dtype::from_name("F8_E4M3");
        assert_eq!(dtype, Dtype::Other("F8_E4M3".into()));
        assert_eq!((dtype.as_str(), dtype.size()), ("F8_E4M3", None));
    }

    #[test]
    fn layout_order_follows_the_element_size() {
        assert!(TABLE.windows(2).all(|pair| pair[0].size <= pair[1].size));
        assert!(Dtype::F32.layout_rank() > Dtype::BF16.layout_rank());
    }
}
