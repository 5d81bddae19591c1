//! What is written for a bridge passes the check; the examples and the documentation do, too.

use std::fs;
use std::path::Path;

use hawser_bridge::agent::write::{self, Door, Output, Wanted};
use hawser_bridge::agent::{FlagSource, Report, Sources};
use hawser_bridge::config::BridgeConfig;
use hawser_volume::Kind;
use proptest::prelude::*;

use super::{assert_in_order, check, repository};

fn bridge() -> BridgeConfig {
    BridgeConfig { isolator_socket: Some("/run/hawser/isolator.sock".into()), ..BridgeConfig::default() }
}

fn wanted<'w>(doors: &'w [Door], bridge: &'w BridgeConfig, directory: &'w Path) -> Wanted<'w> {
    Wanted {
        doors,
        bridge,
        plugin: "csi.hawser.dev",
        backends: vec!["local".into(), "shared".into()],
        config: Some("/etc/hawser/hawser.yaml".as_ref()),
        isolation: None,
        directory,
    }
}

fn check_written(directory: &Path) -> Report {
    let profiles = Some(directory.join("disk-profiles.json")).filter(|path| path.exists());
    check(Sources { flags: vec![FlagSource::Path(directory.join("mesos-agent.env"))], profiles, ..Sources::default() })
}

const DOORS: [Door; 3] = [Door::Isolator, Door::Docker, Door::Provider];

#[test]
fn what_is_written_is_in_order() {
    for mask in 1_usize..8 {
        let doors: Vec<Door> = (0..3).filter(|bit| mask & (1 << bit) != 0).map(|bit| DOORS[bit]).collect();
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("mesos");
        fs::create_dir(&directory).unwrap();
        let files = write::files(&wanted(&doors, &bridge(), &directory)).unwrap();
        let written = write::into_directory(&files, &directory, false).unwrap();
        assert_eq!(written.len(), files.len());
        assert_in_order(&check_written(&directory));
        // An agent reads every file that lies in these.
        for name in ["csi-plugins", "resource-providers"] {
            assert!(fs::read_dir(directory.join(name)).map_or(0, |entries| entries.count()) <= 1);
        }
        assert!(!fs::read_dir(&directory).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.')));
    }
}

#[test]
fn a_file_that_is_there_is_not_replaced_by_another() {
    let home = tempfile::tempdir().unwrap();
    let files = write::files(&wanted(&DOORS, &bridge(), home.path())).unwrap();
    write::into_directory(&files, home.path(), false).unwrap();
    assert_eq!(
        write::into_directory(&files, home.path(), false).unwrap(),
        Vec::<std::path::PathBuf>::new(),
        "all are there already"
    );
    let own = home.path().join("modules.json");
    fs::write(&own, "{}").unwrap();
    fs::remove_file(home.path().join("disk-profiles.json")).unwrap();
    let refused = write::into_directory(&files, home.path(), false).unwrap_err();
    assert_eq!(refused.kind(), Kind::AlreadyExists);
    assert!(refused.to_string().contains("modules.json"), "{refused}");
    assert_eq!(fs::read_to_string(&own).unwrap(), "{}");
    assert!(!home.path().join("disk-profiles.json").exists(), "all or nothing");
    write::into_directory(&files, home.path(), true).unwrap();
    assert_in_order(&check_written(home.path()));
}

#[test]
fn what_mesos_would_refuse_is_not_written() {
    let here = Path::new("/etc/x");
    let closed = BridgeConfig::default();
    let told = |wanted: &Wanted<'_>| write::files(wanted).unwrap_err().to_string();
    assert!(told(&wanted(&[Door::Isolator], &closed, here)).contains("isolator-socket"));
    let bridge = bridge();
    assert!(told(&Wanted { plugin: "csi.hawser-dev.io", ..wanted(&[Door::Provider], &bridge, here) }).contains("driver.name"));
    assert!(told(&Wanted { plugin: "csi..hawser", ..wanted(&[Door::Provider], &bridge, here) }).contains("driver.name"));
    assert!(told(&Wanted { config: None, ..wanted(&[Door::Provider], &bridge, here) }).contains("--config"));
    assert!(told(&wanted(&[Door::Docker], &bridge, Path::new("relative"))).contains("absolute"));
    let text = |files: &[Output], name: &str| {
        files.iter().find(|file| file.path.ends_with(name)).unwrap_or_else(|| panic!("{files:?}")).text.clone()
    };
    let files =
        write::files(&Wanted { isolation: Some("cgroups/all,filesystem/posix"), ..wanted(&DOORS, &bridge, here) }).unwrap();
    assert!(text(&files, "mesos-agent.env").contains("MESOS_ISOLATION=cgroups/all,filesystem/linux,volume/csi,docker/volume\n"));
    let elsewhere = BridgeConfig { docker_socket: "/srv/vol.sock".into(), ..bridge.clone() };
    let files = write::files(&wanted(&[Door::Docker], &elsewhere, here)).unwrap();
    assert_eq!(text(&files, "/etc/docker/plugins/vol.spec"), "unix:///srv/vol.sock\n");
}

#[test]
fn the_examples_are_in_order() {
    let home = repository("charts/examples/mesos-agent");
    let sources = Sources {
        csi_plugins: Some(home.join("csi-plugins")),
        providers: Some(home.join("resource-providers")),
        profiles: Some(home.join("disk-profiles.json")),
        ..Sources::default()
    };
    assert_in_order(&check(sources));
    // They are what is written for the directory that the documentation names.
    let bridge = bridge();
    let files = write::files(&wanted(&DOORS, &bridge, Path::new(write::DIRECTORY))).unwrap();
    assert_eq!(files.len(), 5);
    let documentation = fs::read_to_string(repository("docs/mesos-agent.md")).unwrap();
    for Output { path, text } in files {
        let name = path.strip_prefix(write::DIRECTORY).unwrap();
        assert_eq!(fs::read_to_string(home.join(name)).unwrap_or_default(), text, "{}", name.display());
        if name.extension().is_some_and(|extension| extension == "json") && !name.ends_with("disk-profiles.json") {
            assert!(documentation.contains(&text), "docs/mesos-agent.md lacks {}", name.display());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever names a configuration has, what is written passes the check, or is refused.
    #[test]
    fn any_configuration_is_written_in_order_or_refused(
        plugin in "[a-zA-Z][a-zA-Z0-9._-]{0,30}[a-zA-Z]", socket in "/[ -~é]{1,120}", config in "/[ -~]{1,20}", backend in "[a-z0-9-]{1,9}",
    ) {
        let home = tempfile::tempdir().unwrap();
        let bridge = BridgeConfig { isolator_socket: Some(socket.into()), ..BridgeConfig::default() };
        let wanted = Wanted { plugin: &plugin, config: Some(config.as_ref()), backends: vec![backend], ..wanted(&DOORS, &bridge, home.path()) };
        if let Ok(files) = write::files(&wanted) {
            write::into_directory(&files, home.path(), false).unwrap();
            let report = check_written(home.path());
            prop_assert_eq!(report.mistakes(), 0, "{}", report);
        }
    }
}
