//! A list of names in a policy: exactly these, or any. Compared exactly; there are no patterns.

/// Which names a policy allows. The default allows none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Every name (written `"*"`).
    Any,
    /// These, compared byte for byte.
    Listed(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Names {
    /// Whether `name` is allowed.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(names) => names.iter().any(|n| n == name),
        }
    }

    /// The first listed name, the natural default where a caller names none.
    pub fn first(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Listed(names) => names.first().map(String::as_str),
        }
    }
}

impl<S: Into<String>> FromIterator<S> for Names {
    /// A list that holds `"*"` allows every name.
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if names.iter().any(|name| name == "*") { Self::Any } else { Self::Listed(names) }
    }
}
