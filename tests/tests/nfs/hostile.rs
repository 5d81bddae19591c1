//! Trees that somebody made to do harm, or that just happen: what is outside of a volume is never touched, deletion ends, and a snapshot
//! is equal or an error.

use hawser_proto::csi;
use hawser_tests::client::{Client, create_request, text};
use hawser_tests::poll::until_async;
use hawser_tests::rig::Node;
use hawser_tests::{MIB, Usage};
use tonic::Code;

use crate::world::World;

/// Makes a tree in the directory that it is given.
const MAKE: &str = r#"
import os, socket, sys
os.chdir(sys.argv[1])
os.umask(0)
def file(name, mode=0o644, data=b'x'):
    with open(name, 'wb') as f: f.write(data)
    os.chmod(name, mode)
os.symlink('/', 'root'); os.symlink('/etc/passwd', 'passwd'); os.symlink('../../../../..', 'up'); os.symlink('gone', 'dangling')
os.symlink('loop', 'loop'); os.symlink('x' * 1000, 'long-link')
file('new\nline'); file('-rf'); file(' '); file('*'); file('a' * 255); file(b'not utf-8 \xff\xfe'); file('"quoted" $(reboot)')
file('setuid', 0o6755); file('none', 0o000); os.chown('setuid', 1234, 4321); os.chmod('setuid', 0o6755)
with open('sparse', 'wb') as f:
    f.truncate(1 << 32); f.seek(1 << 31); f.write(b'middle')
file('one'); os.link('one', 'two'); os.makedirs('far/away'); os.link('one', 'far/away/three')
os.setxattr('one', 'user.colour', b'blue')
os.mkfifo('pipe', 0o600); os.mknod('null', 0o20666, os.makedev(1, 3)); os.mknod('disk', 0o60600, os.makedev(7, 0))
s = socket.socket(socket.AF_UNIX); s.bind('socket')
os.mkdir('closed', 0o000); os.mkdir('sticky', 0o1777); os.mkdir('inherits', 0o2775)
os.mkdir('private', 0o700); file('private/inner', 0o600); os.chown('private/inner', 1000, 1000); os.chown('private', 1000, 1000)
os.utime('one', ns=(10**18, 10**18 + 7))
os.mkdir('deep')
d = os.open('deep', os.O_RDONLY)
for n in range(30):
    os.mkdir('d' * 200, dir_fd=d)
    inner = os.open('d' * 200, os.O_RDONLY, dir_fd=d)
    os.close(d); d = inner
os.close(os.open('leaf', os.O_CREAT | os.O_WRONLY, dir_fd=d))
"#;

/// Says everything about a tree, each entry a line.
const DESCRIBE: &str = r#"
import hashlib, os, stat, sys
links = {}
def describe(d, where):
    for name in sorted(os.listdir(d)):
        s = os.stat(name, dir_fd=d, follow_symlinks=False)
        words = [where + '/' + repr(name), oct(s.st_mode), s.st_uid, s.st_gid]
        if not stat.S_ISDIR(s.st_mode):
            words += [s.st_nlink, s.st_mtime_ns]
        if s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode):
            words.append(links.setdefault(s.st_ino, where + '/' + repr(name)))
        if stat.S_ISLNK(s.st_mode): words.append(repr(os.readlink(name, dir_fd=d)))
        if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode): words.append(s.st_rdev)
        if stat.S_ISREG(s.st_mode):
            f = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=d)
            h, at = hashlib.sha256(), 0
            while True:
                try: at = os.lseek(f, at, os.SEEK_DATA)
                except OSError: break
                end = os.lseek(f, at, os.SEEK_HOLE)
                while at < end:
                    piece = os.pread(f, min(1 << 20, end - at), at)
                    if piece.strip(b'\0'): h.update(b'%d ' % at + piece)
                    at += len(piece)
            words += [s.st_size, s.st_blocks < 4096, h.hexdigest(), [(x, os.getxattr(f, x)) for x in sorted(os.listxattr(f))]]
            os.close(f)
        print(*words)
        if stat.S_ISDIR(s.st_mode):
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=d)
            describe(inner, where + '/' + str(len(name)) if len(name) > 100 else where + '/' + name)
            os.close(inner)
sys.setrecursionlimit(10000)
describe(os.open(sys.argv[1], os.O_RDONLY), '')
"#;

/// Turns a directory of each volume, and of all in the trash, into a link to another one and back, until a file appears.
const SWAP: &str = r#"
import os, sys
own, outside, end = sys.argv[1:]
while not os.path.exists(end):
    for place in own + '/volumes', own + '/trash':
        for root in os.listdir(place):
            try:
                top = os.path.join(place, root)
                for data in os.listdir(top):
                    victim = os.path.join(top, data, 'far')
                    os.rename(victim, victim + '.kept'); os.symlink(outside, victim)
                    print(place, flush=True)
                    os.unlink(victim); os.rename(victim + '.kept', victim)
            except OSError: pass
"#;

fn python(node: &Node, program: &str, arguments: &[&str]) -> String {
    node.run(["python3", "-c", program].into_iter().chain(arguments.iter().copied())).well()
}

/// The only directory that a pattern of the shell fits.
fn only(node: &Node, pattern: &str) -> String {
    let found = node.shell(&format!("ls -d {pattern}"));
    assert_eq!(found.lines().count(), 1, "{found}");
    found.trim().to_owned()
}

async fn snapshot(client: &Client, name: &str, volume: &str) -> csi::Snapshot {
    until_async("the snapshot", async || client.snapshot(name, volume).await.ok().filter(|cut| cut.ready_to_use)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tree_is_copied_whole_and_removed_alone() {
    let world = World::new(["n1"], "").await;
    let machine = &world.nodes[0];
    let (client, usage, storage) = (machine.plugin.client(), Usage::mount(), world.server.node());
    let volume = client.create("v", 64 * MIB, &usage).await;
    let target = text(&client.up(&volume, &usage).await);
    python(&machine.node, MAKE, &[&target]);
    let tree = text(&world.server.tree("data"));
    let own = format!("{tree}/.hawser");
    let data = only(storage, &format!("{own}/volumes/*/data-*"));
    // What only somebody on the server can do: a name in the volume for a file outside of it.
    storage.shell(&format!("mkdir {tree}/outside; echo precious > {tree}/outside/file; ln {tree}/outside/file {data}/hard"));
    let look = || storage.shell(&format!("cd {tree}/outside; stat -c '%n %a %u %g %s %Y' . *; cat file"));
    let outside = look();
    client.down(&volume).await;
    let original = python(storage, DESCRIBE, &[&data]);
    assert!(original.lines().count() > 60, "{original}");

    let cut = snapshot(&client, "s", &volume.volume_id).await;
    let copy = python(storage, DESCRIBE, &[&only(storage, &format!("{own}/snapshots/*/data-*"))]);
    // A file that has a name outside of the volume as well has one name less in the copy.
    let without_hard =
        |text: &str| text.lines().filter(|line| !line.starts_with("/'hard'")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_hard(&copy), without_hard(&original));
    assert!(copy.lines().any(|line| line.starts_with("/'hard'")), "{copy}");
    let mut request = create_request("restored", 64 * MIB, &usage);
    request.volume_content_source = Some(csi::VolumeContentSource {
        r#type: Some(csi::volume_content_source::Type::Snapshot(csi::volume_content_source::SnapshotSource {
            snapshot_id: cut.snapshot_id.clone(),
        })),
    });
    let restored = until_async("the volume of it", async || client.try_create(request.clone()).await.ok()).await;
    let (_, incarnation) = restored.volume_id.rsplit_once('-').unwrap();
    let again = python(storage, DESCRIBE, &[&only(storage, &format!("{own}/volumes/*/data-{incarnation}"))]);
    assert_eq!(without_hard(&again), without_hard(&original));

    // All of it goes while somebody swaps a directory for a link to what is outside.
    let end = "/run/end";
    storage.shell(&format!(
        "cat > /run/swap.py <<'PYTHON'\n{SWAP}\nPYTHON\npython3 /run/swap.py {own} {tree}/outside {end} > /run/swaps 2>&1 &"
    ));
    until_async("the first swap", async || (!storage.shell("cat /run/swaps").is_empty()).then_some(())).await;
    client.delete(&volume.volume_id).await.unwrap();
    client.delete_snapshot(&cut.snapshot_id).await.unwrap();
    client.delete(&restored.volume_id).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    storage.shell(&format!("touch {end}"));
    until_async("the removal", async || storage.shell(&format!("ls {own}/trash")).trim().is_empty().then_some(())).await;
    assert_eq!(look(), outside);
    assert!(client.volumes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_squashes_root_is_an_error_and_no_half_copy() {
    let world = World::new(["n1"], "").await;
    let machine = &world.nodes[0];
    let (client, usage, storage) = (machine.plugin.client(), Usage::mount(), world.server.node());
    let volume = client.create("v", 64 * MIB, &usage).await;
    let target = text(&client.up(&volume, &usage).await);
    machine.node.shell(&format!("mkdir -m 700 {target}/private; echo x > {target}/private/x; chown -R 1000 {target}/private"));
    client.down(&volume).await;
    // An operator hardens the export.
    world.server.export("data", "rw,sync,root_squash,no_subtree_check");
    storage.shell("exportfs -f");
    let refused = client.try_create(create_request("w", 64 * MIB, &usage)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("no_root_squash"), "{refused}");
    let refused = client.snapshot("s", &volume.volume_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(client.delete(&volume.volume_id).await.is_err());
    world.server.export("data", "rw,sync,no_root_squash,no_subtree_check");
    storage.shell("exportfs -f");
    let cut = snapshot(&client, "s", &volume.volume_id).await;
    client.delete_snapshot(&cut.snapshot_id).await.unwrap();
    client.delete(&volume.volume_id).await.unwrap();
    let trash = format!("{}/.hawser/trash", text(&world.server.tree("data")));
    until_async("the removal", async || storage.shell(&format!("ls {trash}")).trim().is_empty().then_some(())).await;
}
