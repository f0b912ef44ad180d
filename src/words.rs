//! Enums whose values are one word each, and numbers of bytes for people.

/// A number of bytes for people.
pub(crate) fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Implements `name`, `Display`, and `FromStr`, whose error lists all words.
macro_rules! words {
    ($type:ty { $($value:ident = $word:literal),+ $(,)? }) => {
        #[doc(hidden)]
        impl $type {
            /// The word for this value, as it is parsed and displayed.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $word),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let mut values = [$(Self::$value),+].into_iter();
                let found = values.find(|value| value.name() == text);
                found.ok_or_else(|| format!("'{text}' is not one of {}", [$($word),+].join(", ")))
            }
        }
    };
}

pub(crate) use words;
