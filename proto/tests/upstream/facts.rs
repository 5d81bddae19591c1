//! What a `.proto` file says, in a form that can be compared.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor, Syntax,
};

/// Everything that a file says, as sentences: two files with the same facts are the same API.
pub(crate) struct Facts(BTreeSet<String>);

impl Facts {
    pub(crate) fn of(pool: &DescriptorPool, file: &str) -> Self {
        let mut facts = Self(BTreeSet::new());
        let file = pool.get_file_by_name(file).expect("it was compiled under this name");
        facts.add(format!("package {} in {:?}", file.package_name(), file.syntax()));
        file.services().for_each(|service| facts.service(&service));
        file.messages().for_each(|message| facts.message(&message));
        file.enums().for_each(|list| facts.enumeration(&list));
        for extension in file.extensions() {
            facts.add(format!(
                "extension {} of {} = {}: {}",
                extension.full_name(),
                extension.containing_message().full_name(),
                extension.number(),
                type_name(&extension.kind()),
            ));
        }
        facts
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        let name = service.full_name();
        self.add(format!("service {name}"));
        self.options(name, &service.options());
        for method in service.methods() {
            let stream = |streaming| if streaming { "stream " } else { "" };
            self.add(format!(
                "rpc {}: {}{} -> {}{}",
                method.full_name(),
                stream(method.is_client_streaming()),
                method.input().full_name(),
                stream(method.is_server_streaming()),
                method.output().full_name(),
            ));
            self.options(method.full_name(), &method.options());
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        // A map field's type says all that its hidden entry message says.
        if message.is_map_entry() {
            return;
        }
        let name = message.full_name();
        self.add(format!("message {name}"));
        self.options(name, &message.options());
        message.fields().for_each(|field| self.field(&field));
        for range in message.reserved_ranges() {
            self.add(format!("reserved {name} = {}..{}", range.start, range.end));
        }
        for reserved in message.reserved_names() {
            self.add(format!("reserved {name}.{reserved}"));
        }
        message.child_messages().for_each(|child| self.message(&child));
        message.child_enums().for_each(|list| self.enumeration(&list));
    }

    fn field(&mut self, field: &FieldDescriptor) {
        let mut fact = format!("field {} = {}: ", field.full_name(), field.number());
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            let key = type_name(&entry.map_entry_key_field().kind());
            let value = type_name(&entry.map_entry_value_field().kind());
            let _ = write!(fact, "map<{key}, {value}>");
        } else {
            let _ = write!(fact, "{:?} {}", field.cardinality(), type_name(&field.kind()));
        }
        let _ = write!(fact, " as {}", field.json_name());
        match field.containing_oneof() {
            Some(oneof) => fact += &format!(" in oneof {}", oneof.name()),
            None if field.supports_presence() => fact += " with presence",
            None => {}
        }
        // In proto3 every default is the same.
        if field.supports_presence() && field.parent_file().syntax() == Syntax::Proto2 && field.kind().as_message().is_none() {
            let _ = write!(fact, " default {}", field.default_value());
        }
        self.add(fact);
        self.options(field.full_name(), &field.options());
    }

    fn enumeration(&mut self, list: &EnumDescriptor) {
        let name = list.full_name();
        self.add(format!("enum {name}"));
        self.options(name, &list.options());
        for value in list.values() {
            self.add(format!("value {name}.{} = {}", value.name(), value.number()));
            self.options(&format!("{name}.{}", value.name()), &value.options());
        }
        for range in list.reserved_ranges() {
            self.add(format!("reserved {name} = {}..={}", range.start(), range.end()));
        }
        for reserved in list.reserved_names() {
            self.add(format!("reserved {name}.{reserved}"));
        }
    }

    fn options(&mut self, owner: &str, options: &DynamicMessage) {
        for (option, value) in options.fields() {
            self.add(format!("option {} = {value} on {owner}", option.full_name()));
        }
        for (option, value) in options.extensions() {
            self.add(format!("option {} = {value} on {owner}", option.full_name()));
        }
    }

    fn add(&mut self, fact: String) {
        assert!(self.0.insert(fact.clone()), "said twice: {fact}");
    }

    pub(crate) fn all(&self) -> &BTreeSet<String> {
        &self.0
    }

    /// The facts that `other` lacks, each behind a sign.
    pub(crate) fn beyond<'a>(&'a self, other: &'a Self, sign: char) -> impl Iterator<Item = String> + 'a {
        self.0.difference(&other.0).map(move |fact| format!("{sign} {fact}"))
    }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(list) => list.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
