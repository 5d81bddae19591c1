# Both halves in one task, for volumes on the clients' own disks, or in a directory that all clients share. With disks of their own each
# client is a storage system for itself, and its volumes stay with it: constrain the jobs that use them.
variable "image" {
  type    = string
  default = "hawser-node:0.1.0"
}

job "hawser" {
  type = "system"

  group "plugin" {
    task "plugin" {
      driver = "docker"

      config {
        image      = var.image
        args       = ["serve", "all", "--config", "${NOMAD_TASK_DIR}/hawser.yaml", "--node-id", "${node.unique.name}"]
        privileged = true

        # Where the volumes are. The clients must allow this as for node.nomad.hcl.
        volumes = ["/var/lib/hawser:/var/lib/hawser"]
      }

      csi_plugin {
        id                     = "hawser"
        type                   = "monolith"
        mount_dir              = "/csi"
        stage_publish_base_dir = "/local/csi"
        health_timeout         = "1m"
      }

      template {
        destination = "local/hawser.yaml"
        data        = <<-EOT
          backends:
            local:
              type: local
              root: /var/lib/hawser/local
              capacity: 500GiB
              overcommit: 4
        EOT
      }

      kill_timeout = "90s"

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
