//! Which volume is meant by what was typed.

use hawser_bridge::driver::Partly;
use hawser_volume::error::shown;
use hawser_volume::{Error, Kind, Result};

use super::output::warn;

/// How many candidates a message names.
const SHOWN: usize = 8;

/// Something that has an id and perhaps a name.
pub(super) trait Named {
    fn id(&self) -> &str;
    /// The name, if the driver says one.
    fn name(&self) -> Option<&str>;
    /// Whether this is its whole name. An id may tell that although the driver does not say the name.
    fn is_called(&self, text: &str) -> bool {
        self.name() == Some(text)
    }
}

/// How much of an id or a name must be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// As much as means one thing alone.
    Enough,
    /// All of it: what follows cannot be undone.
    Whole,
}

/// What is to be deleted, each once. Nothing is, unless `seek` understands all of `texts`; what does not exist is left out where that
/// `is_success`.
pub(super) async fn doomed<T: Named>(
    texts: &[String],
    is_success: bool,
    seek: impl AsyncFn(&str) -> Result<T>,
) -> Result<Vec<T>> {
    let mut doomed: Vec<T> = Vec::new();
    for text in texts {
        match seek(text).await {
            Ok(found) if doomed.iter().any(|known| known.id() == found.id()) => {}
            Ok(found) => doomed.push(found),
            Err(error) if is_success && error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.while_doing("nothing is deleted")),
        }
    }
    Ok(doomed)
}

/// What is known of something that the backends of a driver have.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// What the backends have that answered.
    pub(super) all: Vec<T>,
    /// The others.
    pub(super) missing: Vec<String>,
}

impl<T: Named> Listed<T> {
    /// What came of asking. The person is told which backends did not answer; whoever goes on looks at [`Self::missing`].
    pub(super) fn of<A>(noun: &str, partly: Partly<A>, one: impl Fn(A) -> Option<T>) -> Self {
        for (backend, error) in &partly.missing {
            warn(&format!("the {noun}s of backend {backend} are not known: {}", error.chain()));
        }
        let missing = partly.missing.into_iter().map(|(backend, _)| backend).collect();
        Self { all: partly.all.into_iter().filter_map(one).collect(), missing }
    }

    /// The one that `text` means: see [`find`]. Where a backend is missing that may have another one, a part means nothing, and what cannot
    /// be undone wants the whole id.
    pub(super) fn find(&self, noun: &str, text: &str, typed: Typed) -> Result<&T> {
        if self.missing.is_empty() {
            return find(noun, &self.all, text, typed);
        }
        let found = find(noun, &self.all, text, Typed::Whole)?;
        if typed == Typed::Whole && found.id() != text {
            return Err(Error::unavailable(format!(
                "backend {} does not answer and may have a {noun} {text:?}, too; give the whole id: {}",
                self.missing.join(", "),
                found.id()
            )));
        }
        Ok(found)
    }

    /// `Unavailable` when this is not all.
    pub(super) fn all_there(&self) -> Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(Error::unavailable(format!("this is not all: backend {} does not answer", self.missing.join(", "))))
    }
}

/// The one of `all` that `text` means: its id, else its name, else the beginning of an id or a name, else a part of one. At each of these,
/// more than one is too many.
///
/// `NotFound` when it means nothing; `Invalid` when it means several, or when all of it was to be typed and was not. `noun` is what they
/// are.
pub(super) fn find<'a, T: Named>(noun: &str, all: &'a [T], text: &str, typed: Typed) -> Result<&'a T> {
    if text.is_empty() {
        return Err(Error::invalid(format!("an empty text means no {noun}; give an id or a name")));
    }
    let whole: [fn(&T, &str) -> bool; 2] = [|one, text| one.id() == text, |one, text| one.is_called(text)];
    let parts: [fn(&T, &str) -> bool; 2] = [
        |one, text| one.id().starts_with(text) || one.name().is_some_and(|name| name.starts_with(text)),
        |one, text| one.id().contains(text) || one.name().is_some_and(|name| name.contains(text)),
    ];
    for matches in whole {
        if let Some(found) = only(noun, all, text, matches)? {
            return Ok(found);
        }
    }
    if typed == Typed::Enough {
        for matches in parts {
            if let Some(found) = only(noun, all, text, matches)? {
                return Ok(found);
            }
        }
    }
    let near: Vec<&T> = all.iter().filter(|one| parts[1](one, text)).collect();
    if !near.is_empty() {
        return Err(Error::invalid(format!(
            "{} is only a part of {}; to be sure, give the whole id or the whole name",
            shown(text),
            candidates(&near)
        )));
    }
    Err(Error::not_found(format!("there is no {noun} whose id or name is {}, or has it in it", shown(text))))
}

fn only<'a, T: Named>(noun: &str, all: &'a [T], text: &str, matches: fn(&T, &str) -> bool) -> Result<Option<&'a T>> {
    let found: Vec<&T> = all.iter().filter(|one| matches(one, text)).collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            Err(Error::invalid(format!("{} means {} {noun}s: {}; give more of it", shown(text), found.len(), candidates(&found))))
        }
    }
}

fn candidates<T: Named>(found: &[&T]) -> String {
    let mut names: Vec<String> = found
        .iter()
        .take(SHOWN)
        .map(|one| one.name().map_or_else(|| one.id().to_owned(), |name| format!("{name} ({})", one.id())))
        .collect();
    if found.len() > SHOWN {
        names.push(format!("{} more", found.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use hawser_volume::Kind;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Thing(String, Option<String>);

    impl Named for Thing {
        fn id(&self) -> &str {
            &self.0
        }
        fn name(&self) -> Option<&str> {
            self.1.as_deref()
        }
    }

    fn things(all: &[(&str, &str)]) -> Vec<Thing> {
        all.iter().map(|(id, name)| Thing((*id).to_owned(), (!name.is_empty()).then(|| (*name).to_owned()))).collect()
    }

    #[test]
    fn what_is_whole_goes_before_what_is_a_part() {
        let all = things(&[
            ("local:1", "pgdata"),
            ("local:2", "pgdata-old"),
            ("local:3", "mypgdata"),
            ("local:4", ""),
            ("x", "local:4"),
        ]);
        for (text, id) in [
            ("local:1", "local:1"),
            ("pgdata", "local:1"),
            // An id goes before a name.
            ("local:4", "local:4"),
            ("pgdata-", "local:2"),
            ("old", "local:2"),
            // A beginning goes before a part.
            ("my", "local:3"),
        ] {
            assert_eq!(find("volume", &all, text, Typed::Enough).unwrap().0, id, "{text}");
        }
        let error = find("volume", &all, "data", Typed::Enough).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(
            error.to_string(),
            "\"data\" means 3 volumes: pgdata (local:1), pgdata-old (local:2), mypgdata (local:3); give more of it"
        );
        assert_eq!(find("volume", &all, "nothing", Typed::Enough).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(find("volume", &all, "", Typed::Enough).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn the_whole_is_wanted_where_it_matters_and_one_name_of_two_is_nobodys() {
        let all = things(&[("local:1", "pgdata"), ("other:1", "twice"), ("local:2", "twice")]);
        let error = find("volume", &all, "pgdat", Typed::Whole).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("only a part of pgdata (local:1)"), "{error}");
        assert_eq!(find("volume", &all, "pgdata", Typed::Whole).unwrap().0, "local:1");
        for typed in [Typed::Whole, Typed::Enough] {
            assert_eq!(find("volume", &all, "twice", typed).unwrap_err().kind(), Kind::Invalid);
        }
    }

    fn word() -> impl Strategy<Value = String> {
        "[ab:]{1,4}"
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_only_one_and_what_is_typed_whole_is_found(
            entries in prop::collection::btree_map(word(), prop::option::of(word()), 0..8),
            text in word(),
        ) {
            let all: Vec<Thing> = entries.into_iter().map(|(id, name)| Thing(id, name)).collect();
            let has = |one: &&Thing| one.0.contains(&text) || one.1.as_ref().is_some_and(|name| name.contains(&text));
            let whole = |one: &&Thing| one.0 == text || one.1.as_ref() == Some(&text);
            match find("volume", &all, &text, Typed::Whole) {
                Ok(found) => prop_assert!(whole(&found)),
                Err(_) => prop_assert!(all.iter().all(|one| one.0 != text) && all.iter().filter(whole).count() != 1),
            }
            match find("volume", &all, &text, Typed::Enough) {
                Ok(found) => prop_assert!(has(&found)),
                Err(error) if error.kind() == Kind::NotFound => prop_assert!(!all.iter().any(|one| has(&one))),
                Err(error) => prop_assert!(error.kind() == Kind::Invalid && all.iter().filter(has).count() > 1),
            }
            // All volumes can be meant by their ids, whatever others are called.
            for one in &all {
                prop_assert_eq!(find("volume", &all, &one.0, Typed::Whole).unwrap(), one);
            }
        }
    }
}
