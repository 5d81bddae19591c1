//! Generates the Rust side of `csi.proto`, without needing `protoc`.
//!
//! Besides the types and services this writes the descriptor set that the reflection service
//! serves, and a `Debug` for every message with a sensitive field. Those messages are found by
//! their `csi_secret` option, so a field that a later spec version adds cannot be forgotten.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, MessageDescriptor};

/// Fields that the specification calls sensitive in words only, without the `csi_secret` option.
const SENSITIVE_IN_WORDS: [&str; 1] = ["csi.v1.VolumeCapability.MountVolume.mount_flags"];

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

    let sensitive = Sensitive::new(&compiler.descriptor_pool());
    let redacted: String = sensitive.messages().map(|message| sensitive.debug(&message)).collect();
    fs::write(out_dir.join("redacted_debug.rs"), redacted).expect("OUT_DIR is writable");

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
}

/// Knows which fields must not be shown.
struct Sensitive {
    pool: DescriptorPool,
    csi_secret: ExtensionDescriptor,
}

impl Sensitive {
    fn new(pool: &DescriptorPool) -> Self {
        let fields: Vec<_> = pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>()).collect();
        for name in SENSITIVE_IN_WORDS {
            assert!(fields.iter().any(|field| field.full_name() == name), "csi.proto lacks {name}");
        }
        let csi_secret = pool.get_extension_by_name("csi.v1.csi_secret").expect("csi.proto defines csi_secret");
        Self { pool: pool.clone(), csi_secret }
    }

    fn field(&self, field: &FieldDescriptor) -> bool {
        let marked = field.options().get_extension(&self.csi_secret).as_bool() == Some(true);
        marked || SENSITIVE_IN_WORDS.contains(&field.full_name())
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
    let mut path = message.name().to_owned();
    let mut outer = message.parent_message();
    while let Some(parent) = outer {
        path = format!("{}::{path}", snake_case(parent.name()));
        outer = parent.parent_message();
    }
    path
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in camel.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
