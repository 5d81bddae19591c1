//! One node: a machine that is on or off.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{self, Disks};
use super::network::Network;
use super::power::Power;
use super::protocol::PORT;
use super::setting::Setting;
use super::{Ground, mconsole};
use crate::binary::{rig_node, target, tool, workspace_root};
use crate::daemon::Daemon;
use crate::output::Output;
use crate::poll::{PATIENCE, until};

/// The memory of a node unless it needs more, in MiB. It is taken as it is used.
const MEMORY: u32 = 384;

/// What a node is to be like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name, also as a host.
    pub name: String,
    /// Its memory in MiB.
    pub memory: u32,
    /// The size in bytes of the disk that its `/tmp` is on; with 0 it is in memory.
    pub scratch: u64,
}

impl Plan {
    /// A node as usual.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), memory: MEMORY, scratch: 0 }
    }
}

/// A node. It goes off when this is dropped.
#[derive(Debug)]
pub struct Node {
    state: Mutex<State>,
    plan: Plan,
    number: u8,
    directory: PathBuf,
    rig: Arc<Ground>,
}

#[derive(Debug, Default)]
struct State {
    power: Option<Power>,
    disks: Disks,
}

impl Node {
    pub(super) fn new(rig: Arc<Ground>, number: u8, plan: Plan) -> Self {
        let directory = rig.site.of_node(&plan.name);
        rig.network.lay_cable(number);
        let mut state = State::default();
        let mut scratch = None;
        if plan.scratch > 0 {
            let file = disk::create(&directory.join("scratch"), plan.scratch);
            crate::kernel::run("mkfs.ext4", &["-q", file.to_str().unwrap()]);
            let (_, device) = state.disks.insert(&file, "scratch");
            scratch = Some(device);
        }
        let node = Self { state: Mutex::new(state), plan, number, directory, rig };
        node.write_setting(scratch);
        node
    }

    fn write_setting(&self, scratch: Option<PathBuf>) {
        let setting = Setting {
            name: self.plan.name.clone(),
            address: format!("{}/24", self.address()),
            modules: fs::canonicalize(tool("rig/modules")).unwrap(),
            seen: vec![workspace_root().to_owned(), target()],
            shared: self.rig.site.shared().to_owned(),
            scratch,
            ready: self.ready(),
        };
        fs::write(self.directory.join("setting"), serde_json::to_vec(&setting).unwrap()).unwrap();
    }

    fn ready(&self) -> PathBuf {
        self.rig.site.shared().join(format!(".{}.ready", self.plan.name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name, also as a host.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Its address in the rig's network.
    pub fn address(&self) -> Ipv4Addr {
        Network::address(self.number)
    }

    /// Where this side keeps what is this node's alone and the node does not see.
    pub(super) fn own(&self) -> &Path {
        &self.directory
    }

    /// A directory that is this node's alone, seen by it and by this side at the same path.
    pub fn directory(&self) -> PathBuf {
        let path = self.rig.site.shared().join(self.name());
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Turns it on, with an empty memory and the disks that it has; returns when it runs programs. Panics if it is on.
    pub fn boot(&self) {
        self.power_on();
        self.wait_until_it_is_up();
    }

    pub(super) fn power_on(&self) {
        let mut state = self.state();
        assert!(state.power.is_none(), "{} is on", self.name());
        let _ = fs::remove_file(self.ready());
        // What a kernel that was killed left there would keep the next one from its name.
        let _ = fs::remove_dir_all(self.directory.join("uml"));
        let mut command = self.rig.network.command("linux.uml");
        command.env("LD_PRELOAD", tool("rig/xstate.so")).env("TMPDIR", "/dev/shm");
        command.arg(format!("mem={}M", self.plan.memory));
        command.args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1", "selinux=0"]);
        command.args(["con=null", "con0=null,fd:1", "umid=uml"]).arg(format!("uml_dir={}", self.directory.display()));
        command.arg(format!(
            "vec0:transport=tap,ifname={},depth=64,gro=1,mac=02:99:00:00:00:{:02x}",
            Network::cable(self.number),
            self.number
        ));
        command.args(state.disks.told());
        command.arg(format!("init={}", rig_node().display())).args(["--", "init"]).arg(self.directory.join("setting"));
        state.power = Some(Power::on(command, &self.console_log()));
    }

    pub(super) fn wait_until_it_is_up(&self) {
        until(&format!("the boot of {}", self.name()), || {
            let off = self.state().power.as_mut().is_none_or(Power::is_off);
            assert!(!off, "{} went off instead of booting:\n{}", self.name(), self.console());
            self.ready().exists().then_some(())
        });
        if let Some(power) = self.state().power.as_mut() {
            power.keep_awake();
        }
    }

    fn console_log(&self) -> PathBuf {
        self.directory.join("console")
    }

    /// What its kernel and its first process said.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.console_log()).unwrap_or_default()).into_owned()
    }

    /// Takes its power away: nothing that it was about to do is done, no connection says goodbye, and only what its kernel had given
    /// to a disk is on the disk.
    pub fn kill(&self) {
        let power = self.state().power.take();
        assert!(power.is_some(), "{} is off", self.name());
    }

    /// Turns it off as an operator does: programs are stopped and filesystems unmounted.
    pub fn shut_down(&self) {
        Output::from(self.helper("power-off").output().unwrap()).well();
        let mut state = self.state();
        let power = state.power.as_mut().unwrap_or_else(|| panic!("{} is off", self.name()));
        until(&format!("the end of {}", self.name()), || power.is_off().then_some(()));
        state.power = None;
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.state().power.is_some()
    }

    /// Stops everything in it; connections to it hang. Its clocks jump when it goes on.
    pub fn freeze(&self) {
        self.powered(Power::freeze);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.powered(Power::thaw);
    }

    fn powered<T>(&self, act: impl FnOnce(&Power) -> T) -> T {
        act(self.state().power.as_ref().unwrap_or_else(|| panic!("{} is off", self.name())))
    }

    /// A program of this side that acts on the node as it is now.
    fn helper(&self, verb: &str) -> Command {
        let mut command = Command::new(rig_node());
        let kernel = self.powered(Power::kernel).as_raw_nonzero().to_string();
        command.args([verb, &kernel, &format!("{}:{PORT}", self.address())]);
        command
    }

    /// A command that runs `program` in the node. When it is killed, the program is; when the node goes off, it ends with 125.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.helper("run");
        command.arg("0").arg(program.as_ref());
        command
    }

    /// Runs a program to its end; one that takes longer than [`PATIENCE`] fails.
    pub fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Output {
        let mut command = self.helper("run");
        command.arg(PATIENCE.as_secs().to_string()).args(words).stdin(std::process::Stdio::null());
        command.output().unwrap().into()
    }

    /// Runs a piece of shell that stops at its first failure; panics unless it ends well, and returns what it said.
    pub fn shell(&self, script: &str) -> String {
        self.run(["sh", "-euc", script]).well()
    }

    /// Has a unix socket `there` in the node at `here` on this side, until the daemon is dropped or the node goes off. `there` need
    /// not be there yet.
    pub fn forward(&self, there: &Path, here: &Path) -> Daemon {
        let mut command = self.helper("forward");
        command.arg(here).arg(there);
        let mut daemon = Daemon::spawn(command, &here.with_extension("forward"));
        until("the forwarded socket", || {
            assert!(!daemon.has_ended(), "{}", daemon.tail());
            here.exists().then_some(())
        });
        daemon
    }

    /// Plugs a file in as a disk, which only one node at a time can have, and returns the device that it is there. It stays plugged
    /// in when the node goes off and on.
    pub fn attach(&self, file: &Path, serial: &str) -> PathBuf {
        let mut state = self.state();
        let (told, device) = state.disks.insert(file, serial);
        if state.power.is_some() {
            drop(state);
            self.tell(&format!("config {told}"));
            self.run(["test", "-b", device.to_str().unwrap()]).well();
        }
        device
    }

    /// Pulls a disk out; panics when the node uses it.
    pub fn detach(&self, file: &Path) {
        if self.is_on() {
            let name = self.state().disks.name(file);
            self.tell(&format!("remove {name}"));
        }
        self.state().disks.remove(file);
    }

    fn tell(&self, command: &str) {
        let answer = mconsole::ask(&self.directory.join("uml/mconsole"), command);
        answer.unwrap_or_else(|error| panic!("{}: {error}", self.name()));
    }
}
