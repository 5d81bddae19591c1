//! What the values of options may be.

use hawser_volume::error::shown;
use hawser_volume::{Bytes, MountAccess};

/// More GiB than this without a unit are probably MB: Marathon's code and its documentation disagree about the unit of `size`
/// (state/Volume.scala says MB, volumes.raml GiB), and no volume of EBS is larger than 64 TiB.
const GIB_DOUBTFUL: u64 = 65_536;

/// A size: whole GiB, as REX-Ray counts, or a whole number with a unit; with a warning when it is probably another unit.
pub(crate) fn size(given: &str) -> Result<(Bytes, Option<String>), String> {
    let how = "write a whole number of GiB, as in 10, or one with a unit, as in 512MiB";
    let given = given.trim();
    if given.starts_with('-') {
        return Err(format!("{} is negative; {how}", shown(given)));
    }
    if given.starts_with(|c: char| c.is_ascii_digit()) && given.contains(['.', ',']) {
        return Err(format!("{} is not whole; {how}", shown(given)));
    }
    let too_large = || format!("{} is more than there can be; numbers without a unit are GiB", shown(given));
    let plain = !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit());
    let bytes = if plain {
        let gib: u64 = given.parse().map_err(|_| too_large())?;
        gib.checked_mul(1 << 30).ok_or_else(too_large)?
    } else {
        given.parse::<Bytes>().map_err(|_| format!("{} is not a size; {how}", shown(given)))?.get()
    };
    // CSI's sizes are int64.
    if i64::try_from(bytes).is_err() {
        return Err(too_large());
    }
    if bytes == 0 {
        return Err(format!("a volume of {} has no room; {how}", shown(given)));
    }
    let doubtful = plain && bytes >> 30 > GIB_DOUBTFUL;
    let warning = doubtful.then(|| format!("is {}: a number without a unit is GiB", Bytes::new(bytes)));
    Ok((Bytes::new(bytes), warning))
}

/// Any text without control characters.
pub(super) fn text(given: &str) -> Result<String, String> {
    if given.chars().any(char::is_control) {
        return Err("has control characters; remove them".to_owned());
    }
    Ok(given.to_owned())
}

/// A whole number from 1.
pub(super) fn positive(given: &str) -> Result<String, String> {
    match given.parse::<u32>() {
        Ok(number) if number > 0 && !given.starts_with('+') => Ok(number.to_string()),
        _ => Err(format!("{} must be a whole number of at least 1", shown(given))),
    }
}

/// What Go's ParseBool takes, which REX-Ray uses, and what people write.
pub(super) fn boolean(given: &str) -> Result<String, String> {
    match given.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Ok("true".to_owned()),
        "false" | "f" | "0" | "no" | "off" => Ok("false".to_owned()),
        _ => Err(format!("{} must be true or false", shown(given))),
    }
}

/// Mount flags; they may hold secrets, so no message repeats them.
pub(super) fn flags(given: &str) -> Result<MountAccess, String> {
    MountAccess::new(None, [given], None).map_err(|error| error.to_string())
}

/// The number of a group.
pub(super) fn group(given: &str) -> Result<u32, String> {
    given.parse().map_err(|_| format!("{} is not a numeric group id", shown(given)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_gib_and_a_unit_is_exact() {
        for (given, bytes) in
            [("1", 1 << 30), (" 100 ", 100 << 30), ("512MiB", 512 << 20), ("10G", 10 << 30), ("1B", 1), ("007", 7 << 30)]
        {
            assert_eq!(size(given), Ok((Bytes::new(bytes), None)), "{given}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_why() {
        for (given, why) in [
            ("0", "no room"),
            ("0GiB", "no room"),
            ("-1", "negative"),
            ("-", "negative"),
            ("1.5", "not whole"),
            ("1.0", "not whole"),
            ("1,5", "not whole"),
            ("1e3", "not a size"),
            ("10GB", "not a size"),
            ("+5", "not a size"),
            ("ten", "not a size"),
            ("", "not a size"),
            ("8589934592", "more than there can be"),
            ("8EiB", "not a size"),
            ("8388608TiB", "more than there can be"),
            ("99999999999999999999999999", "more than there can be"),
            ("99999999999999999999999999GiB", "not a size"),
        ] {
            let said = size(given).unwrap_err();
            assert!(said.contains(why), "{given}: {said}");
        }
        assert!(size("102400").unwrap().1.unwrap().contains("100TiB"));
        assert_eq!(size("100TiB").unwrap().1, None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_that_csi_can_say_or_an_error(given in "[-+0-9.eEKMGTiB ]{0,24}|.*") {
            if let Ok((bytes, _)) = size(&given) {
                prop_assert!(bytes.to_proto() > 0 && bytes.to_proto() < i64::MAX || bytes.get() == i64::MAX as u64);
            }
        }
    }
}
