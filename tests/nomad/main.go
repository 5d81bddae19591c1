// What Nomad does with the files of an operator and with a CSI plugin, by Nomad's own code: its parser of jobs, and its client of plugins.
//
//	nomad-client job FILE                         prints the job as Nomad's API has it
//	nomad-client volume FILE                      prints the volume
//	nomad-client fingerprint TYPE SOCKET          asks a plugin of TYPE (controller, node, monolith) what Nomad asks at its start
//	nomad-client attach VOLUME CONTROLLER NODE    makes, checks and attaches the volume of a file to the node with this id, and back
//	nomad-client run VOLUME SOCKET ROOT           the whole life of a volume on a monolith, mounted below ROOT
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/jobspec2"
	"github.com/hashicorp/nomad/plugins/csi"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: nomad-client job|volume|fingerprint|attach|run …")
	}
	arguments := os.Args[2:]
	switch {
	case os.Args[1] == "job" && len(arguments) == 1:
		job(arguments[0])
	case os.Args[1] == "volume" && len(arguments) == 1:
		show(volumeOf(arguments[0]))
	case os.Args[1] == "fingerprint" && len(arguments) == 2:
		show(fingerprint(arguments[0], arguments[1]))
	case os.Args[1] == "attach" && len(arguments) == 3:
		attach(volumeOf(arguments[0]), plugin(arguments[1]), arguments[2])
	case os.Args[1] == "run" && len(arguments) == 3:
		run(volumeOf(arguments[0]), arguments[1], arguments[2])
	default:
		log.Fatalf("%v: see the head of main.go", os.Args[1:])
	}
}

func job(file string) {
	body, err := os.ReadFile(file)
	check("read the job", err)
	job, err := jobspec2.ParseWithConfig(&jobspec2.ParseConfig{Path: file, Body: body, Strict: true})
	check("parse the job", err)
	job.Canonicalize()
	show(job)
}

func plugin(socket string) csi.CSIPlugin { return csi.NewClient(socket, hclog.NewNullLogger()) }

// What Nomad has found out about a plugin.
type Print struct {
	Name, Version, NodeID         string
	HasController, NeedsStaging   bool
	Attaches, Lists, Expands      bool
	MaxVolumes                    int64
	Segments                      map[string]string
	NodeExpands, Snapshots, Clone bool
}

// The supervisor probes until the plugin is ready and asks who it is, within one second (client/allocrunner/taskrunner/
// plugin_supervisor_hook.go); then come the questions of client/pluginmanager/csimanager/fingerprint.go.
func fingerprint(kind, socket string) Print {
	client := plugin(socket)
	defer client.Close()
	within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ready, err := client.PluginProbe(within)
	check("Probe", err)
	if !ready {
		log.Fatal("Probe: not ready")
	}
	info, err := client.PluginInfo()
	check("GetPluginInfo", err)
	print := Print{Name: info.Name, Version: info.PluginVersion}
	capabilities, err := client.PluginGetCapabilities(within)
	check("GetPluginCapabilities", err)
	print.HasController = capabilities.HasControllerService()
	if kind != "node" {
		can, err := client.ControllerGetCapabilities(within)
		check("ControllerGetCapabilities", err)
		print.Attaches, print.Lists, print.Expands = can.HasPublishUnpublishVolume, can.HasListVolumes, can.HasExpandVolume
		print.Snapshots, print.Clone = can.HasCreateDeleteSnapshot, can.HasCloneVolume
	}
	if kind != "controller" {
		can, err := client.NodeGetCapabilities(within)
		check("NodeGetCapabilities", err)
		print.NeedsStaging, print.NodeExpands = can.HasStageUnstageVolume, can.HasExpandVolume
		node, err := client.NodeGetInfo(within)
		check("NodeGetInfo", err)
		print.NodeID, print.MaxVolumes = node.NodeID, node.MaxVolumes
		if node.AccessibleTopology != nil {
			print.Segments = node.AccessibleTopology.Segments
		}
	}
	return print
}

func check(what string, err error) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func show(value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	check("print", err)
	fmt.Println(string(text))
}
