{{- /*
The sidecars that make calls of the Controller service. Of a dict with `context`; `perNode`: they stand beside every node's own
controller, which has no leader, and care for what is on their node alone; `root`: the driver's socket is root's.
*/ -}}
{{- define "hawser.controllerSidecars" -}}
{{- $values := .context.Values -}}
{{- $leads := not .perNode -}}
{{- $with := merge (dict "leads" $leads) . -}}
- name: csi-provisioner
  args:
    {{- include "hawser.sidecarFlags" (merge (dict "sidecar" $values.sidecars.provisioner) $with) | nindent 4 }}
    - --worker-threads={{ $values.sidecars.workers }}
    - --default-fstype={{ $values.controller.defaultFsType }}
    {{- if $values.controller.extraMetadata }}
    - --extra-create-metadata
    {{- end }}
    {{- if .perNode }}
    - --node-deployment
    - --strict-topology
    - --immediate-topology=false
    {{- end }}
    {{- if or .perNode $values.controller.storageCapacity }}
    - --enable-capacity
    # The pod's own controller owns the objects, so that they go with it: the DaemonSet, or the Deployment above the ReplicaSet.
    - --capacity-ownerref-level={{ ternary 1 2 .perNode }}
    {{- end }}
    {{- range $values.sidecars.provisioner.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- include "hawser.sidecar" (merge (dict "sidecar" $values.sidecars.provisioner "image" "csi-provisioner") .) | nindent 2 }}
  volumeMounts:
    - {name: socket, mountPath: /csi}
{{- if not .perNode }}
- name: csi-attacher
  args:
    {{- include "hawser.sidecarFlags" (merge (dict "sidecar" $values.sidecars.attacher) $with) | nindent 4 }}
    - --worker-threads={{ $values.sidecars.workers }}
    - --default-fstype={{ $values.controller.defaultFsType }}
    {{- range $values.sidecars.attacher.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- include "hawser.sidecar" (merge (dict "sidecar" $values.sidecars.attacher "image" "csi-attacher") .) | nindent 2 }}
  volumeMounts:
    - {name: socket, mountPath: /csi}
- name: csi-resizer
  args:
    {{- include "hawser.sidecarFlags" (merge (dict "sidecar" $values.sidecars.resizer) $with) | nindent 4 }}
    - --workers={{ $values.sidecars.workers }}
    # Volumes grow while they are used, so there are no pods to wait for.
    - --handle-volume-inuse-error=false
    {{- if $values.controller.extraMetadata }}
    - --extra-modify-metadata
    {{- end }}
    {{- range $values.sidecars.resizer.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- include "hawser.sidecar" (merge (dict "sidecar" $values.sidecars.resizer "image" "csi-resizer") .) | nindent 2 }}
  volumeMounts:
    - {name: socket, mountPath: /csi}
{{- end }}
{{- if $values.sidecars.snapshotter.enabled }}
- name: csi-snapshotter
  args:
    {{- include "hawser.sidecarFlags" (merge (dict "sidecar" $values.sidecars.snapshotter) $with) | nindent 4 }}
    - --worker-threads={{ $values.sidecars.workers }}
    {{- if $values.controller.extraMetadata }}
    - --extra-create-metadata
    {{- end }}
    {{- if .perNode }}
    - --node-deployment
    {{- end }}
    - --feature-gates=CSIVolumeGroupSnapshot={{ $values.sidecars.snapshotter.groupSnapshots }}
    {{- range $values.sidecars.snapshotter.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- include "hawser.sidecar" (merge (dict "sidecar" $values.sidecars.snapshotter "image" "csi-snapshotter") .) | nindent 2 }}
  volumeMounts:
    - {name: socket, mountPath: /csi}
{{- end }}
{{- end -}}
