# The controller half for volumes of EBS: makes volumes and attaches them to instances. Two of them, as no leader is needed.
# Runs where no storage is: no root, no device, no mount. Credentials come from the instance's role.
variable "image" {
  type    = string
  default = "hawser-controller:0.1.0"
}

job "hawser-controller" {
  type = "service"

  group "controller" {
    count = 2

    update {
      max_parallel = 1
    }

    task "controller" {
      driver = "docker"

      config {
        image    = var.image
        args     = ["serve", "controller", "--config", "${NOMAD_TASK_DIR}/hawser.yaml"]
        cap_drop = ["all"]
      }

      # Without any capability, but the owner of the directory that Nomad makes for the socket.
      user = "root"

      # The plugin's id is what volumes name. Nomad sets CSI_ENDPOINT to the socket in `mount_dir`.
      csi_plugin {
        id             = "hawser"
        type           = "controller"
        mount_dir      = "/csi"
        health_timeout = "1m"
      }

      template {
        destination = "local/hawser.yaml"
        data        = <<-EOT
          backends:
            ebs:
              type: ebs
              region: us-east-1
              cluster: nomad
        EOT
      }

      # Calls that run finish first. The client's max_kill_timeout must allow it.
      kill_timeout = "90s"

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
