//! Sizes, always in bytes, and the capacity ranges that COs ask for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, shown};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

/// Binary units, largest first. Decimal units are not accepted: `10GB` is a mistake as often as a wish.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Bytes {
    /// About as many, for people: whole units of the largest one of which there are ten at least.
    #[must_use]
    pub fn about(self) -> Self {
        let unit = UNITS.into_iter().map(|(_, factor)| factor).find(|factor| self.0 / factor >= 10).unwrap_or(1);
        Self(self.0 / unit * unit)
    }

    /// No bytes.
    pub const ZERO: Bytes = Bytes(0);

    /// A number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Mebibytes (2^20 bytes).
    pub const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// Gibibytes (2^30 bytes).
    pub const fn gib(count: u32) -> Self {
        Self((count as u64) << 30)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as CSI's `int64`; sizes above 2^63-1 never pass [`SizeRange`], so they saturate.
    pub fn to_proto(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The difference, or zero.
    #[must_use]
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }

    /// The sum, or the largest number.
    #[must_use]
    pub fn saturating_add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for Bytes {
    type Err = Error;

    /// Reads `10GiB`, `512 MiB`, `4096B` or a plain number of bytes; `K`, `M`, `G` and `T` mean the binary units too.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::invalid(format!(
                "{} is not a size: write a whole number and one of B, KiB, MiB, GiB, TiB, as in 10GiB",
                shown(text)
            ))
        };
        let trimmed = text.trim();
        let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let factor = match unit.trim() {
            "" => 1,
            short @ ("K" | "M" | "G" | "T") => UNITS.iter().find(|(name, _)| name.starts_with(short)).map_or(1, |(_, f)| *f),
            unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, f)| *f).ok_or_else(bad)?,
        };
        number.checked_mul(factor).map(Bytes).ok_or_else(bad)
    }
}

/// For `#[serde(with = …)]` on optional sizes that people write: `10GiB`, or a plain number of bytes.
pub mod text_option {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Bytes;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }

    /// Writes the size with its unit.
    pub fn serialize<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.map(|bytes| bytes.to_string()).serialize(serializer)
    }

    /// Reads a number or a text with a unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        match Option::<Written>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Written::Number(bytes)) => Ok(Some(Bytes::new(bytes))),
            Some(Written::Text(text)) => text.parse().map(Some).map_err(D::Error::custom),
        }
    }
}

/// What a CO asks for: at least `required`, at most `limit`; zero means that the side is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeRange {
    required: Bytes,
    limit: Option<Bytes>,
}

/// What a backend can provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeRule {
    /// Used when the CO names no size.
    pub default: Bytes,
    /// The smallest volume.
    pub min: Bytes,
    /// The largest volume.
    pub max: Bytes,
    /// Every size is a multiple of this.
    pub step: Bytes,
}

impl SizeRange {
    /// A range from the CO's two numbers.
    pub fn new(required: i64, limit: i64) -> Result<Self, Error> {
        let side = |name: &str, value: i64| {
            u64::try_from(value)
                .map(Bytes)
                .map_err(|_| Error::invalid(format!("capacity_range.{name} is {value}; a size cannot be negative")))
        };
        let (required, limit) = (side("required_bytes", required)?, side("limit_bytes", limit)?);
        let limit = (limit > Bytes::ZERO).then_some(limit);
        if limit.is_some_and(|limit| limit < required) {
            return Err(Error::invalid(format!(
                "capacity_range.limit_bytes ({}) is less than required_bytes ({}); raise the limit or lower the request",
                limit.unwrap_or_default().get(),
                required.get()
            )));
        }
        Ok(Self { required, limit })
    }

    /// At least `required`, with no limit.
    pub fn at_least(required: Bytes) -> Self {
        Self { required, limit: None }
    }

    /// The least that is acceptable.
    pub fn required(&self) -> Bytes {
        self.required
    }

    /// The most that is acceptable.
    pub fn limit(&self) -> Option<Bytes> {
        self.limit
    }

    /// Whether neither side is given.
    pub fn is_open(&self) -> bool {
        self.required == Bytes::ZERO && self.limit.is_none()
    }

    /// Whether a volume of `size` satisfies the request.
    pub fn contains(&self, size: Bytes) -> bool {
        size >= self.required && self.limit.is_none_or(|limit| size <= limit)
    }

    /// The smallest size that both the CO and the backend accept; `OutOfRange` names the nearest sizes otherwise.
    ///
    /// Mesos asks with `required == limit`, so rounding up silently is not an option (its storage provider assumes that it
    /// got exactly what it asked for).
    pub fn fit(&self, rule: &SizeRule) -> Result<Bytes, Error> {
        let step = rule.step.get().max(1);
        let min = rule.min.get().next_multiple_of(step);
        let max = rule.max.get() / step * step;
        let wanted = match (self.required.get(), self.limit) {
            (0, None) => rule.default.get(),
            (0, Some(limit)) => rule.default.get().min(limit.get() / step * step),
            (required, _) => required,
        };
        let up = wanted.checked_next_multiple_of(step).unwrap_or(u64::MAX).max(min);
        if up <= max && self.contains(Bytes(up)) {
            return Ok(Bytes(up));
        }
        let down = (wanted / step * step).clamp(min, max);
        let near = if up > max || up == down { Bytes(down).to_string() } else { format!("{} or {}", Bytes(down), Bytes(up)) };
        Err(Error::out_of_range(format!(
            "a size of {} is not possible here: sizes are multiples of {} from {} to {}; nearest: {near}",
            self,
            rule.step,
            Bytes(min),
            Bytes(max)
        )))
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) if limit == self.required => write!(f, "exactly {limit}"),
            Some(limit) => write!(f, "{} to {limit}", self.required),
            None => write!(f, "at least {}", self.required),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn about_as_many_is_short_to_read() {
        for (bytes, text) in
            [(36_109_787_136, "33GiB"), (12_000, "11KiB"), (9_999, "9999B"), (0, "0B"), (u64::MAX, "16777215TiB")]
        {
            assert_eq!(Bytes::new(bytes).about().to_string(), text);
        }
    }

    const RULE: SizeRule = SizeRule { default: Bytes::gib(1), min: Bytes::mib(1), max: Bytes::gib(1024), step: Bytes::new(4096) };

    #[test]
    fn an_exact_size_between_two_steps_names_both_neighbours() {
        let error = SizeRange::new(1_048_577, 1_048_577).unwrap().fit(&RULE).unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfRange);
        assert!(error.to_string().contains("nearest: 1MiB or 1028KiB"), "{error}");
    }

    #[test]
    fn an_absurd_size_names_the_largest() {
        let error = SizeRange::new(i64::MAX, 0).unwrap().fit(&RULE).unwrap_err();
        assert!(error.to_string().ends_with("nearest: 1TiB"), "{error}");
    }

    #[test]
    fn no_size_means_the_default_within_the_limit() {
        assert_eq!(SizeRange::new(0, 0).unwrap().fit(&RULE).unwrap(), Bytes::gib(1));
        assert_eq!(SizeRange::new(0, 8 << 20).unwrap().fit(&RULE).unwrap(), Bytes::mib(8));
    }

    #[test]
    fn sizes_are_read_with_binary_units_only() {
        for (text, bytes) in [("1GiB", 1 << 30), ("1 gib", 1 << 30), ("5M", 5 << 20), ("4096", 4096), ("7B", 7)] {
            assert_eq!(text.parse::<Bytes>().unwrap().get(), bytes, "{text}");
        }
        for text in ["", "GiB", "-1", "1.5GiB", "1GB", "99999999TiB", "1 G B"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_fit_is_within_both_and_on_a_step(required in 0i64.., limit in 0i64..) {
            if let Ok(range) = SizeRange::new(required, limit)
                && let Ok(size) = range.fit(&RULE)
            {
                prop_assert!(range.contains(size));
                prop_assert!(size >= RULE.min && size <= RULE.max);
                prop_assert_eq!(size.get() % RULE.step.get(), 0);
            }
        }

        #[test]
        fn a_size_survives_its_text(bytes in any::<u64>()) {
            prop_assert_eq!(Bytes::new(bytes).to_string().parse::<Bytes>().unwrap(), Bytes::new(bytes));
        }

        #[test]
        fn any_text_is_a_size_or_an_error(text in any::<String>()) {
            let _ = text.parse::<Bytes>();
        }
    }
}
