# The node half for volumes of EBS, on every client: formats and mounts. The clients must allow it:
#
#   plugin "docker" {
#     config {
#       allow_privileged = true
#       volumes { enabled = true }
#     }
#   }
variable "image" {
  type    = string
  default = "hawser-node:0.1.0"
}

job "hawser-node" {
  type = "system"

  group "node" {
    task "node" {
      driver = "docker"

      config {
        image = var.image
        args  = ["serve", "node", "--config", "${NOMAD_TASK_DIR}/hawser.yaml"]
        # Mounts. The directory of volumes is the client's, in both directions: that is Nomad's own doing.
        privileged = true
        # The instance's metadata are one network hop away (docs/ebs-node.md).
        network_mode = "host"

        # What says whose a mount was when its device is gone.
        volumes = ["/run/hawser:/run/hawser"]
      }

      csi_plugin {
        id                     = "hawser"
        type                   = "node"
        mount_dir              = "/csi"
        stage_publish_base_dir = "/local/csi"
        health_timeout         = "1m"
      }

      template {
        destination = "local/hawser.yaml"
        data        = <<-EOT
          backends:
            ebs:
              type: ebs
        EOT
      }

      # Calls that run finish first; mounts stay. The client's max_kill_timeout must allow it.
      kill_timeout = "90s"

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
