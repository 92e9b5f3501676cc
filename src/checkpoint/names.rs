//! Values by name.

/// A map from names to values, in the order of the names. For the hundreds of names that a model has: a sorted list,
/// with far less code than a tree of each type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameMap<T>(Vec<(String, T)>);

impl<T> Default for NameMap<T> {
    fn default() -> Self {
        NameMap(Vec::new())
    }
}

/// Of equal names the last one's value stays.
impl<T> FromIterator<(String, T)> for NameMap<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|later, earlier| {
            let equal = later.0 == earlier.0;
            if equal {
                std::mem::swap(later, earlier);
            }
            equal
        });
        NameMap(entries)
    }
}

impl<T> NameMap<T> {
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(each, _)| each.as_str().cmp(name))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.position(name).ok().map(|at| &self.0[at].1)
    }

    /// The value of `name`, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.position(name).ok().map(|at| &mut self.0[at].1)
    }

    /// Whether there is a value of `name`.
    pub fn contains_key(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// Sets the value of `name` and returns the one it had.
    pub fn insert(&mut self, name: String, value: T) -> Option<T> {
        match self.position(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    /// Takes the value of `name` out.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Names in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Names in order, and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_value_wherever_it_stands() {
        let entries = [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("a", 5)];
        let mut map: NameMap<_> = entries.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(map.iter().collect::<Vec<_>>(), [("a", &5), ("b", &3), ("c", &4)]);
        assert_eq!((map.insert("aa".to_owned(), 6), map.insert("b".to_owned(), 7)), (None, Some(3)));
        assert_eq!((map.get("b"), map.get("d"), map.contains_key("aa")), (Some(&7), None, true));
        assert_eq!((map.remove("a"), map.remove("a")), (Some(5), None));
        *map.get_mut("c").unwrap() += 1;
        assert_eq!(map.keys().collect::<Vec<_>>(), ["aa", "b", "c"]);
        assert_eq!(map.get("c"), Some(&5));
    }
}
