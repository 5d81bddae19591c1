//! Flags, from all places that they come from.

use hawser_bridge::agent::{FlagSource, Report, Sources};

use super::{assert_in_order, assert_told, check, directory};

pub(crate) fn words(words: &str) -> Report {
    let words = words.split(' ').map(str::to_owned).collect();
    check(Sources { flags: vec![FlagSource::Words(words)], ..Sources::default() })
}

const DOCKER: &str = "--isolation=filesystem/linux,docker/volume --docker_volume_checkpoint_dir=/var/lib/mesos/checkpoints \
                      --executor_registration_timeout=5mins";

#[test]
fn what_fits_together_is_in_order() {
    assert_in_order(&words(DOCKER));
    assert_in_order(&words("--no-switch_user --strict --MASTER=zk://a:2181/mesos --work_dir=/var/lib/mesos"));
}

#[test]
fn what_would_end_the_agent_is_a_mistake() {
    for (line, path, text) in [
        ("--isolation=volume/csi", "--csi_plugin_config_dir", "is not given"),
        ("--isolation=volume/csi", "--isolation", "lacks filesystem/linux"),
        ("--isolation=docker/volume", "--isolation", "lacks filesystem/linux"),
        ("--isolation=filesystem/linux,docker/volumes", "--isolation", "did you mean docker/volume?"),
        ("--isolation=posix/cpu,posix/cpu", "--isolation", "given twice"),
        ("--csi_plugin_config_dir=/nowhere", "--isolation", "lacks volume/csi"),
        ("--csi_plugin_config_dir=/nowhere", "$", "is no directory: the agent exits"),
        ("--resource_provider_config_dir=/nowhere", "$", "LOG(FATAL)"),
        ("--csi_plugin_config_dir=file:///nowhere", "--csi_plugin_config_dir", "named without file://"),
        ("--isolaton=posix/cpu", "--isolaton", "did you mean --isolation?"),
        ("--isolation", "--isolation", "has no value"),
        ("--no-isolation", "--isolation", "no switch"),
        ("--no-strict=true", "--strict", "with a value"),
        ("--isolation=posix/cpu --isolation=posix/mem", "--isolation", "a flag is given once"),
        ("--executor_registration_timeout=5m", "--executor_registration_timeout", "5mins"),
        ("--disk_profile_adaptor=x", "--disk_profile_adaptor", "neither --modules"),
        ("--modules=/a --modules_dir=/b", "--modules_dir", "one of the two"),
        ("-isolation=x", "word 1", "left aside"),
        (&format!("{DOCKER} --containerizers=docker"), "--containerizers", "lacks mesos"),
        (&format!("{DOCKER} --launcher=posix"), "--launcher", "must be linux"),
    ] {
        assert_told(&words(line), "mistake", path, text);
    }
}

#[test]
fn what_may_be_regretted_is_a_warning() {
    let isolation = "--isolation=filesystem/linux,docker/volume";
    assert_told(&words(isolation), "warning", "--docker_volume_checkpoint_dir", "after a reboot");
    assert_told(&words(isolation), "warning", "--executor_registration_timeout", "is 60 s");
    let short = format!("{isolation} --executor_registration_timeout=4.9mins");
    assert_told(&words(&short), "warning", "--executor_registration_timeout", "294");
    let no_dvdcli = Sources {
        flags: vec![FlagSource::Words(DOCKER.split(' ').map(str::to_owned).collect())],
        path: Some("/nowhere".into()),
        ..Sources::default()
    };
    assert_told(&check(no_dvdcli), "warning", "--isolation", "no dvdcli in PATH");
}

pub(crate) fn file(text: &str) -> Report {
    let directory = directory(&[("mesos-agent", text)]);
    check(Sources { flags: vec![FlagSource::Path(directory.path().join("mesos-agent"))], ..Sources::default() })
}

#[test]
fn a_file_of_variables_is_read_with_its_lines() {
    let good = "# agent\nexport MESOS_ISOLATION=\"filesystem/linux,docker/volume\" # why\nULIMIT='-n 8192'\n\
                MESOS_docker_volume_checkpoint_dir=/var/lib/x\nMESOS_EXECUTOR_REGISTRATION_TIMEOUT='10mins'\nMESOS_NATIVE_JAVA_LIBRARY=/x\n";
    assert_in_order(&file(good));
    let told = file("\nMESOS_ISOLATION=filesystem/linux,volume/csi\n").to_string();
    assert!(told.contains("mistake: --csi_plugin_config_dir: is not given"), "{told}");
    let told = file("A=1\nMESOS_ISOLATON=x\nMESOS_IP = 1\nwhat\n--isolation=volume/csy\n").to_string();
    for text in [
        "mesos-agent:2: mistake: MESOS_ISOLATON",
        "mesos-agent:3: mistake: ",
        "mesos-agent:4: mistake: ",
        "mesos-agent:5: mistake: --isolation",
    ] {
        assert!(told.contains(text), "no {text:?} in\n{told}");
    }
    assert_told(&file("MESOS_ISOLATION=$ISO\n"), "warning", "MESOS_ISOLATION", "not checked");
    // The wrapper of the packages makes a word of it.
    assert_told(&file("ISOLATION=volume/csi\n"), "mistake", "--csi_plugin_config_dir", "is not given");
}

#[test]
fn a_directory_of_flags_is_read_as_the_wrapper_does() {
    let files = [
        ("isolation", "filesystem/linux,docker/volume\n"),
        ("docker_volume_checkpoint_dir", "/var/lib/x\n"),
        ("executor_registration_timeout", "5mins\n"),
        ("?no-switch_user", ""),
        (".hidden", "x"),
    ];
    let source = |files: &[(&str, &str)]| {
        let directory = directory(files);
        check(Sources { flags: vec![FlagSource::Path(directory.path().into())], ..Sources::default() })
    };
    assert_in_order(&source(&files));
    assert_told(&source(&[("isolation.bak", "x")]), "mistake", "--isolation.bak", "the agent exits");
}

#[test]
pub(crate) fn words_beat_variables_and_that_is_told() {
    let home = directory(&[("env", "MESOS_ISOLATION=volume/csi\n")]);
    let report = check(Sources {
        flags: vec![FlagSource::Path(home.path().join("env")), FlagSource::Words(vec!["--isolation=posix/cpu".into()])],
        ..Sources::default()
    });
    assert_eq!(report.mistakes(), 0, "{report}");
    assert_told(&report, "warning", "MESOS_ISOLATION", "\"posix/cpu\" is what counts");
}
