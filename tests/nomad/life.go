package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"os"
	"path/filepath"
	"time"

	retry "github.com/grpc-ecosystem/go-grpc-middleware/retry"
	"github.com/hashicorp/nomad/plugins/csi"
	"google.golang.org/grpc"
)

// As client/csi_endpoint.go and csimanager/volume.go call plugins.
var options = []grpc.CallOption{
	retry.WithPerRetryTimeout(2 * time.Minute),
	retry.WithMax(3),
	retry.WithBackoff(retry.BackoffExponential(100 * time.Millisecond)),
}

var background = context.Background()

// `nomad volume create`: the volume is made and then registered, which validates it.
func create(client csi.CSIPlugin, volume Volume) *csi.Volume {
	request := &csi.ControllerCreateVolumeRequest{
		Name: volume.Name, CapacityRange: volume.capacity(), VolumeCapabilities: volume.capabilities(), Parameters: volume.Parameters,
	}
	created, err := client.ControllerCreateVolume(background, request, options...)
	check("CreateVolume", err)
	check("ValidateVolumeCapabilities", client.ControllerValidateCapabilities(background, &csi.ControllerValidateVolumeRequest{
		ExternalID: created.Volume.ExternalVolumeID, Capabilities: volume.capabilities(),
		Parameters: volume.Parameters, Context: created.Volume.VolumeContext,
	}, options...))
	listed, err := client.ControllerListVolumes(background, &csi.ControllerListVolumesRequest{}, options...)
	check("ListVolumes", err)
	for _, entry := range listed.Entries {
		if entry.Volume.ExternalVolumeID == created.Volume.ExternalVolumeID {
			return created.Volume
		}
	}
	log.Fatalf("ListVolumes: %s is not there", created.Volume.ExternalVolumeID)
	return nil
}

func publish(client csi.CSIPlugin, volume Volume, made *csi.Volume, node string) map[string]string {
	answer, err := client.ControllerPublishVolume(background, &csi.ControllerPublishVolumeRequest{
		ExternalID: made.ExternalVolumeID, NodeID: node, VolumeCapability: volume.capabilities()[0], VolumeContext: made.VolumeContext,
	}, options...)
	check("ControllerPublishVolume", err)
	return answer.PublishContext
}

func unpublish(client csi.CSIPlugin, made *csi.Volume, node string) {
	_, err := client.ControllerUnpublishVolume(background, &csi.ControllerUnpublishVolumeRequest{
		ExternalID: made.ExternalVolumeID, NodeID: node,
	}, options...)
	check("ControllerUnpublishVolume", err)
}

func remove(client csi.CSIPlugin, made *csi.Volume) {
	request := &csi.ControllerDeleteVolumeRequest{ExternalVolumeID: made.ExternalVolumeID}
	check("DeleteVolume", client.ControllerDeleteVolume(background, request, options...))
}

func attach(volume Volume, client csi.CSIPlugin, node string) {
	made := create(client, volume)
	publish(client, volume, made, node)
	unpublish(client, made, node)
	remove(client, made)
}

// A volume with two allocations, one after the other, on a plugin that has both services.
func run(volume Volume, socket, root string) {
	client := plugin(socket)
	defer client.Close()
	node := fingerprint("monolith", socket).NodeID
	made := create(client, volume)
	letter := []byte("hello")
	for round, alloc := range []string{"alloc-1", "alloc-2"} {
		published := publish(client, volume, made, node)
		staging := filepath.Join(root, "staging", "default", volume.ID, volume.usage())
		check("make the staging directory", os.MkdirAll(staging, 0o700))
		check("NodeStageVolume", client.NodeStageVolume(background, &csi.NodeStageVolumeRequest{
			ExternalID: made.ExternalVolumeID, PublishContext: published, StagingTargetPath: staging,
			VolumeCapability: volume.capabilities()[0], VolumeContext: made.VolumeContext,
		}, options...))
		directory := filepath.Join(root, "per-alloc", alloc, volume.ID)
		check("make the directory of the allocation", os.MkdirAll(directory, 0o700))
		target := filepath.Join(directory, volume.usage())
		check("NodePublishVolume", client.NodePublishVolume(background, &csi.NodePublishVolumeRequest{
			ExternalID: made.ExternalVolumeID, PublishContext: published, StagingTargetPath: staging, TargetPath: target,
			VolumeCapability: volume.capabilities()[0], VolumeContext: made.VolumeContext,
		}, options...))
		file := filepath.Join(target, "letter")
		if round == 0 {
			check("write", os.WriteFile(file, letter, 0o600))
			grow(client, volume, made, staging, target)
		} else if read, err := os.ReadFile(file); err != nil || !bytes.Equal(read, letter) {
			log.Fatalf("the second allocation reads %q, %v", read, err)
		}
		check("NodeUnpublishVolume", client.NodeUnpublishVolume(background, made.ExternalVolumeID, target, options...))
		// Nomad removes what it finds there, and takes a failure for one of its own.
		if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Fatalf("remove the target: %v", err)
		}
		check("NodeUnstageVolume", client.NodeUnstageVolume(background, made.ExternalVolumeID, staging, options...))
		check("remove the staging directory", os.Remove(staging))
		unpublish(client, made, node)
	}
	snapshot(client, volume, made)
	remove(client, made)
}

func grow(client csi.CSIPlugin, volume Volume, made *csi.Volume, staging, target string) {
	larger := 2 * volume.capacity().RequiredBytes
	grown, err := client.ControllerExpandVolume(background, &csi.ControllerExpandVolumeRequest{
		ExternalVolumeID: made.ExternalVolumeID, RequiredBytes: larger, Capability: volume.capabilities()[0],
	}, options...)
	check("ControllerExpandVolume", err)
	if grown.CapacityBytes != larger || !grown.NodeExpansionRequired {
		log.Fatalf("ControllerExpandVolume: %+v", grown)
	}
	_, err = client.NodeExpandVolume(background, &csi.NodeExpandVolumeRequest{
		ExternalVolumeID: made.ExternalVolumeID, CapacityRange: &csi.CapacityRange{RequiredBytes: larger},
		Capability: volume.capabilities()[0], TargetPath: target, StagingPath: staging,
	}, options...)
	check("NodeExpandVolume", err)
}

func snapshot(client csi.CSIPlugin, volume Volume, made *csi.Volume) {
	cut, err := client.ControllerCreateSnapshot(background, &csi.ControllerCreateSnapshotRequest{
		VolumeID: made.ExternalVolumeID, Name: volume.Name + "-before",
	}, options...)
	check("CreateSnapshot", err)
	listed, err := client.ControllerListSnapshots(background, &csi.ControllerListSnapshotsRequest{}, options...)
	check("ListSnapshots", err)
	if len(listed.Entries) != 1 || listed.Entries[0].Snapshot.ID != cut.Snapshot.ID {
		log.Fatalf("ListSnapshots: %+v", listed)
	}
	request := &csi.ControllerDeleteSnapshotRequest{SnapshotID: cut.Snapshot.ID}
	check("DeleteSnapshot", client.ControllerDeleteSnapshot(background, request, options...))
}
