package main

import (
	"log"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/hcl"
	"github.com/hashicorp/nomad/nomad/structs"
	"github.com/hashicorp/nomad/plugins/csi"
	"github.com/mitchellh/mapstructure"
)

// A file for `nomad volume create`, read with the same libraries (command/volume_register_csi.go); but a key that Nomad does not know is a
// mistake here, which Nomad leaves out without a word.
type Volume struct {
	ID           string            `mapstructure:"id"`
	Name         string            `mapstructure:"name"`
	Type         string            `mapstructure:"type"`
	PluginID     string            `mapstructure:"plugin_id"`
	CapacityMin  string            `mapstructure:"capacity_min"`
	CapacityMax  string            `mapstructure:"capacity_max"`
	Parameters   map[string]string `mapstructure:"parameters"`
	Capabilities []struct {
		AccessMode     string `mapstructure:"access_mode"`
		AttachmentMode string `mapstructure:"attachment_mode"`
	} `mapstructure:"capability"`
	MountOptions []struct {
		FSType     string   `mapstructure:"fs_type"`
		MountFlags []string `mapstructure:"mount_flags"`
	} `mapstructure:"mount_options"`
}

func volumeOf(file string) Volume {
	text, err := os.ReadFile(file)
	check("read the volume", err)
	var fields map[string]any
	check("parse the volume", hcl.Decode(&fields, string(text)))
	var volume Volume
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{WeaklyTypedInput: true, ErrorUnused: true, Result: &volume})
	check("make a decoder", err)
	check("decode the volume", decoder.Decode(fields))
	if volume.Type != "csi" || volume.ID == "" || volume.PluginID == "" || len(volume.Capabilities) == 0 {
		log.Fatalf("%s: type, id, plugin_id or capability is missing: %+v", file, volume)
	}
	return volume
}

func (v Volume) capabilities() []*csi.VolumeCapability {
	options := &structs.CSIMountOptions{}
	for _, given := range v.MountOptions {
		options.FSType, options.MountFlags = given.FSType, given.MountFlags
	}
	var all []*csi.VolumeCapability
	for _, one := range v.Capabilities {
		capability, err := csi.VolumeCapabilityFromStructs(
			structs.VolumeAttachmentMode(one.AttachmentMode), structs.VolumeAccessMode(one.AccessMode), options)
		check("capability", err)
		all = append(all, capability)
	}
	return all
}

func (v Volume) capacity() *csi.CapacityRange {
	bytes := func(text string) int64 {
		if text == "" {
			return 0
		}
		bytes, err := humanize.ParseBytes(text)
		check("capacity", err)
		return int64(bytes)
	}
	return &csi.CapacityRange{RequiredBytes: bytes(v.CapacityMin), LimitBytes: bytes(v.CapacityMax)}
}

// The name of the directory of a usage (client/pluginmanager/csimanager/interface.go).
func (v Volume) usage() string {
	return "rw-" + v.Capabilities[0].AttachmentMode + "-" + v.Capabilities[0].AccessMode
}
