//! Linux with something in front of it: see [`hawser_volume::around`].

use std::path::{Path, PathBuf};

use hawser_volume::{Around, Bytes, Deadline, Filesystem, Result, Surrounded, surrounded_methods};

use crate::{
    Beneath, Content, Detached, Device, DeviceNumber, DiskName, FormatOptions, Host, MountEntry, MountOptions, MountTable,
    NfsMount, Shape, Target, Usage,
};

impl<A: Around> Host for Surrounded<dyn Host, A> {
    surrounded_methods! { "host"
        fn mounts(&self) -> Result<MountTable>;
        fn resolve(&self, path: &Path) -> Result<PathBuf>;
        fn create_target(&self, path: &Path, shape: Shape) -> Result<Target>;
        fn remove_target(&self, path: &Path) -> Result<()>;
        fn open_device(&self, path: &Path, read_only: bool) -> Result<Device>;
        fn mount(&self, device: &Device, filesystem: Filesystem, options: &MountOptions, target: &Target) -> Result<()>;
        fn bind(&self, source: &Path, target: &Target, options: &MountOptions) -> Result<()>;
        fn bind_device(&self, device: &Device, target: &Target) -> Result<()>;
        fn mount_nfs(&self, mount: &NfsMount, deadline: Deadline) -> Result<Detached>;
        fn attach(&self, mount: &Detached, target: &Target) -> Result<()>;
        fn unmount(&self, path: &Path) -> Result<()>;
        fn attach_loop(&self, image: &Path, read_only: bool) -> Result<Device>;
        fn loops_of(&self, image: &Path) -> Result<Vec<PathBuf>>;
        fn detach_loop(&self, device: &Path, image: &Path, deadline: Deadline) -> Result<()>;
        fn resize_loop(&self, device: &Path) -> Result<Bytes>;
        fn loop_image_of(&self, mount: &MountEntry) -> Result<Option<PathBuf>>;
        fn loop_image(&self, number: DeviceNumber) -> Result<Option<PathBuf>>;
        fn open_disk(&self, names: &[DiskName], read_only: bool, deadline: Deadline) -> Result<Option<Device>>;
        fn disk_of(&self, mount: &MountEntry) -> Result<Beneath>;
        fn is_severed(&self, mount: &MountEntry) -> Result<bool>;
        fn rescan_disk(&self, names: &[DiskName], at_least: Bytes, deadline: Deadline) -> Result<Option<Bytes>>;
        fn rest_disk(&self, names: &[DiskName]) -> Result<()>;
        fn probe(&self, device: &Device) -> Result<Content>;
        fn format(&self, device: &Device, filesystem: Filesystem, options: &FormatOptions, deadline: Deadline) -> Result<()>;
        fn check(&self, device: &Device, filesystem: Filesystem, deadline: Deadline) -> Result<()>;
        fn grow(&self, mount_point: &Path, filesystem: Filesystem, device: &Device) -> Result<bool>;
        fn usage(&self, path: &Path) -> Result<Usage>;
        fn sync(&self, path: &Path) -> Result<()>;
        fn freeze(&self, path: &Path) -> Result<()>;
        fn thaw(&self, path: &Path) -> Result<()>;
        fn give_to_group(&self, path: &Path, gid: u32, deadline: Deadline) -> Result<()>;
    }
}
