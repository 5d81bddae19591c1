//! The fields of the messages that an agent's files hold (`include/mesos/mesos.proto`, `disk_profile.proto`, Mesos 1.12-dev).
//!
//! Containers and commands go as deep as a plugin needs them; the rest of them is not looked into.

use super::message::{
    Field,
    Holds::{Anything, Boolean, Choice, Message as Of, Messages, Number, Text, Texts, Whole},
    Message, optional, repeated, required,
};

/// The names that containers and endpoints give the services of CSI. The third, UNKNOWN, says nothing.
pub(super) const SERVICES: [&str; 2] = ["CONTROLLER_SERVICE", "NODE_SERVICE"];

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields }
}

static SCALAR: Message = message("Value.Scalar", &[required("value", Number)]);
static RANGE: Message = message("Value.Range", &[required("begin", Whole), required("end", Whole)]);
static RANGES: Message = message("Value.Ranges", &[repeated("range", Of(&RANGE))]);
static SET: Message = message("Value.Set", &[repeated("item", Text)]);
static VALUE_TEXT: Message = message("Value.Text", &[required("value", Text)]);
const VALUE_TYPES: &[&str] = &["SCALAR", "RANGES", "SET", "TEXT"];

static RESERVATION: Message = message(
    "Resource.ReservationInfo",
    &[
        optional("type", Choice(&["STATIC", "DYNAMIC"])),
        optional("role", Text),
        optional("principal", Text),
        optional("labels", Anything),
    ],
);

static RESOURCE: Message = message(
    "Resource",
    &[
        required("name", Text),
        required("type", Choice(VALUE_TYPES)),
        optional("scalar", Of(&SCALAR)),
        optional("ranges", Of(&RANGES)),
        optional("set", Of(&SET)),
        optional("role", Text),
        optional("allocation_info", Anything),
        optional("reservation", Of(&RESERVATION)),
        repeated("reservations", Of(&RESERVATION)),
        optional("disk", Anything),
        optional("revocable", Anything),
        optional("shared", Anything),
        optional("provider_id", Anything),
    ],
);

static ATTRIBUTE: Message = message(
    "Attribute",
    &[
        required("name", Text),
        required("type", Choice(VALUE_TYPES)),
        optional("scalar", Of(&SCALAR)),
        optional("ranges", Of(&RANGES)),
        optional("set", Of(&SET)),
        optional("text", Of(&VALUE_TEXT)),
    ],
);

static VARIABLE: Message = message(
    "Environment.Variable",
    &[
        required("name", Text),
        optional("type", Choice(&["VALUE", "SECRET"])),
        optional("value", Text),
        optional("secret", Anything),
    ],
);
static ENVIRONMENT: Message = message("Environment", &[repeated("variables", Of(&VARIABLE))]);

static URI: Message = message(
    "CommandInfo.URI",
    &[
        required("value", Text),
        optional("executable", Boolean),
        optional("extract", Boolean),
        optional("cache", Boolean),
        optional("output_file", Text),
    ],
);

static COMMAND: Message = message(
    "CommandInfo",
    &[
        repeated("uris", Of(&URI)),
        optional("environment", Of(&ENVIRONMENT)),
        optional("shell", Boolean),
        optional("value", Text),
        repeated("arguments", Text),
        optional("user", Text),
    ],
);

static CONTAINER: Message = message(
    "ContainerInfo",
    &[
        required("type", Choice(&["MESOS", "DOCKER"])),
        repeated("volumes", Anything),
        optional("hostname", Text),
        optional("docker", Anything),
        optional("mesos", Anything),
        repeated("network_infos", Anything),
        optional("linux_info", Anything),
        optional("rlimit_info", Anything),
        optional("tty_info", Anything),
    ],
);

static PLUGIN_CONTAINER: Message = message(
    "CSIPluginContainerInfo",
    &[
        repeated("services", Choice(&SERVICES)),
        optional("command", Of(&COMMAND)),
        repeated("resources", Of(&RESOURCE)),
        optional("container", Of(&CONTAINER)),
    ],
);

static ENDPOINT: Message =
    message("CSIPluginEndpoint", &[required("csi_service", Choice(&SERVICES)), required("endpoint", Text)]);

/// A file of `--csi_plugin_config_dir`.
pub(super) static PLUGIN: Message = message(
    "CSIPluginInfo",
    &[
        required("type", Text),
        optional("name", Text),
        repeated("containers", Of(&PLUGIN_CONTAINER)),
        repeated("endpoints", Of(&ENDPOINT)),
        optional("target_path_root", Text),
        optional("target_path_exists", Boolean),
    ],
);

static PROVIDER_ID: Message = message("ResourceProviderID", &[required("value", Text)]);
static STORAGE: Message = message(
    "ResourceProviderInfo.Storage",
    &[required("plugin", Of(&PLUGIN)), optional("reconciliation_interval_seconds", Number)],
);

/// A file of `--resource_provider_config_dir`.
pub(super) static PROVIDER: Message = message(
    "ResourceProviderInfo",
    &[
        optional("id", Of(&PROVIDER_ID)),
        repeated("attributes", Of(&ATTRIBUTE)),
        required("type", Text),
        required("name", Text),
        repeated("default_reservations", Of(&RESERVATION)),
        optional("storage", Of(&STORAGE)),
    ],
);

static BLOCK: Message = message("VolumeCapability.BlockVolume", &[]);
static MOUNT: Message = message("VolumeCapability.MountVolume", &[optional("fs_type", Text), repeated("mount_flags", Text)]);
static ACCESS_MODE: Message = message(
    "VolumeCapability.AccessMode",
    &[optional(
        "mode",
        Choice(&[
            "SINGLE_NODE_WRITER",
            "SINGLE_NODE_READER_ONLY",
            "MULTI_NODE_READER_ONLY",
            "MULTI_NODE_SINGLE_WRITER",
            "MULTI_NODE_MULTI_WRITER",
        ]),
    )],
);
static CAPABILITY: Message = message(
    "VolumeCapability",
    &[optional("block", Of(&BLOCK)), optional("mount", Of(&MOUNT)), optional("access_mode", Of(&ACCESS_MODE))],
);

static SELECTED_PROVIDER: Message =
    message("ResourceProviderSelector.ResourceProvider", &[optional("type", Text), optional("name", Text)]);
static PROVIDER_SELECTOR: Message =
    message("ResourceProviderSelector", &[repeated("resource_providers", Of(&SELECTED_PROVIDER))]);
static TYPE_SELECTOR: Message = message("CSIPluginTypeSelector", &[optional("plugin_type", Text)]);

static MANIFEST: Message = message(
    "DiskProfileMapping.CSIManifest",
    &[
        optional("resource_provider_selector", Of(&PROVIDER_SELECTOR)),
        optional("csi_plugin_type_selector", Of(&TYPE_SELECTOR)),
        optional("volume_capabilities", Of(&CAPABILITY)),
        optional("create_parameters", Texts),
    ],
);

/// What the parameter `uri` of the profile adaptor names.
pub(super) static PROFILES: Message = message("DiskProfileMapping", &[optional("profile_matrix", Messages(&MANIFEST))]);
