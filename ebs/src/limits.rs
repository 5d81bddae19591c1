//! How many volumes an instance can have, by its type.

/// Type by type, where the rule does not hold.
const TABLE: &str = include_str!("limits.txt");

/// What all others have: 28 places, of which the network interface that every instance has takes one.
const USUAL: Places = Places { count: 27, shared: true };

/// The places that an instance has for devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// How many there are, the one of the first network interface not counted.
    pub count: u32,
    /// Whether further network interfaces take places, too.
    pub shared: bool,
}

impl Places {
    /// The places of an instance of type `instance_type`, `m7i.large`; those of most for a type that is not known.
    pub fn of(instance_type: &str) -> Self {
        let Some((family, size)) = instance_type.split_once('.') else { return USUAL };
        let known = TABLE.lines().filter_map(Row::read).find(|row| row.is_of(family, size));
        known.map_or(USUAL, |row| row.places)
    }

    /// How many volumes there is room for when the instance has `interfaces` network interfaces and `taken` places are taken by other
    /// volumes. At least one, as COs take zero for "no limit".
    pub fn left(self, interfaces: u32, taken: u32) -> u32 {
        let interfaces = if self.shared { interfaces.saturating_sub(1) } else { 0 };
        self.count.saturating_sub(interfaces).saturating_sub(taken).max(1)
    }
}

struct Row<'a> {
    places: Places,
    families: &'a str,
    sizes: &'a str,
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let shared = match words.next()? {
            "shared" => true,
            "dedicated" => false,
            _ => return None,
        };
        let count = words.next()?.parse().ok()?;
        Some(Self { places: Places { count, shared }, families: words.next()?, sizes: words.next()? })
    }

    fn is_of(&self, family: &str, size: &str) -> bool {
        let has = |list: &str, word: &str| list.split(',').any(|known| known == word);
        has(self.families, family) && (has(self.sizes, size) || self.sizes == "*" && !size.starts_with("metal"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn types_have_the_places_that_ec2_gives_them() {
        for (name, count, shared) in [
            ("m5.large", 27, true),
            ("t3.micro", 27, true),
            ("m4.large", 39, false),
            ("i3.large", 39, false),
            ("i3.metal", 27, true),
            ("c5d.large", 26, true),
            ("m7i.large", 32, false),
            ("m7i.48xlarge", 128, false),
            ("m7i.metal-48xl", 79, false),
            ("d3en.12xlarge", 3, true),
            ("zz9.large", 27, true),
            ("", 27, true),
        ] {
            assert_eq!(Places::of(name), Places { count, shared }, "{name}");
        }
    }

    #[test]
    fn every_line_is_read_and_no_type_is_there_twice() {
        let mut seen = BTreeSet::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let row = Row::read(line).unwrap_or_else(|| panic!("{line}"));
            for family in row.families.split(',') {
                for size in row.sizes.split(',') {
                    assert!(seen.insert((family, size)), "{family}.{size}");
                }
            }
        }
        assert!(seen.len() > 1000, "{}", seen.len());
    }

    #[test]
    fn there_is_always_room_for_one() {
        let shared = Places { count: 27, shared: true };
        assert_eq!(shared.left(1, 1), 26);
        assert_eq!(shared.left(3, 2), 23);
        assert_eq!(shared.left(0, 0), 27);
        assert_eq!(Places { shared: false, ..shared }.left(15, 1), 26);
        assert_eq!(shared.left(u32::MAX, u32::MAX), 1);
    }
}
