//! A stand-in for `dvdcli`, the program that the isolator `docker/volume` of Mesos runs: it gives out directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hawser_tests::Workspace;

/// Writes its arguments down, does what the test has prepared for this call, and prints the volume's directory.
const SCRIPT: &str = r#"#!/bin/sh
base=BASE line=
tab=$(printf '\t')
for argument; do
  line=$line$argument$tab
  case $argument in --volumename=*) name=${argument#*=} ;; esac
done
# In one piece: another call may be writing, too.
printf '%s\n' "$line" >> $base/calls
if [ -f $base/prepared/$1-$name ]; then . $base/prepared/$1-$name; fi
if [ $1 = mount ]; then mkdir -p $base/volumes/$name; echo $base/volumes/$name; fi
"#;

/// The program, and what it was called with.
#[derive(Debug)]
pub struct Dvdcli {
    base: PathBuf,
}

impl Dvdcli {
    /// Makes it in `workspace`.
    pub fn new(workspace: &Workspace) -> Self {
        let base = workspace.directory("dvdcli");
        workspace.directory("dvdcli/prepared");
        let dvdcli = Self { base };
        fs::write(dvdcli.program(), SCRIPT.replace("BASE", dvdcli.base.to_str().unwrap())).unwrap();
        fs::set_permissions(dvdcli.program(), fs::Permissions::from_mode(0o755)).unwrap();
        dvdcli
    }

    /// Where it is.
    pub fn program(&self) -> PathBuf {
        self.base.join("program")
    }

    /// Where its files are.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The directory of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.base.join("volumes").join(name)
    }

    /// Has `shell` run within each call of `verb` for the volume `name`, where `$base` is [`base`](Self::base).
    pub fn prepare(&self, verb: &str, name: &str, shell: &str) {
        fs::write(self.base.join("prepared").join(format!("{verb}-{name}")), shell).unwrap();
    }

    /// Takes back what was prepared.
    pub fn forget(&self, verb: &str, name: &str) {
        fs::remove_file(self.base.join("prepared").join(format!("{verb}-{name}"))).unwrap();
    }

    /// The calls since the last time, in their order. Mesos keeps options in no order, so here they are sorted.
    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.base.join("calls")).unwrap_or_default();
        fs::write(self.base.join("calls"), "").unwrap();
        let sorted = |call: &str| {
            let (mut options, rest): (Vec<_>, Vec<_>) =
                call.trim_end().split('\t').partition(|word| word.starts_with("--volumeopts="));
            options.sort_unstable();
            [rest, options].concat().join(" ")
        };
        calls.lines().map(sorted).collect()
    }

    /// The calls since the last time, as a verb and a volume each.
    pub fn verbs(&self) -> Vec<String> {
        let short = |call: String| {
            let words: Vec<&str> = call.split(' ').collect();
            let name = words.iter().find_map(|word| word.strip_prefix("--volumename=")).unwrap();
            format!("{} {name}", words[0])
        };
        self.calls().into_iter().map(short).collect()
    }
}
