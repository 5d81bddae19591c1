//! A task that writes while its server is in trouble.

use std::fs;
use std::path::PathBuf;

use hawser_tests::daemon::Daemon;
use hawser_tests::poll::until;
use hawser_tests::rig::{NfsServer, Node};

/// A program on a node that holds a lock in a volume and writes numbers there.
pub struct Tenant {
    daemon: Daemon,
    directory: String,
    acknowledged: PathBuf,
}

impl Tenant {
    /// Starts one in `directory`, where a volume is; returns when it has its lock.
    pub fn start(node: &Node, directory: &str, name: &str) -> Self {
        // Both sides see these.
        let [acknowledged, log] = ["acknowledged", "log"].map(|what| node.directory().join(format!("{name}.{what}")));
        let mut command = node.command("python3");
        command.args(["-c", include_str!("tenant.py"), directory]).arg(&acknowledged);
        let mut daemon = Daemon::spawn(command, &log);
        until("the lock", || {
            assert!(!daemon.has_ended(), "{}", daemon.tail());
            acknowledged.exists().then_some(())
        });
        Self { daemon, directory: directory.to_owned(), acknowledged }
    }

    /// The last number that the server has on its disk, as far as the tenant knows.
    fn acknowledged(&self) -> u64 {
        let said = fs::read_to_string(&self.acknowledged).unwrap();
        let complete = said.rsplit_once('\n').map_or("", |(lines, _)| lines);
        complete.lines().last().map_or(0, |line| line.parse().unwrap())
    }

    /// Waits until it has written a number that it had not begun when this was called.
    pub fn goes_on(&mut self) {
        let before = self.acknowledged();
        until("a tenant to go on", || {
            assert!(!self.daemon.has_ended(), "a tenant had an error: {}", self.daemon.tail());
            (self.acknowledged() > before + 1).then_some(())
        });
    }

    /// Ends it; everything that was acknowledged must be on the server's disk, once and in its order.
    pub fn finish(mut self, node: &Node, server: &NfsServer) {
        assert!(!self.daemon.has_ended(), "a tenant had an error: {}", self.daemon.tail());
        let acknowledged = self.acknowledged();
        assert!(acknowledged > 0);
        let file = node.shell(&format!("stat --format %i {}/numbers", self.directory));
        self.daemon.kill();
        let there = server.node().shell(&format!("find {} -inum {file} -exec cat {{}} +", server.tree("data").display()));
        let numbers: Vec<u64> = there.lines().map(|line| line.parse().unwrap()).collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected);
        assert!(expected.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged numbers are there", expected.len());
    }
}

/// Whether a node gets the lock that a tenant takes.
pub fn gets_the_lock(node: &Node, directory: &str) -> bool {
    let program = "import fcntl, sys; fcntl.lockf(open(sys.argv[1] + '/lock', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)";
    node.run(["python3", "-c", program, directory]).status.success()
}
