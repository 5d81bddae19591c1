//! The name that somebody probably meant.

/// Names longer than this are no typing mistakes.
const LENGTH_MAX: usize = 64;

/// The one of `known` that is most like `name`, if any is like it. Case, `_` and `-` count for nothing, since the forms differ in
/// exactly that: `containerPath`, `container_path`.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > LENGTH_MAX {
        return None;
    }
    let plain = |text: &str| text.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>().to_ascii_lowercase();
    let wanted = plain(name);
    let most = (wanted.chars().count() / 3).min(3);
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LENGTH_MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["size", "iops", "fsType", "availabilityZone", "container_path"];
        for (name, near) in [
            ("sise", "size"),
            ("IOPs", "iops"),
            ("fs_type", "fsType"),
            ("availabiltyzone", "availabilityZone"),
            ("containerPath", "container_path"),
        ] {
            assert_eq!(nearest(name, known), Some(near), "{name}");
        }
        for name in ["", "x", "color", "opt", &"s".repeat(1 << 20)] {
            assert_eq!(nearest(name, known), None, "{name}");
        }
    }
}
