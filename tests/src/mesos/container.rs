//! What an agent runs: a container by itself, or a task.

use serde_json::{Value, json};

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    id: String,
    command: String,
    volumes: Vec<Value>,
    disks: Vec<Value>,
}

impl Container {
    /// A container that runs `command`, a piece of shell, in its sandbox.
    pub fn new(id: &str, command: &str) -> Self {
        Self { id: id.to_owned(), command: command.to_owned(), volumes: Vec::new(), disks: Vec::new() }
    }

    /// With a volume that a Docker volume driver provides, at `path` (below the sandbox when relative).
    pub fn docker_volume(mut self, path: &str, driver: &str, name: &str, options: &[(&str, &str)]) -> Self {
        self.volumes.push(docker_volume(path, driver, name, options));
        self
    }

    /// With a volume that a CSI plugin provides. `static_provisioning` is what Mesos calls so: `volume_id`, `volume_capability` and the
    /// like.
    pub fn csi_volume(mut self, path: &str, plugin: &str, static_provisioning: &Value) -> Self {
        self.volumes.push(json!({"container_path": path, "mode": "RW", "source": {"type": "CSI_VOLUME", "csi_volume": {
            "plugin_name": plugin, "static_provisioning": static_provisioning,
        }}}));
        self
    }

    /// With a persistent volume, which says itself where it is.
    pub fn disk(mut self, resource: &Value) -> Self {
        self.disks.push(resource.clone());
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The call that launches it by itself.
    pub(super) fn launch(&self) -> Value {
        let mut launch = self.parts();
        launch["container_id"] = json!({"value": self.id});
        json!({"type": "LAUNCH_CONTAINER", "launch_container": launch})
    }

    /// The task that it is to a framework.
    pub(super) fn task(&self, agent: &str) -> Value {
        let mut task = self.parts();
        task["task_id"] = json!({"value": self.id});
        task["agent_id"] = json!({"value": agent});
        task["name"] = json!(self.id);
        task
    }

    fn parts(&self) -> Value {
        let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let mut resources = vec![scalar("cpus", 0.1), scalar("mem", 32.0)];
        resources.extend(self.disks.iter().cloned());
        json!({
            "command": {"value": self.command},
            "container": {"type": "MESOS", "volumes": self.volumes},
            "resources": resources,
        })
    }
}

/// A volume of a container or of a task.
pub fn docker_volume(path: &str, driver: &str, name: &str, options: &[(&str, &str)]) -> Value {
    let options: Vec<Value> = options.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({"container_path": path, "mode": "RW", "source": {"type": "DOCKER_VOLUME", "docker_volume": {
        "driver": driver, "name": name, "driver_options": {"parameter": options},
    }}})
}
