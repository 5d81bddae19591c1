# A job with the volume of volume.hcl. Wherever it is placed, it finds its data.
job "postgres" {
  type = "service"

  group "postgres" {
    # One writer: the volume goes from one allocation to the next, never to two.
    count = 1

    volume "data" {
      type            = "csi"
      source          = "postgres"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"

      mount_options {
        fs_type     = "xfs"
        mount_flags = ["noatime"]
      }
    }

    # A client that does not answer is given this long before its allocation is replaced.
    disconnect {
      lost_after = "10m"
      replace    = false
    }

    task "postgres" {
      driver = "docker"

      config {
        image = "postgres:17"
      }

      env {
        # Not the filesystem's root, where lost+found is.
        PGDATA = "/data/pgdata"
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
      }

      resources {
        cpu    = 1000
        memory = 2048
      }
    }
  }
}
