# nomad volume create volume.hcl
id        = "postgres"
name      = "postgres"
type      = "csi"
plugin_id = "hawser"

# Binary units: 20 GB would be no size that EBS has.
capacity_min = "20GiB"

capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}

mount_options {
  fs_type     = "xfs"
  mount_flags = ["noatime"]
}
