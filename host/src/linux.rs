//! The implementation that asks the kernel.

use std::path::{Path, PathBuf};

use hawser_volume::{Bytes, Deadline, Filesystem, Result};

use crate::target::{self, Place};
use crate::{
    Beneath, Content, Detached, Device, DeviceNumber, DiskName, FormatOptions, Host, MountEntry, MountOptions, MountTable,
    NfsMount, Shape, Target, Usage, check, disk, format, freeze, group, grow, loopdev, mount, remote, signature, usage,
};

/// This machine.
#[derive(Debug, Default, Clone)]
pub struct Linux;

impl Host for Linux {
    fn mounts(&self) -> Result<MountTable> {
        MountTable::read()
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        Ok(Place::of(path)?.path)
    }

    fn create_target(&self, path: &Path, shape: Shape) -> Result<Target> {
        Target::create(path, shape)
    }

    fn remove_target(&self, path: &Path) -> Result<()> {
        target::remove(path)
    }

    fn open_device(&self, path: &Path, read_only: bool) -> Result<Device> {
        Device::open(path, read_only)
    }

    fn mount(&self, device: &Device, filesystem: Filesystem, options: &MountOptions, target: &Target) -> Result<()> {
        mount::mount(device, filesystem, options, target)
    }

    fn bind(&self, source: &Path, target: &Target, options: &MountOptions) -> Result<()> {
        mount::bind(source, target, options)
    }

    fn bind_device(&self, device: &Device, target: &Target) -> Result<()> {
        mount::bind_device(device, target)
    }

    fn mount_nfs(&self, mount: &NfsMount, deadline: Deadline) -> Result<Detached> {
        mount.mount(deadline)
    }

    fn attach(&self, mount: &Detached, target: &Target) -> Result<()> {
        mount::attach(mount, target)
    }

    fn unmount(&self, path: &Path) -> Result<()> {
        mount::unmount(path)
    }

    fn attach_loop(&self, image: &Path, read_only: bool) -> Result<Device> {
        loopdev::attach(image, read_only)
    }

    fn loops_of(&self, image: &Path) -> Result<Vec<PathBuf>> {
        loopdev::of_image(image)
    }

    fn detach_loop(&self, device: &Path, image: &Path, deadline: Deadline) -> Result<()> {
        loopdev::detach(device, image, deadline)
    }

    fn resize_loop(&self, device: &Path) -> Result<Bytes> {
        loopdev::resize(device)
    }

    fn loop_image_of(&self, mount: &MountEntry) -> Result<Option<PathBuf>> {
        loopdev::image_of_mount(mount)
    }

    fn loop_image(&self, number: DeviceNumber) -> Result<Option<PathBuf>> {
        loopdev::image_of(number)
    }

    fn open_disk(&self, names: &[DiskName], read_only: bool, deadline: Deadline) -> Result<Option<Device>> {
        disk::open(names, read_only, deadline)
    }

    fn disk_of(&self, mount: &MountEntry) -> Result<Beneath> {
        disk::of_mount(mount)
    }

    fn is_severed(&self, mount: &MountEntry) -> Result<bool> {
        disk::is_severed(mount)
    }

    fn rescan_disk(&self, names: &[DiskName], at_least: Bytes, deadline: Deadline) -> Result<Option<Bytes>> {
        disk::rescan(names, at_least, deadline)
    }

    fn rest_disk(&self, names: &[DiskName]) -> Result<()> {
        disk::rest(names)
    }

    fn probe(&self, device: &Device) -> Result<Content> {
        signature::probe(device)
    }

    fn format(&self, device: &Device, filesystem: Filesystem, options: &FormatOptions, deadline: Deadline) -> Result<()> {
        format::format(device, filesystem, options, deadline)
    }

    fn check(&self, device: &Device, filesystem: Filesystem, deadline: Deadline) -> Result<()> {
        check::check(device, filesystem, deadline)
    }

    fn grow(&self, mount_point: &Path, filesystem: Filesystem, device: &Device) -> Result<bool> {
        grow::grow(mount_point, filesystem, device)
    }

    fn usage(&self, path: &Path) -> Result<Usage> {
        let at = path.to_owned();
        remote::patiently(path, remote::PATIENCE, move || usage::usage(&at))
    }

    fn sync(&self, path: &Path) -> Result<()> {
        let at = path.to_owned();
        remote::patiently(path, remote::PATIENCE, move || freeze::sync(&at))
    }

    fn freeze(&self, path: &Path) -> Result<()> {
        freeze::freeze(path)
    }

    fn thaw(&self, path: &Path) -> Result<()> {
        freeze::thaw(path)
    }

    fn give_to_group(&self, path: &Path, gid: u32, deadline: Deadline) -> Result<()> {
        let at = path.to_owned();
        remote::patiently(path, deadline.remaining(), move || group::give_to_group(&at, gid, deadline))
    }
}
