{{- define "hawser.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "hawser.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "hawser.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "hawser.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Of a dict with `context` and `component`. */ -}}
{{- define "hawser.selector" -}}
app.kubernetes.io/name: {{ include "hawser.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "hawser.labels" -}}
app.kubernetes.io/name: {{ include "hawser.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hawser.controllerAccount" -}}
{{- .Values.controller.serviceAccount.name | default (printf "%s-controller" (include "hawser.fullname" .)) -}}
{{- end -}}

{{- define "hawser.nodeAccount" -}}
{{- .Values.node.serviceAccount.name | default (printf "%s-node" (include "hawser.fullname" .)) -}}
{{- end -}}

{{- /* "true" when a backend has one of the types in `types`, of a dict with `context` and `types`. */ -}}
{{- define "hawser.hasType" -}}
{{- $types := .types -}}
{{- range .context.Values.backends -}}
{{- if has .type $types -}}true {{ end -}}
{{- end -}}
{{- end -}}

{{- /* "true" when volumes are on one node each: then every node has a controller of its own. Refuses mixtures. */ -}}
{{- define "hawser.perNode" -}}
{{- if not .Values.backends -}}
{{- fail "backends: give at least one, as docs/configuration.md has them" -}}
{{- end -}}
{{- if include "hawser.hasType" (dict "context" . "types" (list "local")) -}}
{{- if include "hawser.hasType" (dict "context" . "types" (list "ebs" "nfs" "scaleio")) -}}
{{- fail "backends: those of type local keep volumes on one node each and need a release of their own, with another driver.name" -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{- define "hawser.image" -}}
{{ .image.repository }}:{{ .image.tag | default .context.Chart.AppVersion }}
{{- end -}}

{{- /* The file that the program reads. */ -}}
{{- define "hawser.config" -}}
{{- toYaml (dict "driver" .Values.driver "backends" .Values.backends) -}}
{{- end -}}

{{- /* The same for every container that has no reason for more. */ -}}
{{- define "hawser.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Flags that each sidecar with a leader has, of a dict with `context`, `sidecar` and `leads` (whether several compete). */ -}}
{{- define "hawser.sidecarFlags" -}}
- --csi-address=/csi/csi.sock
- --v={{ .context.Values.sidecars.verbosity }}
- --timeout={{ .sidecar.timeout }}
- --retry-interval-max={{ .sidecar.retryIntervalMax }}
- --kube-api-qps={{ .context.Values.sidecars.kubeApiQps }}
- --kube-api-burst={{ .context.Values.sidecars.kubeApiBurst }}
{{- if .leads }}
- --leader-election
- --leader-election-namespace=$(NAMESPACE)
{{- with .context.Values.sidecars.leaderElection }}
- --leader-election-lease-duration={{ .leaseDuration }}
- --leader-election-renew-deadline={{ .renewDeadline }}
- --leader-election-retry-period={{ .retryPeriod }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The rest of a sidecar, of a dict with `context`, `sidecar`, `image` and `root` (whether it must reach root's socket). */ -}}
{{- define "hawser.sidecar" -}}
image: {{ .context.Values.sidecars.registry }}/{{ .image }}:{{ .sidecar.tag }}
imagePullPolicy: {{ .context.Values.sidecars.pullPolicy }}
env:
  - name: NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: NODE_NAME
    valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
resources: {{- toYaml .context.Values.sidecars.resources | nindent 2 }}
securityContext:
{{- if .root }}
  # The driver's socket is root's alone.
  runAsUser: 0
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- else }}
  {{- include "hawser.restricted" . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- /* The health of Hawser's own container, of its port. A storage system that is away is no reason to restart it: /livez looks at none. */ -}}
{{- define "hawser.probes" -}}
ports:
  - {name: http, containerPort: {{ . }}, protocol: TCP}
startupProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 5
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}

{{- define "hawser.tracing" -}}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end -}}
