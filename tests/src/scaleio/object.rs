//! What requests and answers are made of.

use serde_json::{Map, Value, json};

use super::refused::Refused;

/// The fields of a request, in which a number may be a text, and a truth too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a>(pub(crate) &'a Value);

impl<'a> Wanted<'a> {
    pub(crate) fn has(self, key: &str) -> bool {
        !self.0[key].is_null()
    }

    pub(crate) fn text(self, key: &str) -> Option<&'a str> {
        self.0[key].as_str()
    }

    pub(crate) fn must(self, key: &str) -> Result<&'a str, Refused> {
        self.text(key).ok_or_else(|| Refused::bad(format!("The request must have {key}")))
    }

    pub(crate) fn number(self, key: &str) -> Result<Option<u64>, Refused> {
        match &self.0[key] {
            Value::Null => Ok(None),
            Value::Number(number) if number.is_u64() => Ok(number.as_u64()),
            Value::String(text) => text.parse().map(Some).map_err(|_| Refused::bad(format!("{key} must be a number"))),
            _ => Err(Refused::bad(format!("{key} must be a number"))),
        }
    }

    pub(crate) fn truth(self, key: &str) -> Result<Option<bool>, Refused> {
        match &self.0[key] {
            Value::Null => Ok(None),
            Value::Bool(truth) => Ok(Some(*truth)),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(Refused::bad(format!("{key} must be TRUE or FALSE"))),
        }
    }

    pub(crate) fn list(self, key: &str) -> Vec<&'a Value> {
        self.0[key].as_array().into_iter().flatten().collect()
    }
}

/// What a field of an object becomes by a request: a truth or a number where it was one, a text otherwise.
pub(crate) fn as_before(before: &Value, wanted: Wanted<'_>, key: &str) -> Result<Value, Refused> {
    Ok(match before {
        Value::Bool(_) => wanted.truth(key)?.map_or(Value::Null, Value::from),
        Value::Number(_) => wanted.number(key)?.map_or(Value::Null, Value::from),
        _ => wanted.must(key)?.into(),
    })
}

/// The links of an object.
pub(crate) fn links(kind: &str, id: &str, related: &[&str], parents: &[(&str, &str, &str)]) -> Value {
    let own = format!("/api/instances/{kind}::{id}");
    let mut links = vec![json!({"rel": "self", "href": own})];
    for related in related {
        links.push(
            json!({"rel": format!("/api/{kind}/relationship/{related}"), "href": format!("{own}/relationships/{related}")}),
        );
    }
    for (key, kind, id) in parents {
        links.push(json!({"rel": format!("/api/parent/relationship/{key}"), "href": format!("/api/instances/{kind}::{id}")}));
    }
    links.into()
}

/// The properties that were asked for, of each of the objects.
pub(crate) fn selected(objects: Vec<(String, Value)>, wanted: Wanted<'_>) -> Result<Value, Refused> {
    let names: Vec<&str> = wanted.list("properties").into_iter().filter_map(Value::as_str).collect();
    let ids: Vec<&str> = wanted.list("ids").into_iter().filter_map(Value::as_str).collect();
    if names.is_empty() || (ids.is_empty() && !wanted.has("allIds")) {
        return Err(Refused::bad("The request must have properties, and ids or allIds"));
    }
    let mut answer = Map::new();
    for (id, statistics) in objects {
        if ids.is_empty() || ids.contains(&id.as_str()) {
            answer.insert(id, picked(&statistics, &names)?);
        }
    }
    if let Some(missing) = ids.iter().find(|id| !answer.contains_key(**id)) {
        return Err(Refused::bad(format!("There is no object {missing}")));
    }
    Ok(answer.into())
}

/// Some properties of an object. One that it has not is refused with all that it has.
pub(crate) fn picked(statistics: &Value, names: &[&str]) -> Result<Value, Refused> {
    let all = statistics.as_object().unwrap();
    let mut picked = Map::new();
    for name in names {
        let Some(value) = all.get(*name) else {
            let known: Vec<&String> = all.keys().collect();
            return Err(Refused::bad(format!("Property {name} is illegal; legal are {known:?}")));
        };
        picked.insert((*name).to_owned(), value.clone());
    }
    Ok(picked.into())
}
