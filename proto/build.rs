//! Generates the Rust side of `csi.proto`, `hawser.proto` and the files below `mesos`, without needing `protoc`.
//!
//! Besides the types and services this writes the descriptor set that the reflection service
//! serves, and a `Debug` for every message with a sensitive field. Those messages are found by
//! their `csi_secret` option, so a field that a later spec version adds cannot be forgotten.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use heck::{ToSnakeCase, ToUpperCamelCase};
use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, MessageDescriptor};

/// Fields that the specification calls sensitive in words only, without the `csi_secret` option.
const SENSITIVE_IN_WORDS: &[&str] = &["csi.v1.VolumeCapability.MountVolume.mount_flags"];

/// The same of Mesos, which has no such option.
const SENSITIVE_IN_MESOS: &[&str] = &[
    "mesos.v1.Credential.secret",
    "mesos.v1.Secret.Value.data",
    "mesos.v1.Volume.Source.CSIVolume.VolumeCapability.MountVolume.mount_flags",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=csi.proto");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let mut compiler = protox::Compiler::new(["."]).expect("the crate's folder is readable");
    // Source info carries the comments, which become rustdoc; reflection has no use for it.
    compiler.include_imports(true).include_source_info(true);
    if let Err(error) = compiler.open_file("csi.proto") {
        panic!("csi.proto: {error:?}");
    }
    let files = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    fs::write(out_dir.join("csi_descriptor.bin"), compiler.encode_file_descriptor_set()).expect("OUT_DIR is writable");

    let sensitive = Sensitive::new(&compiler.descriptor_pool(), Some("csi.v1.csi_secret"), SENSITIVE_IN_WORDS);
    sensitive.write(&out_dir.join("redacted_debug.rs"));

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // A call that a plugin leaves out answers UNIMPLEMENTED, as the specification wants.
        .generate_default_stubs(true)
        // Ordered maps: equal messages are equal bytes.
        .btree_map(".")
        .skip_debug(sensitive.messages().map(|message| format!(".{}", message.full_name())))
        .compile_fds(files)
        .expect("csi.proto translates to Rust");
    hawser(&out_dir);
    mesos(&out_dir);
}

/// What CSI has no call for.
fn hawser(out_dir: &Path) {
    println!("cargo::rerun-if-changed=hawser.proto");
    let mut compiler = protox::Compiler::new(["."]).expect("the crate's folder is readable");
    compiler.include_imports(true).include_source_info(true);
    if let Err(error) = compiler.open_file("hawser.proto") {
        panic!("hawser.proto: {error:?}");
    }
    let files = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    fs::write(out_dir.join("hawser_descriptor.bin"), compiler.encode_file_descriptor_set()).expect("OUT_DIR is writable");
    tonic_prost_build::configure().btree_map(".").compile_fds(files).expect("hawser.proto translates to Rust");
}

/// What resource providers of Mesos say and hear. Messages only: it goes over plain HTTP.
fn mesos(out_dir: &Path) {
    println!("cargo::rerun-if-changed=mesos");
    let mut compiler = protox::Compiler::new(["."]).expect("the crate's folder is readable");
    compiler.include_imports(true).include_source_info(true);
    if let Err(error) = compiler.open_file("mesos/v1/resource_provider/resource_provider.proto") {
        panic!("resource_provider.proto: {error:?}");
    }
    let files = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    fs::write(out_dir.join("mesos_descriptor.bin"), compiler.encode_file_descriptor_set()).expect("OUT_DIR is writable");
    let sensitive = Sensitive::new(&compiler.descriptor_pool(), None, SENSITIVE_IN_MESOS);
    sensitive.write(&out_dir.join("mesos_redacted_debug.rs"));
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(sensitive.messages().map(|message| format!(".{}", message.full_name())))
        .compile_fds(files)
        .expect("the files of Mesos translate to Rust");
}

/// Knows which fields must not be shown.
struct Sensitive {
    pool: DescriptorPool,
    option: Option<ExtensionDescriptor>,
    in_words: &'static [&'static str],
}

impl Sensitive {
    fn new(pool: &DescriptorPool, option: Option<&str>, in_words: &'static [&'static str]) -> Self {
        let fields: Vec<_> = pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>()).collect();
        for name in in_words {
            assert!(fields.iter().any(|field| field.full_name() == *name), "no file has {name}");
        }
        let option = option.map(|name| pool.get_extension_by_name(name).expect("the file defines the option"));
        Self { pool: pool.clone(), option, in_words }
    }

    fn field(&self, field: &FieldDescriptor) -> bool {
        let is_true = |option| field.options().get_extension(option).as_bool() == Some(true);
        self.option.as_ref().is_some_and(is_true) || self.in_words.contains(&field.full_name())
    }

    /// Writes the `Debug` of each of these messages.
    fn write(&self, file: &Path) {
        let text: String = self.messages().map(|message| self.debug(&message)).collect();
        fs::write(file, text).expect("OUT_DIR is writable");
    }

    /// The messages that have a sensitive field.
    fn messages(&self) -> impl Iterator<Item = MessageDescriptor> {
        self.pool.all_messages().filter(|message| message.fields().any(|field| self.field(&field)))
    }

    /// A `Debug` that shows the sensitive fields through `Redacted` and all the others as they are.
    fn debug(&self, message: &MessageDescriptor) -> String {
        let mut fields = String::new();
        for field in message.fields() {
            // Neither occurs beside a secret today, and both need code of their own: prost keeps
            // an enum as its number, and a oneof as one field for all its members.
            let plain = field.kind().as_enum().is_none() && field.containing_oneof().is_none();
            assert!(plain, "{}: teach build.rs to show it", field.full_name());

            let name = field.name();
            let value = match self.field(&field) {
                true => format!("crate::redact::Redacted(&self.r#{name})"),
                false => format!("self.r#{name}"),
            };
            writeln!(fields, "            .field({name:?}, &{value})").expect("a String takes it");
        }
        format!(
            "impl ::core::fmt::Debug for {path} {{\n    \
                 fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n        \
                     f.debug_struct({name:?})\n{fields}            .finish()\n    \
                 }}\n\
             }}\n",
            path = rust_path(message),
            name = message.name(),
        )
    }
}

/// The message's type as seen from the package's module: nested messages live in a module named
/// after the outer one.
fn rust_path(message: &MessageDescriptor) -> String {
    let mut path = message.name().to_upper_camel_case();
    let mut outer = message.parent_message();
    while let Some(parent) = outer {
        path = format!("{}::{path}", parent.name().to_snake_case());
        outer = parent.parent_message();
    }
    path
}
